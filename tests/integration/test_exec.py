"""`quant-exporter exec`: the command runs as without it, and the exporter learns how it went."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.integration.processes import ROOT, Exporter, free_port, get, wait_for

pytestmark = pytest.mark.integration

QEXEC = Path(tempfile.mkdtemp()) / "qexec"


@pytest.fixture(scope="module", autouse=True)
def printed() -> Iterator[None]:
    """The one file, as after `quant-exporter exec --print-file > qexec`."""
    own = [sys.executable, "-m", "exporter", "exec", "--print-file"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    QEXEC.write_bytes(subprocess.run(own, capture_output=True, check=True, env=env).stdout)
    yield
    shutil.rmtree(QEXEC.parent)


class Receiver:
    """Stands in for the exporter: notes what is posted, and answers with one status."""

    def __init__(self, port: int) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                if outer.status == 200:
                    outer.posts.append((parts.path, query, body))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Not on the terminal."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def receiver(port: int) -> Iterator[Receiver]:
    found = Receiver(port)
    yield found
    found.close()


class Wrapped:
    """Runs commands through the file alone, as on another machine."""

    def __init__(self, folder: Path, port: int, retry: float = 0) -> None:
        self.spool = folder / "spool"
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "QUANT_EXEC_SPOOL": str(self.spool),
            "QUANT_PING_URL": f"http://127.0.0.1:{port}/ping/KEY",
            "QUANT_EXEC_RETRY_SECONDS": str(retry),
        }  # fmt: skip

    def start(self, *command: str, **how: Any) -> subprocess.Popen[bytes]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        words = [sys.executable, "-I", str(QEXEC), "etl", "--", *command]
        return subprocess.Popen(words, env=self.env, **(pipes | how))

    def run(self, *command: str) -> tuple[int, bytes, str]:
        """Status, stdout, stderr."""
        process = self.start(*command)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err.decode()

    def kept(self) -> list[dict[str, Any]]:
        return [json.loads(file.read_text()) for file in sorted(self.spool.glob("*.report"))]


@pytest.fixture
def wrapped(tmp_path: Path, port: int) -> Wrapped:
    return Wrapped(tmp_path, port)


@pytest.mark.parametrize(
    ("script", "status", "reported"),
    [("exit 0", 0, 0), ("exit 3", 3, 3), ("kill -TERM $$", -15, 143), ("kill -9 $$", -9, 137)],
)
def test_the_exit_status_goes_through_and_is_reported(
    receiver: Receiver, wrapped: Wrapped, script: str, status: int, reported: int
) -> None:
    """A signal as well: whoever started it sees the same."""
    assert wrapped.run("sh", "-c", f"echo out; echo err >&2; {script}") == (
        status, b"out\n", "err\n")  # fmt: skip
    (start, first, _), (end, second, body) = receiver.posts
    assert (start, end) == ("/ping/KEY/etl/start", f"/ping/KEY/etl/{reported}")
    assert first["rid"] == second["rid"]
    assert float(second["started"]) <= float(second["ended"]) <= time.time()
    assert sorted(body.split()) == [b"err", b"out"]


def test_a_command_that_cannot_be_started_is_reported(receiver: Receiver, wrapped: Wrapped) -> None:
    """With a shell's status; no task stays running."""
    status, _, err = wrapped.run("/no/such/program")
    assert status == 127
    assert err == "qexec: /no/such/program: No such file or directory\n"
    assert receiver.posts[-1][0] == "/ping/KEY/etl/127"
    assert b"No such file" in receiver.posts[-1][2]


def test_much_output_goes_through_unchanged_and_its_end_is_sent(
    receiver: Receiver, wrapped: Wrapped
) -> None:
    """Bytes that are no UTF-8, too; memory does not grow with it."""
    code = "import os\nfor n in range(300): os.write(1, b'\\xff' * 99_999 + b'\\n')\nprint('end')"
    status, out, _ = wrapped.run(sys.executable, "-c", code)
    assert (status, len(out), out[-5:]) == (0, 30_000_004, b"\nend\n")
    assert receiver.posts[-1][2].decode().endswith("\nend\n")
    assert len(receiver.posts[-1][2].decode()) == 10_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_signals_reach_the_command(
    receiver: Receiver, wrapped: Wrapped, number: signal.Signals
) -> None:
    """Which decides what it does; one that ignores them goes on."""
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got; exit 7' {name}; echo ready; while :; do sleep 0.05; done"
    process = wrapped.start("sh", "-c", script, start_new_session=True)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=20)[0] == b"got\n"
    assert process.returncode == 7
    process = wrapped.start("sh", "-c", f"trap '' {name}; echo ready; sleep 0.5; exit 4")
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=20)[0] == b""
    assert process.returncode == 4
    assert [path for path, *_ in receiver.posts][1::2] == ["/ping/KEY/etl/7", "/ping/KEY/etl/4"]


def test_a_reader_that_leaves_ends_the_command_as_without_us(
    receiver: Receiver, wrapped: Wrapped
) -> None:
    """`yes | head -1`; and a stdout that is closed from the start ends nothing."""
    process = wrapped.start("yes")
    assert process.stdout
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.wait(20) == -signal.SIGPIPE
    shell = f"'{sys.executable}' '{QEXEC}' etl -- sh -c 'echo lost; exit 5' >&-"
    assert subprocess.run(["sh", "-c", shell], env=wrapped.env, check=False).returncode == 5
    assert receiver.posts[-1][0] == "/ping/KEY/etl/5"


def test_what_stays_in_the_background_does_not_hold_the_caller(
    receiver: Receiver, wrapped: Wrapped
) -> None:
    """Although it has the output open."""
    began = time.monotonic()
    assert wrapped.run("sh", "-c", "sleep 30 & echo $!")[0] == 0
    assert time.monotonic() - began < 20
    os.kill(int(receiver.posts[-1][2]), signal.SIGKILL)


def test_without_the_exporter_the_command_runs_and_its_report_is_kept(
    port: int, wrapped: Wrapped
) -> None:
    """And sent by the next run, in order and with its true times."""
    status, out, err = wrapped.run("sh", "-c", "echo first; exit 3")
    assert (status, out) == (3, b"first\n")
    assert f"127.0.0.1:{port} does not answer" in err
    assert f"is kept in {wrapped.spool} and sent later" in err
    (kept,) = wrapped.kept()
    assert wrapped.spool.stat().st_mode & 0o77 == 0
    receiver = Receiver(port)
    try:
        assert wrapped.run("sh", "-c", "echo second; sleep 0.3") == (0, b"second\n", "")
    finally:
        receiver.close()
    ends = [(path, query, body) for path, query, body in receiver.posts if "start" not in path]
    assert [(path, body) for path, _, body in ends] == [
        ("/ping/KEY/etl/3", b"first\n"), ("/ping/KEY/etl/0", b"second\n")]  # fmt: skip
    assert ends[0][1]["rid"] == kept["rid"]
    assert float(ends[0][1]["ended"]) == pytest.approx(kept["ended"], abs=0.001)
    assert wrapped.kept() == []


@pytest.mark.parametrize(("status", "kept"), [(503, 1), (404, 0)])
def test_what_would_be_refused_again_is_not_kept(
    receiver: Receiver, wrapped: Wrapped, status: int, kept: int
) -> None:
    """A wrong address is said, once; an exporter that starts is waited for."""
    receiver.status = status
    code, _, err = wrapped.run("true")
    assert code == 0
    assert err.count("refuses the report: HTTP 404") == (status == 404)
    assert len(wrapped.kept()) == kept


def test_a_process_of_its_own_goes_on_trying(tmp_path: Path, port: int) -> None:
    """The caller does not wait for it, and it ends when the report is sent."""
    wrapped = Wrapped(tmp_path, port, retry=60)
    assert wrapped.run("true")[0] == 0
    receiver = Receiver(port)
    try:
        wait_for(lambda: receiver.posts, "the report")
    finally:
        receiver.close()
    assert receiver.posts[0][0] == "/ping/KEY/etl/0"
    wait_for(lambda: wrapped.kept() == [], "an empty spool")


def test_it_adds_little(receiver: Receiver, wrapped: Wrapped) -> None:
    """Processor time of the wrapper with both reports, beyond that of an empty Python."""

    def used(words: list[str]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, env=wrapped.env, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    plain = min(used([sys.executable, "-c", "pass"]) for _ in range(5))
    ours = min(used([sys.executable, str(QEXEC), "etl", "true"]) for _ in range(5))
    assert ours - plain < 0.06
    assert len(receiver.posts) == 10


# --- with the exporter itself

CONFIG = 'listen: 127.0.0.1:{port}\ntasks:\n  etl: {{external: true, schedule: "every 1h"}}\n'


def test_a_run_outlives_the_exporter_s_death(tmp_path: Path, port: int) -> None:
    """Started before a kill -9, ended while nobody answers, and recorded with its true times."""
    (tmp_path / "exporter.yml").write_text(CONFIG.format(port=port))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "QUANT_EXEC_SPOOL": str(tmp_path / "spool"),
           "QUANT_EXEC_RETRY_SECONDS": "0"}  # fmt: skip
    own = [sys.executable, "-m", "exporter", "exec"]

    def task() -> dict[str, Any]:
        return dict(json.loads(get(f"http://127.0.0.1:{port}/api/v1/tasks"))["tasks"][0])

    with Exporter(tmp_path / "exporter.yml") as exporter:
        exporter.wait_ready(port)
        wait_for((tmp_path / "var/ping-url").is_file, "the address for commands of this machine")
        script = "echo begun; while [ ! -e go ]; do sleep 0.05; done; echo 12 rows"
        running = subprocess.Popen([*own, "etl", "--", "sh", "-c", script], cwd=tmp_path, env=env)
        wait_for(lambda: task()["state"] == "running", "its start")
        exporter.kill()
    (tmp_path / "go").touch()
    assert running.wait(30) == 0
    ended = time.time()
    with Exporter(tmp_path / "exporter.yml") as exporter:
        exporter.wait_ready(port)
        assert task()["state"] == "running"
        subprocess.run([*own, "--flush"], cwd=tmp_path, env=env, check=True, timeout=30)
        found = task()
    assert (found["state"], found["last_outcome"]) == ("well", "success")
    assert found["last_end"] == pytest.approx(ended, abs=5)


def test_the_printed_file_works_alone_and_prints_itself(tmp_path: Path) -> None:
    """With no exporter to import."""
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    own = [sys.executable, "-I", "-S", str(QEXEC)]
    done = subprocess.run([*own, "etl", "echo", "hello"], env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    assert b"nothing is reported: set QUANT_PING_URL" in done.stderr
    again = subprocess.run([*own, "--print-file"], env=env, capture_output=True, check=True)
    assert again.stdout == QEXEC.read_bytes()
