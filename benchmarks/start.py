"""From the command to ready: the shipped config, first and later, and the largest setup."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks import building
from benchmarks.figures import OURS, Row, compared
from benchmarks.processes import ROOT, free_port

AIM_SECONDS = 1.5


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """Ready is when /-/ready answers 200. Compiled modules and file cache are warm."""
    rounds = 1 if quick else 7
    first, later, large = [], [], []
    with building.market(folder) as market:
        _start(_shipped(folder / "warm"))
        for number in range(rounds):
            config = _shipped(folder / f"shipped-{number}")
            first.append(_start(config))
            later.append(_start(config))
            large.append(_start(_large(folder / f"large-{number}", market)))
    rows: list[Row] = []
    for what, seconds in (
        ("exporter.yml as shipped, first start", first),
        ("exporter.yml as shipped, later", later),
        (f"{building.TASKS} tasks, {building.SYMBOLS} symbols", large),
    ):
        rows += compared("start to ready", what, {OURS: seconds}, "s", aim=AIM_SECONDS)
    return rows


def _start(config: Path) -> float:
    port = int(yaml.safe_load(config.read_text())["listen"].rpartition(":")[2])
    began = time.perf_counter()
    with building.exporter(config, port):
        return time.perf_counter() - began


def _shipped(folder: Path) -> Path:
    """The sample config and its strategies, on a free port."""
    shutil.copytree(ROOT / "sample", folder)
    config = folder / "exporter.yml"
    config.write_text(f"listen: 127.0.0.1:{free_port()}\n{config.read_text()}")
    return config


def _large(folder: Path, market: str) -> Path:
    return building.config(
        folder, free_port(), market, feeds={"coins": building.feed()},
        tasks={
            f"task_{number:03d}": {"run": "bench:look", "schedule": "every 30m"}
            for number in range(building.TASKS)
        },
    )  # fmt: skip
