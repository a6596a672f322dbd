"""Thirty crontabs, after forms seen in public: what each line becomes, and that wrapping changes
nothing but who hears of it."""

from __future__ import annotations

import io
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from exporter.cli import main as command_line
from exporter.cli.crontab_import import CronJob, OtherLine, read_crontab
from exporter.cli.task_lines import external_task
from exporter.config import Task, load

Expected = list[tuple[str, str] | str]
"""Name and schedule of a task, or words of the sentence why not; in the crontab's order."""

USER: list[tuple[str, Expected]] = [
    ("0 5 * * * /usr/local/bin/backup.sh", [("backup", "0 5 * * *")]),
    ("*/5 * * * * cd /srv/bot && python3 health.py", [("health", "*/5 * * * *")]),
    ("30 9 * * 1-5 /usr/bin/python3 -u /home/me/bot/run_trading.py --live >> /tmp/log 2>&1",
     [("run_trading", "30 9 * * 1-5")]),
    ("5 3,7,11,15,19,23 * * * ./fetch_4h.sh", [("fetch_4h", "5 3,7,11,15,19,23 * * *")]),
    ("MAILTO=me@example.com\n15 14 1 * * monthly-report", [("monthly_report", "15 14 1 * *")]),
    ("PATH=/usr/local/bin:/usr/bin\nSHELL=/bin/bash\n\n0 22 * * 1-5 report", [
        ("report", "0 22 * * 1-5")]),
    ("CRON_TZ=America/New_York\n0 16 * * mon-fri eod.py", [
        ("eod", "0 16 * * mon-fri America/New_York")]),
    ("CRON_TZ=Asia/Tokyo\n0 9 * * * a.sh\nCRON_TZ=UTC\n0 9 * * * a.sh", [
        ("a", "0 9 * * * Asia/Tokyo"), ("a_2", "0 9 * * * UTC")]),
    ("@daily /opt/rotate", [("rotate", "@daily")]),
    ("@hourly  flock -n /tmp/l python3 -m mypkg.sync", [("mypkg_sync", "@hourly")]),
    ("@reboot /home/me/bot.sh", ["`@reboot` is not a time"]),
    ("@reboot a.sh\n0 1 * * * b.sh", ["`@reboot` is not a time", ("b", "0 1 * * *")]),
    ("23 0-23/2 * * * echo every two hours", [("echo", "23 0-23/2 * * *")]),
    ("0 0,12 1 */2 * x.sh", [("x", "0 0,12 1 */2 *")]),
    ("0 4 8-14 * * test $(date +\\%u) -eq 6 && report.sh", [("report", "0 4 8-14 * *")]),
    ("0 2 * * * mysqldump db > /backup/db-$(date +\\%F).sql", [("mysqldump", "0 2 * * *")]),
    ("5 4 * * sun mail -s hello me%Hi,%%bye", [("mail", "5 4 * * sun")]),
    ("# a comment\n   # another\n#0 1 * * * off.sh\n0 1 * * * on.sh", [("on", "0 1 * * *")]),
    ("0\t6\t*\t*\t*\ttabs.sh", [("tabs", "0 6 * * *")]),
    ("   7 1 * * *   spaces.sh  ", [("spaces", "7 1 * * *")]),
    ("0 25 * * * never.sh", ["invalid hour '25'"]),
    ("0 9 * * 8 never.sh", ["invalid day of week '8'"]),
    ("0 9 31 2 * never.sh", ["a day that does not exist"]),
    ("just some words", ["neither a variable nor five fields"]),
    ("* * * * *", ["neither a variable nor five fields"]),
    ("NAME = \"with spaces\"\n0 0 * * 0 sudo -u me nice -n 19 /opt/sync.rb", [
        ("sync", "0 0 * * 0")]),
    ("0 8 * * * TOKEN=x FOO=1 node /srv/app/index.js", [("index", "0 8 * * *")]),
    ("0 8 * * * bash -c 'source venv/bin/activate && python train.py'\n"
     "30 8 * * * qexec other -- true", [("train", "0 8 * * *"), "it is wrapped already"]),
    ("*/10 * * * * curl -fsS https://example.com/ > /dev/null\n"
     "*/10 * * * * curl -fsS https://example.org/ > /dev/null", [
        ("curl", "*/10 * * * *"), ("curl_2", "*/10 * * * *")]),
]  # fmt: skip
RARE: list[tuple[str, Expected]] = [
    ("0~30 9 * * * random.sh", [("random", "0 9 * * *")]),
    ("~ 9~17 * * 1-5 random.sh", [("random", "0 9 * * 1-5")]),
    ("30~0 9 * * * never.sh", ["invalid range '30~0'"]),
    ("0 9 1~28 * * never.sh", ["cron picks a day at random"]),
        ("*/90 * * * * hourly.sh", [("hourly", "0 * * * *")]),
        ("5-59/90 */36 * * * daily.sh", [("daily", "5 0 * * *")]),
        ("*/30 * */40 * * monthly.sh", [("monthly", "*/30 * 1 * *")]),
    ("-*/5 * * * * quiet.sh", [("quiet", "*/5 * * * *")]),
    ("0 5 * * * -ns quiet.sh", [("quiet", "0 5 * * *")]),
    ("@every_minute a.sh\n@every 5m b.sh\n@300 c.sh", [
        ("a", "* * * * *"), "counts from cron's own start", "counts from cron's own start"]),
    ("\"NAME\"=x\n'OTHER' = y\n0 1 * * * a.sh", [("a", "0 1 * * *")]),
    ("0 1 * * * rsync a b # as notes.py has it", [("rsync", "0 1 * * *")]),
    ("0 1 * * * printf 'a\x0cb\u2028c' > x", [("printf", "0 1 * * *")]),
    ("0 9 * * 7 a.sh\n0 9 * jan-mar SUN,Tue b.sh", [
        ("a", "0 9 * * 7"), ("b", "0 9 * jan-mar SUN,Tue")]),
    ("*/0 * * * * a\n0 0 ? * * b\n0 9 * January * c\n60 * * * * d\n0 24 * * * e", [
        "invalid minute '*/0'", "invalid day of month '?'", "invalid month 'January'",
        "invalid minute '60'", "invalid hour '24'"]),
    ("0 1 * * * a.sh\r\n0 2 * * * b.sh\r", [("a", "0 1 * * *"), ("b", "0 2 * * *")]),
    ("RANDOM_DELAY=45\nMAILFROM=x\n0 3 * * * late.sh", [("late", "0 3 * * *")]),
    ("0 1 * * * " + "x" * 980 + "\n0 1 * * * " + "y" * 1500 + ".sh", [
        "and Debian's cron takes 998", ("y" * 60, "0 1 * * *")]),
]  # fmt: skip
SYSTEM: list[tuple[str, Expected]] = [
    ("17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly", [
        ("run_parts", "17 * * * *")]),
    ("SHELL=/bin/sh\n25 6 * * * root test -x /usr/sbin/anacron || { cd /; run.sh; }", [
        ("test", "25 6 * * *")]),
    ("@weekly www-data php /var/www/cron.php", [("cron", "@weekly")]),
    ("5 1 * * * root", ["it names no user"]),
    ("@daily operator:wheel/daemon /opt/a.sh", [("a", "@daily")]),
]  # fmt: skip


def outcome(found: list[CronJob | OtherLine]) -> list[tuple[str, str] | str]:
    return [
        (each.name, each.schedule) if isinstance(each, CronJob) else each.why
        for each in found
        if isinstance(each, CronJob) or each.why
    ]


@pytest.mark.parametrize(
    ("text", "expected", "has_users"),
    [(*row, False) for row in (*USER, *RARE)] + [(*row, True) for row in SYSTEM],
)
def test_every_line_becomes_a_task_or_a_sentence(
    text: str, expected: Expected, has_users: bool
) -> None:
    """And everything else stays where it is."""
    found = list(read_crontab(text, has_users=has_users))
    got = outcome(found)
    assert len(got) == len(expected), got
    for one, wanted in zip(got, expected, strict=True):
        assert one == wanted if isinstance(wanted, tuple) else wanted in one
    lines = text.split("\n")
    assert [each.number for each in found] == list(range(1, len(lines) + 1))
    for each in found:
        if isinstance(each, OtherLine):
            assert each.text == lines[each.number - 1]
        else:
            Task.model_validate({"external": True, "schedule": each.schedule})


def test_what_cron_decides_itself_is_allowed_for() -> None:
    """A random moment within a range, and a delay: the task's grace lasts as long."""
    crontab = "RANDOM_DELAY=45\n~ 9~17 * * * a.sh\nRANDOM_DELAY=0\n0 9 * * * b.sh"
    found = [each for each in read_crontab(crontab) if isinstance(each, CronJob)]
    assert [each.late for each in found] == [59 * 60 + 8 * 3600 + 45 * 60, 0]
    assert external_task("0 9 * * *", found[0].late) == (
        '{external: true, schedule: "0 9 * * *", grace: 9h 49m}'
    )
    assert external_task("0 9 * * *", 86400.0).endswith("grace: 24h 5m}")
    assert external_task("0 9 * * *") == '{external: true, schedule: "0 9 * * *"}'


def test_what_stands_around_the_command_stays_where_it_is() -> None:
    """Cron's own flags, the user, the way the times are written."""
    (job,) = read_crontab("-0~30\t9  * * * root:wheel -ns a.sh", has_users=True)
    assert isinstance(job, CronJob)
    assert job.wrapped == "-0~30\t9  * * * root:wheel -ns qexec a -- /bin/sh -c 'a.sh'"
    assert job.user == "root:wheel"


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def as_cron_runs(line: str, folder: Path, has_users: bool = False) -> tuple[int, str]:
    """Status and output of a line's command, by what cron's manual says of `%` and `\\%`."""
    command = line.split(None, 1)[1] if line.startswith("@") else line.split(None, 5)[5]
    if has_users:
        command = command.split(None, 1)[1]
    parts = [part.replace("\\%", "%") for part in re.split(r"(?<!\\)%", command)]
    done = subprocess.run(
        ["/bin/sh", "-c", parts[0]], input="\n".join(parts[1:]) + "\n" if parts[1:] else "",
        capture_output=True, text=True, timeout=20, check=False, cwd=folder,
        env=_environment(folder),
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    ["echo plain; exit 3", "echo 'single' \"double $HOME\" \\$x", "date +\\%Y | wc -c",
     "cat%first%second", "printf '\\%s\\n' a b", "cat | tr a-z A-Z%it's%50\\% off",
     "(exit 4) || exit 5", "echo a && false", "for i in 1 2; do echo \"$i\"; done",
     "X=1 sh -c 'echo $X'", "echo \"it's\"  'a\"b'", "nosuchprogram 2>/dev/null"],
)  # fmt: skip
def test_a_wrapped_line_does_what_the_line_did(tmp_path: Path, command: str) -> None:
    """Quotes, percent signs, what it reads, its output and its status."""
    wrapper = tmp_path / "qexec"
    wrapper.write_text('#!/bin/sh\necho "$1" >> names\nshift 2\nexec "$@"\n')
    wrapper.chmod(0o755)
    (job,) = read_crontab(f"5 1 * * * {command}")
    assert isinstance(job, CronJob)
    before = as_cron_runs(f"5 1 * * * {command}", tmp_path)
    assert as_cron_runs(job.wrapped, tmp_path) == before
    assert (tmp_path / "names").read_text() == f"{job.name}\n"
    # As a command of the exporter it does the same.
    own = subprocess.run(["/bin/sh", "-c", job.command], input=job.stdin or "", text=True,
                         capture_output=True, check=False, env=_environment(tmp_path))  # fmt: skip
    assert (own.returncode, own.stdout + own.stderr) == before


def test_what_is_printed_is_a_config_and_a_crontab(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both can be used as they are; the time zone is the machine's."""
    crontab = tmp_path / "crontab"
    crontab.write_text("A=b\n0 5 * * * cat%it's\n@reboot bot.sh\n# end\n")
    assert command_line.main(["import", "crontab", str(crontab), "--timezone", "Europe/Oslo"]) == 0
    printed = capsys.readouterr().out
    tasks, _, installed = printed.partition("\n# the crontab to install")
    assert yaml.safe_load(tasks) == {"cat": {"external": True, "schedule": "0 5 * * * Europe/Oslo"}}
    assert "# not a task: line 3: `@reboot` is not a time" in tasks
    expected = (
        "A=b\n0 5 * * * /usr/local/bin/qexec cat -- /bin/sh -c 'cat'%it's\n@reboot bot.sh\n# end\n"
    )
    assert installed.partition("\n")[2] == expected
    assert command_line.main(["import", "crontab", str(crontab), "--wrapped"]) == 0
    assert capsys.readouterr().out == expected
    assert command_line.main(["import", "crontab", str(crontab), "--command"]) == 0
    file = tmp_path / "exporter.yml"
    file.write_text("tasks:\n" + capsys.readouterr().out)
    command = load(file).tasks["cat"].command
    assert command
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "it's\n"


def test_bytes_that_are_no_text_stay_what_they_are(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file, from stdin and from `crontab -l`; a command in YAML would not be the same."""
    crontab = b"# caf\xe9\n0 1 * * * echo caf\xe9\n"
    (tmp_path / "crontab").write_bytes(crontab)
    program = tmp_path / "crontab-l"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/crontab\n")
    program.chmod(0o755)
    program.rename(tmp_path / "bin-crontab")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin-crontab").rename(tmp_path / "bin/crontab")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    expected = crontab.replace(b"echo caf\xe9", b"qexec echo -- /bin/sh -c 'echo caf\xe9'")
    for arguments in ([str(tmp_path / "crontab")], []):
        ask = ["import", "crontab", *arguments, "--wrapped", "--wrapper", "qexec"]
        assert command_line.main(ask) == 0
        assert capfdbinary.readouterr().out == expected
    with (tmp_path / "crontab").open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file, "ascii"))
        assert command_line.main(["import", "crontab", "-", "--wrapped", "--wrapper", "qexec"]) == 0
    assert capfdbinary.readouterr().out == expected
    assert command_line.main(["import", "crontab", str(tmp_path / "crontab"), "--command"]) == 0
    assert b"# not a task: line 2: it is not UTF-8" in capfdbinary.readouterr().out


def test_as_a_command_it_runs_as_cron_ran_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the crontab's shell, in the home folder, also where a comment ends the command."""
    crontab = tmp_path / "crontab"
    crontab.write_text(
        f"SHELL=/bin/bash\nHOME={tmp_path}\n0 5 * * * root cat # it reads%a\n"
        "1 5 * * * root echo ${BASH_VERSION:+bash} $PWD\n"
    )
    ask = ["import", "crontab", str(crontab), "--system", "--command", "--timezone", "UTC"]
    assert command_line.main(ask) == 0
    printed = capsys.readouterr().out
    assert "# line 3, ran as root" in printed
    (tmp_path / "exporter.yml").write_text(f"tasks:\n{printed}")
    tasks = load(tmp_path / "exporter.yml").tasks
    said = [
        subprocess.run(
            tasks[name].command or (), cwd=tasks[name].cwd, capture_output=True, text=True,
            check=True,
        ).stdout
        for name in ("cat", "echo")
    ]  # fmt: skip
    assert said == ["a\n", f"bash {tmp_path}\n"]


def test_a_crontab_that_is_not_there_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a traceback."""
    assert command_line.main(["import", "crontab", str(tmp_path / "no")]) == 1
    assert "no cannot be read: No such file or directory" in capsys.readouterr().err


def test_a_machine_without_cron_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what to name instead."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command_line.main(["import", "crontab"]) == 1
    assert "there is no crontab here: name a file, or - for stdin" in capsys.readouterr().err
