"""What a source's answers mean for the next request, without a wire: one answer each, no server."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses

from exporter.sources import SourceError
from exporter.sources.api_key import Key
from exporter.sources.tickdb import TickDB
from tests.unit.tickdb_server import KEY, NOW, Bench, row, series

ADDRESS = re.compile(r"^http://tickdb\.example/v1/market/kline\?")
GOOD = {"code": 0, "data": series("AAPL.US", [row(NOW - 60)])}
BUSY = {"code": 3001, "message": "Rate limit exceeded"}


class Answer(aiohttp.ClientResponse):
    """A response that aiohttp 3.14 accepts: it wants a writer of the request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, stream_writer=Mock(output_size=0), **kwargs)


@pytest.fixture
def web() -> Iterator[aioresponses]:
    """Answers in the order in which a test adds them; everything else fails to connect."""
    with aioresponses() as answers:
        yield answers


async def fetch(bench: Bench) -> list[float]:
    """Fetch the newest bars once; the closes."""
    source = TickDB(
        "main", bench.settings, Key(KEY), bench.metrics, bench.clock,
        url="http://tickdb.example/v1", sleep=bench.sleep, rng=random.Random(1),
    )  # fmt: skip
    try:
        return [bar.close for bar in await source.recent("AAPL.US", "1m", 5)]
    finally:
        await source.close()


@pytest.mark.parametrize(
    ("status", "body", "headers", "waits"),
    [
        (429, BUSY, {"Retry-After": "30"}, (30, 31)),
        (200, BUSY, {"Retry-After": "30"}, (30, 31)),
        (429, "slow down", {"Retry-After": "45"}, (45, 46)),
        (429, BUSY, {"Retry-After": "86400"}, (120, 121)),
        (429, BUSY, {"Retry-After": "0"}, (20, 21)),
        (429, BUSY, {"Retry-After": "2.5"}, (2.5, 3.5)),
        (429, BUSY, {"Retry-After": "-5"}, (20, 21)),
        (429, BUSY, {"Retry-After": "30s"}, (20, 21)),
        (429, BUSY, {"Retry-After": "1790000030000"}, (20, 21)),
        (429, BUSY | {"data": {"reset_at": "2026-09-21T14:14:20Z"}}, {}, (60, 61)),
        (429, BUSY | {"data": {"reset_at": (NOW + 60) * 1000}}, {}, (60, 61)),
        (429, BUSY | {"data": {"reset_at": int(NOW + 60) * 10**6}}, {}, (60, 61)),
        (429, BUSY | {"data": {"reset_at": -1}}, {}, (20, 21)),
        (429, BUSY, {}, (20, 21)),
        (503, "maintenance", {"Retry-After": "30"}, (30, 31)),
        (503, "maintenance", {"Retry-After": "86400"}, (120, 121)),
        (503, "maintenance", {}, (0.5, 1)),
        (500, {"code": 5000, "message": "internal"}, {}, (0.5, 1)),
    ],
)
async def test_the_next_request_waits_as_long_as_the_answer_asks(
    web: aioresponses, status: int, body: Any, headers: dict[str, str], waits: tuple[float, float]
) -> None:
    """By a number in the header, within limits; by the usual pause when it does not ask."""
    content = {"body": body} if isinstance(body, str) else {"payload": body}
    web.get(ADDRESS, status=status, headers=headers, response_class=Answer, **content)
    web.get(ADDRESS, payload=GOOD, response_class=Answer)
    bench = Bench()
    assert await fetch(bench) == [100.5]
    assert waits[0] - 1e-6 <= bench.clock.now() - NOW <= waits[1]
    assert bench.value(
        "quant_fetch_retries_total", source="main", endpoint="/market/kline"
    ) == pytest.approx(1)


@pytest.mark.parametrize(
    ("status", "body", "reason", "attempts"),
    [
        (401, "who are you", "auth", 1),
        (403, {"code": 1004, "message": "not in your plan"}, "auth", 1),
        (404, "nothing here", "http", 1),
        (302, "", "http", 1),
        (200, "<html>", "malformed", 4),
        (200, {"code": 2001, "message": "bad parameter"}, "api", 1),
        (408, "", "http", 4),
        (502, "<html>", "http", 4),
    ],
)
async def test_only_what_may_pass_is_asked_again(
    web: aioresponses, status: int, body: Any, reason: str, attempts: int
) -> None:
    """Each attempt is a request and a failure in the metrics, by reason."""
    content = {"body": body} if isinstance(body, str) else {"payload": body}
    web.get(ADDRESS, status=status, repeat=True, response_class=Answer, **content)
    bench = Bench()
    with pytest.raises(SourceError) as raised:
        await fetch(bench)
    assert raised.value.reason == reason
    assert bench.failures("/market/kline") == {reason: attempts}
    assert sum(map(len, web.requests.values())) == attempts


async def test_a_connection_that_fails_is_asked_again(web: aioresponses) -> None:
    """It may be the network's trouble of a moment."""
    web.get(ADDRESS, exception=aiohttp.ClientConnectionError("reset"))
    web.get(ADDRESS, payload=GOOD, response_class=Answer)
    bench = Bench()
    assert await fetch(bench) == [100.5]
    assert bench.failures("/market/kline") == {"connect": 1}
