"""One observation of equity, and the one parser of it: for rows of files and bodies of requests."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

_EARLIEST, _LATEST = 315_532_800.0, 1e11
"""Unix seconds. What lies before 1980 was meant in another unit, or is a date written 20261124."""

_MOST_MONEY = 1e30
"""Beyond any currency, and wei; Interactive Brokers' API says 1.8e308 for what it does not know."""
_DOLLARS = frozenset({"USD", "USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI"})


@dataclass(frozen=True)
class EquityPoint:
    """One observation: Unix seconds, equity after `flow`; a deposit is a positive flow."""

    at: float
    equity: float
    flow: float = 0.0

    def __post_init__(self) -> None:
        for name in ("at", "equity", "flow"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"{name} must be a number, not {value!r}")
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, not {value!r}")


def parse_point(
    row: Mapping[str, Any],
    zone: ZoneInfo,
    default_at: float | None = None,
    *,
    after: float = -math.inf,
    currency: str = "",
) -> EquityPoint:
    """A row of a file, or the body of a request, as a point. A row that says its currency must say
    that one.

    `after` is the time of the row before it: an hour that the clocks repeat is then its second
    occurrence where the first would lie before that.

    Raises :class:`ValueError` (or KeyError for a missing field) saying what is wrong.
    """
    if "timestamp" not in row and default_at is not None:
        at = default_at
    else:
        at = parse_timestamp(row["timestamp"], zone, after)
    check_currency(row.get("currency"), currency)
    flow = row.get("flow")
    flow = 0 if flow in (None, "") else flow  # an empty cell of a file
    return EquityPoint(at, _number(row["equity"], "equity"), _number(flow, "flow"))


def check_currency(said: Any, currency: str) -> None:
    """Raises :class:`ValueError` when equity says that it is in another currency; what is pegged to
    the dollar is one."""
    name = str(said or "").strip().upper()
    names = {name, currency}
    if currency and re.fullmatch("[A-Z]{3,5}", name) and not (len(names) == 1 or names <= _DOLLARS):
        raise ValueError(
            f"the equity is in {said}, and the strategy's `currency` is {currency}: correct one of "
            "them"
        )


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or value is None:
        raise ValueError(f"{name} must be a number, not {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a number, not {value!r}") from error
    except OverflowError:
        raise ValueError(f"{name} has {len(str(value))} digits: no number is so large") from None
    if _MOST_MONEY < abs(number) < math.inf:
        raise ValueError(
            f"{name} is {number:g}, which no account has: some programs write the largest number "
            "for a value that they do not know"
        )
    return number


def parse_timestamp(value: Any, zone: ZoneInfo, after: float = -math.inf) -> float:
    """ISO 8601, or Unix seconds to nanoseconds, to Unix seconds. Raises :class:`ValueError`."""
    if isinstance(value, bool) or value is None:
        raise ValueError(f"timestamp must be a time, not {value!r}")
    if isinstance(value, str) and re.fullmatch(r"(19|20)\d{6}(\d{6})?", value):
        # A date, and not a day in 1970; with a time, and not a year after 2600.
        number = _iso(value[:8] + "T" * (len(value) > 8) + value[8:], zone, after)
    else:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = _iso(str(value).strip(), zone, after)
    for _ in range(3):  # milli-, micro- and nanoseconds
        if number > _LATEST:
            number /= 1000
    if not _EARLIEST <= number < _LATEST:
        raise ValueError(f"timestamp {value!r} is out of range")
    return number


def _iso(text: str, zone: ZoneInfo, after: float) -> float:
    try:
        # 24.11.2026 has its day first wherever dates are written with dots.
        iso = re.sub(r"^(\d{2})\.(\d{2})\.(\d{4})", r"\3-\2-\1", text)
        iso = re.sub(r"^(\d{4})[./](\d{2})[./](\d{2})\b", r"\1-\2-\3", iso)
        iso = re.sub(r"(?<=\d) ?(UTC|GMT)$", "+00:00", iso, flags=re.IGNORECASE)
        iso = re.sub(r"(?<=\d) (?=[+-]\d\d:?\d\d$)", "", iso)
        if not re.fullmatch(r"[0-9W-]+([T ].*)?", iso, re.IGNORECASE):
            raise ValueError(text)
        moment = datetime.fromisoformat(iso)
        if moment.tzinfo:
            return moment.timestamp()
        first = moment.replace(tzinfo=zone).timestamp()
        second = moment.replace(tzinfo=zone, fold=1).timestamp()
        return second if first < after <= second else first
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"timestamp {text!r} is not a time: write 2026-11-24T16:00:00-05:00 or Unix seconds"
        ) from error
