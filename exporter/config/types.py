"""The words that several sections share: severities, intervals, zones, exchanges, addresses."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)

from exporter.calendars import bars
from exporter.calendars.loader import EXCHANGES
from exporter.config import schedule_syntax

Severity = Literal["critical", "warning", "info"]
Interval = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "1d", "1w", "1M"]

INTERVAL_SECONDS: Mapping[str, float] = bars.INTERVAL_SECONDS
"""Nominal length of each interval (a month counts 30 days)."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What a task, a feed, a strategy, … may be called."""
EXCHANGE_NAME = re.compile(r"[A-Z][A-Z0-9_]{1,15}")
"""What an exchange below `exchanges` may be called."""


def _zone(name: str) -> str:
    schedule_syntax.zone(name)
    return name


OWN_EXCHANGES = "exchanges"
"""In the validation's context: names that the file's `exchanges:` adds."""


def _exchange(name: str, info: ValidationInfo) -> str:
    own = (info.context or {}).get(OWN_EXCHANGES, ())
    if name not in EXCHANGES and name not in own:
        close = difflib.get_close_matches(name.upper(), [*EXCHANGES, *own], 1)
        meant = f"did you mean {close[0]}? Otherwise " if close else ""
        raise ValueError(
            f"unknown exchange {name!r}: {meant}write a MIC such as XNYS, XLON, XHKG or XSHG, "
            "or FX, or 24/7, or add it to `exchanges:`"
        )
    return name


def _url(text: str) -> str:
    if re.match(r"\w+://[^/]*@", text):
        raise ValueError(
            "the address contains a user or password: secrets come from …_env or …_file"
        )
    if "?" in text or "#" in text:
        raise ValueError("the address contains ? or #: remove it; keys come from …_env or …_file")
    try:
        AnyHttpUrl(text)
    except ValidationError:
        raise ValueError(f"invalid address {text!r}: write http://host:port or https://…") from None
    return text.rstrip("/")


def _variable(name: str) -> str:
    # Not shown: it may be the secret itself.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("name the environment variable that holds it, such as TICKDB_API_KEY")
    return name


def _schedule(text: Any) -> Any:
    schedule_syntax.parse(text)
    return text


Zone = Annotated[str, AfterValidator(_zone)]
Exchange = Annotated[str, AfterValidator(_exchange)]
Url = Annotated[str, AfterValidator(_url)]
Variable = Annotated[str, AfterValidator(_variable)]
Schedule = Annotated[str, BeforeValidator(_schedule)]


class Model(BaseModel):
    """Frozen, and an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def in_order(limits: Mapping[Severity, float]) -> Mapping[Severity, float]:
    """Limits by severity. Raises :class:`ValueError` when a more severe one is reached earlier."""
    order: tuple[Severity, ...] = ("info", "warning", "critical")
    given = [name for name in order if name in limits]
    for milder, graver in pairwise(given):
        if limits[graver] < limits[milder]:
            raise ValueError(f"{graver} comes before {milder}: give {graver} the larger limit")
    return limits


_Limit = TypeVar("_Limit", bound=float)
Limits = Annotated[Mapping[Severity, _Limit], AfterValidator(in_order)]
"""By severity; the graver the severity, the larger the limit."""


def here(variable: str, usual: str | None) -> Any:
    """A default that depends on where the exporter runs: in a container the environment names it.
    The file overrides it."""
    return Field(default_factory=lambda: os.environ.get(variable, usual), validate_default=True)
