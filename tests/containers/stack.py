"""The whole stack from a fresh checkout, and how to ask it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.compose import ROOT, SERVICES
from tests.containers.engine import Engine, Said

PROJECT = "quant-test"
EXPORTER, PROMETHEUS = "http://localhost:10077", "http://localhost:9090"
ALERTMANAGER = "http://localhost:9093"
STORE = "http://localhost:19090"
"""The Prometheus that remote write goes to."""
T = TypeVar("T")

ALWAYS = """
groups:
  - name: mine
    rules:
      - alert: AlwaysFires
        expr: vector(1)
        labels: {severity: warning}
        annotations: {summary: A rule of the test fires., description: It always does.}
"""
TASKS = """
  beat: {command: [echo, beats], schedule: "every 5s"}
  hungry: {command: [python3, -c, "x = b'x' * 3 * 2**30"], schedule: "sun 03:00"}
"""
OVERRIDE = """
services:
  store:
    image: prom/prometheus:VERSION
    restart: unless-stopped
    command:
      - --config.file=/etc/store.yml
      - --storage.tsdb.path=/prometheus
      - --web.enable-remote-write-receiver
    volumes: ["./store.yml:/etc/store.yml:ro"]
    ports: ["127.0.0.1:19090:9090"]
"""


@dataclass
class Stack:
    """One checkout, and what `make up` started from it."""

    engine: Engine
    checkout: Path
    profiles: str = ""

    def clone(self, source: Path = ROOT) -> None:
        """A checkout as a user has it."""
        subprocess.run(["git", "clone", "--quiet", source, self.checkout], check=True)
        sample = (self.checkout / "sample/exporter.yml").read_text()
        self.write("exporter.yml", f"{sample.rstrip()}{TASKS}")

        self.write("prometheus/rules/always.yml", ALWAYS)

    def write(self, name: str, text: str) -> None:
        """A file of the user's own."""
        (self.checkout / name).write_text(text)

    def add_store(self) -> None:
        """Another Prometheus, and remote write to it, as docs/containers.md sets it up."""
        version = SERVICES["prometheus"]["image"].rpartition(":")[2]
        self.write("docker-compose.override.yml", OVERRIDE.replace("VERSION", version))
        self.write("store.yml", "global: {}\n")
        agent = (self.checkout / "prometheus/remote-write.yml").read_text()
        for shipped, ours in (
            ("https://prometheus.example.com/api/prom/push", "http://store:9090/api/v1/write"),
            # A minute would be long for a test.
            ("scrape_interval: 60s", "scrape_interval: 5s"),
            ("scrape_timeout: 20s", "scrape_timeout: 4s"),
        ):
            assert shipped in agent
            agent = agent.replace(shipped, ours)
        self.write("prometheus/remote-write.yml", agent)

    def up(self, *, check: bool = True) -> Said:
        """`make up`."""
        environment = {"COMPOSE_PROJECT_NAME": PROJECT, "PROFILES": self.profiles}
        done = self.engine.run("make", "up", cwd=self.checkout, check=False, env=environment)
        assert not check or done.returncode == 0, done.stdout + done.stderr + self.logs()
        return done

    def compose(self, *arguments: str, check: bool = True, **more: Any) -> str:
        """What `docker compose …` printed."""
        return self.engine.docker(
            "compose", "--project-name", PROJECT, "--profile", "*", *arguments,
            cwd=self.checkout, check=check, **more,
        )  # fmt: skip

    def down(self) -> None:
        """All of it away at once, volumes too: nobody waits for an orderly end."""
        self.compose("down", "--volumes", "--timeout", "0", check=False)

    def logs(self, *services: str) -> str:
        """What containers said last."""
        return self.compose("logs", "--no-color", "--tail", "20", *services, check=False)

    def containers(self) -> dict[str, dict[str, str]]:
        """Service to what `ps` says of its container, those that ended too."""
        rows = map(json.loads, self.compose("ps", "--all", "--format", "json").splitlines())
        return {row["Service"]: row for row in rows}

    def health(self) -> dict[str, str]:
        """Service to its health, of those that run."""
        found = self.containers().items()
        return {name: row["Health"] for name, row in found if row["State"] == "running"}

    def kill(self, service: str) -> None:
        """As a crash does, or the kernel when memory runs out; `docker kill` would be a stop."""
        pid = self.engine.docker("inspect", "--format", "{{.State.Pid}}", self.id_of(service))
        os.kill(int(pid), signal.SIGKILL)

    def id_of(self, service: str) -> str:
        """Of its container."""
        return self.containers()[service]["ID"]

    def state_folder(self) -> Path:
        """Where the engine has the exporter's volume."""
        volume = f"{PROJECT}_exporter-state"
        return Path(self.engine.docker("volume", "inspect", "--format", "{{.Mountpoint}}", volume))

    def command(self, *words: str, check: bool = True) -> str:
        """What a command of quant-exporter printed, as docs/containers.md runs it."""
        return self.compose("exec", "-T", "exporter", "quant-exporter", *words, check=check)

    def get(self, url: str) -> str:
        """What a published port answers, or an empty text."""
        return self.engine.run("curl", "-sfg", "--max-time", "5", url, check=False).stdout

    def json(self, url: str) -> Any:
        """The same, read; None where nothing came."""
        return json.loads(self.get(url) or "null")

    def ask(self, query: str, at: str = PROMETHEUS) -> list[dict[str, Any]]:
        """What Prometheus answers to a query."""
        done = self.engine.run(
            "curl", "-sf", "--max-time", "5", "--data-urlencode", f"query={query}",
            f"{at}/api/v1/query", check=False,
        )  # fmt: skip
        found: list[dict[str, Any]] = json.loads(done.stdout or '{"data": {"result": []}}')["data"][
            "result"
        ]
        return found


def until(true: Callable[[], T], seconds: float = 60, what: str = "") -> T:
    """The first value of `true` that is true."""
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end, f"not within {seconds} s: {what or true}"
        time.sleep(0.5)
    return value
