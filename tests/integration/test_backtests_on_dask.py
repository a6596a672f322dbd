"""Backtests on a real Dask cluster of two workers on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from exporter.backtests import dask_executor
from exporter.backtests.bar_table import BarTable
from exporter.backtests.dask_executor import DaskExecutor
from exporter.backtests.local_executor import ExecutorError
from exporter.backtests.unit import UnitGroup, UnitResult, compute
from exporter.config.backtests import Backtests
from tests.integration.processes import Program, free_port, need, wait_for
from tests.unit.backtests.bars import group, random_bars

pytestmark = pytest.mark.integration
CODE = """
import helper_of_cluster, os, time
def f(bars, n, what=""):
    time.sleep(helper_of_cluster.PAUSE)
    if what == "exits":
        os._exit(3)
    return (bars.close > bars.close.shift(n)).astype(float)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as made:
        yield made


@pytest.fixture
def work(tmp_path: Path) -> list[UnitGroup]:
    """Four groups of six units; the modules are in this folder alone."""
    (tmp_path / "helper_of_cluster.py").write_text("PAUSE = 0.02\n")
    groups = []
    for number in range(4):
        table: BarTable = replace(random_bars(200, number), symbol=f"S{number}")
        sets = [{"n": n + 1} for n in range(6)]
        made = group(tmp_path, CODE, table, *sets, name="strategy_of_cluster")
        trials = [replace(one, number=number * 6 + one.number) for one in made.trials]
        groups.append(replace(made, trials=trials))
    return groups


def settings(cluster: LocalCluster, **more: object) -> Backtests:
    address = cluster.scheduler_address
    return Backtests(executor="dask", scheduler=address, timeout=20.0, **more)  # type: ignore[arg-type]


def run(executor: DaskExecutor, groups: list[UnitGroup]) -> dict[int, UnitResult]:
    found: dict[int, UnitResult] = {}

    def keep(result: UnitResult) -> None:
        assert result.number not in found  # counted once
        found[result.number] = result

    executor.run(iter(groups), keep)
    return found


def test_the_same_units_have_the_same_results(
    cluster: LocalCluster, work: list[UnitGroup], tmp_path: Path
) -> None:
    """As in this process; the code travelled, and what ends a unit's process costs it alone."""
    odd = work[0].trials[2]
    spoiled = [
        *work[0].trials[:2],
        replace(odd, params={"n": 1, "what": "exits"}),
        *work[0].trials[3:],
    ]
    groups = [replace(work[0], trials=spoiled), *work[1:]]
    executor = DaskExecutor(settings(cluster), [tmp_path])
    assert executor.workers == 2
    found = run(executor, groups)
    assert sorted(found) == list(range(24))
    assert found[2].error == "its process ended with exit status 3"
    for each in work:
        for result in compute(each):
            if result.number != 2:
                assert found[result.number].numbers == pytest.approx(result.numbers, nan_ok=True)


def test_units_of_a_lost_worker_run_elsewhere(
    cluster: LocalCluster, work: list[UnitGroup], tmp_path: Path
) -> None:
    """Killed with -9 while it computes; every unit is counted, and once."""
    (tmp_path / "helper_of_cluster.py").write_text("PAUSE = 0.15\n")
    with Client(cluster.scheduler_address) as client:
        pids = list(client.run(os.getpid).values())
    executor = DaskExecutor(settings(cluster), [tmp_path])
    killed = []

    def kill_one() -> None:
        time.sleep(1.0)
        os.kill(pids[0], signal.SIGKILL)
        killed.append(pids[0])

    thread = threading.Thread(target=kill_one)
    thread.start()
    found = run(executor, work)
    thread.join()
    assert killed
    assert sorted(found) == list(range(24))
    assert [result.error for result in found.values() if result.error] == []


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, before any history is fetched."""
    nobody = Backtests(executor="dask", scheduler="tcp://127.0.0.1:9")
    monkeypatch.setattr(dask_executor, "CONNECT_SECONDS", 1.0)
    with pytest.raises(ExecutorError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        DaskExecutor(nobody, [])


def test_a_scheduler_that_dies_is_an_error_and_what_was_computed_counts(
    work: list[UnitGroup], tmp_path: Path
) -> None:
    """With TLS on all ways, as Dask's own commands have it."""
    (tmp_path / "helper_of_cluster.py").write_text("PAUSE = 0.3\n")
    place = tmp_path / "cluster"
    place.mkdir()
    pem, key = place / "cert.pem", place / "key.pem"
    subprocess.run(
        [need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", pem, "-days", "2", "-subj", "/CN=127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    address = f"tls://127.0.0.1:{free_port()}"
    tls = ["--tls-ca-file", pem, "--tls-cert", pem, "--tls-key", key]
    dask = [sys.executable, "-m", "dask"]
    scheduler = Program(
        [*dask, "scheduler", "--host", address, "--no-dashboard", *tls], place / "s"
    )
    worker = Program(
        [*dask, "worker", address, "--nthreads", "1", "--nworkers", "1", "--no-dashboard",
         "--local-directory", place, *tls],
        place / "w",
    )  # fmt: skip
    found: list[UnitResult] = []
    try:
        wait_for(lambda: "Registered to" in worker.output(), "the worker to join", 60)
        asked = Backtests.model_validate(
            {
                "executor": "dask", "scheduler": address, "timeout": "20s",
                "tls": {"ca": str(pem), "cert": str(pem), "key": str(key)},
            }
        )  # fmt: skip
        executor = DaskExecutor(asked, [tmp_path])
        assert executor.workers == 1

        def keep(result: UnitResult) -> None:
            found.append(result)
            if len(found) == 1:
                scheduler.kill()

        with pytest.raises(ExecutorError, match=r"scheduler is gone|cluster was lost"):
            executor.run(iter(work), keep)
    finally:
        worker.stop()
        scheduler.stop()
    assert 0 < len(found) < 24
    assert [one.error for one in found if one.error] == []
