"""The words that several sections share: severities, intervals, zones, exchanges, addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, BeforeValidator, ConfigDict

from exporter import bars, timetable
from exporter.calendars import EXCHANGES

Severity = Literal["critical", "warning", "info"]
Interval = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "1d", "1w", "1M"]

INTERVAL_SECONDS: Mapping[str, float] = bars.INTERVAL_SECONDS
"""Nominal length of each interval (a month counts 30 days)."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What a task, a feed, a strategy, … may be called."""


def _zone(name: str) -> str:
    timetable.zone(name)
    return name


def _exchange(name: str) -> str:
    if name not in EXCHANGES:
        raise ValueError(
            f"{name!r} is no exchange known here; write a MIC such as XNYS, XLON, XHKG, XSHG, "
            "or FX, or 24/7"
        )
    return name


def _url(text: str) -> str:
    AnyHttpUrl(text)
    if re.match(r"\w+://[^/]*@", text):
        raise ValueError(
            "a user or password stands in the address; secrets come from …_env or …_file"
        )
    return text.rstrip("/")


def _schedule(text: Any) -> Any:
    timetable.parse(text)
    return text


Zone = Annotated[str, AfterValidator(_zone)]
Exchange = Annotated[str, AfterValidator(_exchange)]
Url = Annotated[str, AfterValidator(_url)]
Schedule = Annotated[str, BeforeValidator(_schedule)]


class Model(BaseModel):
    """Frozen, and a key that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)
