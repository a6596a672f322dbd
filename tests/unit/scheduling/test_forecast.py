"""What a forecast keeps between two scrapes is what it would compute again."""

from __future__ import annotations

from typing import Any

from exporter.metrics import Column
from exporter.scheduling.forecast import Forecast
from tests.unit.clocks import ManualClock
from tests.unit.scheduling.test_scheduler import FakeState, at
from tests.unit.tables import calendar

EXCHANGES = ["XHKG", "XNYS", "CMES", "FX", "24/7"]


class RealCalendars:
    """Of real exchanges, without a folder."""

    def get(self, name: str) -> Any:
        return calendar(name)


def exposed(forecast: Forecast) -> dict[tuple[str, str], str]:
    """As text, so that NaN equals NaN."""
    found = {}
    for column in forecast.samples():
        assert isinstance(column, Column)
        for labels, value in zip(column.labels, column.values, strict=True):
            found[column.name, labels[0]] = repr(value)
    return found


def forecast_at(clock: ManualClock) -> Forecast:
    made = Forecast(FakeState(), RealCalendars(), clock)  # type: ignore[arg-type]
    made.apply({}, EXCHANGES)
    return made


def test_the_hours_of_exchanges_are_right_at_every_scrape() -> None:
    """Over Thanksgiving and its half day, lunch in Hong Kong, and a clock that goes back."""
    clock = ManualClock(at("2026-11-24T20:00"))
    kept, opens = forecast_at(clock), set[tuple[str, str]]()
    for _ in range(5 * 24 * 12):
        clock.advance(300)
        shown = exposed(kept)
        assert shown == exposed(forecast_at(clock))
        opens |= {(name, shown["quant_market_open", name]) for name in EXCHANGES}
        assert kept.samples()[-1] is kept.samples()[-1], "computed once"
    assert opens == {(n, v) for n in EXCHANGES for v in ("0.0", "1.0")} - {("24/7", "0.0")}
    clock.jump(-86400)
    assert exposed(kept) == exposed(forecast_at(clock))
