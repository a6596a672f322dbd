"""The engine that all tests here share: one that answers, or one that they start.

A started one lives in a network namespace of its own, so that its ports are free whatever else this
machine runs, and nobody else reaches them. Its images stay in the cache between runs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    socket, log = home / "docker.sock", home / "dockerd.log"
    inside = ["nsenter", f"--net=/run/netns/{NAMESPACE}"]
    ours = Engine(
        started=True, inside=inside,
        environment={
            **os.environ, "DOCKER_HOST": f"unix://{socket}", "DOCKER_CONFIG": str(config),
        },
    )  # fmt: skip
    _network(up=False)
    _network(up=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *inside, "dockerd", "--host", f"unix://{socket}",
             "--data-root", home / "data", "--exec-root", home / "run",
             "--pidfile", home / "dockerd.pid"],
            stdout=output, stderr=output, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        _wait_for(ours, process, log)
        yield ours
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()
            _network(up=False)


def _network(*, up: bool) -> None:
    commands = [["netns", "add", NAMESPACE], ["-n", NAMESPACE, "link", "set", "lo", "up"]]
    for command in commands if up else [["netns", "delete", NAMESPACE]]:
        subprocess.run(["ip", *command], check=up, capture_output=True)


def _wait_for(engine: Engine, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while engine.run("docker", "info", check=False).returncode:
        if process.poll() is not None or time.monotonic() > until:
            *_, last = log.read_text().strip().splitlines() or ["it says nothing"]
            raise NoEngineError(f"dockerd does not start here: {last}")
        time.sleep(0.2)
