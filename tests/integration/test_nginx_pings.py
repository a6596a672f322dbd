"""Debian's nginx with the site that a VPS gets: pings pass without a password, and nothing else."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.processes import Exporter, free_port, need, post, wait_for

pytestmark = pytest.mark.integration

SITE = Path(__file__).parents[2] / "deploy/files/nginx-site.conf"
PASSWORD = "correct horse"
CONFIG = """\
listen: 127.0.0.1:{port}
public_url: https://127.0.0.1
tasks: {{nightly: {{external: true, schedule: "every 1h"}}}}
"""
MAIN = """\
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{}}
http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  include {folder}/site.conf;
}}
"""


@dataclass(frozen=True)
class Site:
    """nginx in front of an exporter; `ping` is the path of the task's address."""

    port: int
    plain: int
    exporter: Exporter
    ping: str

    def connect(self) -> http.client.HTTPSConnection:
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=trust)

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> int:
        """The status."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body or None, headers)
            return connection.getresponse().status


def adapted(folder: Path, port: int, plain: int, behind: int) -> str:
    """The shipped site on other ports and files; a pause of a body may be a second here."""
    text = SITE.read_text()
    text = re.sub(r"^ *listen \[::\].*\n", "", text, flags=re.MULTILINE)
    for old, new in (
        ("listen 80 ", f"listen 127.0.0.1:{plain} "),
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("/etc/quant-exporter/tls/", f"{folder}/"),
        ("/etc/quant-exporter/login", f"{folder}/login"),
        ("/var/log/nginx/", f"{folder}/"),
        ("client_body_timeout 10s", "client_body_timeout 1s"),
        ("http://127.0.0.1:10077", f"http://127.0.0.1:{behind}"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all of this file."""
    nginx, openssl = _nginx(), need("openssl")
    folder = tmp_path_factory.mktemp("nginx")
    behind, port, plain = free_port(), free_port(), free_port()
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/CN=x", "-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    made = subprocess.run(
        [openssl, "passwd", "-apr1", PASSWORD], check=True, capture_output=True, text=True
    )
    (folder / "login").write_text(f"quant:{made.stdout}")
    (folder / "site.conf").write_text(adapted(folder, port, plain, behind))
    user = "user root;" if Path("/proc/self").stat().st_uid == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
    (folder / "exporter.yml").write_text(CONFIG.format(port=behind))
    with Exporter(folder / "exporter.yml") as exporter:
        exporter.wait_ready(behind)
        _, answer = post(f"{exporter.url}/api/v1/tasks/nightly/ping-url", exporter.token)
        process = subprocess.Popen(
            [nginx, "-p", folder, "-c", folder / "nginx.conf"],
            stdout=subprocess.DEVNULL, stderr=(folder / "nginx.out").open("wb"),
        )  # fmt: skip
        try:
            wait_for(lambda: _listens(port), (folder / "nginx.out").read_text() or "nginx")
            yield Site(port, plain, exporter, answer["path"])
        finally:
            process.terminate()
            process.wait(10)


def _nginx() -> str:
    usual = Path("/usr/sbin/nginx")
    return str(usual) if usual.is_file() else need("nginx")


def _listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def test_a_ping_needs_no_password_and_is_kept(site: Site) -> None:
    """By GET, HEAD and POST, with an exit status and a body."""
    for method, more in (("GET", "/start"), ("HEAD", ""), ("POST", "/3")):
        body = b"broker refused\n" if method == "POST" else b""
        assert site.ask(site.ping + more, method, body) == 200
    samples = site.exporter.metrics()
    assert samples['quant_task_runs_total{task="nightly"}'] == 2
    assert samples['quant_task_failures_total{reason="error",task="nightly"}'] == 1


@pytest.mark.parametrize(
    "path",
    [
        "/", "/api/v1/tasks", "/pings/x", "/PING/x", "/ack", "/runbook",
        "/ping/../api/v1/tasks", "/ping/%2e%2e/api/v1/tasks", "/ping/..%2fapi/v1/tasks",
        "/ping/x/../../api/v1/tasks", "//api/v1/tasks", "/grafana/",
    ],
)  # fmt: skip
def test_nothing_else_passes_without_the_password(site: Site, path: str) -> None:
    """Whatever way it is written."""
    assert site.ask(path) == 401


def test_metrics_are_for_the_machine_alone_and_the_page_for_who_has_the_password(
    site: Site,
) -> None:
    login = "Basic " + base64.b64encode(f"quant:{PASSWORD}".encode()).decode()
    assert site.ask("/metrics", Authorization=login) == 404
    assert site.ask("/-/ready", Authorization=login) == 404
    assert site.ask("/", Authorization=login) == 200


def test_an_address_that_is_guessed_is_not_found_and_the_token_does_not_pass(site: Site) -> None:
    """The header stays in nginx, so a leaked address opens nothing by it."""
    guessed = "/ping/11111111-2222-4333-8444-555555555555"
    assert site.ask(guessed) == 404
    token = f"Bearer {site.exporter.token}"
    assert site.ask("/api/v1/tasks/nightly/fail", "POST", Authorization=token) == 401


def test_a_body_that_is_too_large_is_refused(site: Site) -> None:
    """Before it was sent."""
    with contextlib.closing(site.connect()) as connection:
        connection.putrequest("POST", site.ping)
        connection.putheader("Content-Length", str(17 * 1024 * 1024))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_a_body_that_stops_is_ended_and_never_reaches_the_exporter(site: Site) -> None:
    runs = 'quant_task_runs_total{task="nightly"}'
    before = site.exporter.metrics()[runs]
    with contextlib.closing(site.connect()) as connection:
        connection.putrequest("POST", site.ping)
        connection.putheader("Content-Length", "1000")
        connection.endheaders()
        connection.send(b"only this")
        began = time.monotonic()
        with contextlib.suppress(http.client.RemoteDisconnected):
            assert connection.getresponse().status == 408
        assert time.monotonic() - began < 10
    assert site.exporter.metrics()[runs] == before


def test_the_jobs_of_a_whole_crontab_pass_at_once(site: Site) -> None:
    """300 pings over one connection, faster than any limit for people."""
    with contextlib.closing(site.connect()) as connection:
        for _ in range(300):
            connection.request("GET", site.ping)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200


def test_plain_http_leads_to_tls(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.plain, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", site.ping)
        assert connection.getresponse().status == 301
