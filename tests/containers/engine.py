"""The engine that all tests here share: one that answers, or one that they start.

A started one lives in a network namespace of its own, so that its ports are free whatever else this
machine runs, and nobody else reaches them. Its images stay in the cache between runs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.deploy.debian_tree import cache

PLUGINS = cache() / "compose-forky/cli-plugins"
"""Where tools/install-test-engine puts Compose."""
NAMESPACE = "quant-test-engine"
_PROGRAMS = ("dockerd", "containerd", "runc", "iptables", "ip", "nsenter", "setpriv")


class NoEngineError(Exception):
    """No containers can be run here; the sentence says why."""


@dataclass(frozen=True)
class Engine:
    """How to speak with it, and with what it publishes."""

    started: bool
    """Started by the tests: it fetches no images, and they may do with it what they like."""
    inside: list[str] = field(default_factory=list)
    """What goes before a command, so that it runs where the published ports are."""
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    power_cut: Callable[[], None] | None = None
    """Kills all that runs at once, and starts the engine again; only one that the tests started."""

    def run(self, *command: str | Path, check: bool = True, **more: Any) -> Said:
        """Run `command` where the engine and its ports are reached."""
        environment = {**self.environment, **more.pop("env", {})}
        done = subprocess.run(
            [*self.inside, *command], capture_output=True, text=True, check=False,
            env=environment, timeout=more.pop("timeout", 600), **more,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def docker(self, *arguments: str | Path, check: bool = True, **more: Any) -> str:
        """What `docker …` printed."""
        return self.run("docker", *arguments, check=check, **more).stdout.strip()


Said = subprocess.CompletedProcess[str]


@contextmanager
def engine() -> Iterator[Engine]:
    """The one of this machine where it answers, else one of our own."""
    if not shutil.which("docker"):
        raise NoEngineError("no container engine is here; tools/install-test-engine installs one")
    here = Engine(started=False)
    if here.run("docker", "info", check=False).returncode == 0:
        _needs_compose(here)
        yield here
        return
    if why := _why_none_of_our_own():
        raise NoEngineError(why)
    with (cache() / "engine.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoEngineError(
                "another run of the tests uses the engine of this machine"
            ) from None
        with _started(cache() / "engine") as ours:
            _needs_compose(ours)
            yield ours


def _why_none_of_our_own() -> str | None:
    if os.geteuid() != 0:
        return "docker is here, but no engine answers, and starting one needs root"
    missing = [name for name in _PROGRAMS if not shutil.which(name)]
    if missing:
        return (
            f"docker is here, but no engine answers, and {', '.join(missing)} to start one is "
            "missing; tools/install-test-engine installs it"
        )
    return None


def _needs_compose(engine: Engine) -> None:
    if engine.run("docker", "compose", "version", check=False).returncode:
        raise NoEngineError("docker has no compose plugin; tools/install-test-engine brings one")


@contextmanager
def _started(home: Path) -> Iterator[Engine]:
    """An engine with its data in `home`, until the tests end or are killed."""
    config = home / "client"
    config.mkdir(parents=True, exist_ok=True)
    if not (config / "cli-plugins").exists() and PLUGINS.is_dir():
        (config / "cli-plugins").symlink_to(PLUGINS)
    machine = _Machine(home)
    ours = Engine(
        started=True, inside=machine.inside, power_cut=machine.cut_power,
        environment={
            **os.environ, "DOCKER_HOST": f"unix://{machine.socket}", "DOCKER_CONFIG": str(config),
        },
    )  # fmt: skip
    machine.engine = ours
    _network(up=False)
    _network(up=True)
    machine.start()
    try:
        yield ours
    finally:
        machine.stop()
        _network(up=False)


class _Machine:
    """The processes of an engine of our own."""

    def __init__(self, home: Path) -> None:
        self.home, self.socket = home, home / "docker.sock"
        self.inside = ["nsenter", f"--net=/run/netns/{NAMESPACE}"]
        self.engine: Engine
        self._process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # A killed one leaves them, and who it was may still be a zombie.
        for left in ("dockerd.pid", "run/containerd/containerd.pid"):
            (self.home / left).unlink(missing_ok=True)
        log = self.home / "dockerd.log"
        with log.open("w") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self.inside, "dockerd",
                 "--host", f"unix://{self.socket}", "--data-root", self.home / "data",
                 "--exec-root", self.home / "run", "--pidfile", self.home / "dockerd.pid"],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        until = time.monotonic() + 60
        while self.engine.run("docker", "info", check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                *_, last = log.read_text().strip().splitlines() or ["it says nothing"]
                raise NoEngineError(f"dockerd does not start here: {last}")
            time.sleep(0.2)

    def stop(self) -> None:
        """In order."""
        self._process.terminate()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait()

    def cut_power(self) -> None:
        """Nothing ends in order: engine, containers and what is between them."""
        running = self.engine.docker("ps", "--quiet").split()
        asked = ("inspect", "--format", "{{.State.Pid}}", *running)
        inside = [int(pid) for pid in self.engine.docker(*asked).split()] if running else []
        for pid in [self._process.pid, *self._helpers(), *inside]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self.start()

    def _helpers(self) -> list[int]:
        """containerd and its shims, which name a file of ours."""
        ours = f"{self.home}/run/containerd/".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if ours in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
        return found


def _network(*, up: bool) -> None:
    commands = [["netns", "add", NAMESPACE], ["-n", NAMESPACE, "link", "set", "lo", "up"]]
    for command in commands if up else [["netns", "delete", NAMESPACE]]:
        subprocess.run(["ip", *command], check=up, capture_output=True)
