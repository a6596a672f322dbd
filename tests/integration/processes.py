"""Real processes for tests: started on free ports, ended by their own process, logs at hand."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds to wait for something that takes one or two on an idle machine."""


_BLOCK = 1500
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = itertools.cycle(range(20_000 + _WORKER % 8 * _BLOCK, 20_000 + (_WORKER % 8 + 1) * _BLOCK))
for _ in range(os.getpid() % _BLOCK):
    next(_ports)  # two runs of the tests on one machine begin at different places


def free_port() -> int:
    """A port that nobody listens on, and that no other test takes before its server does: each
    worker has ports of its own, which are none that the kernel gives to whoever asks for any."""
    for port in itertools.islice(_ports, _BLOCK):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def need(program: str) -> str:
    """The path of a program; skips the test when it is not there."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed; `make test` as root installs it")
    return path


def wait_for(what: Callable[[], Any], why: str, patience: float = PATIENCE) -> Any:
    """Until `what` gives something true; fails the test after `patience` seconds."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {patience:.0f} s for {why}")


class Program:
    """One process; output goes to a file that a failing test shows."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [str(a) for a in arguments], stdout=out, stderr=out, env=environment, cwd=cwd
            )

    def output(self) -> str:
        """All that it printed."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """With -9: nothing in it may run any more."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self, patience: float = 30) -> int:
        """Orderly; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not stop:\n{self.output()[-3000:]}") from None

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


def get(url: str, **headers: str) -> bytes:
    """The body of a GET; raises urllib's errors."""
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


def post(url: str, token: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
    """Status and decoded answer of a POST with the write token."""
    request = urllib.request.Request(
        url,
        method="POST",
        data=json.dumps(body or {}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def answers(url: str) -> bool:
    """Whether a GET succeeds."""
    try:
        get(url)
    except (OSError, urllib.error.URLError):
        return False
    return True


class Exporter(Program):
    """The real command on a config file, or `script` in its place, which gets the file's path."""

    def __init__(
        self, config: Path, env: Mapping[str, str] | None = None, script: Path | None = None
    ) -> None:
        command = [script] if script else ["-m", "exporter", "run", "--config"]
        arguments = [sys.executable, *command, config]
        super().__init__(arguments, config.parent / "exporter.out", env, config.parent)
        self.folder = config.parent
        self.url = ""

    def wait_ready(self, port: int) -> Exporter:
        """Until /-/ready says so."""
        self.url = f"http://127.0.0.1:{port}"

        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"it ended:\n{self.output()[-3000:]}")
            return answers(f"{self.url}/-/ready")

        wait_for(ready, "the exporter to be ready")
        return self

    @property
    def token(self) -> str:
        """The write token."""
        return (self.folder / "var/token").read_text().strip()

    def metrics(self) -> dict[str, float]:
        """Every sample of one scrape: its name with labels, as exposed, to its value."""
        found = {}
        for line in get(f"{self.url}/metrics").decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found


def hurried(folder: Path, **seconds: float) -> Path:
    """A script for :class:`Exporter` that does more often what exporter/app.py does every so many
    seconds: `STRATEGY_REFRESH=0.5`."""
    script = folder / "hurried.py"
    script.write_text(
        "import sys\nfrom exporter import app\nfrom exporter.cli.main import main\n"
        + "".join(f"assert app.{name}\napp.{name} = {value}\n" for name, value in seconds.items())
        + 'sys.exit(main(["run", "--config", sys.argv[1]]))\n'
    )
    return script


class Prometheus(Program):
    """Debian's Prometheus, scraping every second."""

    def __init__(self, folder: Path, targets: Sequence[str], more: str = "") -> None:
        program = need("prometheus")
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            "scrape_configs:\n"
            f"  - {{job_name: quant, static_configs: [{{targets: {json.dumps(list(targets))}}}]}}\n"
            + more
        )
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            folder / "prometheus.out",
        )
        wait_for(lambda: answers(f"{self.url}/-/ready"), "Prometheus to be ready")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query's result."""
        query = urllib.parse.urlencode({"query": expression})
        answer = json.loads(get(f"{self.url}/api/v1/query?{query}"))
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def samples(self, selector: str, over: str = "10m") -> list[tuple[float, float]]:
        """Raw samples of one series: (time, value)."""
        found = self.query(f"{selector}[{over}]")
        assert len(found) == 1, (selector, found)
        return [(float(t), float(v)) for t, v in found[0]["values"]]
