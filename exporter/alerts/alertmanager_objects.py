"""What Alertmanager's v2 API speaks of: alerts, silences, and which silence matches which alert."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Silence:
    """An active silence."""

    id: str
    matchers: tuple[dict[str, Any], ...]
    ends_at: float
    by: str
    comment: str

    def covers(self, labels: Labels) -> bool:
        """Whether it silences an alert with these labels."""
        return all(matches(matcher, labels) for matcher in self.matchers)


def matches(matcher: Mapping[str, Any], labels: Labels) -> bool:
    """Whether one matcher of a silence matches, as Alertmanager decides it: its patterns are RE2's.
    One that is invalid all the same matches none of our alerts."""
    value, wanted = labels.get(matcher["name"], ""), matcher["value"]
    if matcher["isRegex"]:
        pattern = _pattern(wanted)
        if pattern is None:
            return False
        same = bool(pattern.fullmatch(value))
    else:
        same = value == wanted
    return same is matcher["isEqual"]


@functools.lru_cache(maxsize=256)
def _pattern(text: str) -> Any:
    """None for one that RE2 does not take."""
    import re2  # 4 MB, which only those with such a silence pay for

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error:
        return None


def parse_time(text: str) -> float:
    """RFC 3339 as Alertmanager writes it, to Unix seconds. Raises :class:`ValueError`."""
    try:
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
        if moment.tzinfo is None:
            raise ValueError(f"{text!r} has no offset")
        return moment.timestamp()
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"invalid time {text!r}: write 2026-11-24T02:00:00Z") from error


@dataclass(frozen=True)
class ActiveAlert:
    """An alert that Alertmanager holds."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    fingerprint: str
    silenced: bool
    inhibited: bool

    @property
    def muted(self) -> str:
        """Why nobody is notified of it; empty when somebody is."""
        if self.silenced:
            return "silenced"
        return "muted by another alert" if self.inhibited else ""

    def as_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {
            "labels": self.labels,
            "annotations": self.annotations,
            "starts_at": self.starts_at,
            "fingerprint": self.fingerprint,
            "muted": self.muted,
        }
