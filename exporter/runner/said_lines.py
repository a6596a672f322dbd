"""What a command reports about its run in lines of its output, if `json_output` is set.

``{"quant": {"items": 3, "message": "3 orders"}}`` is such a line. A key that comes again replaces
what was said before, so a program may report as it goes; what it said stays when it is killed.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from exporter.util import strict_json

LONGEST_LINE_BYTES = 8192
MESSAGE_CHARS = 500
_MOST_ITEMS = 2**53
_MOST_METRICS = 500
_HAND_ON_SECONDS = 1.0
_LINES_PER_SECOND = 1000
_WAITING_LINES = 200
"""Of those that come faster, the newest are read."""
_OF_A_METRIC = {"value", "labels"}
_Series = tuple[str, str]
_KEY = b'"quant"'


class SetMetric(Protocol):
    """Where metrics go; it says why one is refused."""

    def __call__(
        self, name: str, value: Any, labels: Mapping[str, Any], *, add: bool
    ) -> str | None: ...


@dataclass
class Said:
    """The newest of each, and what could not be understood."""

    items: float = math.nan
    message: str | None = None
    bad_lines: int = 0
    problem: str | None = None
    """Of the first bad line."""
    passed_over: int = 0
    """Lines that came too fast to be read, and others after them."""


class SaidLines:
    """Give it all output as it comes; it keeps a line at most."""

    def __init__(self, set_metric: SetMetric | None = None) -> None:
        self.said = Said()
        self._line = bytearray()
        self._set_metric = set_metric
        self._metrics: dict[_Series, tuple[Any, Mapping[str, Any]]] = {}
        """The newest value of each; handed on now and then, however fast they come."""
        self._handed_on = -math.inf
        self._waiting: deque[bytes] = deque(maxlen=_WAITING_LINES)
        self._second, self._left = 0, _LINES_PER_SECOND

    def add(self, data: bytes) -> None:
        """What was printed next."""
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end:
            complete = bytes(self._line) + data[:end]
            if _KEY in complete:  # a flood of ordinary output costs next to nothing
                self._read_in_time([line for line in complete.splitlines() if _KEY in line])
            self._line.clear()
        self._line += data[end:][: LONGEST_LINE_BYTES + 1 - len(self._line)]
        if self._metrics and time.monotonic() - self._handed_on >= _HAND_ON_SECONDS:
            self._hand_on()

    def close(self) -> None:
        """All output is over; its last line may have no end."""
        for line in (*self._waiting, bytes(self._line)):
            self._look_at(line)
        self._waiting.clear()
        self._line.clear()
        self._hand_on()

    def _read_in_time(self, lines: list[bytes]) -> None:
        """A program that prints nothing else must not keep the loop."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._left = second, _LINES_PER_SECOND
            lines = [*self._waiting, *lines]
            self._waiting.clear()
        for line in lines[: self._left]:
            self._look_at(line)
        later = lines[self._left :]
        self._left -= len(lines) - len(later)
        self.said.passed_over += max(0, len(self._waiting) + len(later) - _WAITING_LINES)
        self._waiting.extend(later)

    def _hand_on(self) -> None:
        self._handed_on = time.monotonic()
        if self._set_metric:
            for (name, _), (value, labels) in self._metrics.items():
                # What cannot be a metric is refused there, counted and reported.
                self._set_metric(name, value, labels, add=False)
        self._metrics.clear()

    def _look_at(self, line: bytes) -> None:
        line = line.strip()
        # However it is spaced.
        if not line.startswith(b"{") or not line[1:].lstrip().startswith(_KEY):
            return
        try:
            if len(line) > LONGEST_LINE_BYTES:
                raise ValueError(f"longer than {LONGEST_LINE_BYTES} bytes")
            self._read(strict_json.read(line.decode()))
        except ValueError as error:
            self.said.bad_lines += 1
            self.said.problem = self.said.problem or str(error)

    def _read(self, found: Any) -> None:
        """All of a line counts, or none of it."""
        body = found["quant"]
        if len(found) > 1 or not isinstance(body, dict):
            raise ValueError('write {"quant": {"items": 3}} and nothing else on the line')
        unknown = [key for key in body if key not in ("items", "message", "metrics")]
        if unknown:
            raise ValueError(
                f"unknown key {str(unknown[0])[:80]!r}: write items, message or metrics"
            )
        metrics = _metrics_of(body.get("metrics", {}))
        items, message = body.get("items"), body.get("message")
        if items is not None and (
            isinstance(items, bool) or not isinstance(items, int) or not 0 <= items <= _MOST_ITEMS
        ):
            raise ValueError(f"items must be an integer of 0 or more, not {str(items)[:80]}")
        if message is not None and not isinstance(message, str):
            raise ValueError("message must be text")
        if items is not None:
            self.said.items = float(items)
        if message is not None:
            self.said.message = " ".join(message.split())
        for name, value, labels in metrics:
            series = name, json.dumps(labels, sort_keys=True)
            if series in self._metrics or len(self._metrics) < _MOST_METRICS:
                self._metrics[series] = value, labels


def _metrics_of(found: Any) -> list[tuple[str, Any, Mapping[str, Any]]]:
    """``{"positions": 3}``, or with labels ``{"spread": {"value": 3, "labels": {…}}}``, or a list
    of those. Names, values and labels are checked where they are set."""
    if not isinstance(found, dict):
        raise ValueError('metrics must be an object, as {"positions": 3}')
    values: list[tuple[str, Any, Mapping[str, Any]]] = []
    for name, given in found.items():
        for one in given if isinstance(given, list) else [given]:
            body = one if isinstance(one, dict) else {"value": one}
            labels = body.get("labels", {})
            if "value" not in body or not isinstance(labels, dict) or set(body) - _OF_A_METRIC:
                raise ValueError(
                    f"metrics.{name[:80]}: write a number, or "
                    '{"value": 3, "labels": {"symbol": "NVDA.US"}}'
                )
            values.append((name, body["value"], labels))
    return values
