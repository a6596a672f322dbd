"""What ``check`` says of things that the file names and the machine lacks."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.calendars.loader import CalendarError, Calendars
from exporter.cli import check as command
from exporter.config import load
from exporter.runtime import preflight as checking
from exporter.simulator.tickdb_server import Simulator
from exporter.state import State
from tests.unit.clocks import ManualClock
from tests.unit.tables import LibraryCalendars

ROOT = Path(__file__).parents[3]
NOVEMBER = 1_795_600_000.0
"""2026-11-25 in the morning, New York."""
CONFIG = """\
sources:
  t: {type: tickdb, url: "https://api.tickdb.ai/v1", api_key_env: NO_SUCH_KEY}
feeds:
  f: {source: t, symbols: [A.US], interval: 1m, exchange: XNYS, max_overdue: {critical: 2h}}
tasks:
  here: {command: [sh, -c, "true"], schedule: "every 1h"}
  nowhere: {command: [no-such-program], schedule: "every 1h"}
  missing: {command: [./rebalance.sh], schedule: "close - 15m", exchange: XNYS}
  plain: {command: [./plain.txt], schedule: "every 1h"}
"""


def written(tmp_path: Path, text: str) -> Path:
    """A config file of that text."""
    file = tmp_path / "exporter.yml"
    file.write_text(text)
    (tmp_path / "plain.txt").write_text("no program\n")
    return file


def checked(
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    **options: bool,
) -> tuple[int, list[str]]:
    """``check`` with real calendars that need no subprocess: exit code and lines, but those on what
    schedules mean and on who hears of a failure: :mod:`tests.unit.alerts.test_first_notice`."""
    monkeypatch.setattr("exporter.config.exchanges.Calendars", LibraryCalendars)
    monkeypatch.setattr(command, "SystemClock", lambda: ManualClock(NOVEMBER))
    code = command.check(file, **options)
    lines = capsys.readouterr().out.splitlines()
    tables = ("  ", f"{file}: who is notified", f"{file}: what each schedule")
    return code, [line for line in lines if not line.startswith(tables)]


def test_check_says_in_words_what_each_schedule_means_with_its_next_slots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the real close, on a day with an early one too; with seconds where there are any."""
    file = written(
        tmp_path,
        "tasks:\n"
        '  sell: {command: [sh], schedule: "close - 15m", exchange: XNYS}\n'
        '  tick: {command: [sh], schedule: "every 1h + 20s"}\n'
        '  weekend: {command: [sh], schedule: "sun 09:00", exchange: XNYS}\n',
    )
    monkeypatch.setattr("exporter.config.exchanges.Calendars", LibraryCalendars)
    monkeypatch.setattr(command, "SystemClock", lambda: ManualClock(NOVEMBER))
    assert command.check(file) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index(f"{file}: what each schedule means, and its next slots:")
    assert [" ".join(line.split()) for line in lines[start + 1 : start + 4]] == [
        "sell: 15m before the close of XNYS: Wed 2026-11-25 15:45 EST, Fri 2026-11-27 12:45 EST, "
        "Mon 2026-11-30 15:45 EST, Tue 2026-12-01 15:45 EST, Wed 2026-12-02 15:45 EST",
        "tick: every 1h from 20s after midnight (America/New_York): Wed 2026-11-25 05:00:20 EST, "
        "Wed 2026-11-25 06:00:20 EST, Wed 2026-11-25 07:00:20 EST, "
        "Wed 2026-11-25 08:00:20 EST, Wed 2026-11-25 09:00:20 EST",
        "weekend: Sunday at 09:00, on trading days of XNYS (America/New_York): never",
    ]


KEY = (
    "sources.t.api_key_env: NO_SUCH_KEY is not set; export NO_SUCH_KEY=… before starting, or give "
    "it to the unit with LoadCredential=NO_SUCH_KEY:FILE"
)


def test_a_key_that_is_not_set_fails_the_check_as_it_fails_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a check that ends with ok is followed by an exporter that refuses to run."""
    file = written(tmp_path, CONFIG)
    assert checked(file, capsys, monkeypatch) == (2, [f"{file}: {KEY}"])
    monkeypatch.setenv("NO_SUCH_KEY", "key")
    assert checked(file, capsys, monkeypatch)[0] == 0


@contextmanager
def answering(folder: Path, *, key: str) -> Iterator[str]:
    """The address of a TickDB in a thread of its own."""
    clock = ManualClock(NOVEMBER)
    server = Simulator(LibraryCalendars(folder / "tables", {}, clock), clock, api_key=key)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_keys_and_programs_that_another_machine_has_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service may have what the shell lacks, so they do not fail the check."""
    file = written(tmp_path, CONFIG)
    assert checked(file, capsys, monkeypatch, secrets_elsewhere=True) == (0, [
        f"{file}: note: {KEY}",
        f"{file}: note: tasks.nowhere.command: there is no program 'no-such-program' on the PATH; "
        "install it",
        f"{file}: note: tasks.missing.command: there is no file {tmp_path}/rebalance.sh; create it "
        "or correct the path",
        f"{file}: note: tasks.plain.command: {tmp_path}/plain.txt may not be executed; "
        f"chmod +x {tmp_path}/plain.txt",
        f"{file}: note: sources.t: nothing alerts before its key expires; add a task with "
        'run: "exporter.tasks:key_check" and schedule: "06:00"',
        f"{file}: ok: 4 tasks, 1 feed, 0 strategies",
    ])  # fmt: skip


NOBODY_HEARS = """\
alerts: {learning_until: 2027-11-30}
sources:
  t: {type: simulated}
feeds:
  f:
    {source: t, symbols: [A.US, B.US], interval: 1m, exchange: XNYS, max_overdue: {info: 2h},
     ignore: {A.US: {}, B.US: {}}}
strategies:
  s: {max_age: 1d, max_drawdown: {info: 5%}}
"""


def test_what_only_the_journal_hears_of_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits of the lowest tier alone, symbols ignored for ever, a first week of a year."""
    file = written(tmp_path, NOBODY_HEARS)
    journal = "it is only in the journal and notifies nobody; name a limit for warning or critical"
    assert checked(file, capsys, monkeypatch) == (0, [
        f"{file}: note: feeds.f.max_overdue: {journal}",
        f"{file}: note: feeds.f.ignore: every symbol is ignored for good: nothing alerts on this "
        "feed; set `until`",
        f"{file}: note: strategies.s.max_drawdown: {journal}",
        f"{file}: note: alerts.learning_until: until 2027-11-30 nobody is paged: every alert is "
        "one tier lower; name a day within weeks",
        f"{file}: ok: 0 tasks, 1 feed, 1 strategy",
    ])  # fmt: skip


async def test_a_pause_that_nobody_will_remember_is_said(tmp_path: Path) -> None:
    """Of one task or of all; a pause over the weekend is nobody's mistake."""
    file = written(tmp_path, "tasks: {a: {command: [sh], schedule: every 1h}}\n")
    config, clock = load(file), ManualClock(NOVEMBER)
    config.state.parent.mkdir()
    state = State.open(config.state, clock)
    await state.pause("a", NOVEMBER + 400 * 86400)
    await state.pause(None, NOVEMBER + 2 * 86400)
    await state.close()
    (note,) = await command._by_the_state(config, clock)
    assert (note.place, note.text) == (
        "tasks.a",
        "paused until 2027-12-30: it runs nothing and alerts nobody; end that with "
        "`quant-exporter resume a`",
    )


def test_a_port_that_only_root_may_use_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of the system, because it decides which ports those are."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    file = written(tmp_path, "listen: 127.0.0.1:443\n")
    with monkeypatch.context() as patched:
        patched.setattr("socket.socket.bind", refused)
        assert checked(file, capsys, patched) == (2, [
            f"{file}: listen: cannot listen on 127.0.0.1:443: ports below 1024 are for root; write "
            "a higher one under `listen:`"
        ])  # fmt: skip


def test_a_port_at_which_the_exporter_runs_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A config is checked while it runs, too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        file = written(tmp_path, f"listen: 127.0.0.1:{server.getsockname()[1]}\n")
        assert checked(file, capsys, monkeypatch)[0] == 0


@pytest.mark.parametrize(
    ("symbols", "key", "code", "says"),
    [
        (
            "[NVDA.US, TYPO.XYZ]",
            "right",
            2,
            "feeds.f.symbols: t does not know TYPO.XYZ: correct",
        ),
        ("[NVDA.US, TSLA.US]", "wrong", 1, "feeds.f: no bars of NVDA.US and 1 more from t: "),
        ("[NVDA.US, TSLA.US]", "right", 0, "ok: 0 tasks, 1 feed, 0 strategies"),
    ],
)
def test_sources_are_asked_online_for_the_symbols_of_their_feeds(
    symbols: str, key: str, code: int, says: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A typo shows before the first morning; nothing is left in the folder."""
    monkeypatch.setenv("A_KEY", key)
    with answering(tmp_path, key="right") as url:
        file = written(
            tmp_path,
            f"sources: {{t: {{type: tickdb, url: '{url}', api_key_env: A_KEY}}}}\n"
            f"feeds: {{f: {{source: t, symbols: {symbols}, interval: 1m, exchange: XNYS,"
            " max_overdue: {critical: 2h}}}\n",
        )
        found, lines = checked(file, capsys, monkeypatch, online=True)
    assert (found, lines[-1].startswith(f"{file}: {says}")) == (code, True), lines
    assert not (tmp_path / "var").exists()


def test_a_file_that_is_not_there_to_be_followed_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path may be mistyped; the program may also not have written yet."""
    (tmp_path / "here_1.log").touch()
    (tmp_path / "folder").mkdir()
    names = {"here": "here_*.log", "late": "late_*.log", "gone": "gone.log", "folder": "folder"}
    follow = "".join(f"    {name}: {{path: '{path}'}}\n" for name, path in names.items())
    file = written(tmp_path, f"logs:\n  follow:\n{follow}")
    note = f"{file}: note: logs.follow"
    later = "yet; it is read from its start once it is there"
    assert checked(file, capsys, monkeypatch) == (0, [
        f"{note}.late.path: there is no file {tmp_path}/late_*.log {later}",
        f"{note}.gone.path: there is no file {tmp_path}/gone.log {later}",
        f"{note}.folder.path: {tmp_path}/folder cannot be read: Is a directory; name a file "
        "that may be read",
        f"{file}: ok: 0 tasks, 0 feeds, 0 strategies",
    ])  # fmt: skip


def test_a_task_that_never_runs_and_a_calendar_that_ends_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """New York does not trade on Sundays; Shanghai's holidays are known until the year's end."""
    file = written(
        tmp_path,
        "tasks:\n"
        '  weekend: {command: [sh], schedule: "sun 09:00", exchange: XNYS}\n'
        '  week: {command: [sh], schedule: "09:00", exchange: XSHG}\n',
    )
    assert checked(file, capsys, monkeypatch) == (0, [
        f"{file}: note: tasks.weekend.schedule: `sun 09:00` never meets a trading day of XNYS, so "
        "it will not run; leave out `exchange`, or choose another time",
        f"{file}: note: tasks.week.exchange: the calendar of XSHG ends 2026-12-31: weekdays count "
        "as trading days from there; name holidays in calendar_overrides.XSHG.closed",
        f"{file}: ok: 2 tasks, 0 feeds, 0 strategies",
    ])  # fmt: skip


def test_days_that_are_over_are_noted_and_a_shortened_day_keeps_the_schedule_s_days(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to write instead has the same days, and is one time of several where there are more."""
    notes = notes_of(
        tmp_path,
        "tasks:\n"
        '  past: {command: [sh], schedule: "09:00", on: [2026-11-02]}\n'
        '  friday: {command: [sh], schedule: "fri 15:45", exchange: XNYS}\n'
        '  several: {command: [sh], schedule: "09:35,15:45", exchange: XNYS}\n',
        capsys,
        monkeypatch,
    )
    assert notes["tasks.past.schedule"].startswith("`09:00` will not run any more: the days in")
    assert notes["tasks.friday.schedule"].endswith("write it as `fri close - 15m`")
    assert notes["tasks.several.schedule"].endswith("make a task of that time, `close - 15m`")


def notes_of(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Place to text of what ``check`` notes."""
    file = written(tmp_path, text)
    code, lines = checked(file, capsys, monkeypatch)
    assert code == 0, lines
    notes = [line.removeprefix(f"{file}: note: ") for line in lines if ": note: " in line]
    return dict(note.split(": ", 1) for note in notes)


def test_a_slot_that_an_early_close_leaves_out_is_noted_with_the_schedule_that_moves_along(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The day after Thanksgiving and Christmas Eve end at 13:00."""
    noted = notes_of(
        tmp_path,
        "tasks:\n"
        '  rebalance: {command: [sh], schedule: "mon-fri 15:45", exchange: XNYS}\n'
        '  tuesday: {command: [sh], schedule: "tue 15:45", exchange: XNYS}\n'
        '  early: {command: [sh], schedule: "10:00", exchange: XNYS}\n'
        '  report: {command: [sh], schedule: "16:30", exchange: XNYS}\n'
        '  moves: {command: [sh], schedule: "close - 15m", exchange: XNYS}\n'
        '  other: {command: [sh], schedule: "15:45"}\n'
        "calendar_overrides: {XNYS: {late_open: {2026-11-30: '10:30'}}}\n",
        capsys,
        monkeypatch,
    )
    assert noted == {
        "tasks.rebalance.schedule": "`mon-fri 15:45` is skipped on 2026-11-27 and on 1 more day "
        "within a year, outside the shortened session of XNYS; to run on such days too, write it "
        "as `close - 15m`",
        "tasks.early.schedule": "`10:00` is skipped on 2026-11-30, outside the shortened session "
        "of XNYS; to run on such days too, write it as `open + 30m`",
    }


def test_an_override_without_effect_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped day or time, and an exchange that nothing uses."""
    noted = notes_of(
        tmp_path,
        'tasks: {t: {command: [sh], schedule: "close", exchange: MYX}}\n'
        "exchanges: {MYX: {timezone: Asia/Kuala_Lumpur, hours: 09:00-17:00}}\n"
        "calendar_overrides:\n"
        "  MYX: {closed: [2026-11-28, 2026-12-25], early_close: {2026-12-24: '17:30'}}\n"
        "  XLON: {closed: [2026-12-24]}\n",
        capsys,
        monkeypatch,
    )
    assert noted == {
        "calendar_overrides.MYX.closed": "2026-11-28 has no effect: there is no session that day",
        "calendar_overrides.MYX.early_close": "2026-12-24 has no effect: the session is "
        "09:00-17:00",
        "calendar_overrides.XLON": "has no effect: no feed and no task uses XLON",
    }


def test_what_nothing_alerts_about_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No limit, no alert; and a limit whose rules are in a pack that is off."""
    text = (
        "sources: {s: {type: simulated}}\n"
        "feeds: {f: {source: s, symbols: [A.US], interval: 1m, exchange: XNYS}}\n"
        "strategies: {m: {max_age: 1d}, n: {max_drawdown: {warning: 5%}}}\n"
        "logs: {follow: {bot: {path: bot.log, max_failure_ratio: {warning: 20%},"
        " patterns: {fetch_failed: a, fetch_ok: b}}}}\n"
    )
    (tmp_path / "bot.log").touch()
    noted = notes_of(tmp_path, text, capsys, monkeypatch)
    assert list(noted) == [
        "feeds.f.max_overdue", "strategies.m.max_drawdown", "strategies.n.max_age",
    ]  # fmt: skip
    assert all(text.startswith("nothing alerts") for text in noted.values())
    rules = tmp_path / "prometheus/rules"
    rules.mkdir(parents=True)
    (rules / "quant.yml").write_text("groups: []\n")
    noted = notes_of(tmp_path, text, capsys, monkeypatch)
    assert (
        f"copy prometheus/packs/logs.yml to {rules}" in noted["logs.follow.bot.max_failure_ratio"]
    )
    shutil.copy(ROOT / "prometheus/packs/logs.yml", rules)
    assert "logs.follow.bot.max_failure_ratio" not in notes_of(tmp_path, text, capsys, monkeypatch)


def test_a_limit_that_acts_on_what_may_stop_unheard_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence breaks no limit, so something else must say it."""
    text = (
        'tasks: {t: {command: [a], schedule: "09:00"}}\n'
        "metrics: {positions: {}, spread: {max_age: 1h}}\n"
        "strategies: {m: {max_drawdown: {warning: 5%}}, n: {max_age: 1d}}\n"
        "limits:\n"
        "  stop: {of: drawdown, max: {critical: 9%}, on_critical: {pause: [t]}}\n"
        "  fine: {of: drawdown, strategies: [n], max: {critical: 9%}, on_critical: {pause: [t]}}\n"
        "  positions: {max: {critical: 9}, on_critical: {pause: [t]}}\n"
        "  spread: {max: {critical: 9}, on_critical: {pause: [t]}}\n"
    )
    noted = notes_of(tmp_path, text, capsys, monkeypatch)
    found = {place: said for place, said in noted.items() if place.startswith("limits.")}
    assert list(found) == ["limits.stop.on_critical", "limits.positions.on_critical"]
    assert (
        "the equity of m stops coming, and nobody hears of that" in found["limits.stop.on_critical"]
    )
    assert "set metrics.positions.max_age" in found["limits.positions.on_critical"]


@pytest.mark.parametrize(
    ("schedule", "once"),
    [("* 7 * * 1-5", "0 7 * * 1-5"), ("* */15 * * *", "0 */15 * * *"), ("* 7,9 * * * UTC",
     "0 7,9 * * * UTC"), ("* 9-16 * * 1-5", None), ("* * * * *", None), ("*/5 7 * * *", None)],
)  # fmt: skip
def test_sixty_runs_in_an_hour_that_was_meant_for_one_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    schedule: str, once: str | None,
) -> None:  # fmt: skip
    """A star for the minute is mostly a slip; through the hours of trading it is not."""
    file = written(tmp_path, f"tasks: {{buy: {{command: [sh], schedule: '{schedule}'}}}}\n")
    _, lines = checked(file, capsys, monkeypatch)
    noted = [line for line in lines if "tasks.buy.schedule" in line]
    assert noted == ([] if once is None else [
        f"{file}: note: tasks.buy.schedule: `{schedule}` means every minute of those hours, 60 "
        f"runs in each; for one run an hour write `{once}`"
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("patterns", "place", "says"),
    [
        ("fetch_failed: a, fetch_ok: b", "max_failure_ratio", "nothing alerts when fetches fail"),
        ("error: a", "patterns", "is counted, nothing alerts on it"),
    ],
)
def test_patterns_that_only_count_are_noted(
    patterns: str, place: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Whoever writes one may believe that somebody will hear of it."""
    (tmp_path / "bot.log").touch()
    text = f"logs: {{follow: {{bot: {{path: bot.log, patterns: {{{patterns}}}}}}}}}\n"
    noted = notes_of(tmp_path, text, capsys, monkeypatch)
    assert list(noted) == [f"logs.follow.bot.{place}"]
    assert says in noted[f"logs.follow.bot.{place}"]


def test_a_file_where_the_logs_should_go_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the exporter runs and keeps no log."""
    (tmp_path / "log").touch()
    noted = notes_of(tmp_path, "logs: {directory: log}\n", capsys, monkeypatch)
    assert noted == {"logs.directory": f"{tmp_path}/log is a file: no log is kept; name a folder"}


def test_a_calendar_that_cannot_be_built_is_a_mistake_wherever_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter would not start with it, so check may not call the file well."""
    monkeypatch.setattr(Calendars, "load", _no_calendar)
    monkeypatch.setenv("NO_SUCH_KEY", "key")
    file = written(tmp_path, CONFIG)
    assert command.check(file) == 2
    assert capsys.readouterr().out.splitlines() == [
        f"{file}: {place}.exchange: cannot build the calendar of XNYS: no such file. Choose "
        "another exchange, or another version of exchange-calendars and pandas"
        for place in ("feeds.f", "tasks.missing")
    ]


def test_a_state_that_is_a_folder_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing could be kept in it."""
    file = written(tmp_path, "state: .\n")
    assert checked(file, capsys, monkeypatch) == (
        2, [f"{file}: state: {tmp_path} is a folder; name a file, as var/state.db"],
    )  # fmt: skip


def test_checking_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It only looks."""
    file = written(tmp_path, CONFIG)
    before = sorted(tmp_path.rglob("*"))
    checked(file, capsys, monkeypatch)
    assert sorted(tmp_path.rglob("*")) == before


async def _no_calendar(_: Calendars, names: list[str]) -> None:
    raise CalendarError(dict.fromkeys(names, "no such file"))


def test_a_state_that_whoever_checks_may_not_look_at_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a VPS' own user owns it."""
    monkeypatch.setattr(tempfile, "tempdir", None)  # found again by the user who checks
    locked = tmp_path / "locked"
    locked.mkdir()
    config = load(written(tmp_path, f"state: {locked}/state.db\n"))
    locked.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            config.state.stat()
        calendars = checking.calendars_to_check_with(config, ManualClock(NOVEMBER))
        assert checking.mistakes(config, calendars) == []
    finally:
        if root:
            os.seteuid(0)
        locked.chmod(0o700)
