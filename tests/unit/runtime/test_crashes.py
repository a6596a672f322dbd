"""What is said of a process that hung or crashed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Config
from exporter.metrics import Metrics
from exporter.runtime.crashes import Crashes, sentence

HUNG = """\
Timeout (0:00:30)!

Thread 0x00007f1 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait

Thread 0x00007f2 (most recent call first):
  File "/srv/bot/scan.py", line 8 in look
  File "/usr/lib/python3.11/asyncio/events.py", line 80 in _run
"""
ABORTED = """\
Fatal Python error: Aborted

Current thread 0x00007f2 (most recent call first):
  File "/srv/bot/scan.py", line 8 in look

Thread 0x00007f1 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait

Extension modules: yaml._yaml, numpy.core (total: 2)
"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HUNG, "its event loop hung in look (/srv/bot/scan.py, line 8)"),
        (
            ABORTED,
            "it was aborted in look (/srv/bot/scan.py, line 8), as systemd does when the event "
            "loop hangs",
        ),
        (
            ABORTED.replace("Aborted", "Segmentation fault"),
            "it crashed in look (/srv/bot/scan.py, line 8): Segmentation fault",
        ),
        ("Timeout (0:00:30)!\n", "its event loop hung"),
        ("Fatal P", "it crashed: unknown reason"),
    ],
)
def test_the_sentence_names_the_place_and_the_reason(text: str, why: str) -> None:
    """Of the main thread, or of the one that got the signal; also of a file cut short."""
    assert sentence(text) == f"the exporter was started again: {why}"


def test_what_a_process_left_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its time stays known after that."""
    config = Config(state=tmp_path / "state.db")
    (tmp_path / "crash.txt").write_text(HUNG)
    for reported in (1, 1):
        registry = CollectorRegistry()
        Crashes(Metrics(registry), lambda: config).report()
        assert caplog.text.count("its event loop hung in look") == reported
        at = registry.get_sample_value("quant_exporter_last_crash_timestamp_seconds")
        assert at == (tmp_path / "last-crash.txt").stat().st_mtime


def test_nothing_is_reported_where_nothing_happened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty file is what a process leaves that was stopped or killed."""
    (tmp_path / "crash.txt").touch()
    registry = CollectorRegistry()
    Crashes(Metrics(registry), lambda: Config(state=tmp_path / "state.db")).report()
    assert not caplog.text
    assert math.isnan(
        registry.get_sample_value("quant_exporter_last_crash_timestamp_seconds") or 0.0
    )
