"""How full the disks are, and what may be used of the machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Config, Logs
from exporter.config.model import MachineLimits, Programs
from exporter.metrics import Metrics
from exporter.runtime.machine import ANSWERS_WITHIN_SECONDS, Machine, disks
from tests.unit.clocks import ManualClock


class Bench:
    """A machine as it is scraped."""

    def __init__(self, config: Config) -> None:
        self.clock, self.registry = ManualClock(), CollectorRegistry()
        self.machine = Machine(Metrics(self.registry), self.clock, lambda: config)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of one megabyte and a hundred inodes."""
    folder = tmp_path / "small"
    folder.mkdir()
    how = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=100", "none", str(folder)]
    if subprocess.run(how, capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_disk_is_one_series_with_what_lies_on_it(tmp_path: Path) -> None:
    """Also when the folders are not there yet."""
    config = Config(state=tmp_path / "new/state.db", logs=Logs(directory=tmp_path / "new/log"))
    bench = Bench(config)
    assert bench.value("quant_disk_free_ratio", folders="state,logs,reports") is None
    await bench.machine.look()
    ratio = bench.value("quant_disk_free_ratio", folders="state,logs,reports")
    assert ratio is not None
    assert 0 <= ratio <= 1
    assert not (tmp_path / "new").exists()


async def test_a_disk_that_is_full_shows_it(tmp_path: Path, small_disk: Path) -> None:
    """Apart from the disk with the state."""
    config = Config(state=tmp_path / "state.db", logs=Logs(directory=small_disk / "log"))
    bench = Bench(config)
    await bench.machine.look()
    assert bench.value("quant_disk_free_ratio", folders="logs") > 0.9
    (small_disk / "large").write_bytes(bytes(1_000_000))
    await bench.machine.look()
    assert bench.value("quant_disk_free_ratio", folders="logs") < 0.1
    assert bench.value("quant_disk_free_bytes", folders="logs") < 100_000
    assert bench.value("quant_disk_free_ratio", folders="state,reports") is not None


def test_a_disk_without_inodes_is_full_too(tmp_path: Path, small_disk: Path) -> None:
    """Its space is nearly all free."""
    for number in range(95):
        (small_disk / str(number)).touch()
    config = Config(state=tmp_path / "state.db", logs=Logs(directory=small_disk))
    (logs,) = (disk for disk in disks(config) if disk.folders == "logs")
    assert logs.free_ratio < 0.1
    assert logs.free_bytes > 500_000


async def test_a_disk_that_hangs_has_no_number(tmp_path: Path) -> None:
    """An old one would say that all is well; the rules see NaN."""
    bench = Bench(Config(state=tmp_path / "state.db", logs=Logs(directory=tmp_path)))
    await bench.machine.look()
    bench.clock.advance(ANSWERS_WITHIN_SECONDS + 1)
    ratio = bench.value("quant_disk_free_ratio", folders="state,logs,reports")
    assert ratio is not None
    assert ratio != ratio
    await bench.machine.look()
    assert bench.value("quant_disk_free_ratio", folders="state,logs,reports") >= 0


def test_every_limit_is_a_metric_with_its_default(tmp_path: Path) -> None:
    """And a run may use most of what all programs may."""
    bench = Bench(Config(programs=Programs(memory=1_000_000_000)))
    assert bench.value("quant_exporter_memory_limit_bytes") == 350_000_000
    assert bench.value("quant_task_memory_limit_bytes") == 800_000_000
    assert bench.value("quant_disk_free_limit_ratio") == 0.1
    assert bench.value("quant_disk_full_limit_seconds") == 4 * 3600
    bench = Bench(Config(machine=MachineLimits(max_program_memory=7)))
    assert bench.value("quant_task_memory_limit_bytes") == 7
