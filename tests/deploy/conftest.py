"""One VPS for all tests here: it is provisioned once, and the good version serves between tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.debian_tree import why_not
from tests.deploy.site import PASSWORD, SECRET, Site
from tests.deploy.vps import Laptop, Said, Vps

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


@pytest.fixture(scope="session")
def provisioned(laptop: Laptop) -> Said:
    """What the first provision said."""
    return laptop.fab("provision").well()


GRAFANA = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open("/root/asked.jsonl", "a") as file:
            login = self.headers["Authorization"]
            file.write(json.dumps({"path": self.path, "login": login, "body": body}) + "\\n")
        self.send_response(200)
        self.end_headers()
    def do_GET(self):
        said = f"Grafana saw {self.path} and the login {self.headers['Authorization'] or None}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said.encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", 3000), Handler).serve_forever()
"""
"""Debian has no Grafana; this stands where it would listen and writes down what it is asked."""


@pytest.fixture(scope="session")
def site(vps: Vps, laptop: Laptop, provisioned: Said) -> Site:
    """The first version is deployed, with a secret and a login."""
    project = Site(vps, laptop)
    laptop.fab("secret", "BROKER_KEY", stdin=f"{SECRET}\n").well()
    laptop.fab("password", stdin=f"{PASSWORD}\n").well()
    laptop.ssh("mkdir /srv/data && chown quant: /srv/data")
    laptop.fab("secret", "GRAFANA_TOKEN", stdin="glsa_test_4711\n").well()
    laptop.ssh("cat > /root/grafana.py", stdin=GRAFANA)
    laptop.ssh("systemd-run --quiet --unit=grafana-test python3 /root/grafana.py")
    project.deploy_well("the first version")
    return project
