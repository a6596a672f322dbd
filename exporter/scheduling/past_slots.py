"""Slots of the past that a person names, to run them once more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from exporter.calendars.loader import Calendar
from exporter.scheduling.forecast import Plan
from exporter.scheduling.slots import slots
from exporter.state import Run
from exporter.util.local_time import DAY, date_of, day_bounds

MOST_SLOTS = 1000
_LONGEST_SECONDS = 3660 * 86400.0
_DAYS_AGO = {"today": 0, "yesterday": 1}


class NoSlotsError(ValueError):
    """There are none, or too many to list; the text says what to do."""


@dataclass(frozen=True)
class PastSlot:
    """A slot, and what became of it: its success, else its run under way, else its newest run; both
    are None for one that has no run."""

    slot: float
    run_id: str | None = None
    outcome: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As the API answers."""
        return asdict(self)


def span(first: str, last: str, zone: ZoneInfo, now: float) -> tuple[float, float]:
    """From the first moment of `first` to the last of `last`: each is a day (2026-11-20, today,
    yesterday) or a moment, 2026-11-20T09:30, in `zone` unless it says another. Raises
    :class:`ValueError`."""
    begin, end = _bounds(first, zone, now)[0], _bounds(last, zone, now)[1]
    if end < begin:
        raise NoSlotsError(f"{last} is before {first}: write the earlier one first")
    if end - begin > _LONGEST_SECONDS:
        raise NoSlotsError(f"{first} to {last} is too long: name ten years at most")
    return begin, end


def _bounds(text: str, zone: ZoneInfo, now: float) -> tuple[float, float]:
    try:
        if text in _DAYS_AGO or len(text) == len("2026-11-20"):
            ago = _DAYS_AGO.get(text)
            day = date.fromisoformat(text) if ago is None else date_of(now, zone) - ago * DAY
            begin, end = day_bounds(day, zone)
            return begin, end - 1.0
        moment = datetime.fromisoformat(text)
        at = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except OverflowError as error:
        raise NoSlotsError(f"no task had a slot on {text}") from error
    except ValueError as error:
        raise ValueError(
            f"invalid day {text!r}: write 2026-11-20 or yesterday, or 2026-11-20T09:30 for one slot"
        ) from error
    return at, at


def past_slots(
    plan: Plan, calendar: Calendar | None, begin: float, end: float, runs: Iterable[Run]
) -> list[PastSlot]:
    """The slots of a task from `begin` to `end` at which it runs, oldest first, with what `runs`
    made of them. Raises :class:`NoSlotsError` when they are too many."""
    if begin < 0.0:  # before there were computers to run it on
        return []
    found = slots(plan.timetable, plan.zone, calendar, begin - 1.0, end)
    runnable = (slot.at for slot in found if slot.skip is None and slot.at >= begin)
    at = list(islice(runnable, MOST_SLOTS + 1))
    if len(at) > MOST_SLOTS:
        raise NoSlotsError(f"more than {MOST_SLOTS} slots are too many: name a shorter time")
    by_slot: dict[float, list[Run]] = {}
    for run in runs:
        if (slot := run.its_slot) is not None:
            by_slot.setdefault(slot, []).append(run)
    return [_what_became(slot, by_slot.get(slot, [])) for slot in at]


def _what_became(slot: float, runs: list[Run]) -> PastSlot:
    def weight(run: Run) -> tuple[bool, bool, float]:
        return run.outcome == "success", run.outcome is None, run.claimed_at

    if not runs:
        return PastSlot(slot)
    run = max(runs, key=weight)
    return PastSlot(slot, run.run_id, run.outcome)
