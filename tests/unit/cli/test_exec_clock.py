"""A clock that is corrected while a command runs under `exec`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from exporter.cli import exec_wrapper


@pytest.mark.parametrize("jump", [-600.0, 3600.0])
def test_a_run_began_as_long_before_its_end_as_it_took(
    monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """By the clock after the correction, so that a report is neither refused nor hours long."""
    clock = {"wall": 1_790_000_000.0, "passed": 50.0}

    class Command:
        killed_by = 0

        def __init__(self, command: list[str]) -> None:
            pass

        def wait(self) -> tuple[int, bytes]:
            clock["passed"] += 30
            clock["wall"] += 30 + jump
            return 3, b"no broker"

    ends: list[dict[str, Any]] = []
    monkeypatch.setattr(exec_wrapper, "Child", Command)
    monkeypatch.setattr(exec_wrapper, "time", SimpleNamespace(
        time=lambda: clock["wall"], monotonic=lambda: clock["passed"]))  # fmt: skip
    monkeypatch.setattr(exec_wrapper, "_begin", lambda *_: None)
    monkeypatch.setattr(exec_wrapper, "_end", lambda report, *_: ends.append(report))
    assert exec_wrapper.run("http://127.0.0.1:9/ping/KEY/etl", "etl", ["false"]) == 3
    (end,) = ends
    assert end["ended"] == 1_790_000_030.0 + jump
    assert end["ended"] - end["started"] == 30
