"""Faults on command: what may be wrong with an answer, and for whom and how long it is.

docs/simulator.md describes the control path that sets them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from exporter.util.clock import Clock

FAULTS: Mapping[str, str] = {
    "latency": "every answer comes `seconds` later",
    "hang": "no answer comes at all",
    "drip": "one byte a second comes",
    "disconnect": "the connection ends without an answer",
    "truncate": "the answer breaks off in the middle of its JSON",
    "html": "an HTML page with status 200",
    "http": "an HTML page with status `status` (502)",
    "redirect": "a redirect to another place",
    "rate_limit": "3001 by HTTP `status` (429), with `retry_after` seconds in header and reset_at",
    "quota": "3002, with `retry_after` seconds in reset_at, or without any",
    "auth": "1001, with the code in words",
    "server_error": "5000",
    "no_history": "1004 for requests with start_time or end_time, as on the free plan",
    "frozen": "no bar or ticker newer than the moment at which the fault was set",
    "forming_only": "kline/latest shows only the newest bar, which forms while trading is open",
    "missing_symbol": "the symbol is left out of the answer",
    "wrong_types": "prices are lists and times are words",
    "missing_fields": "bars have no close, tickers no price",
    "not_numbers": "closes are NaN",
    "high_below_low": "highs and lows changed places",
    "disorder": "bars are neither in ascending nor in descending order",
    "descending": "bars come newest first, which is allowed",
    "duplicates": "every bar is there twice",
    "future": "times lie a day ahead",
    "outlier": "the newest close is ten times what it was, and the high with it",
}
"""Every fault of an answer, and what it does."""
STREAM_FAULTS: Mapping[str, str] = {
    "stream_refuse": "the WebSocket answers 503",
    "stream_drop": "its connection ends after each message",
    "stream_stall": "it stands, pings are answered, and no message comes",
    "stream_repeat": "its first message comes again and again",
    "stream_garbage": "bytes that are not JSON come on it",
    "stream_half": "its connection ends in the middle of a frame",
    "stream_huge": "a message of 5 MB comes on it",
    "stream_old": "times of its messages lie an hour back",
    "stream_future": "times of its messages lie a day ahead",
    "stream_unknown": "its messages are about a symbol that nobody subscribed to",
}
"""Every fault of the WebSocket."""


class Fault(BaseModel):
    """One fault that is set. Without `endpoint`, `symbol`, `count` or `duration` it is for all."""

    model_config = ConfigDict(extra="forbid")

    fault: str
    endpoint: str | None = Field(None, pattern=r"^/")
    symbol: str | None = None
    count: int | None = Field(None, ge=1)
    duration: float | None = Field(None, gt=0)
    probability: float = Field(1.0, gt=0, le=1)
    seconds: float = Field(1.0, ge=0, le=3600)
    status: int | None = Field(None, ge=200, le=599)
    retry_after: float | None = Field(None, ge=0)

    _id: int = PrivateAttr(0)
    _since: float = PrivateAttr(0.0)
    _until: float | None = PrivateAttr(None)

    @field_validator("fault")
    @classmethod
    def _is_known(cls, name: str) -> str:
        known = [*FAULTS, *STREAM_FAULTS]
        if name not in known:
            raise ValueError(f"unknown fault {name!r}; known faults: {', '.join(known)}")
        return name

    @property
    def since(self) -> float:
        """When it was set, Unix seconds of the simulator's clock."""
        return self._since

    def hits_symbol(self, symbol: str) -> bool:
        """Whether it is meant for that symbol of a request that it is meant for."""
        return self.symbol in (None, symbol)

    def public(self) -> dict[str, Any]:
        """As the control path shows it."""
        return {"id": self._id, **self.model_dump(exclude_none=True)}


class Faults:
    """All faults that are set, in order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._set: list[Fault] = []
        self._ids = itertools.count(1)

    def add(self, data: Any) -> Fault:
        """Set a fault from the control path's JSON; :class:`ValueError` says all that is wrong."""
        try:
            fault = Fault.model_validate(data)
        except ValidationError as error:
            raise ValueError(
                "; ".join(
                    ".".join(map(str, e["loc"])) + ": " + e["msg"].removeprefix("Value error, ")
                    for e in error.errors()
                )
            ) from None
        fault._id = next(self._ids)
        fault._since = self._clock.now()
        if fault.duration is not None:
            fault._until = self._clock.monotonic() + fault.duration
        self._set.append(fault)
        return fault

    def remove(self, number: int | None = None) -> int:
        """Remove one fault, or all; returns how many."""
        before = len(self._set)
        self._set = [f for f in self._set if number is not None and f._id != number]
        return before - len(self._set)

    def all(self) -> list[Fault]:
        """The faults that are set now."""
        now = self._clock.monotonic()
        self._set = [f for f in self._set if f.count != 0 and (f._until is None or now < f._until)]
        return list(self._set)

    def hit_by(self, endpoint: str, symbols: list[str], chance: float) -> list[Fault]:
        """The faults for one request; a fault with a count is used up by one.

        `chance` is 0 to 1, drawn for this request.
        """
        taken = []
        for fault in self.all():
            named = fault.symbol is None or fault.symbol in symbols
            if named and fault.endpoint in (None, endpoint) and chance < fault.probability:
                taken.append(fault)
                if fault.count is not None:
                    fault.count -= 1
        return taken
