"""What runs here for long: the user's own services, containers, and other processes."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exporter.cli.command_names import SCRIPT, base_name
from exporter.cli.discovered import Findings, ThisMachine, Unwatched, is_watched, shown_command
from exporter.util.units import format_duration

_LONG_SECONDS = 600.0
_INTERPRETER = re.compile(
    r"(?:python[\d.]*|node|deno|bun|java|ruby|perl|php[\d.]*|Rscript|julia|dotnet|mono)$"
)
_OWN_FOLDERS = ("/home/", "/opt/", "/srv/", "/root/", "/usr/local/", "/data/", "/mnt/")
_NOT_MEANT = re.compile(
    r"quant-exporter|exporter\.(?:runner|demo)|\.vscode-server|jetbrains|jupyter|/\.cache/|/nvm/"
)
_STARTERS = frozenset(("cron.service", "crond.service", "atd.service", "rc-local.service"))
_TERMINALS = ("tmux", "screen", "zellij", "sshd", "login")


# --- services


def find_services(machine: ThisMachine) -> Findings:
    """Services whose unit somebody wrote here, of the machine's systemd and of the user's own."""
    findings = Findings()
    for scope in ((), ("--user",)):
        properties = "Id,FragmentPath,ActiveState,Type,ExecStart,TriggeredBy"
        status, out, _ = machine.run(
            "systemctl", *scope, "show", f"--property={properties}", "*.service"
        )
        for block in re.split(r"\n\s*\n", out.strip()) if not status else ():
            _service(
                machine, findings, dict(re.findall(r"^(\w+)=(.*)$", block, re.MULTILINE)), scope
            )
    return findings


def _service(
    machine: ThisMachine, findings: Findings, unit: Mapping[str, str], scope: tuple[str, ...]
) -> None:
    name, path = unit.get("Id", ""), unit.get("FragmentPath", "")
    started = re.search(r"argv\[\]=(.*?) ;", unit.get("ExecStart", ""))
    command = started[1] if started else ""
    if not path or path.startswith(("/usr/", "/lib/", "/run/")) or _NOT_MEANT.search(command):
        return
    if unit.get("Type") == "oneshot" or ".timer" in unit.get("TriggeredBy", ""):
        return  # its timer is found
    if name in machine.watched_units or is_watched(command):
        findings.watched.append(name)
        return
    more = ", scope: user" if scope else ""
    task = f"{{service: {json.dumps(name)}{more}}}"
    state = "is up" if unit.get("ActiveState") == "active" else f"is {unit.get('ActiveState')}"
    why = "systemd tells nobody when it is down or is restarted time and again"
    short = re.sub(r"[^a-z0-9]+", "_", name.removesuffix(".service").lower()).strip("_")
    what = f"{name} {state}: {shown_command(command)}"
    findings.found.append(Unwatched(short or "service", task, what, why))


# --- containers


def find_containers(machine: ThisMachine) -> Findings:
    """Those of docker and podman that run, by their commands, else by docker's socket."""
    findings, there = Findings(), False
    for program in ("docker", "podman"):
        status, out, err = machine.run(program, "ps", "--format", "{{.Names}}\t{{.Image}}")
        if status == 127:
            continue
        there = True
        if status:
            findings.unseen.append(
                f"{program}'s containers: {err.splitlines()[-1] if err else '?'}"
            )
        for line in out.splitlines():
            name, _, image = line.partition("\t")
            _container(findings, program, name, image)
    socket_file = machine.root / "var/run/docker.sock"
    if not there and socket_file.exists():
        try:
            for name, image in _by_socket(str(socket_file)):
                _container(findings, "docker", name, image)
        except (OSError, ValueError, http.client.HTTPException) as error:
            findings.unseen.append(f"docker's containers: {error}")
    return findings


def _container(findings: Findings, program: str, name: str, image: str) -> None:
    if "quant-exporter" in f"{name} {image}":
        return
    asks = f'{program} inspect -f "{{{{.State.Running}}}}" {shlex.quote(name)} | grep -qx true'
    task = f"{{command: {json.dumps(['sh', '-c', asks])}, schedule: every 5m}}"
    what = f"container {name} of {program}: {image}"
    why = "nobody is notified when it ends; this asks every five minutes whether it runs"
    findings.found.append(Unwatched(base_name(name), task, what, why))


def _by_socket(file: str) -> Iterator[tuple[str, str]]:
    connection = http.client.HTTPConnection("localhost", timeout=5)
    with socket.socket(socket.AF_UNIX) as own:
        own.settimeout(5)
        own.connect(file)
        connection.sock = own
        connection.request("GET", "/containers/json")
        for each in json.load(connection.getresponse()):
            yield str(each["Names"][0]).strip("/"), str(each["Image"])


# --- processes


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    name: str
    words: tuple[str, ...]
    cgroup: str
    age: float

    @property
    def unit(self) -> str:
        """The systemd service that it belongs to; empty for one of a session or of cron."""
        parts = [part for part in self.cgroup.split("/") if part.endswith(".service")]
        last = parts[-1] if parts else ""
        return "" if last in _STARTERS or last.startswith("user@") else last


def find_processes(machine: ThisMachine, now: float | None = None) -> Findings:
    """The user's own programs that have run for a while, outside services and containers."""
    findings = Findings()
    everything = {p.pid: p for p in _processes(machine, time.time() if now is None else now)}
    chosen = {pid for pid, process in everything.items() if _is_meant(process)}
    for pid in sorted(chosen):
        process = everything[pid]
        above = list(_ancestors(process, everything))
        if any(each.pid in chosen for each in above):
            continue
        command = shlex.join(process.words)
        if is_watched(command) or any(is_watched(shlex.join(each.words)) for each in above):
            findings.watched.append(f"process {pid}")
            continue
        what = f"process {pid}, for {_rounded(process.age)}: {shown_command(command)}"
        why = (
            f"{_where(process, above)}; nothing starts it again, and nobody hears when it ends: "
            "have it report, or make it a service"
        )
        task = "{external: true, schedule: every 5m, grace: 2m}"
        findings.found.append(Unwatched(base_name(command), task, what, why))
    return findings


def _processes(machine: ThisMachine, now: float) -> Iterator[_Process]:
    proc = machine.root / "proc"
    booted = re.search(r"^btime (\d+)$", (proc / "stat").read_text(), re.MULTILINE)
    ticks = os.sysconf("SC_CLK_TCK")
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
            stat = (folder / "stat").read_text(errors="replace")
            cgroup = (folder / "cgroup").read_text(errors="replace").partition("\n")[0]
        except OSError:
            continue  # it ended, or is somebody else's
        if not words:
            continue  # the kernel's own
        name = stat[stat.index("(") + 1 : stat.rindex(")")]
        fields = stat[stat.rindex(")") + 2 :].split()
        began = (int(booted[1]) if booted else 0) + int(fields[19]) / ticks
        yield _Process(
            int(folder.name), int(fields[1]), name, tuple(words), cgroup.rpartition(":")[2],
            now - began,
        )  # fmt: skip


def _is_meant(process: _Process) -> bool:
    command = " ".join(process.words)
    if process.age < _LONG_SECONDS or process.unit or _NOT_MEANT.search(command):
        return False
    if re.search(r"docker|libpod|kubepods|containerd|machine\.slice", process.cgroup):
        return False
    program, *rest = process.words
    if not _INTERPRETER.search(program.rpartition("/")[2]):
        return program.startswith((*_OWN_FOLDERS, "./"))
    script = next((word for word in rest if not word.startswith("-") or word == "-m"), "")
    packaged = script.startswith(("/usr/", "/lib/")) and not script.startswith("/usr/local/")
    return bool(script) and not packaged and (script == "-m" or _looks_like_a_program(script))


def _looks_like_a_program(word: str) -> bool:
    return bool(SCRIPT.search(word)) or "/" in word


def _ancestors(process: _Process, everything: Mapping[int, _Process]) -> Iterator[_Process]:
    seen = {process.pid}
    while (parent := everything.get(process.parent)) and parent.pid not in seen:
        seen.add(parent.pid)
        yield parent
        process = parent


def _where(process: _Process, above: list[_Process]) -> str:
    for each in above:
        for terminal in _TERMINALS:
            if each.name.startswith(terminal):
                return f"it runs in {'a login' if terminal in ('sshd', 'login') else terminal}"
    started = [part for part in process.cgroup.split("/") if part in _STARTERS]
    return f"{started[0].partition('.')[0]} started it" if started else "it runs by itself"


def _rounded(seconds: float) -> str:
    for unit in (86400.0, 3600.0, 60.0):
        if seconds >= unit:
            return format_duration(seconds // unit * unit)
    return format_duration(seconds // 1)
