"""What a scrape shows of symbols is what is known at that moment, whatever was kept before."""

from __future__ import annotations

from exporter.feeds.feed_samples import SymbolSeries
from exporter.metrics import Column
from tests.unit.feeds.test_poller import PollerBench, at
from tests.unit.feeds.test_standstill import Stopped, bench_with


def exposed(series: SymbolSeries, now: float) -> set[tuple[str, tuple[str, ...], str]]:
    """As text, so that NaN equals NaN."""
    found = set()
    for each in series.read(now):
        if isinstance(each, Column):
            rows = zip(each.labels, each.values, strict=True)
            found |= {(each.name, tuple(labels), repr(value)) for labels, value in rows}
        else:
            found.add((each[0], tuple(each[1]), repr(each[2])))
    return found


def looked_at(bench: PollerBench, kept: SymbolSeries) -> bool:
    """Whether `kept` has not computed again; what it shows is right in any case."""
    before, now = kept._key and kept._kept, bench.clock.now()
    assert exposed(kept, now) == exposed(SymbolSeries(bench.feed), now)
    return kept._kept is before


async def test_what_is_kept_follows_bars_days_and_answers() -> None:
    bench = bench_with("2026-11-23T15:55:30", ignore={"A.US": {"until": "2026-11-24"}},
                       max_unchanged=3)  # fmt: skip
    bench.source = source = Stopped(bench)
    bench.restart()
    kept = SymbolSeries(bench.feed)
    assert not looked_at(bench, kept)
    for _ in range(8):  # past the close
        bench.clock.advance(60)
        await bench.poll()
        looked_at(bench, kept)
    bench.clock.advance(20)
    assert looked_at(bench, kept), "a scrape without a new bar"
    bench.clock.set(at("2026-11-24T00:00:30"))  # A.US is no longer ignored
    assert not looked_at(bench, kept)
    bench.clock.set(at("2026-11-24T10:00:30"))
    source.until["B"] = at("2026-11-23T15:57")
    for _ in range(4):
        bench.clock.advance(60)
        await bench.poll()
        looked_at(bench, kept)
    halted = {row for row in exposed(kept, bench.clock.now()) if row[0] == "quant_data_halted"}
    assert {row[1][1]: row[2] for row in halted} == {"A.US": "0.0", "B.US": "1.0", "C.US": "0.0"}
