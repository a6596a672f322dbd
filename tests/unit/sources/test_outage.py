"""A source that is down is known after its first failed requests; one that answers is not down."""

from __future__ import annotations

import math

import pytest
from aiohttp import web

from exporter.sources.base import SourceError
from exporter.sources.outage import Outage
from tests.unit.tickdb_server import NOW, Bench, error, latest_of

DOWN = SourceError("connect", "no")


def since(story: str) -> float:
    """One request a second: `A` answered, `a` failed, and so on for other requests; `2` refused."""
    outage = Outage()
    for at, letter in enumerate(story):
        if letter.isupper():
            outage.answered(letter.lower(), at)
        elif letter == "2":
            outage.failed("a", SourceError("api", "no", code=2004), at)
        elif letter.islower():
            outage.failed(letter, DOWN, at)
    return outage.since


@pytest.mark.parametrize(
    ("story", "began"),
    [
        ("", math.nan),
        ("A", math.nan),
        ("a", 0),
        ("AAaaa", 2),
        ("AaAaa", 3),
        ("ABabab", 2),
        ("ABaB", math.nan),
        ("ABaBa", math.nan),  # that request has a problem of its own
        ("ABaBab", math.nan),
        ("aBBBcb", 4),  # long ago, and never asked again
        ("A222", math.nan),
        ("A2a", 2),
    ],
)
def test_everything_has_failed_since_the_last_answer(story: str, began: float) -> None:
    """A batch that fails while others are answered is no outage."""
    assert since(story) == pytest.approx(began, nan_ok=True)


def test_what_is_remembered_is_bounded() -> None:
    """History has endless requests."""
    outage = Outage()
    for n in range(5000):
        outage.failed(n, DOWN, n)
    assert len(outage._failing) == 1000
    assert outage.since == 4000


async def test_an_outage_begins_with_the_first_attempt_that_fails() -> None:
    """Retries do not hide it; an answer ends it, also one that refuses an unknown symbol."""
    bench = Bench(retries=2)
    bench.server.script = [latest_of]
    async with bench.client() as source:
        await source.latest(["A.US"], "1m")
        assert math.isnan(source.out_since())
        bench.clock.advance(60)
        bench.server.script = [lambda request: web.Response(status=502)]
        await source.latest(["A.US"], "1m")
        bench.clock.advance(60)
        await source.latest(["A.US"], "1m")
        assert source.out_since() == pytest.approx(NOW + 60)
        bench.server.script = [latest_of]
        await source.latest(["A.US"], "1m")
        assert math.isnan(source.out_since())


async def test_answers_that_cannot_be_used_are_an_outage_and_refusals_are_none() -> None:
    """For every symbol asked for: one bad symbol is that symbol's problem."""
    bench = Bench(retries=0)
    bench.server.script = [{"code": 0, "data": [{"symbol": "A.US", "klines": 1}]}]
    async with bench.client() as source:
        await source.latest(["A.US"], "1m")
        bench.clock.advance(60)
        await source.latest(["A.US"], "1m")
        assert source.out_since() == pytest.approx(NOW)
        bench.server.script = [lambda r: error(2004)]
        await source.latest(["B.US"], "1m")
        bench.server.script = [latest_of]
        await source.latest(["B.US"], "1m")
        assert math.isnan(source.out_since())
