"""Timers as `systemctl show` prints them, and what becomes of each."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from exporter.cli import main as command_line
from exporter.cli.timer_import import Timer, crontab_of, drop_in, read_timers
from exporter.config import Task

SHOWN = """\
TimersCalendar={ OnCalendar=Mon..Fri *-*-* 07:00:00 ; next_elapse=Tue 2026-12-01 07:00:00 CET }
Id=pre-market.timer
Unit=scan.service

TimersMonotonic={ OnUnitActiveUSec=30min ; next_elapse=1h }
Id=poll.timer
Unit=poll.service

TimersCalendar={ OnCalendar=*-*-* 06:00:00 ; next_elapse=x }
TimersCalendar={ OnCalendar=*-*-* 18:30:00 ; next_elapse=x }
RandomizedDelayUSec=1h 40min
AccuracyUSec=1min
Id=2-times.timer
Unit=twice.service
AccuracyUSec=1min

TimersCalendar={ OnCalendar=Mon *-*-* 06:00:00 ; next_elapse=x }
TimersCalendar={ OnCalendar=*-*-01 06:00:00 ; next_elapse=x }
Id=days.timer
Unit=days.service

TimersCalendar={ OnCalendar=*-*-* 06:00:00 ; next_elapse=x }
Id=exact.timer
Unit=exact.service
RandomizedDelayUSec=0
AccuracyUSec=1min

TimersCalendar={ OnCalendar=*-*-* 07:00:00 ; next_elapse=x }
Id=same.timer
Unit=exact.service
"""


@pytest.mark.parametrize(
    ("calendar", "schedule"),
    [
        ("*-*-* 00:00:00", "0 0 * * *"),
        ("*-*-* *:00:00", "0 * * * *"),
        ("*-*-* *:00/15:00", "*/15 * * * *"),
        ("*-*-* 00/2:05:00", "5 */2 * * *"),
        ("Mon..Fri *-*-* 09,15:30:00", "30 9,15 * * mon-fri"),
        ("Mon,Wed..Fri *-*-* 08:00:00 Asia/Tokyo", "0 8 * * mon,wed-fri Asia/Tokyo"),
        ("*-01,04,07,10-01 00:00:00", "0 0 1 1,4,7,10 *"),
        ("*-*-01..07 12:00:00", "0 12 1-7 * *"),
        ("*-*~01 18:00:00", "0 18 L * *"),
        ("*-02~01 18:00:00", "0 18 L 2 *"),
        ("*-*~03 18:00:00", "third last day of month 18:00"),
        ("Fri *-*-01..07 09,18:30:00 UTC", "first fri 09:30,18:30 UTC"),
        ("Sun *-*~07/1 03:00:00", "last sun 03:00"),
        ("Mon,Fri..Sun *-*-* 06:00:00", "0 6 * * mon,fri,sat,sun"),
        ("*-*-* 06:00:30", "0 6 * * *"),
        ("*-*-* *:07/10:00", "7/10 * * * *"),
        ("*-01/3-01 08..18/2:00:00", "0 8-18/2 1 1/3 *"),
    ],
)
def test_a_calendar_expression_becomes_a_crontab_s_schedule(calendar: str, schedule: str) -> None:
    """In systemd's normal form, which `systemctl show` prints."""
    assert crontab_of(calendar, None) == schedule
    Task.model_validate({"external": True, "schedule": crontab_of(calendar, None)})


@pytest.mark.parametrize(
    ("calendar", "why"),
    [
        ("2026-12-24 12:00:00", "names a year or seconds"),
        ("*-*-* *:*:00/10", "names a year or seconds"),
        ("Mon,Fri *-*-01..07 12:00:00", "needs weekday and day of month together"),
        ("Fri *-01-01..07 12:00:00", "set times in every month only"),
        ("Fri *-*-01..07 *:00:00", "set times in every month only"),
        ("*-*~01..03 12:00:00", "counts days from the month's end"),
        ("Fri *-*~01 12:00:00", "counts days from the month's end"),
        ("sometimes", "is not understood"),
    ],
)
def test_what_a_crontab_cannot_say_is_said(calendar: str, why: str) -> None:
    """A day of both kinds means either to cron, and both to systemd."""
    with pytest.raises(ValueError, match=why):
        crontab_of(calendar, None)


def test_each_timer_becomes_a_task_or_a_sentence() -> None:
    """In the machine's zone."""
    assert list(read_timers(SHOWN, "Europe/Berlin")) == [
        Timer("pre-market.timer", "scan.service", "pre_market", "0 7 * * mon-fri Europe/Berlin"),
        Timer("poll.timer", "poll.service", "poll",
              why="it counts from a start or an earlier run, not by the clock; with a time, such "
              "as OnCalendar=*:0/30, it can be watched"),
        Timer("2-times.timer", "twice.service", "job_2_times", "06:00,18:30 Europe/Berlin",
              late=6060.0),
        Timer("days.timer", "days.service", "days",
              why="it has 2 OnCalendar lines on different days; make a timer of each"),
        Timer("exact.timer", "exact.service", "exact", "0 6 * * * Europe/Berlin"),
        Timer("same.timer", "exact.service", "same",
              why="it starts exact.service as exact.timer does: reports of both look alike"),
    ]  # fmt: skip


def test_the_service_is_wrapped_as_it_is() -> None:
    """What clears the list, goes on in the next line, or begins with a minus."""
    timer = Timer("a.timer", "a.service", "a", "0 7 * * *")
    unit = "[Service]\nExecStart=/old\nExecStart=\nExecStart=-/opt/a.sh \\\n   --x 'y z'\n"
    assert drop_in(timer, unit, "/usr/local/bin/qexec").splitlines()[1:] == [
        "[Service]", "ExecStart=",
        "ExecStart=-/usr/local/bin/qexec a -- /opt/a.sh  --x 'y z'",
    ]  # fmt: skip
    for wrong in ("", "ExecStart=/a\nExecStart=/b\n", "ExecStart=@/a b\n"):
        with pytest.raises(ValueError, match="by hand"):
            drop_in(timer, wrong, "qexec")


def test_import_timers_prints_tasks_and_drop_ins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a systemctl that answers as the real one."""
    (tmp_path / "shown").write_text(SHOWN)
    fake = tmp_path / "systemctl"
    fake.write_text(
        f"#!/bin/sh\nif [ $1 = show ]; then cat {tmp_path}/shown; "
        "else printf '[Service]\\nExecStart=/opt/scan --all\\n'; fi\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert command_line.main(["import", "timers", "--timezone", "UTC"]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed.partition("\n\n")[0]) == {
        "pre_market": {"external": True, "schedule": "0 7 * * mon-fri UTC"},
        "job_2_times": {"external": True, "schedule": "06:00,18:30 UTC", "grace": "1h 46m"},
        "exact": {"external": True, "schedule": "0 6 * * * UTC"},
    }
    assert "# not a task: poll.timer: it counts from a start" in printed
    assert "# systemctl edit scan.service\n[Service]\nExecStart=\n" in printed
    assert "ExecStart=/usr/local/bin/qexec pre_market -- /opt/scan --all\n" in printed
    fake.write_text("#!/bin/sh\necho no bus >&2; exit 1\n")
    assert command_line.main(["import", "timers"]) == 1
    assert "systemctl show: no bus: systemd must run here" in capsys.readouterr().err
