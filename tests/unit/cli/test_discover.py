"""`discover`: what runs on a machine, why nobody watches it, and lines that load."""

from __future__ import annotations

import getpass
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from exporter.cli.discover import discover
from exporter.cli.discovered import ThisMachine, shown_command
from exporter.cli.find_running import find_containers, find_processes
from exporter.config import load

SECRET = "hunter2x"
CRONTAB = f"""\
MAILTO=""
0 7 * * 1-5 cd /home/me && ./scan.py --api-key {SECRET} --live
5 * * * * /usr/local/bin/qexec sync -- /bin/sh -c './sync.sh'
*/5 * * * * curl -fsS -o /dev/null https://hc-ping.com/11111111-2222-4333-8444-555555555555
@reboot /home/me/bot.sh -p{SECRET}
"""
TIMERS = """\
Id=backup.timer
Unit=backup.service
TimersCalendar={ OnCalendar=*-*-* 03:00:00 ; next_elapse=n/a }
FragmentPath=/etc/systemd/system/backup.timer

Id=apt-daily.timer
Unit=apt-daily.service
TimersCalendar={ OnCalendar=*-*-* 6,18:00:00 ; next_elapse=n/a }
FragmentPath=/usr/lib/systemd/system/apt-daily.timer
"""
SERVICES = f"""\
Id=bot.service
Type=simple
FragmentPath=/etc/systemd/system/bot.service
ActiveState=active
ExecStart={{ path=/srv/bot/run ; argv[]=/srv/bot/run --token {SECRET} ; ignore_errors=no ; }}

Id=seen.service
Type=simple
FragmentPath=/etc/systemd/system/seen.service
ActiveState=active
ExecStart={{ path=/srv/seen ; argv[]=/srv/seen ; }}

Id=backup.service
Type=oneshot
FragmentPath=/etc/systemd/system/backup.service
ActiveState=inactive

Id=ssh.service
Type=notify
FragmentPath=/usr/lib/systemd/system/ssh.service
ActiveState=active
"""


def programs(*command: str) -> tuple[int, str, str]:
    """Stand-ins for crontab, systemctl, dpkg-query and docker."""
    match command:
        case ("crontab", "-l"):
            return 0, CRONTAB, ""
        case ("dpkg-query", *_):
            return 1, "cron: /etc/cron.daily/logrotate\n", "no path found"
        case ("systemctl", "--user", *_):
            return 1, "", "Failed to connect to bus: No medium found"
        case ("systemctl", "show", _, "*.timer"):
            return 0, TIMERS, ""
        case ("systemctl", "show", _, "*.service"):
            return 0, SERVICES, ""
        case ("systemctl", *_):
            return 0, "ExecStart={ path=/srv/backup.sh ; argv[]=/srv/backup.sh ; }", ""
        case ("docker", *_):
            return 0, "my-bot\tme/bot:3\n", ""
        case _:
            return 127, "", f"there is no {command[0]}"


def process(root: Path, pid: int, parent: int, words: list[str], cgroup: str = "0::/") -> None:
    folder = root / "proc" / str(pid)
    folder.mkdir(parents=True)
    (folder / "cmdline").write_bytes("".join(f"{word}\0" for word in words).encode())
    name = words[0].rpartition("/")[2]
    (folder / "stat").write_text(f"{pid} ({name}) S {parent} " + "0 " * 17 + "0 " * 30)
    (folder / "cgroup").write_text(f"{cgroup}\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The files of a machine that has run for two days."""
    root = tmp_path / "root"
    for file, text in {
        "etc/crontab": "25 6 * * * root run-parts --report /etc/cron.daily\n",
        "etc/cron.d/mine": f"1 2 * * * me TOKEN={SECRET} /opt/report.sh | mail me\n",
        "etc/cron.daily/logrotate": "#!/bin/sh\n",
        "etc/cron.daily/dump": f"#!/bin/sh\nmysqldump -p{SECRET}\n",
        "proc/stat": f"cpu 1 2\nbtime {time.time() - 2.5 * 86400:.0f}\n",
    }.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    process(root, 1, 0, ["/sbin/init"])
    process(root, 40, 1, ["tmux", "new"])
    process(root, 41, 40, ["-bash"])
    process(root, 42, 41, ["python3", "bots/momentum.py", "--key", SECRET])
    process(root, 43, 42, ["python3", "bots/worker.py"])
    process(root, 50, 1, ["/srv/bot/run"], "0::/system.slice/bot.service")
    process(root, 51, 1, ["/usr/bin/python3", "/usr/share/unattended-upgrades/run.py"])
    process(root, 52, 1, ["/app/main.py"], "0::/system.slice/docker-1234.scope")
    process(root, 53, 1, ["/opt/feed/feedd"], "0::/system.slice/cron.service")
    return root


def looked(root: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What it prints on that machine, where two tasks exist already."""
    config = folder / "exporter.yml"
    config.write_text(
        'tasks: {seen: {service: seen.service}, bot: {external: true, schedule: "every 5m"}}\n'
    )
    machine = ThisMachine(root, programs, 1000, ["seen.service"])
    assert discover(config, machine=machine) == 0
    return capsys.readouterr().out


def test_every_kind_is_found_with_a_reason_and_lines_that_load(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that are taken get a number."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    said = looked(root, tmp_path, capsys)
    tasks = yaml.safe_load("tasks:\n" + said)["tasks"]
    assert {name: list(task.items())[:2] for name, task in tasks.items()} == {
        "scan": [("external", True), ("schedule", "0 7 * * 1-5 Europe/Berlin")],
        "report": [("external", True), ("schedule", "1 2 * * * Europe/Berlin")],
        "dump": [("external", True), ("schedule", "25 6 * * * Europe/Berlin")],
        "backup": [("external", True), ("schedule", "0 3 * * * Europe/Berlin")],
        "bot_3": [("service", "bot.service")],
        "my_bot": [
            ("command",
             ["sh", "-c", 'docker inspect -f "{{.State.Running}}" my-bot | grep -qx true']),
            ("schedule", "every 5m"),
        ],
        "momentum": [("external", True), ("schedule", "every 5m")],
        "feedd": [("external", True), ("schedule", "every 5m")],
    }  # fmt: skip
    config = tmp_path / "offered.yml"
    config.write_text("tasks:\n" + said)
    assert set(load(config).tasks) == set(tasks)
    for words in (
        f"crontab of {getpass.getuser()}, line 2: cd /home/me && ./scan.py --api-key … --live",
        "cron tells nobody when it fails or does not run; wrap it: quant-exporter import crontab",
        "# bot_2 needs a task by hand",
        "backup.timer starts backup.service",
        "bot.service is up: /srv/bot/run --token …",
        "process 42, for 2d: python3 bots/momentum.py --key …",
        "it runs in tmux; nothing starts it again",
        "cron started it; nothing starts it again",
        "2 cron jobs and timers come with the system",
        "not looked at: the timers of your own systemd: Failed to connect to bus: No medium found",
    ):
        assert words in said
    assert "seen.service" in said.partition("watched already: ")[2]
    assert f"crontab of {getpass.getuser()}, line 4" in said.partition("watched already: ")[2]


def test_no_argument_that_may_be_a_secret_is_printed(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands in crontabs, units and processes of that machine, in six forms."""
    assert SECRET not in looked(root, tmp_path, capsys)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("./bot.py s3cr3t --live", "./bot.py … --live"),
        ("TOKEN=abc /opt/run -pabc --password=abc a b c", "… /opt/run -p --password …"),
        ("psql postgres://u:pw@h/db", "psql …"),
        ("sh -c 'curl -u me:pw x'", "sh -c …"),
        ("unbalanced 'quote s3cr3t", "unbalanced …"),
    ],
)
def test_of_a_command_line_programs_paths_and_options_are_shown(command: str, shown: str) -> None:
    assert shown_command(command) == shown


def test_a_script_of_ones_own_that_runs_here_is_found(tmp_path: Path) -> None:
    """By the real /proc, an hour from now."""
    script = tmp_path / "my_bot.py"
    script.write_text("import os, sys; print(os.getpid(), flush=True); sys.stdin.read()\n")
    with subprocess.Popen(
        ["setsid", "--fork", sys.executable, script, SECRET],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdin
        assert running.stdout
        pid = running.stdout.readline().strip()
        found = find_processes(ThisMachine(uid=os.getuid()), time.time() + 3600).found
        running.stdin.close()
    (mine,) = (one for one in found if one.name == "my_bot")
    assert mine.what.startswith(f"process {pid}, for 1h: ")
    assert mine.what.endswith(f"{script} …")


def test_without_the_command_docker_is_asked_by_its_socket(tmp_path: Path) -> None:
    (tmp_path / "var/run").mkdir(parents=True)
    body = json.dumps([{"Names": ["/feed"], "Image": "me/feed"}]).encode()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            assert connection.recv(10_000).startswith(b"GET /containers/json ")
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "var/run/docker.sock"))
        server.listen()
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        found = find_containers(ThisMachine(tmp_path, lambda *_: (127, "", "")))
        thread.join()
    assert [one.what for one in found.found] == ["container feed of docker: me/feed"]
