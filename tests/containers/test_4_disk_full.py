"""A disk that is full: what says so, what goes on, and what recovers by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.containers.stack import EXPORTER, PROMETHEUS, Stack, until

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(900)]
SMALL = """
volumes:
  {volume}: {{driver_opts: {{type: none, o: bind, device: {place}}}}}
"""


@contextmanager
def small_disk(stack: Stack, volume: str, place: Path, megabytes: int) -> Iterator[Path]:
    """The stack with this volume on a disk of its own, which is as large as said."""
    place.mkdir()
    override = stack.checkout / "docker-compose.override.yml"
    before = override.read_text()
    stack.down()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place], check=True)
    try:
        override.write_text(before + SMALL.format(volume=volume, place=place))
        stack.up()
        yield place
    finally:
        stack.down()
        override.write_text(before)
        subprocess.run(["umount", place], check=True)


def fill(place: Path) -> Path:
    """A file that takes all that is left."""
    filler = place / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(2**16))
                file.flush()
        except OSError:
            return filler


def value(stack: Stack, name: str) -> float | None:
    """Of a metric without labels, as the exporter says it now."""
    for line in stack.get(f"{EXPORTER}/metrics").splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    return None


def firing(stack: Stack) -> set[str]:
    """Names of the alerts that fire in Prometheus."""
    alerts = (stack.json(f"{PROMETHEUS}/api/v1/alerts") or {"data": {"alerts": []}})["data"][
        "alerts"
    ]
    return {a["labels"]["alertname"] for a in alerts if a["state"] == "firing"}


def test_a_full_state_volume_is_said_and_recovers(stack: Stack, tmp_path: Path) -> None:
    """What could run twice does not start, the page and an alert say so, and it goes on by itself
    when there is room again."""
    if not stack.engine.started:
        pytest.skip("the engine of this machine is not the tests' to change")
    with small_disk(stack, "exporter-state", tmp_path / "disk", megabytes=24) as place:
        until(lambda: value(stack, "quant_state_healthy") == 1, seconds=120)
        filler = fill(place)
        until(lambda: value(stack, "quant_state_healthy") == 0, what="the state is not durable")
        assert "beat is not started: without a durable claim" in until(
            lambda: (said := stack.logs("exporter")) and "not started" in said and said
        )
        until(lambda: "QuantStateUnhealthy" in firing(stack), seconds=240, what="it is alerted on")
        assert stack.health()["exporter"] == "healthy"
        before = stack.get(f"{EXPORTER}/tasks/beat")
        filler.unlink()
        until(
            lambda: value(stack, "quant_state_healthy") == 1,
            seconds=180,
            what="it is durable again",
        )
        assert stack.get(f"{EXPORTER}/tasks/beat") != before


def test_a_full_prometheus_volume_is_alerted_on(stack: Stack, tmp_path: Path) -> None:
    """Prometheus keeps no sample then, and the dead-man's alert goes on: it is the missing exporter
    that pages."""
    if not stack.engine.started:
        pytest.skip("the engine of this machine is not the tests' to change")
    with small_disk(stack, "prometheus-data", tmp_path / "disk", megabytes=48) as place:
        until(lambda: len(stack.ask("up == 1")) == 3)
        filler = fill(place)
        until(lambda: "QuantExporterDown" in firing(stack), seconds=600, what="a page")
        assert "QuantWatchdog" in firing(stack)
        filler.unlink()
        until(lambda: len(stack.ask("up == 1")) == 3, seconds=120, what="it stores again")
