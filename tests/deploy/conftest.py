"""One VPS for all tests here: it is provisioned once, and the good version serves between tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import grafana_stand_in
from tests.deploy.debian_tree import NoVpsError, why_not
from tests.deploy.site import PASSWORD, SECRET, Site
from tests.deploy.vps import Laptop, Said, Vps

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def vps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vps]:
    """A machine that was just rented: Debian, systemd, sshd, and nothing else."""
    if reason := why_not():
        pytest.skip(reason)
    try:
        machine = Vps(tmp_path_factory.mktemp("vps"), PROJECT / "requirements.lock")
    except NoVpsError as error:
        pytest.skip(str(error))
    grafana_stand_in.add_source(machine.root)
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
    try:
        computer.wait_for_boot()
    except NoVpsError as error:
        pytest.skip(str(error))
    return computer


@pytest.fixture(scope="session")
def provisioned(laptop: Laptop) -> Said:
    """What the first provision said."""
    return laptop.fab("provision").well()


@pytest.fixture(scope="session")
def site(vps: Vps, laptop: Laptop, provisioned: Said) -> Site:
    """The first version is deployed, with a secret and a login."""
    project = Site(vps, laptop)
    laptop.fab("secret", "BROKER_KEY", stdin=f"{SECRET}\n").well()
    laptop.fab("password", stdin=f"{PASSWORD}\n").well()
    laptop.ssh("mkdir /srv/data && chown quant: /srv/data")
    project.deploy_well("the first version")
    return project
