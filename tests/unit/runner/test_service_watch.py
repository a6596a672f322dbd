"""Services that must be up: what systemd says becomes series, runs and words."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Task
from exporter.metrics import Metrics
from exporter.runner.recorder import Recorder
from exporter.runner.samples import create_series
from exporter.runner.service_watch import LOOKS_EVERY_SECONDS, ServiceWatch
from exporter.runner.systemd import Scope, Systemd, SystemdError, Unit, read_units
from tests.unit.clocks import ManualClock
from tests.unit.stores import MemoryStore

UP = Unit("bot.service", "loaded", "active", "running", since=100.0)
FAILED = Unit("bot.service", "loaded", "failed", "failed", "exit-code", 1, since=160.0)


class Bench:
    """A service `bot` on a systemd of whose units the test decides."""

    def __init__(self, store: MemoryStore | None = None, **more: Any) -> None:
        self.clock, self.store = ManualClock(), store or MemoryStore()
        self.registry, self.open = CollectorRegistry(), True
        self.unit: Unit | str = UP
        self.lines = ""
        metrics, ids = Metrics(self.registry), itertools.count(1)
        create_series(metrics, ["bot"])
        record = Recorder(self.store, metrics, self.clock, lambda s: s.replace("hunter2", "*"))
        record.known = frozenset(["bot"])
        self.services = ServiceWatch(
            self.store, metrics, self.clock, lambda: f"id{len(self.store.ends)}-{next(ids)}",
            record=record, systemd=self,  # type: ignore[arg-type]
            calendar=lambda _: SimpleNamespace(is_open=lambda _: self.open),
        )  # fmt: skip
        self.services.apply({"bot": Task.model_validate({"service": "bot.service", **more})})

    async def units(self, names: Sequence[str], scope: Scope) -> dict[str, Unit]:
        if isinstance(self.unit, str):
            raise SystemdError(self.unit)
        return dict.fromkeys(names, self.unit)

    async def journal(self, name: str, scope: Scope) -> str:
        return self.lines

    async def look(self, times: int = 2) -> None:
        for _ in range(times):
            await self.services.look()
            self.clock.advance(LOOKS_EVERY_SECONDS)

    @property
    def ends(self) -> list[tuple[str | None, str | None]]:
        return [(end.outcome, end.error) for end in self.store.ends]

    def value(self, name: str) -> float:
        found = self.registry.get_sample_value(f"quant_service_{name}", {"task": "bot"})
        assert found is not None
        return found


async def test_every_series_is_there_before_the_first_look() -> None:
    bench = Bench()
    assert math.isnan(bench.value("up"))
    assert bench.value("restarts_total") == bench.value("recent_restarts") == 0
    assert (bench.value("restarts_limit"), bench.value("expected")) == (3, 1)


async def test_down_is_a_failed_run_with_its_last_lines_and_up_again_a_success() -> None:
    bench = Bench()
    bench.lines = "connecting\nRuntimeError: broker refused hunter2\n"
    await bench.look()
    bench.unit = FAILED
    await bench.look(5)
    assert bench.value("up") == 0
    bench.unit = replace(UP, since=900.0)
    await bench.look()
    text = "bot.service has failed (exit status 1); its last lines: RuntimeError: broker refused *"
    assert bench.ends == [("success", None), ("error", text), ("success", None)]
    assert bench.store.ends[1].tail == "connecting\nRuntimeError: broker refused *\n"
    assert bench.value("up") == 1


async def test_since_when_is_told_by_the_wall_clock() -> None:
    bench = Bench()
    bench.unit = replace(UP, since=bench.clock.monotonic() - 3600)
    await bench.look(1)
    began = bench.clock.now() - LOOKS_EVERY_SECONDS - 3600
    assert bench.value("since_timestamp_seconds") == pytest.approx(began)


async def test_a_restart_by_hand_is_no_failure() -> None:
    """It is down for one look, which is shown at once but not recorded."""
    bench = Bench()
    await bench.look()
    bench.unit = replace(UP, active="deactivating", sub="stop-sigterm")
    await bench.look(1)
    assert bench.value("up") == 0
    bench.unit = UP
    await bench.look()
    assert bench.ends == [("success", None)]


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        (Unit("bot.service", "not-found", "inactive"),
         "bot.service is unknown to systemd: install its unit, or correct the name"),
        (Unit("bot.service", "masked", "inactive"),
         "bot.service is masked: systemctl unmask bot.service"),
        (Unit("bot.service", "bad-setting", "inactive"),
         "bot.service cannot be loaded (bad-setting): see systemctl status bot.service"),
        (Unit("bot.service", "loaded", "inactive", "dead"), "bot.service is stopped"),
        (replace(FAILED, result="oom-kill"), "bot.service has failed (oom kill)"),
        (replace(FAILED, result="signal", status=9), "bot.service has failed (signal 9)"),
        (replace(FAILED, active="activating", sub="auto-restart"),
         "bot.service ended (exit status 1) and waits for its restart"),
        ("Failed to connect to bus",
         "whether bot.service is up is not known: systemd cannot be asked: "
         "Failed to connect to bus"),
    ],
)  # fmt: skip
async def test_whatever_is_not_up_fails_and_says_why(unit: Unit | str, said: str) -> None:
    bench = Bench()
    bench.unit = unit
    await bench.look()
    status = bench.services.status("bot")
    assert status is not None
    assert (status.failing, status.trouble, bench.value("up")) == (True, said, 0)
    assert bench.ends == [("error", said)]


async def test_a_service_that_systemd_restarts_too_often_fails_though_it_is_up() -> None:
    bench = Bench(max_restarts=2)
    await bench.look()
    for count in (1, 3):
        bench.unit = replace(UP, restarts=count)
        await bench.look()
    said = "bot.service was restarted 3 times within 1h (limit 2)"
    assert bench.ends[-1] == ("error", said)
    assert (bench.value("restarts_total"), bench.value("recent_restarts")) == (3, 3)
    bench.clock.advance(3600)
    await bench.look()
    assert bench.ends[-1] == ("success", None)
    assert (bench.value("restarts_total"), bench.value("recent_restarts")) == (3, 0)


async def test_whoever_starts_it_by_hand_ends_the_count_of_its_restarts() -> None:
    """systemd counts from 0 again, too."""
    bench = Bench(max_restarts=0)
    await bench.look()
    bench.unit = replace(UP, restarts=5)
    await bench.look()
    bench.unit = UP
    await bench.look()
    assert bench.value("recent_restarts") == 0
    assert [kind for kind, _ in bench.ends] == ["success", "error", "success"]


async def test_with_an_exchange_it_must_be_up_only_while_that_is_open() -> None:
    bench = Bench(exchange="XNYS")
    bench.open, bench.unit = False, replace(FAILED, active="inactive")
    await bench.look(5)
    status = bench.services.status("bot")
    assert status and not status.failing
    assert (bench.value("expected"), bench.ends) == (0, [])
    bench.open = True
    await bench.look()
    assert (bench.value("expected"), len(bench.ends)) == (1, 1)


async def test_a_restart_of_the_exporter_neither_repeats_a_failure_nor_forgets_restarts() -> None:
    first = Bench(max_restarts=1)
    await first.look()
    first.unit = replace(UP, restarts=1)
    await first.look()
    first.unit = replace(FAILED, restarts=1)
    await first.look()
    again = Bench(first.store, max_restarts=1)
    again.clock.advance(60)
    again.unit = replace(FAILED, restarts=1)
    await again.look()
    assert len(first.store.ends) == 2
    again.unit = replace(UP, restarts=2)
    await again.look()
    assert again.ends[-1] == ("error", "bot.service was restarted 2 times within 1h (limit 1)")


async def test_what_the_disk_did_not_take_is_recorded_by_a_later_look() -> None:
    bench = Bench()
    bench.store.durable = False
    bench.unit = FAILED
    await bench.look()
    assert bench.ends == []
    bench.store.durable = True
    await bench.look(1)
    assert [kind for kind, _ in bench.ends] == ["error"]


# --- asking systemctl

SHOWN = """\
Id=bot.service
LoadState=loaded
ActiveState=active
SubState=running
Type=simple
RemainAfterExit=no
Result=success
ExecMainStatus=0
NRestarts=4
ActiveEnterTimestampMonotonic=5000000
ActiveExitTimestampMonotonic=4000000

Id=gone.service
LoadState=not-found
ActiveState=inactive
ActiveEnterTimestampMonotonic=0
ActiveExitTimestampMonotonic=0
"""


def test_blocks_are_matched_to_names_by_their_order() -> None:
    """An alias is shown by another name than was asked for."""
    found = read_units(SHOWN, ["alias.service", "gone.service"])
    assert (found["alias.service"].up, found["alias.service"].restarts) == (True, 4)
    assert found["alias.service"].since == 5.0
    assert found["gone.service"].load == "not-found"
    assert read_units(SHOWN, ["alias.service"]) == {}


@pytest.mark.parametrize(("kind", "up"), [("forking", False), ("simple", False), ("oneshot", True)])
def test_a_program_that_has_ended_is_not_up_though_systemd_says_active(kind: str, up: bool) -> None:
    """`active (exited)`, with RemainAfterExit=yes; a oneshot has done its work then."""
    shown = SHOWN.partition("\n\n")[0].replace("SubState=running", "SubState=exited")
    shown = shown.replace("Type=simple", f"Type={kind}").replace("Exit=no", "Exit=yes")
    (unit,) = read_units(shown, ["bot.service"]).values()
    assert unit.up == up
    assert ("its program has ended with exit status 0" in unit.trouble) != up


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for stand-ins of systemctl and journalctl, first on the PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


async def test_systemctl_is_asked_once_for_all_and_journalctl_for_the_end(path: Path) -> None:
    program(path, "systemctl", f'echo "$@" >{path}/asked\ncat <<E\n{SHOWN}E')
    program(path, "journalctl", 'echo "$1 $6"')
    found = await Systemd().units(["bot.service", "gone.service"], "user")
    assert [unit.up for unit in found.values()] == [True, False]
    asked = (path / "asked").read_text()
    assert asked.startswith("--user show ")
    assert asked.endswith(" -- bot.service gone.service\n")
    assert await Systemd().journal("bot.service", "user") == "--user _SYSTEMD_USER_UNIT=bot.service"


async def test_what_systemctl_complains_of_is_the_reason(path: Path) -> None:
    program(path, "systemctl", "echo 'Failed to connect to bus: No such file' >&2; exit 1")
    program(path, "journalctl", "echo secrets; exit 1")
    with pytest.raises(SystemdError, match=r"^Failed to connect to bus: No such file$"):
        await Systemd().units(["bot.service"], "system")
    assert await Systemd().journal("bot.service", "system") == ""


async def test_a_systemctl_that_hangs_is_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path, "systemctl", f"echo $$ >{path}/pid; exec sleep 60")
    monkeypatch.setattr("exporter.runner.systemd._SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(SystemdError, match="did not answer"):
        await Systemd().units(["bot.service"], "system")
    assert time.monotonic() - began < 5
    assert not Path(f"/proc/{(path / 'pid').read_text().strip()}").exists()


async def test_a_machine_without_systemd_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(path))
    with pytest.raises(SystemdError, match="systemctl cannot be started: No such file"):
        await Systemd().units(["bot.service"], "system")
