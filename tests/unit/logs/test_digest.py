"""A week of lines, written through real rotations, against an independent count."""

from __future__ import annotations

import gzip
import html
import json
import logging
import random
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.cli import digest as command
from exporter.cli import logs as ask
from exporter.config import Config, Logs
from exporter.logs.digest.archive import latest, save
from exporter.logs.digest.build import build
from exporter.logs.digest.facts import (
    AlertDay,
    DueSlots,
    ErrorGroup,
    FetchDay,
    LogDigest,
    Request,
    SlowRun,
    TaskDay,
)
from exporter.logs.digest.read_share import ReadShare
from exporter.logs.digest.render import markdown, page
from exporter.logs.digest.request import asked
from exporter.logs.digest.sections import headline
from exporter.logs.extracts import EVENTS
from exporter.logs.files import files_of
from exporter.logs.retention import RetentionPolicy, tidy
from exporter.logs.run_lines import lines_of_run
from exporter.logs.setup import Logging
from tests.unit.clocks import ManualClock
from tests.unit.own_log import own_log

ZONE = ZoneInfo("America/New_York")
FIRST = datetime(2026, 3, 4, tzinfo=ZONE)  # the week in which New York's clocks go forward
OUTCOMES = ["success"] * 8 + ["error", "timeout"]


class Week:
    """A week of logs, and what was put into it, counted while it was written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = Config(
            state=directory / "state.db",
            logs=Logs(directory=directory / "log", rotate_at="20KB", errors_rotate_at="5KB"),
        )
        self.written: list[dict[str, Any]] = []
        self._random = random.Random(5)
        self._clock = ManualClock(FIRST.timestamp())
        with own_log(self.config.logs, self._clock) as logs:
            self._write(logs)

    def _write(self, logs: Logging) -> None:
        end = (FIRST + timedelta(days=7)).timestamp()
        number = 0
        keeping = RetentionPolicy(
            self.config.logs.directory, {"exporter": 7e6, "errors": 7e6}, 10**9
        )
        while self._clock.now() < end:
            number += 1
            self._one(number)
            if number % 40 == 0:
                assert logs.flush()
            if number % 400 == 0:
                tidy(keeping, self._clock.now(), ZONE)
            self._clock.advance(self._random.choice([30, 120, 700]))
        assert logs.flush()

    def _one(self, number: int) -> None:
        log, run = logging.getLogger("exporter.test"), f"r{number}"
        task = f"task_{number // 10 % 5}"
        match number % 10:
            case 0 | 1 | 2:
                outcome = self._random.choice(OUTCOMES)
                seconds = round(self._random.uniform(1, 2) * (9 if number % 97 == 0 else 1), 3)
                attempts = self._random.choice([1, 1, 2])
                extra = {"event": "run_ended", "task": task, "run_id": run, "outcome": outcome,
                         "duration_seconds": seconds, "attempts": attempts}  # fmt: skip
                if outcome == "success":
                    self._say(log.info, "ended well", extra)
                else:
                    self._say(log.error, f"{outcome} of AAPL.US after {seconds} s", extra)
            case 3 if number % 3 == 0:
                extra = {"event": "run_retry", "task": task, "attempt": 1,
                         "outcome": self._random.choice(["error", "timeout"])}  # fmt: skip
                self._say(log.warning, "again", extra)
            case 3:
                extra = {"event": "fetch_failed", "source": "tickdb", "endpoint": "kline",
                         "reason": self._random.choice(["timeout", "http"])}  # fmt: skip
                self._say(log.warning, "no answer", extra)
            case 4:
                self._say(
                    log.warning, "missed", {"event": "slots_missed", "task": task, "count": 3}
                )
            case 5:
                extra = {"event": "fetch_totals", "source": "tickdb", "endpoint": "kline",
                         "requests": 50}  # fmt: skip
                self._say(log.info, "fetches", extra)
            case 6:
                extra = {"event": "alert_notification", "alertname": "QuantDataOverdue",
                         "severity": self._random.choice(["warning", "critical"]),
                         "status": self._random.choice(["firing", "resolved"]),
                         "fingerprint": self._random.choice("ab"),
                         "starts_at": str(number // 100)}  # fmt: skip
                self._say(log.info, "notified", extra)
            case 7 if number % 70 == 7:
                extra = {"event": "log_lines_lost", "lost": number}
                self._say(log.error, f"lost {number} log lines", extra)
            case _:
                self._say(log.info, f"line {number}", {})

    def _say(self, call: Any, message: str, extra: dict[str, Any]) -> None:
        call(message, extra=extra)
        level = call.__name__
        self.written.append({"at": self._clock.now(), "level": level, "message": message, **extra})

    def of(self, day: datetime) -> list[dict[str, Any]]:
        """What was written on a day, by the plain calendar."""
        wanted = day.date()
        return [w for w in self.written if datetime.fromtimestamp(w["at"], ZONE).date() == wanted]

    def request(self, day: datetime) -> Request:
        return asked(self.config, day=str(day.date()), now=2e9)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    yield Week(tmp_path_factory.mktemp("week"))


DAYS = [FIRST + timedelta(days=n) for n in range(7)]


class TestWeek:
    def test_the_week_went_through_rotations(self, week: Week) -> None:
        """Every line is in a file of its day, and most files are compressed parts."""
        files = files_of(week.config.logs.directory, "exporter")
        assert sum(f.compressed for f in files) > 10
        assert sum(f.open for f in files) == 1
        lines = Counter(f.day for f in files for _ in _content(f.path).splitlines())
        assert lines == Counter(datetime.fromtimestamp(w["at"], ZONE).date() for w in week.written)

    @pytest.mark.parametrize("day", DAYS, ids=lambda day: str(day.date()))
    def test_every_figure_of_a_day_is_what_was_written(self, week: Week, day: datetime) -> None:
        """Counted while writing, without any of the code that reads."""
        digest, wrote = build(week.request(day)), week.of(day)
        assert digest.records == len(wrote)
        lost = sum(w["lost"] for w in wrote if w.get("event") == "log_lines_lost")
        assert (digest.broken_lines, digest.lost_lines) == (0, lost)
        paths = [f.path for f in files_of(week.config.logs.directory, "exporter")
                 if f.day == day.date()]  # fmt: skip
        assert digest.files == len(paths) > 1
        assert digest.megabytes == pytest.approx(
            sum(p.stat().st_size for p in paths) / 1e6, abs=1e-3
        )
        assert digest.levels == dict(Counter(w["level"] for w in wrote))
        ended = [w for w in wrote if w.get("event") == "run_ended"]
        for task in digest.tasks:
            runs = [w for w in ended if w["task"] == task.task]
            good = [w["duration_seconds"] for w in runs if w["outcome"] == "success"]
            bad = Counter(w["outcome"] for w in runs if w["outcome"] != "success")
            late = [w for w in wrote if w.get("event") == "slots_missed"]
            missed = sum(w["count"] for w in late if w["task"] == task.task)
            assert (task.runs, task.failures) == (len(runs), dict(bad))
            assert task.retried == sum(w["attempts"] > 1 for w in runs)
            assert task.missed == missed
            assert task.median_seconds == pytest.approx(median(good))
            failures = [w["message"] for w in runs if w["outcome"] != "success"]
            assert task.last_error == (failures[-1] if failures else None)
            again = [w for w in wrote if w.get("event") == "run_retry" and w["task"] == task.task]
            assert task.retry_reasons == dict(Counter(w["outcome"] for w in again))
        assert digest.runs == len(ended)
        (fetch,) = digest.fetches
        failed = [w for w in wrote if w.get("event") == "fetch_failed"]
        assert fetch.failed == len(failed)
        assert fetch.reasons == dict(Counter(w["reason"] for w in failed))
        assert fetch.requests == 50 * sum(w.get("event") == "fetch_totals" for w in wrote)
        told = [w for w in wrote if w.get("event") == "alert_notification"]
        assert sum(a.notifications for a in digest.alerts) == sum(
            n["status"] == "firing" for n in told
        )
        for alert in digest.alerts:
            for status, found in (("firing", alert.firing), ("resolved", alert.resolved)):
                each = {(n["fingerprint"], n["starts_at"]) for n in told
                        if (n["severity"], n["status"]) == (alert.severity, status)}  # fmt: skip
                assert found == len(each)
        warnings = sum((n["severity"], n["status"]) == ("warning", "firing") for n in told)
        assert digest.non_critical_notifications == warnings

    @pytest.mark.parametrize("day", DAYS, ids=lambda day: str(day.date()))
    def test_errors_are_grouped_and_new_ones_marked(self, week: Week, day: datetime) -> None:
        """Numbers and symbols make no difference; new is what no day before had."""
        errors = [w for w in week.of(day) if w["level"] == "error"]
        kinds = Counter(w["message"].split()[0] for w in errors)
        groups = {g.example.split()[0]: g for g in build(week.request(day)).errors}
        assert {kind: g.count for kind, g in groups.items()} == dict(kinds)
        before = {w["message"].split()[0] for w in week.written
                  if w["level"] == "error" and w["at"] < day.timestamp()}  # fmt: skip
        assert {kind: g.new for kind, g in groups.items()} == {k: k not in before for k in kinds}
        for kind, group in groups.items():
            times = [w["at"] for w in errors if w["message"].startswith(kind)]
            assert _seconds(group.first) == min(times)
            assert _seconds(group.last) == max(times)
            befallen = {w.get("task") for w in errors if w["message"].startswith(kind)}
            assert group.tasks == sorted(befallen - {None})

    def test_slow_runs_stand_against_their_own_history(self, week: Week) -> None:
        """Longer than twice the median of the daily medians before, and worst first."""
        for day in DAYS[1:]:
            medians = defaultdict(list)
            for earlier in DAYS[: DAYS.index(day)]:
                by_task = defaultdict(list)
                for w in week.of(earlier):
                    if w.get("outcome") == "success":
                        by_task[w["task"]].append(w["duration_seconds"])
                for task, seconds in by_task.items():
                    medians[task].append(median(seconds))
            expected = []
            for w in week.of(day):
                if w.get("event") == "run_ended":
                    usual, took = median(medians[w["task"]]), w["duration_seconds"]
                    if took > max(2 * usual, usual + 1):
                        expected.append((took / usual, w["run_id"]))
            found = [run.run_id for run in build(week.request(day)).slow_runs]
            assert found == [run for _, run in sorted(expected, reverse=True)][:5]

    def test_a_kept_digest_stands_for_its_day(self, week: Week, tmp_path: Path) -> None:
        """History from kept digests gives the same as history from the lines, and reads back."""
        day = DAYS[4]
        plain = build(week.request(day))
        for earlier in DAYS[:4]:
            save(build(week.request(earlier)), week.request(day).reports)
        kept = build(week.request(day))
        assert kept.slow_runs == plain.slow_runs
        path = save(kept, tmp_path)
        assert path.read_text().startswith("2026-03-08:")
        assert latest(tmp_path) == kept
        (tmp_path / "digest-2026-03-09.json").write_text("{half")
        assert latest(tmp_path) == kept

    def test_asking_finds_the_lines_of_a_run(self, week: Week) -> None:
        """By its id, in compressed files too, without reading other days."""
        some = next(w for w in week.written[500:] if "run_id" in w)
        lines = lines_of_run(
            week.config.logs.directory, ZONE, some["run_id"], some["at"] - 5, some["at"]
        )
        assert [line["message"] for line in lines] == [some["message"]]

    def test_asking_prints_what_is_wanted(
        self, week: Week, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Task, level and time together."""
        clock = ManualClock(DAYS[3].timestamp())
        assert ask.main(week.config, task="task_1", level="error", since="2d", clock=clock) == 0
        shown = capsys.readouterr().out.splitlines()
        expected = [w for w in week.written
                    if w.get("task") == "task_1" and w["level"] == "error"
                    and DAYS[1].timestamp() <= w["at"] < DAYS[3].timestamp()]  # fmt: skip
        assert len(shown) == len(expected) > 3
        assert "[task_1]" in shown[0]
        assert ask.main(week.config, task="nobody", since="1h", clock=clock) == 1
        assert ask.main(week.config, level="loud", clock=clock) == 2
        assert ask.main(week.config, since="8", clock=clock) == 2


class TestGrouping:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("order 8812 refused: price 1.5e-05", "order 9 refused: price 2,500.25"),
            ("no bar of NVDA.US", "no bar of BRK.B.US"),
            ("no bar of 700.HK", "no bar of BTCUSDT"),
            ("KeyError: 'AAPL'", 'KeyError: "close"'),
            ("run 01a211b7-8e01-c837 hangs", "run 11a2ffb7-8e01-c838 hangs"),
            ("<Leg object at 0x7f3a4b2c10> is gone", "<Leg object at 0x7f9bdef000> is gone"),
            ("/data/2026-11-24/NVDA.US.csv is empty", "/data/2026-11-25/SPY.US.csv is empty"),
            ("ended with error: exit code 3\nline 1 of what it printed", "ended with error: exit "
             "code 4\nsomething else"),
        ],
    )  # fmt: skip
    def test_lines_that_say_the_same_are_one_kind(
        self, tmp_path: Path, one: str, other: str
    ) -> None:
        """Numbers, ids, addresses, symbols and quoted names aside, and what follows below."""
        said = [one, other, f"{one} and more"]
        records = [
            {"timestamp": f"2026-03-04T15:00:0{n}.000Z", "level": "error", "logger": "a",
             "message": message}
            for n, message in enumerate(said)
        ]  # fmt: skip
        (tmp_path / "exporter-2026-03-04.jsonl").write_text(
            "".join(json.dumps(record) + "\n" for record in records)
        )
        start = FIRST.timestamp()
        digest = build(Request(tmp_path, "America/New_York", start, start + 86400, "d", tmp_path))
        counts = [3] if "\n" in one else [2, 1]
        assert [group.count for group in digest.errors] == counts
        assert digest.errors[0].example == said[counts[0] - 1].split("\n")[0]


class TestRendering:
    def test_a_quiet_day_is_one_line(self, tmp_path: Path) -> None:
        """With what comes next, and nothing to scroll."""
        (tmp_path / "exporter-2026-03-04.jsonl").write_bytes(TestBrokenFiles.GOOD)
        request = Request(tmp_path, "America/New_York", FIRST.timestamp(),
                          FIRST.timestamp() + 86400, "2026-03-04", tmp_path,
                          (DueSlots("scan", 2, FIRST.timestamp() + 86400 + 7 * 3600),))  # fmt: skip
        text = markdown(build(request))
        assert text == (
            "2026-03-04: quiet. 0 runs of 0 tasks, all ok; 1 log line, no errors. "
            "Tomorrow: 2 slots, the first is scan at 07:00.\n"
        )

    def test_a_quiet_day_says_what_it_earned(self, tmp_path: Path) -> None:
        """Who reads one line a day wants to know that first; without a number, nothing is said."""
        day = {"pnl_today": 1250.5, "currency": "USD", "equity": 1.0, "drawdown": 0.0}
        digest = LogDigest(
            "2026-03-04", "UTC", 0.0, 86400.0, 1, 1.0, 1.0, 9, 0, 0,
            strategies={"carry": {"pnl_today": None, "currency": "EUR"}, "momentum": day},
        )  # fmt: skip
        assert "no errors. P&L: momentum +1,250.50 USD." in headline(digest)
        many = {f"s{n}": day for n in range(10)}
        assert headline(replace(digest, strategies=many)).endswith("s7 +1,250.50 USD and 2 more.")
        assert "P&L" not in headline(replace(digest, strategies={}))

    def test_a_day_without_lines_is_not_called_well(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nobody knows how it went; but where a digest was kept, that one is shown."""
        config = Config(state=tmp_path / "state.db", logs=Logs(directory=tmp_path / "log"))
        clock = ManualClock(FIRST.timestamp())
        assert command.main(config, day="2026-03-01", clock=clock) == 0
        assert capsys.readouterr().out == "2026-03-01: no log lines from that time.\n"
        request = asked(config, day="2026-03-01", now=clock.now())
        kept = replace(build(request), records=7, tasks=[TaskDay("scan", 7, {}, 0, 0, 1.0, None)])
        save(kept, request.reports)
        assert command.main(config, day="2026-03-01", clock=clock) == 0
        assert capsys.readouterr().out.startswith("2026-03-01: quiet. 7 runs of 1 task")

    def test_every_part_of_a_bad_day_is_in_each_format(self, tmp_path: Path) -> None:
        """Runs, retries, slow runs, errors, fetches, alerts with their budget, strategies, what is
        due, and what could not be read."""
        digest = LogDigest(
            "2026-03-04", "America/New_York", FIRST.timestamp(), FIRST.timestamp() + 86400, 1, 1.0,
            1.0, 9, 3, 4, levels={"info": 5, "error": 4},
            tasks=[TaskDay("scan", 5, {"timeout": 2}, 1, 6, 12.5, "it hung", {"error": 3})],
            slow_runs=[SlowRun("report", "run-77", "2026-03-04T20:00:00.000Z", 90.0, 30.0)],
            errors=[ErrorGroup("f", "error", "lib.http", "KeyError", 4, "2026-03-04T20:00:00.000Z",
                               "2026-03-04T21:00:00.000Z", "no key", "run-78", True)],
            fetches=[FetchDay("tickdb", "kline", 5, {"http": 5}, 1000)],
            alerts=[AlertDay("QuantDataOverdue", "warning", 2, 1, 14)],
            non_critical_notifications=14,
            strategies={"momentum": {"equity": 1234.5, "currency": "USD", "pnl_today": -10.0,
                                     "drawdown": 0.051}},
            due=[DueSlots("open_scan", 3, FIRST.timestamp() + 86400 + 7 * 3600)],
        )  # fmt: skip
        said = ["scan", "2 timeout", "1 (after 3 error)", "6", "12s", "it hung", "report",
                "1m 30s", "30s", "run-77", "new", "15:00:00 – 16:00:00", "KeyError", "no key",
                "lib.http, run run-78", "1,000", "0.5%", "5 http", "QuantDataOverdue",
                "14 of 10 a day: more than anybody reads", "momentum", "1,234.50 USD", "-10.00",
                "5.1%", "open_scan", "07:00", "4 log lines could not be written",
                "3 lines could not be read", "4 errors of 1 kind, 1 new"]  # fmt: skip
        for text in (markdown(digest), html.unescape(page(digest))):
            assert [part for part in said if part not in text] == []
        assert LogDigest.from_json(json.loads(json.dumps(digest.to_json()))) == digest

    def test_of_many_tasks_those_are_listed_that_need_somebody(self) -> None:
        """The others are counted; whom an error befell is said rather than who logged it."""
        well = [TaskDay(f"well_{n:02d}", 10, {}, 0, 0, 1.0, None) for n in range(40)]
        bad = [TaskDay("bad", 3, {"error": 1}, 0, 0, 1.0, "no key")]
        bad += [TaskDay("late", 1, {}, 0, 2, 1.0, None), TaskDay("again", 2, {}, 1, 0, 1.0, None)]
        stamp = "2026-03-04T20:00:00.000Z"
        told = ("error", "exporter.runner.recorder", None, 4, stamp, stamp, "no key", "run-1", True)
        digest = LogDigest(
            "2026-03-04", "UTC", 0.0, 86400.0, 1, 1.0, 1.0, 900, 0, 0, tasks=[*bad, *well],
            errors=[ErrorGroup("f", *told, ["bad"]), ErrorGroup("g", *told, ["bad", "late", "x"])],
            due=[DueSlots(f"due_{n:02d}", 2, 86400.0 + n) for n in range(30)],
        )  # fmt: skip
        text = markdown(digest)
        for name in ("| bad |", "| late |", "| again |", "| well_16 |", "| due_19 |"):
            assert name in text
        assert "well_17" not in text
        assert "All ok: 23 other tasks, 230 runs." in text
        assert "due_20" not in text
        assert "Later: 10 other tasks, 20 slots." in text
        assert "| bad, run run-1 |" in text
        assert "| bad and 2 other tasks, run run-1 |" in text

    def test_what_stands_in_lines_reaches_neither_terminal_nor_markup(self) -> None:
        """Escape codes, turned directions, links, pictures, line feeds, a chat's calls for all."""
        hostile = "\x1b[2J\x9b31m\u202e\n# big\n[a](http://h) ![b](http://h) `x` <!channel> <b>"
        digest = LogDigest(
            "d", "UTC", 0.0, 86400.0, 1, 1.0, 1.0, 9, 0, 0,
            tasks=[TaskDay(hostile, 1, {hostile: 1}, 0, 0, None, hostile, {hostile: 1})],
            errors=[ErrorGroup("f", hostile, hostile, hostile, 1, hostile, hostile, hostile,
                               hostile, True)],
            fetches=[FetchDay(hostile, hostile, 1, {hostile: 1}, None)],
            alerts=[AlertDay(hostile, hostile, 1, 0, 1)],
            strategies={hostile: {"currency": hostile}}, due=[DueSlots(hostile, 1, 0.0)],
        )  # fmt: skip
        for text in (markdown(digest), page(digest), headline(digest)):
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
            assert "\n# big" not in text
        assert not re.search(r"(?<!\\)\]\(", markdown(digest))
        assert "<b>" not in page(digest) + markdown(digest)

    def test_what_stands_in_lines_cannot_break_a_page(self, week: Week) -> None:
        """Markup in an example is shown, not obeyed."""
        digest = build(week.request(DAYS[2]))
        group = digest.errors[0]
        digest.errors[0] = type(group)(**{**vars(group), "example": "<script>|x</script>"})
        assert "<script>|x" not in page(digest)
        assert "&lt;script>\\|x" in markdown(digest)
        assert LogDigest.from_json(json.loads(json.dumps(digest.to_json()))) == digest
        assert headline(digest) in markdown(digest)

    def test_the_command_prints_each_format(
        self, week: Week, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """And says what is wrong with a day that is none."""
        clock = ManualClock(DAYS[2].timestamp() + 40_000)
        assert command.main(week.config, format="json", clock=clock) == 0
        assert json.loads(capsys.readouterr().out)["title"] == "2026-03-06"
        assert command.main(week.config, day="yesterday", format="html", clock=clock) == 0
        assert "2026-03-05" in capsys.readouterr().out
        assert command.main(week.config, since="8h", clock=clock) == 0
        assert capsys.readouterr().out.startswith("last 8h: ")
        assert command.main(week.config, day="someday", clock=clock) == 2
        assert "write 2026-11-24" in capsys.readouterr().err


class TestGoneLines:
    """The exporter's files and the error log are kept by different ages and sizes."""

    def _line(self, hour: int, level: str, message: str, **fields: Any) -> bytes:
        at = (FIRST + timedelta(hours=hour)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.123Z")
        told = {"timestamp": at, "level": level, "logger": "a", "message": message, **fields}
        return json.dumps(told).encode() + b"\n"

    def _request(self, folder: Path) -> Request:
        start = FIRST.timestamp()
        return Request(folder, "America/New_York", start, start + 86400, "2026-03-04", folder)

    def test_errors_of_parts_that_went_come_from_the_error_log(self, tmp_path: Path) -> None:
        """Those from before the first line that is there; the others are there twice, and count
        once. Runs that failed are among them."""
        failed = {"event": "run_ended", "outcome": "error", "task": "scan", "run_id": "r"}
        early = [self._line(3, "error", "no answer")] * 3
        early.append(self._line(4, "error", "it failed", **failed))
        late = [self._line(15, "error", "no answer"), self._line(16, "critical", "over")]
        (tmp_path / "errors-2026-03-04.001.jsonl.gz").write_bytes(gzip.compress(b"".join(early)))
        (tmp_path / "errors-2026-03-04.jsonl").write_bytes(b"".join(late))
        (tmp_path / "exporter-2026-03-04.007.jsonl").write_bytes(self._line(14, "info", "m"))
        (tmp_path / "exporter-2026-03-04.jsonl").write_bytes(b"".join(late))
        digest = build(self._request(tmp_path))
        assert digest.levels == {"critical": 1, "error": 5, "info": 1}
        assert [(e.example, e.count) for e in digest.errors] == [
            ("no answer", 4), ("it failed", 1), ("over", 1),
        ]  # fmt: skip
        assert digest.tasks[0].failures == {"error": 1}
        deleted = "Lines before 14:00:00 have been deleted"
        said = f"{deleted}; errors from that time come from the error log: 4."
        for text in (markdown(digest), page(digest)):
            assert said in text
        assert digest.to_json()["gone_before"] == FIRST.timestamp() + 14 * 3600 + 0.123
        assert LogDigest.from_json(json.loads(json.dumps(digest.to_json()))) == digest

    def test_a_day_of_which_only_the_error_log_is_left_is_not_quiet(self, tmp_path: Path) -> None:
        """Whether no file is there, or only those of later days."""
        errors = self._line(3, "error", "no answer") * 2000
        (tmp_path / "errors-2026-03-04.001.jsonl").write_bytes(errors)
        for _ in range(2):
            digest = build(self._request(tmp_path))
            assert headline(digest) == ("2026-03-04: no run ended; 2,000 errors of 1 kind, 1 new.")
            assert (
                "The lines from that time have been deleted; errors from that time come"
                in markdown(digest)
            )
            (tmp_path / "exporter-2026-03-06.jsonl").write_bytes(self._line(50, "info", "m"))

    def test_parts_that_went_without_errors_are_said_too(self, tmp_path: Path) -> None:
        """Nobody knows what ran."""
        (tmp_path / "exporter-2026-03-04.002.jsonl").write_bytes(self._line(9, "info", "m"))
        digest = build(self._request(tmp_path))
        assert not digest.quiet
        said = "Lines before 09:00:00 have been deleted; the error log has none from that time."
        assert said in markdown(digest)

    def test_while_nothing_is_gone_the_error_log_is_not_read(self, tmp_path: Path) -> None:
        """Also on the first day of all, which begins at noon, and where the first line is torn."""
        lines = self._line(12, "info", "m") + self._line(13, "error", "no answer")
        (tmp_path / "exporter-2026-03-04.jsonl").write_bytes(b'{"half\n' + lines)
        (tmp_path / "errors-2026-03-04.jsonl").write_bytes(self._line(13, "error", "no answer"))
        digest = build(self._request(tmp_path))
        assert (digest.gone_before, digest.files, digest.records) == (None, 1, 2)
        (tmp_path / "exporter-2026-03-03.003.jsonl").write_bytes(self._line(-2, "info", "m"))
        (tmp_path / "errors-2026-03-03.jsonl").write_bytes(self._line(-3, "error", "old"))
        assert build(self._request(tmp_path)).gone_before is None

    def test_a_kept_digest_of_more_lines_is_shown(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Made when the day was over; not one that ended within it."""
        config = Config(state=tmp_path / "state.db", logs=Logs(directory=tmp_path / "log"),
                        timezone="America/New_York")  # fmt: skip
        clock = ManualClock(FIRST.timestamp() + 20 * 86400)
        (tmp_path / "log").mkdir()
        (tmp_path / "log/errors-2026-03-04.jsonl").write_bytes(self._line(3, "error", "bad") * 2)
        request = asked(config, day="2026-03-04", now=clock.now())
        kept = replace(build(request), records=700, errors=[], tasks=[], gone_before=None)
        for made_at, shown in ((kept.end + 60, ": quiet."), (kept.end - 60, ": no run ended; 2 e")):
            save(replace(kept, made_at=made_at), request.reports)
            assert command.main(config, day="2026-03-04", clock=clock) == 0
            assert shown in capsys.readouterr().out


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.just([{"a": [1]}]),
    st.sampled_from(["nan", "inf", "-1", "1e400", "9" * 40, "", "2026-03-04T99", "\ud83d",
                     "x" * 9000, 1e308, -5, 10**18, "success", "error", "\0",
                     "2026-03-04T15:00:00.000Z"]),
)  # fmt: skip
LINES = st.fixed_dictionaries(
    {
        "timestamp": st.sampled_from(
            ["2026-03-04T15:00:00.000Z", "2026-03-04T16", "2026-03-05T01?"]
        )
        | ODD,
        "level": st.sampled_from(["info", "error", "critical"]) | ODD,
        "event": st.sampled_from(EVENTS) | ODD,
    },
    optional=dict.fromkeys(
        (
            "logger",
            "message",
            "task",
            "run_id",
            "duration_seconds",
            "error_type",
            "error_message",
            "outcome",
            "attempts",
            "count",
            "lost",
            "source",
            "endpoint",
            "reason",
            "requests",
            "failed",
            "alertname",
            "severity",
            "status",
            "fingerprint",
            "starts_at",
        ),
        ODD,
    ),
)


class TestBrokenFiles:
    GOOD = b'{"timestamp":"2026-03-04T15:00:00.000Z","level":"info","logger":"a","message":"m"}\n'

    def _digest(
        self, tmp_path: Path, content: bytes, name: str = "exporter-2026-03-04.jsonl"
    ) -> LogDigest:
        (tmp_path / name).write_bytes(content)
        start = FIRST.timestamp()
        return build(Request(tmp_path, "America/New_York", start, start + 86400, "d", tmp_path))

    @pytest.mark.parametrize(
        ("broken", "lines"),
        [
            (b'{"timestamp":"2026-03-04T15:00', 1),
            (b"\xff\xfe\x00\n", 1),
            (b"[1]\n" + b'"text"\n', 2),
            (b"{} trailing\n", 1),
            (b'{"level":"info"}\n', 1),
            (b'{"a":"' + b"x" * 3_000_000 + b'"}\n', 1),
            (b"x" * 3_000_000, 1),
        ],
        ids=["cut", "binary", "no object", "trailing", "no time", "endless line", "endless junk"],
    )
    def test_a_broken_line_is_skipped_and_counted(
        self, tmp_path: Path, broken: bytes, lines: int
    ) -> None:
        """The lines before and, where there is a line feed, behind it are read."""
        behind = self.GOOD if broken.endswith(b"\n") else b""
        digest = self._digest(tmp_path, self.GOOD + broken + behind)
        assert digest.records == 1 + bool(behind)
        assert digest.broken_lines == lines

    def test_a_flood_of_errors_goes_to_the_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each line matters, and together they are more than the memory that a digest may use."""
        monkeypatch.setattr("exporter.logs.digest.query.MEMORY_LIMIT", "128MB")
        line = self.GOOD.replace(b"info", b"error").replace(b'"m"', b'"m %s"' % (b"x" * 200))
        digest = self._digest(tmp_path, line * 500_000)
        assert digest.levels == {"error": 500_000}
        assert [group.count for group in digest.errors] == [500_000]

    def test_how_much_was_read_can_be_asked_meanwhile(self, tmp_path: Path) -> None:
        """By another thread; it only grows, and says 100 % at the end at most."""
        (tmp_path / "exporter-2026-03-04.jsonl").write_bytes(self.GOOD * 400_000)
        start = FIRST.timestamp()
        request = Request(tmp_path, "America/New_York", start, start + 86400, "d", tmp_path)
        reading, shares = ReadShare(), [0.0]
        with ThreadPoolExecutor(1) as pool:
            made = pool.submit(build, request, reading)
            while not made.done():
                shares.append(reading.share)
                time.sleep(0.002)
            assert made.result().records == 400_000
        assert shares == sorted(shares)
        assert 0.0 < shares[-1] <= 1.0

    def test_a_cut_archive_gives_what_it_has(self, tmp_path: Path) -> None:
        """As after a full disk or a copy that stopped."""
        packed = gzip.compress(
            b"".join(self.GOOD[:-2] + b',"n":%d}\n' % n for n in range(20_000)), mtime=0
        )
        digest = self._digest(tmp_path, packed[:-2000], "exporter-2026-03-04.001.jsonl.gz")
        assert 10_000 < digest.records < 20_000
        assert digest.broken_lines <= 1

    @pytest.mark.parametrize(
        ("packed", "read"),
        [
            (b"", 0),
            (random.Random(3).randbytes(5000), 0),
            (gzip.compress(GOOD)[:5], 0),
            (gzip.compress(GOOD)[:-8], 1),
            (gzip.compress(GOOD[:-1])[:-8], 1),
            (gzip.compress(GOOD) + b"junk" * 9, 1),
            (gzip.compress(GOOD * 9 + GOOD[:20])[:-4], 9),
        ],
        ids=["empty", "random", "beginning", "no end", "no line feed", "junk behind", "half line"],
    )
    def test_a_damaged_archive_counts_as_a_line_that_could_not_be_read(
        self, tmp_path: Path, packed: bytes, read: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """In the digest, beside whole ones, and in what `logs` notes."""
        (tmp_path / "exporter-2026-03-04.001.jsonl.gz").write_bytes(packed)
        digest = self._digest(tmp_path, self.GOOD)
        assert (digest.records, digest.broken_lines) == (read + 1, 1)
        assert "1 line could not be read." in markdown(digest)
        config = Config(state=tmp_path / "state.db", logs=Logs(directory=tmp_path))
        assert ask.main(config, clock=ManualClock(FIRST.timestamp() + 86400)) == 0
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == read + 1
        assert "(1 broken line was left out)\n" in err

    @settings(max_examples=12, deadline=None)
    @given(lines=st.lists(LINES, min_size=1, max_size=25))
    def test_no_value_in_a_line_stops_a_digest(self, lines: list[dict[str, Any]]) -> None:
        """Each event with every field missing, of another type, endless, or out of all bounds;
        and what comes of it can be shown, kept and read back."""
        with tempfile.TemporaryDirectory() as folder:
            content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
            digest = self._digest(Path(folder), content)
            assert digest.records + digest.broken_lines <= len(lines)
            for text in (markdown(digest), page(digest)):
                text.encode()
            json.loads(json.dumps(digest.to_json(), allow_nan=False))
            save(digest, Path(folder))

    def test_chance_never_stops_a_digest(self, tmp_path: Path) -> None:
        """Bytes of a good file are changed, doubled and removed at random."""
        chance = random.Random(11)
        whole = self.GOOD * 300
        for _ in range(15):
            content = bytearray(whole)
            for _ in range(chance.randrange(1, 40)):
                at = chance.randrange(len(content))
                match chance.randrange(3):
                    case 0:
                        content[at] = chance.randrange(256)
                    case 1:
                        del content[at : at + chance.randrange(1, 400)]
                    case _:
                        content[at:at] = chance.randbytes(chance.randrange(1, 200))
            digest = self._digest(tmp_path, bytes(content))
            assert digest.records + digest.broken_lines > 200
        garbage = self._digest(tmp_path, chance.randbytes(200_000))
        assert garbage.records == 0


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def _seconds(stamp: str) -> float:
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()
