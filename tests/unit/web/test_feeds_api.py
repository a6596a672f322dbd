"""POST /api/v1/feeds/NAME/bars: bars that programs push, over a real socket and on a real state."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from exporter.config import Config
from exporter.feeds import Feeds
from exporter.metrics import Metrics
from exporter.sources.factory import open_source
from exporter.state import State, StateError
from exporter.web.error_responses import errors_as_json
from exporter.web.feeds_api import FeedsApi
from tests.unit.clocks import ManualClock
from tests.unit.tables import calendar

MINUTE = 1_790_000_000.0 // 60 * 60  # a Monday, 10:13 in New York
CONFIG = {
    "sources": {
        "mine": {"type": "push"},
        "sim": {"type": "simulated", "url": "http://127.0.0.1:9"},
    },
    "feeds": {
        "f": {"source": "mine", "symbols": ["A", "B"], "interval": "1m", "exchange": "XNYS"},
        "g": {"source": "sim", "symbols": ["A"], "interval": "1m", "exchange": "XNYS"},
    },
}


def bar(ago: int = 1, symbol: str = "A", **more: Any) -> dict[str, Any]:
    """A bar that began so many minutes ago."""
    start = MINUTE - 60 * ago
    return {"symbol": symbol, "time": start, "open": 1, "high": 3, "low": 1, "close": 2, **more}


class Pushing:
    """A server with the feeds of one process; another one after :meth:`restart`."""

    def __init__(self, state: State) -> None:
        self.state, self.clock = state, ManualClock(MINUTE + 5)
        self.config = Config.model_validate(CONFIG)
        self.http: aiohttp.ClientSession
        self.url = ""
        self.restart()

    def restart(self) -> None:
        self.metrics = Metrics(CollectorRegistry())
        self.sources = {
            name: open_source(name, each, self.metrics, self.clock)
            for name, each in self.config.sources.items()
        }
        self.feeds = Feeds(
            self.state, self.clock, self.metrics, self.sources.__getitem__,
            lambda _: calendar("XNYS"),
        )  # fmt: skip
        self.feeds.apply(self.config)

    async def handle(self, request: web.Request) -> web.Response:
        return await FeedsApi(self.feeds).bars(request)

    async def post(self, body: Any, feed: str = "f") -> tuple[int, Any]:
        address = f"{self.url}api/v1/feeds/{feed}/bars"
        async with self.http.post(address, json=body) as answer:
            return answer.status, await answer.json()

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def pushing(tmp_path: Path) -> AsyncIterator[Pushing]:
    """Started and stopped."""
    state = State.open(tmp_path / "state.db", ManualClock())
    made = Pushing(state)
    app = web.Application(middlewares=[errors_as_json])
    app.router.add_post("/api/v1/feeds/{name}/bars", made.handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as made.http:
        made.url = str(server.make_url("/"))
        yield made
    await state.close()


async def test_a_bar_that_is_accepted_is_known_at_once_and_after_a_restart(
    pushing: Pushing,
) -> None:
    """By the feed, and by tasks that ask the source."""
    status, answer = await pushing.post({"bars": [bar(2), bar(1)]})
    assert (status, answer["accepted"], answer["old"], answer["rejected"]) == (200, 2, 0, 0)
    label = {"feed": "f", "symbol": "A"}
    assert pushing.value("quant_data_last_bar_timestamp_seconds", **label) == MINUTE
    assert pushing.value("quant_data_close_price", **label) == 2
    assert pushing.value("quant_fetch_requests_total", source="mine", endpoint="push") == 1
    pushing.restart()
    assert pushing.value("quant_data_last_bar_timestamp_seconds", **label) == MINUTE
    found = await pushing.sources["mine"].latest(["A", "B"], "1m")
    assert [each.start for each in found.good["A"]] == [MINUTE - 120, MINUTE - 60]
    assert math.isnan(found.good["A"][0].volume)
    assert found.bad["B"].message == "B: no bar has been pushed yet"


async def test_a_bar_that_is_not_new_counts_as_old_and_moves_nothing_back(
    pushing: Pushing,
) -> None:
    """As when a program sends again what it has sent, or catches up."""
    await pushing.post({"bars": [bar(1)]})
    status, answer = await pushing.post({"bars": [bar(1), bar(30)]})
    assert (status, answer["accepted"], answer["old"]) == (200, 2, 2)
    assert pushing.value("quant_data_last_bar_timestamp_seconds", feed="f", symbol="A") == MINUTE


async def test_what_cannot_be_used_is_named_and_counted_and_costs_no_other_symbol(
    pushing: Pushing,
) -> None:
    """The sender is told, and so is whoever looks at the metrics."""
    rows = [bar(1, "B"), bar(1, close="n/a"), bar(1, "C"), {"time": 1}, "x", bar(1, "D" * 99)]
    status, answer = await pushing.post({"bars": rows})
    assert (status, answer["accepted"], answer["rejected"]) == (200, 1, 5)
    assert "A: bar 0: `close` is of type str, not a number" in str(answer["errors"])
    assert "'C' is not a symbol of this feed" in answer["errors"]
    assert "bar 3 has no symbol" in answer["errors"]
    assert "the symbol of bar 5 is not one of this feed" in answer["errors"], "it may be a secret"
    labels = {"source": "mine", "endpoint": "push", "reason": "malformed"}
    assert pushing.value("quant_fetch_bad_bars_total", **labels) == 5
    assert pushing.value("quant_fetch_failures_total", **labels) == 0
    for text in ("2026-09-21T10:11:00", MINUTE + 86400):
        status, answer = await pushing.post({"bars": [bar(1, time=text)]})
        assert status == 400
        assert answer["error"].startswith("no bar can be used: A: bar 0: ")
    assert pushing.value("quant_fetch_failures_total", **labels) == 1


@pytest.mark.parametrize(
    ("feed", "body", "status", "text"),
    [
        ("none", {"bars": []}, 404, "there is no feed 'none'"),
        ("g", {"bars": []}, 409, "g gets its bars from sim, which is not of type push"),
        ("f", {}, 400, "`bars` must be a list of at most 10000 bars"),
        ("f", {"bars": {"A": 1}}, 400, "`bars` must be a list of at most 10000 bars"),
        ("f", [bar()], 400, "the body must be a JSON object"),
    ],
)
async def test_a_push_that_makes_no_sense_is_refused(
    pushing: Pushing, feed: str, body: Any, status: int, text: str
) -> None:
    """And says why."""
    assert await pushing.post(body, feed) == (status, {"error": text})


async def test_nothing_counts_that_could_not_be_kept(
    pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503: the sender tries again, and then it does."""

    async def full(*_: Any) -> int:
        raise StateError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(pushing.state, "write", full)
        status, answer = await pushing.post({"bars": [bar(1)]})
        assert status == 503
        assert "the disk is full" in answer["error"]
        assert (await pushing.sources["mine"].latest(["A"], "1m")).good == {}
    assert (await pushing.post({"bars": [bar(1)]}))[1]["accepted"] == 1
