"""A clock that is wrong shows by the dates of a source's answers."""

from __future__ import annotations

import math
from email.utils import formatdate

import pytest
from aiohttp import web

from exporter.sources.server_clock import ServerClock
from tests.unit.tickdb_server import NOW, Bench, latest_of


def offset(*answers: dict[str, float | str], ahead: float = 0.0) -> float:
    """Of our clock, after answers a second apart; `age` and `wrong` are of one answer."""
    clock = ServerClock()
    for n, answer in enumerate(answers):
        date = formatdate(NOW + n + float(answer.get("wrong", 0)), usegmt=True)
        headers = {"Date": date, **{k: str(v) for k, v in answer.items() if k == "Age"}}
        clock.answered(headers, n - float(answer.get("took", 0)), n)
    n = len(answers)
    return clock.offset(NOW + n + ahead, n)


GOOD: dict[str, float | str] = {}


@pytest.mark.parametrize("ahead", [0.0, 45.0, -3600.0])
def test_the_offset_is_ours_against_the_servers(ahead: float) -> None:
    """Positive when ours is ahead."""
    assert offset(GOOD, GOOD, GOOD, ahead=ahead) == pytest.approx(ahead, abs=1)


def test_cached_slow_and_odd_answers_change_nothing() -> None:
    """By `Age`, by how long they took, or because the others say otherwise."""
    odd: list[dict[str, float | str]] = [
        {"Age": 600, "wrong": -600}, {"took": 20, "wrong": -20}, {"wrong": -900}, {"wrong": 900}
    ]  # fmt: skip
    assert offset(GOOD, *odd, GOOD, GOOD) == pytest.approx(0, abs=1)


def test_too_few_answers_tell_nothing() -> None:
    """Nor do answers without a date."""
    assert math.isnan(offset(GOOD, GOOD))
    clock = ServerClock()
    for _ in range(5):
        clock.answered({"Date": "now"}, 0, 0)
    assert math.isnan(clock.offset(NOW, 0))


async def test_a_clock_that_is_set_shows_at_once() -> None:
    """Without another answer."""
    bench = Bench()
    bench.server.script = [latest_of]
    async with bench.client() as source:
        for _ in range(3):
            await source.latest(["A.US"], "1m")
        assert source.clock_offset() == pytest.approx(0, abs=1)
        bench.clock.jump(120)
        assert source.clock_offset() == pytest.approx(120, abs=1)


async def test_errors_tell_the_time_too() -> None:
    """A server that refuses has a clock."""
    bench = Bench(retries=2)
    bench.server.script = [lambda r: web.Response(status=503)]
    async with bench.client() as source:
        await source.latest(["A.US"], "1m")
        assert not math.isnan(source.clock_offset())
