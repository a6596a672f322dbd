"""One VPS for all tests here: they are steps of one story, in order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.debian_tree import why_not
from tests.deploy.vps import Laptop, Vps

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def vps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vps]:
    """A machine that was just rented: Debian, systemd, sshd, and nothing else."""
    if reason := why_not():
        pytest.skip(reason)
    machine = Vps(tmp_path_factory.mktemp("vps"), PROJECT / "requirements.lock")
    try:
        yield machine
    finally:
        machine.close()


@pytest.fixture(scope="session")
def laptop(vps: Vps, tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """The laptop, with its key on the machine, which is up."""
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    computer = Laptop(tmp_path_factory.mktemp("laptop"), PROJECT, vps)
    vps.boot()
    computer.wait_for_boot()
    return computer
