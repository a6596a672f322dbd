"""What /metrics prints is byte for byte what prometheus-client prints, whatever changed since."""

from __future__ import annotations

import gzip
import importlib
import math
import sys
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.metrics_core import InfoMetricFamily, Metric

from exporter.metrics import Column, Metrics, Sample
from exporter.web import kept_gzip
from exporter.web.exposition import Exposition
from exporter.web.kept_text import KeptText

ACCEPTS = (
    "",
    "text/plain;version=0.0.4",
    "text/plain;version=1.0.0;escaping=allow-utf-8",
    "text/plain;version=1.0.0;escaping=dots",
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
    "application/openmetrics-text;version=1.0.0;escaping=values",
    "application/openmetrics-text;version=2.0.0",
)
TEXTS = st.sampled_from(["a", "b", "", 'a"b', "a\\b", "a\nb", "ä", "%s", "{}"])
ODD = (0.0, -0.0, 1.0, 999999.0, 1e6, -1e6, 1234567.5, 1e16, 1e22, -math.inf, math.nan, 5e-324)
VALUES = st.floats() | st.sampled_from(ODD)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, VALUES), max_size=3)
FAMILIES = st.sampled_from(["quant_data_age_seconds", "quant_data_close_price"])


class Others:
    """A collector of somebody else."""

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("others", "help", value={"version": 'a"b'})
        histogram = Metric("another", "help", "histogram")
        histogram.add_sample("another_bucket", {"le": "+Inf"}, 3.0, timestamp=12.5)
        yield histogram


class Scrapes(RuleBasedStateMachine):
    """Whatever happens between two scrapes."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.read = dict[int, list[Sample | Column]]()
        self.metrics.add_reader(lambda: [sample for read in self.read.values() for sample in read])
        text = 'help with "quotes" \\ and\nlines'
        self.odd = Counter("odd_things", text, ["z", "a"], registry=self.registry)
        self.times = Histogram("times", "", ["of"], buckets=(0.5, 2e6), registry=self.registry)
        self.cold = Histogram("cold", "", buckets=(-5, 0, 5), registry=self.registry)
        self.colon = Gauge("with:colon", "", registry=self.registry)
        self.value = 0.0
        self.function = Gauge("by_function", "", ["of"], registry=self.registry)
        self.registry.register(Others())  # type: ignore[arg-type]
        self.exposition = Exposition(self.registry)

    def teardown(self) -> None:
        self.exposition.close()

    @rule(z=TEXTS, a=TEXTS, by=st.floats(0, 1e9))
    def count(self, z: str, a: str, by: float) -> None:
        self.odd.labels(z, a).inc(by)

    @rule(z=TEXTS, a=TEXTS)
    def count_with_an_exemplar(self, z: str, a: str) -> None:
        self.odd.labels(z, a).inc(1, {"run": "r-1"})

    @rule(of=TEXTS, value=VALUES)
    def observe(self, of: str, value: float) -> None:
        self.times.labels(of).observe(value)
        self.cold.observe(value)

    @rule(of=TEXTS)
    def remove(self, of: str) -> None:
        self.times.remove(of)

    @rule(value=VALUES)
    def set(self, value: float) -> None:
        self.colon.set(value)
        self.metrics.gauge("quant_exporter_event_loop_lag_seconds").set(value)

    @rule(of=TEXTS, value=VALUES)
    def set_one_of_many(self, of: str, value: float) -> None:
        self.function.labels(of).set(value)

    @rule(of=TEXTS)
    def set_a_function(self, of: str) -> None:
        self.function.labels(of).set_function(lambda: self.value)

    @rule(value=VALUES)
    def change_what_the_function_gives(self, value: float) -> None:
        self.value = value

    @rule(place=st.integers(0, 3), name=FAMILIES, rows=ROWS)
    def read_a_column(self, place: int, name: str, rows: list[tuple[str, str, float]]) -> None:
        self.read[place] = [Column(name, [row[:2] for row in rows], [row[2] for row in rows])]

    @rule(place=st.integers(0, 3), name=FAMILIES, rows=ROWS)
    def read_samples(self, place: int, name: str, rows: list[tuple[str, str, float]]) -> None:
        self.read[place] = [(name, row[:2], row[2]) for row in rows]

    @rule(accept=st.sampled_from(ACCEPTS))
    def prints_what_the_library_prints(self, accept: str) -> None:
        encode, content_type = choose_encoder(accept)
        expected = encode(self.registry)
        shown, shown_type = self.exposition._render(accept, False, frozenset())
        assert shown_type == content_type
        for line, as_expected in zip(shown.split(b"\n"), expected.split(b"\n"), strict=False):
            assert line == as_expected
        assert len(shown) == len(expected)
        packed, _ = self.exposition._render(accept, True, frozenset())
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        assert unpacker.decompress(packed) == expected
        assert unpacker.eof
        assert not unpacker.unused_data, "one member: not every client reads more"
        assert gzip.decompress(packed) == expected


TestScrapes = Scrapes.TestCase
TestScrapes.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)


def test_without_isal_it_is_packed_by_zlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """isal has no wheel for every processor."""
    parts = [b"quant_task_running 1.0\n" * 2000, b"# EOF\n"]
    by_isal = kept_gzip.KeptGzip().pack(parts)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "isal", None)
        by_zlib = importlib.reload(kept_gzip).KeptGzip().pack(parts)
    importlib.reload(kept_gzip)
    assert gzip.decompress(by_zlib) == gzip.decompress(by_isal) == b"".join(parts)
    assert by_zlib != by_isal


def test_a_function_that_replaces_a_value_is_asked_at_each_scrape() -> None:
    registry, given = CollectorRegistry(), [1.0]
    gauge = Gauge("depth", "", registry=registry)
    text = KeptText(registry)
    assert b"depth 0.0\n" in b"".join(text.parts(generate_latest, False))
    gauge.set_function(lambda: given[0])
    assert b"depth 1.0\n" in b"".join(text.parts(generate_latest, False))
    given[0] = 2.0
    assert b"depth 2.0\n" in b"".join(text.parts(generate_latest, False))


def test_zeros_with_and_without_a_sign_are_told_apart_in_one_column() -> None:
    metrics, name = Metrics(CollectorRegistry()), "quant_data_close_price"
    values, labels = [[1.0, 2.0, 2.0]], [("f", "A"), ("f", "B"), ("f", "C")]
    metrics.add_reader(lambda: [Column(name, labels, values[0])])
    text = KeptText(metrics.registry)
    for each in ([0.0, -0.0, 0.0], [-0.0, 0.0, -0.0], [7.5, 7.5, math.nan]):
        values[0] = each
        lines = b"".join(text.parts(generate_latest, False)).decode().splitlines()
        shown = [line.split()[-1] for line in lines if line.startswith(f"{name}{{")]
        assert shown == [repr(value).replace("nan", "NaN") for value in each]


def test_only_what_changed_is_printed_again() -> None:
    registry = CollectorRegistry()
    one, other = (Counter(name, "", ["of"], registry=registry) for name in ("one", "other"))
    for number in range(3):
        one.labels(str(number))
        other.labels(str(number))
    text = KeptText(registry)
    before = text.parts(generate_latest, False)
    one.labels("1").inc()
    after = text.parts(generate_latest, False)
    assert [new is old for new, old in zip(after, before, strict=True)] == [True, False, True, True]
