"""A crontab's five fields, read by cronsim. Both days count as Vixie's cron has it: when day of
month and day of week are restricted, either is enough; one that starts with ``*`` must hold too.

When the clocks change, cron distinguishes jobs at set times from those with ``*`` in minute or
hour, and so do we: the latter follow the clock as it is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from cronsim import CronSim, CronSimError

from exporter.config.schedule_forms import CronDays, WallClock

_NAMED: Mapping[str, str] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS: Mapping[str, str] = {
    "minute": "0-59",
    "hour": "0-23",
    "day of month": "1-31, or L for the last",
    "month": "1-12 or jan-dec",
    "day of week": "0-7 or sun-sat; 0 and 7 are Sunday",
}
_SIZES = (60, 24, 31, 12, 7)
_ANY_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - cronsim wants a start; only its sets are used


def looks_like_cron(words: str) -> bool:
    """Whether it is meant for a crontab's fields, right or wrong."""
    first, *rest = words.split()
    return first.startswith("@") or (bool(rest) and re.fullmatch(r"[\d*/,~-]+", first) is not None)


def parse_cron(words: str) -> WallClock:
    """``*/15 9-16 * * mon-fri``, ``@daily``; a time zone may follow. Its zone is not checked here.
    Raises :class:`ValueError` saying which field is wrong."""
    fields, zone = _split(words)
    cron = _read(" ".join(fields), words)
    minutes = tuple(sorted(h * 60 + m for h in cron.hours for m in cron.minutes))
    as_shown = fields[0].startswith("*") or fields[1].startswith("*")
    return WallClock(CronDays(" ".join(fields[2:]).upper()), minutes, zone, as_shown=as_shown)


@lru_cache(maxsize=512)
def cron_of(days: CronDays) -> CronSim:
    """What cronsim makes of the days; its `months` and `match_day` say whether one is meant."""
    return CronSim(f"0 0 {days.fields}", _ANY_DAY)


def explained(timetable: WallClock, days: CronDays) -> str:
    """In words, the time as well."""
    hours = sorted({minute // 60 for minute in timetable.minutes})
    minutes = sorted({minute % 60 for minute in timetable.minutes})
    fields = f"{_listed(minutes, 60)} {_listed(hours, 24)} {days.fields}"
    text = str(CronSim(fields, _ANY_DAY).explain())
    return text if cron_of(days).day_and else f"{text} (either is enough)"


def _listed(numbers: list[int], size: int) -> str:
    if len(numbers) == size:
        return "*"
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 0
    if step > 1 and numbers == list(range(0, size, step)):
        return f"*/{step}"
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))


def _split(words: str) -> tuple[list[str], str | None]:
    first, *rest = words.split()
    if first.startswith("@"):
        named = _NAMED.get(first.lower())
        if first.lower() == "@reboot":
            raise ValueError(
                "`@reboot` is not a time: for a program that starts with the machine and stays, "
                "use a systemd service; for one that runs once a day, write `@daily`"
            )
        if named is None or len(rest) > 1:
            raise ValueError(f"invalid schedule {words!r}: write one of {', '.join(_NAMED)}")
        return named.split(), rest[0] if rest else None
    fields = [first, *rest]
    if len(fields) == 6 and re.search("[A-Za-z]{3}", fields[5]) and not _is_field(fields[5]):
        return fields[:5], fields[5]
    if len(fields) != 5:
        raise ValueError(
            f"`{words}` has {len(fields)} fields: a crontab's schedule has five, "
            f"{', '.join(_FIELDS)}, and maybe a time zone. It has no seconds; write `every 10s`"
        )
    return fields, None


def _is_field(text: str) -> bool:
    try:
        CronSim(f"0 0 * * {text}", _ANY_DAY)
    except (CronSimError, ValueError):
        return False
    return True


def _read(fields: str, words: str) -> CronSim:
    alone_with_step = re.search(r"\b(\w+)-\1/\d+", fields, re.IGNORECASE)
    if alone_with_step:  # cronsim would go on to the field's end
        raise ValueError(
            f"`{alone_with_step[0]}` in `{words}` is a range of one: write {alone_with_step[1]}"
        )
    try:
        found = CronSim(fields, _ANY_DAY)
    except (CronSimError, ValueError):
        raise ValueError(_wrong_field(fields, words)) from None
    _check_steps(fields, words)
    return found


def _check_steps(fields: str, words: str) -> None:
    """cron reads ``*/90`` as minute 0 alone; whoever writes it means every 90 minutes."""
    for field, name, size in zip(fields.split(), _FIELDS, _SIZES, strict=True):
        for step in re.findall(r"/(\d+)", field):
            if int(step) > size:
                other = f", or `every {step}m`" if name == "minute" and int(step) <= 1440 else ""
                raise ValueError(
                    f"`{field}` in `{words}` has a step longer than the {name} has values, so that "
                    f"only its first one is left: write that{other}"
                )


def _wrong_field(fields: str, words: str) -> str:
    for place, (name, right) in enumerate(_FIELDS.items()):
        alone = ["*"] * 5
        alone[place] = value = fields.split()[place]
        try:
            CronSim(" ".join(alone), _ANY_DAY)
        except (CronSimError, ValueError):
            return (
                f"invalid {name} {value!r} in `{words}`: write {right}, a range as 1-5, "
                "a list as 1,3, or a step as */2"
            )
    return f"`{words}` means a day that does not exist: correct day of month or month"
