"""The real exporter against a TickDB that somebody else wrote, with every good and bad answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration import outside_market as outside
from tests.integration.processes import Exporter, Program, free_port, get, post, wait_for

pytestmark = pytest.mark.integration

EXPECTED: dict[str, str | None] = {
    **dict.fromkeys(outside.GOOD),
    **{way: reason for way, (reason, _) in (outside.BAD | outside.RAW).items()},
}
"""Each way of answering and what the exporter counts; None for those that bring bars."""
BAD = sorted(way for way, reason in EXPECTED.items() if reason)
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def config(port: int, market: int) -> str:
    """A source, a feed and a task for each way of answering."""
    lines = [f"listen: 127.0.0.1:{port}", "timezone: UTC", "logs: {level: debug}", "sources:"]
    for way, reason in EXPECTED.items():
        url = f"http://127.0.0.1:{market}/{way}/v1"
        # Only what never answers is given up soon: a busy machine is no fault.
        patience = "1s" if reason == "timeout" else "60s"
        lines.append(
            f"  {way}: {{type: tickdb, url: '{url}', api_key_env: KEY, "
            f"connect_timeout: 60s, read_timeout: {patience}, "
            f"requests_per_minute: 600, retries: {0 if reason else 1}}}"
        )
    lines.append("feeds:")
    lines += [
        f"  {way}: {{source: {way}, symbols: [{', '.join(SYMBOLS)}], interval: 1m, exchange: 24/7}}"
        for way in EXPECTED
    ]
    lines.append("tasks:")
    lines += [
        f"  {way}: {{run: 'exporter.tasks:pre_market_scan', schedule: '00:00', exchange: 24/7, "
        f"source: {way}, params: {{symbols: [BTCUSDT]}}}}"
        for way in EXPECTED
    ]
    return "\n".join(lines)


class Seen:
    """What one exporter showed after it had asked every source."""

    metrics: dict[str, float]
    runs: dict[str, dict[str, Any]]
    log: list[dict[str, Any]]
    asked: dict[str, int]
    texts: dict[str, str]

    def failures(self, way: str) -> dict[str, float]:
        """The failures of its newest bars, by reason, those that happened."""
        place = f'{{endpoint="/market/kline/latest",reason="(.*)",source="{way}"}}'
        before, _, after = place.partition("(.*)")
        apart = EXPECTED[way] == "wrong_time"  # a request that brings wrong times has succeeded
        name = f"quant_fetch_{'bad_symbols' if apart else 'failures'}_total"
        return {
            key.removeprefix(name + before).removesuffix(after): value
            for key, value in self.metrics.items()
            if key.startswith(name + before) and key.endswith(after) and value
        }

    def symbol(self, name: str, way: str, symbol: str = SYMBOLS[0]) -> float:
        return self.metrics[f'quant_data_{name}{{feed="{way}",symbol="{symbol}"}}']


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """One run for all ways: they do not disturb each other."""
    folder = tmp_path_factory.mktemp("market")
    port, market = free_port(), free_port()
    path = folder / "exporter.yml"
    path.write_text(config(port, market))
    found = Seen()
    arguments = [sys.executable, outside.__file__, str(market)]
    with (
        Program(arguments, folder / "market.out"),
        Exporter(path, {"KEY": outside.KEY}).wait_ready(port) as exporter,
    ):

        def everything_was_asked() -> bool:
            found.metrics = exporter.metrics()
            return all(
                found.symbol("last_bar_timestamp_seconds", way) > 0
                if reason is None
                else found.failures(way)
                for way, reason in EXPECTED.items()
            )

        wait_for(everything_was_asked, "an answer of every kind")
        runs = {}
        for way in EXPECTED:
            status, answer = post(f"{exporter.url}/api/v1/tasks/{way}/run", exporter.token)
            assert status == 202, answer
            runs[way] = f"{exporter.url}/api/v1/tasks/{way}/runs/{answer['run_id']}"

        def every_run_ended() -> bool:
            found.runs = {way: json.loads(get(url)) for way, url in runs.items()}
            return all(run["outcome"] for run in found.runs.values())

        wait_for(every_run_ended, "every run to end")
        found.metrics = exporter.metrics()
        found.asked = json.loads(get(f"http://127.0.0.1:{market}/asked"))
        pages = ("/", "/metrics", "/api/v1/tasks", *(f"/tasks/{way}" for way in EXPECTED))
        found.texts = {page: get(exporter.url + page).decode() for page in pages}
        assert exporter.stop() == 0
    found.texts |= {
        str(file): file.read_bytes().decode("utf-8", "replace")
        for file in folder.rglob("*")
        if file.is_file() and file != path
    }
    logs = [text for name, text in found.texts.items() if name.endswith(".jsonl")]
    found.log = [json.loads(line) for text in logs for line in text.splitlines()]
    yield found


@pytest.mark.parametrize("way", outside.GOOD)
def test_good_answers_of_every_form_bring_bars(seen: Seen, way: str) -> None:
    """Fresh for both symbols, with the close of a closed bar, and the task says it did its work."""
    for symbol in SYMBOLS:
        assert seen.symbol("overdue_seconds", way, symbol) == 0
        assert seen.symbol("close_price", way, symbol) % 1 in (0.5, 0.0)
        assert seen.symbol("last_bar_timestamp_seconds", way, symbol) % 60 == 0
    assert seen.runs[way]["outcome"] == "success", seen.runs[way]
    assert seen.asked.get(f"{way} too early", 0) == 0


@pytest.mark.parametrize("way", BAD)
def test_bad_answers_are_counted_named_and_never_stored(seen: Seen, way: str) -> None:
    """By their one reason; no bar of them is known, the log names the source, tasks lack data."""
    assert set(seen.failures(way)) == {EXPECTED[way]}
    for symbol in SYMBOLS:
        for name in ("last_bar_timestamp_seconds", "close_price", "age_seconds"):
            value = seen.symbol(name, way, symbol)
            assert value != value, name
    run = seen.runs[way]
    assert run["outcome"] == "no_data"
    assert run["error"]
    named = [r for r in seen.log if r.get("event") == "fetch_failed" and r.get("source") == way]
    assert {r["reason"] for r in named} == {EXPECTED[way]}
    assert {r["level"] for r in named} == {"warning"}
    assert any(r.get("event") == "feed_trouble" and r.get("feed") == way for r in seen.log)


def test_nothing_broke_on_the_way(seen: Seen) -> None:
    """No traceback but those of the runs, and a used-up quota was left alone."""
    told = [r for r in seen.log if r.get("event") != "run_ended"]
    assert [r for r in told if "Traceback" in json.dumps(r)] == []
    assert {r.get("event") for r in told if r["level"] == "error"} <= {"source_stopped"}
    assert seen.asked["quota"] == 1


def test_the_key_is_nowhere(seen: Seen) -> None:
    """Not in a log with everything in it, a page, a metric or the state; not when it is echoed."""
    forms = {outside.KEY, quote(outside.KEY, safe=""), outside.KEY[-6:]}
    shown = {name for name, text in seen.texts.items() if any(form in text for form in forms)}
    assert shown == set()
    assert any("exporter-" in Path(name).name for name in seen.texts)
