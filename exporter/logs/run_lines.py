"""The lines of one run, for its page."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from exporter.logs.files import LogFile, files_of
from exporter.logs.formatters import Readable
from exporter.logs.reader import Record, files_between, parse, raw_lines, stamp

MOST_OF_RUN = 2000
"""Lines of one run that are handed to a page: the first tenth and the last."""
RUN_SLACK_SECONDS = 120.0


def lines_of_run(
    directory: Path, zone: ZoneInfo, run_id: str, started_at: float, ended_at: float | None
) -> list[Record]:
    """The lines of one run in their order, for its page; at most :data:`MOST_OF_RUN`, the middle
    left out. Times are Unix seconds. Reads files: call it in a thread."""
    end = (ended_at if ended_at is not None else 2**40) + RUN_SLACK_SECONDS
    start = started_at - RUN_SLACK_SECONDS
    files = files_of(directory, "exporter")
    if ended_at is not None:
        files = files_between(directory, "exporter", start, end, zone)
    else:
        first = files_between(directory, "exporter", start, start + 1, zone)
        files = [f for f in files if not first or f.day >= first[0].day]
    sought = run_id.encode()
    head: list[Record] = []
    rest: deque[Record] = deque(maxlen=MOST_OF_RUN * 9 // 10)
    for record in _of_run(files, sought, run_id, start, end):
        if len(head) < MOST_OF_RUN // 10:
            head.append(record)
        else:
            rest.append(record)
    return head + list(rest)


def _of_run(
    files: Iterable[LogFile], sought: bytes, run_id: str, start: float, end: float
) -> Iterator[Record]:
    first, last = stamp(start), stamp(min(end, 4e9))
    for file in files:
        for line in raw_lines(file.path):
            if sought in line:  # most lines are not parsed at all
                record = parse(line)
                if (
                    record is not None
                    and record.get("run_id") == run_id
                    and first <= str(record.get("timestamp")) < last
                ):
                    yield record


def readable_lines(lines: Iterable[Record], zone: ZoneInfo) -> str:
    """Records as the text that a terminal would show."""
    readable = Readable(zone, "plain", dates=True)
    return "".join(readable.text(line) for line in lines)
