"""A deploy waits for a good moment, and no longer."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "deploy/vps"))

import switch  # type: ignore[import-not-found]
import watch  # type: ignore[import-not-found]
from places import ProblemError  # type: ignore[import-not-found]
from releases import About, Release  # type: ignore[import-not-found]


class Exporter:
    """Answers /metrics as an exporter does whose task runs or is due soon."""

    def __init__(self) -> None:
        self.running = 0
        self.next_slot = time.time() + 3600
        self.asked = 0
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exporter.asked += 1
                body = (
                    f'quant_task_running{{task="t"}} {exporter.running}.0\n'
                    f'quant_task_running{{task="other"}} 1.0\n'
                    f'quant_task_info{{task="t"}} 1.0\n'
                    f'quant_task_next_slot_timestamp_seconds{{task="t"}} {exporter.next_slot}\n'
                ).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()

    def release(self) -> Release:
        known = {
            "listen": self.server.server_address[:2], "state": "/x", "logs": "/y", "simulated": [],
            "tasks": ["t"], "schema": 1, "uninterruptible": ["t"], "punctual": ["t"],
            "a_field_of_a_newer_tool": 1,
        }  # fmt: skip
        return Release("v", "e", 0.0, None, About.of(known))


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exporter]:
    monkeypatch.setattr(switch, "_LOOK_EVERY_SECONDS", 0.02)
    one = Exporter()
    yield one
    one.server.shutdown()
    one.server.server_close()


def waiting(exporter: Exporter) -> threading.Thread:
    thread = threading.Thread(target=switch.wait_for_tasks, args=[exporter.release()])
    thread.start()
    asked = exporter.asked
    while exporter.asked < asked + 6:
        time.sleep(0.01)
    return thread


def test_nothing_to_wait_for(exporter: Exporter) -> None:
    """Others may run; nothing is due within seconds."""
    switch.wait_for_tasks(exporter.release())


def test_a_run_that_must_not_be_interrupted(exporter: Exporter) -> None:
    """Until it has ended."""
    exporter.running = 1
    thread = waiting(exporter)
    assert thread.is_alive()
    exporter.running = 0
    thread.join(30)
    assert not thread.is_alive()


def test_a_slot_that_would_be_lost(exporter: Exporter) -> None:
    """One of a task that does not catch up is let pass; the one after it is far enough away."""
    exporter.next_slot = time.time() + 5
    thread = waiting(exporter)
    assert thread.is_alive()
    exporter.next_slot = time.time() + 3600
    thread.join(30)
    assert not thread.is_alive()


def test_a_task_that_leaves_no_gap(exporter: Exporter) -> None:
    """Every few seconds: one slot is let pass, then there is nothing better to wait for."""
    exporter.next_slot = time.time() + 2
    thread = waiting(exporter)
    exporter.next_slot += 2
    thread.join(30)
    assert not thread.is_alive()


def test_an_exporter_that_is_down(exporter: Exporter) -> None:
    """Does nothing that could be waited for."""
    release = exporter.release()
    exporter.server.shutdown()
    exporter.server.server_close()
    switch.wait_for_tasks(release)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Units that run, and those that do not, as systemd would say."""
    units = {"prometheus.service": True, "prometheus-alertmanager.service": True}
    monkeypatch.setattr(watch, "is_active", units.__getitem__)
    monkeypatch.setattr(watch, "_still_up", lambda: None)
    monkeypatch.setattr(watch, "last_words", lambda unit="": f"the last words of {unit}")
    return units


def test_a_server_that_does_not_run_with_the_new_files(
    exporter: Exporter, machine: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is told with its last words; the version does not count as good."""
    monkeypatch.setattr(watch, "_SERVERS_SECONDS", -1.0)
    machine["prometheus-alertmanager.service"] = False
    with pytest.raises(ProblemError) as problem:
        watch.watch(exporter.release(), 0.0, {}, ["prometheus-alertmanager.service"])
    said = str(problem.value)
    assert said.startswith("prometheus-alertmanager.service does not run with its files")
    assert "the last words of prometheus-alertmanager.service" in said


def test_a_version_that_nobody_scrapes(
    exporter: Exporter, machine: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is not good, however well it is."""
    monkeypatch.setattr(watch, "_SCRAPED_SECONDS", -1.0)
    with pytest.raises(ProblemError, match="Prometheus does not scrape it"):
        watch.watch(exporter.release(), 0.0, {}, ["prometheus.service"])


def test_a_machine_without_prometheus(exporter: Exporter, machine: dict[str, bool]) -> None:
    """Is watched without."""
    watch.watch(exporter.release(), 0.0, {}, [])


def test_a_version_that_hangs_is_found_by_three_questions(
    exporter: Exporter, machine: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is asked of what does not answer: each of those would wait for seconds."""
    answers = iter([True, False, False, False])
    monkeypatch.setattr(watch.probe, "is_ready", lambda _: next(answers))
    monkeypatch.setattr(watch.time, "sleep", lambda _: None)
    with pytest.raises(ProblemError, match="it was ready, and is no more"):
        watch.watch(exporter.release(), 30.0, {}, ["prometheus.service"])
    assert exporter.asked == 1  # for its tasks


def test_a_good_version_is_watched_for_the_time_that_was_said(
    exporter: Exporter, machine: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then only the first scrape is waited for, which is seen at once."""
    began, now, slept = time.monotonic(), [time.monotonic()], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now[0]))
    monkeypatch.setattr(watch, "_is_scraped", lambda _: now[0] > began + 4)
    watch.watch(exporter.release(), 3.5, {}, ["prometheus.service"])
    assert slept[:3] == [1.0, 1.0, 1.0]
    assert slept[3] == pytest.approx(0.5)
    assert max(slept[4:]) == pytest.approx(0.25)
