"""What ``vps.yml`` asks for comes, works, and goes again."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from tests.deploy import grafana_stand_in
from tests.deploy.network import VPS
from tests.deploy.site import Site, wait_for
from tests.deploy.test_4_machine import browse

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

_STORE = 9190
_PASSWORD = "-".join(("glc", "remote", "4711"))
_REMOTE_WRITE = f"""\
remote_write:
  url: http://127.0.0.1:{_STORE}/api/v1/write
  username: 123456
"""


@pytest.fixture
def store(site: Site) -> Iterator[None]:
    """Another Prometheus, which accepts what is written to it, for a password."""
    hashed = bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    ssh = site.laptop.ssh
    ssh("mkdir -p /srv/store && echo '{}' >/srv/store/prometheus.yml && chown -R quant /srv/store")
    ssh("cat >/srv/store/web.yml", stdin=json.dumps({"basic_auth_users": {"123456": hashed}}))
    ssh(
        "systemd-run --quiet --unit=store --uid=quant prometheus "
        "--config.file=/srv/store/prometheus.yml --web.config.file=/srv/store/web.yml "
        f"--storage.tsdb.path=/srv/store/data --web.listen-address=127.0.0.1:{_STORE} "
        "--web.enable-remote-write-receiver"
    )
    yield
    ssh("systemctl stop store; rm -rf /srv/store")


def stored(site: Site, query: str) -> int:
    """What the store answers, as its user."""
    asked = urllib.parse.urlencode({"query": query})
    said = site.laptop.ssh(
        f"python3 -c 'import base64, urllib.request as u; print(u.urlopen(u.Request("
        f'"http://127.0.0.1:{_STORE}/api/v1/query?{asked}", headers={{"Authorization": "Basic " + '
        f'base64.b64encode(b"123456:{_PASSWORD}").decode()}})).read().decode())\'',
        check=False,
    )
    found = json.loads(said)["data"]["result"] if said.startswith("{") else []
    return int(found[0]["value"][1]) if found else 0


def sends(site: Site) -> bool | None:
    """Whether the VPS's own Prometheus runs with a remote_write; None while it does not answer."""
    try:
        return "remote_write:" in site.get("/api/v1/status/config", port=9090)
    except OSError:
        return None


def test_series_are_sent_on_and_counted_before(site: Site, store: None) -> None:
    """To a real Prometheus, with a password from a file; and no longer when the setting is gone."""
    laptop, ssh = site.laptop, site.laptop.ssh
    prometheus = "systemctl show -P ExecMainStartTimestampMonotonic prometheus"
    began = ssh(prometheus)
    laptop.write("vps.yml", _REMOTE_WRITE)
    said = laptop.fab("provision", "--dry-run").well()
    assert "remote_write: left out, its password is missing. Store it (make secret" in said
    laptop.fab("secret", "remote_write_password", stdin=_PASSWORD).well()
    site.post("/api/v1/metrics", {"name": "lots_held", "value": 3})
    wait_for(lambda: site.prometheus("lots_held") == [3.0], 20)
    laptop.write("vps.yml", f"{_REMOTE_WRITE}  max_series: 5\n")
    assert "are more than max_series (5); nothing was changed" in laptop.fab("provision").failed()
    assert ssh(prometheus) == began
    laptop.write("vps.yml", f"{_REMOTE_WRITE}  origin: my-vps\n")
    said = laptop.fab("provision").well()
    announced = re.search(
        r"remote_write: (\d+) series to 127.0.0.1, of at most 10000; metrics of your own: 1",
        said.text,
    )
    assert announced
    assert said.text.index(announced[0]) < said.text.index("write /etc/quant-exporter/settings")
    number = int(announced[1])
    wait_for(lambda: stored(site, 'count({origin="my-vps"})') >= number * 0.95, 30)
    assert stored(site, 'count({origin="my-vps"})') <= number * 1.05
    assert stored(site, 'count({__name__=~".+_bucket"})') == 0
    assert stored(site, "lots_held") == 3
    assert _PASSWORD not in ssh("systemctl show prometheus; cat /opt/quant/current/prometheus/.w*")
    assert "nothing to do" in laptop.fab("provision").well()
    # The next version sends as well; its own file is left as it was committed.
    site.deploy_well("sends on")
    assert sends(site)
    assert "remote_write" not in ssh("cat /opt/quant/current/prometheus/prometheus.yml")

    (laptop.repository / "vps.yml").unlink()
    assert "remove /etc/quant-exporter/remote-write.yml" in laptop.fab("provision").well()
    wait_for(lambda: sends(site) is False, 20)
    left = ssh(
        "ls -A /etc/prometheus/secrets /opt/quant/current/prometheus; cat /etc/default/prom*"
    )
    assert ".with" not in left
    assert "remote_write" not in left
    laptop.fab("secret", "remote_write_password", "--remove").well()
    assert "nothing to do" in laptop.fab("provision").well()
    site.serves()


class Elsewhere:
    """Another machine, outside: its processes, and what they are asked there."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.folder = site, folder
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str | Path) -> None:
        """A program that goes on until the test ends."""
        space = self.site.vps.network.outside.path
        with (self.folder / f"{len(self._started)}.log").open("wb") as log:
            self._started.append(
                subprocess.Popen(["nsenter", f"--net={space}", *command], stdout=log, stderr=log)
            )

    def ask(self, port: int, path: str, body: object = None) -> object:
        """JSON of one of its servers; None while it does not answer."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )

        def answer() -> object:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                return json.loads(urllib.request.urlopen(asked, timeout=5).read() or b"true")
            return None

        return self.site.vps.network.outside.within(answer)

    def value(self, query: str) -> str | None:
        """What its Prometheus answers."""
        said = self.ask(9090, f"/api/v1/query?query={urllib.parse.quote(query)}")
        found = said["data"]["result"] if isinstance(said, dict) else []
        return str(found[0]["value"][1]) if found else None

    def end(self, count: int = 99) -> None:
        """End the newest of what was started."""
        for process in self._started[-count:]:
            process.terminate()
            process.wait(20)
        del self._started[-count:]


@pytest.fixture
def elsewhere(site: Site, tmp_path: Path) -> Iterator[Elsewhere]:
    machine = Elsewhere(site, tmp_path)
    yield machine
    machine.end()


def test_prometheus_and_alertmanager_run_on_another_machine(
    site: Site, elsewhere: Elsewhere
) -> None:
    """Real ones there, with the shipped files: through the SSH tunnel all works as if they were
    here; by TLS they scrape and post. Without the setting everything is as before."""
    laptop, ssh, folder = site.laptop, site.laptop.ssh, elsewhere.folder
    key = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (folder / "known_hosts").write_text(f"{VPS} {site.vps.host_key()}")
    public = key.with_suffix(".pub").read_text().strip()
    settings = f"prometheus: elsewhere\ntunnel: {public}\nmetrics_user: prometheus\n"
    laptop.write("vps.yml", settings)
    laptop.fab("secret", "metrics_password", stdin="scrape-4711").well()
    said = laptop.fab("provision").well()
    assert "stop and disable prometheus.service" in said
    assert "nothing to do" in laptop.fab("provision").well()
    assert ":909" not in ssh("ss -Htln")

    token = ssh("cat /var/lib/quant-exporter/token").strip()
    _files_for(laptop.repository, folder, token)
    elsewhere.start(
        "prometheus", f"--config.file={folder}/prometheus/prometheus.yml",
        f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:9090",
    )  # fmt: skip
    elsewhere.start(
        "prometheus-alertmanager", f"--config.file={folder}/alerting/alertmanager.yml",
        f"--storage.path={folder}/silences", "--web.listen-address=127.0.0.1:9093",
        "--cluster.listen-address=",
    )  # fmt: skip
    up = 'up{job="quant-exporter", instance="%s"}'
    wait_for(lambda: elsewhere.value(up % f"{VPS}:443") == "1", 30)
    assert browse(site, "/metrics", password=None)[0] == 401
    assert browse(site, "/metrics")[0] == 401  # the pages' login does not do
    assert browse(site, "/api/v1/alerts", password=None)[0] == 401
    assert browse(site, "/api/v1/alerts", method="POST", password=None, body="{}")[0] == 401
    _fire(elsewhere, "QuantTaskFailing", "slow")
    # By TLS, before there is a tunnel.
    wait_for(lambda: "QuantTaskFailing" in site.get("/api/v1/alerts?since=1h"), 30)

    elsewhere.start(
        "ssh", "-N", "-F", "none", "-i", key, "-o", f"UserKnownHostsFile={folder}/known_hosts",
        "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes",
        "-L", "10077:127.0.0.1:10077", "-R", "127.0.0.1:9090:127.0.0.1:9090",
        "-R", "127.0.0.1:9093:127.0.0.1:9093", f"quant-tunnel@{VPS}",
    )  # fmt: skip
    wait_for(lambda: elsewhere.value(up % "localhost:10077") == "1", 30)
    form = urllib.parse.urlencode({"alertname": "QuantTaskFailing", "task": "slow", "for": "30m",
                                   "token": token})  # fmt: skip
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{VPS}",
               "Sec-Fetch-Site": "same-origin"}  # fmt: skip
    status, _, page = browse(site, "/ack", method="POST", body=form, headers=headers)
    assert (status, "Acknowledged" in page) == (200, True), page
    silences = elsewhere.ask(9093, "/api/v2/silences")
    assert isinstance(silences, list)
    assert [s["status"]["state"] for s in silences] == ["active"]
    assert "QuantTaskFailing (silenced)" in laptop.fab("status").text
    told = "sshd -T -C user={},host=x,addr=1.1.1.1 | grep -c 'clientaliveinterval 15'; true"
    assert [ssh(told.format(user)).strip() for user in ("quant-tunnel", "root")] == ["1", "0"]
    # The key opens these ports and nothing else.
    ssh_there = ("ssh", "-F", "none", "-i", key, "-o", f"UserKnownHostsFile={folder}/known_hosts",
                 "-o", "BatchMode=yes")  # fmt: skip
    enter = ("nsenter", f"--net={site.vps.network.outside.path}")
    refused = subprocess.run(
        [*enter, *ssh_there, f"quant-tunnel@{VPS}", "id"], check=False, capture_output=True
    )
    assert refused.returncode
    assert b"uid=" not in refused.stdout

    (laptop.repository / "vps.yml").unlink()
    laptop.fab("provision").well()
    refused = subprocess.run(
        [*enter, *ssh_there, "-N", f"quant-tunnel@{VPS}"],
        check=False, capture_output=True, timeout=20,
    )  # fmt: skip
    assert b"Permission denied" in refused.stderr
    assert browse(site, "/metrics")[0] == 404
    laptop.fab("secret", "metrics_password", "--remove").well()
    assert "nothing to do" in laptop.fab("provision").well()
    site.serves()


def _files_for(project: Path, folder: Path, token: str) -> None:
    """The shipped files as docs/deploy.md says: a second target by TLS, posts by TLS."""
    for name in ("prometheus", "alerting"):
        shutil.copytree(project / name, folder / name)
    file = folder / "prometheus/prometheus.yml"
    (folder / "metrics_password").write_text("scrape-4711")
    (folder / "exporter_token").write_text(token)
    file.write_text(f"""{file.read_text()}
  - job_name: quant-exporter-by-tls
    scheme: https
    basic_auth: {{username: prometheus, password_file: {folder}/metrics_password}}
    tls_config: {{insecure_skip_verify: true}}  # the machine's own certificate
    static_configs: [{{targets: ["{VPS}:443"]}}]
    relabel_configs: [{{target_label: job, replacement: quant-exporter}}]
""")
    (folder / "alerting/alertmanager.yml").write_text(f"""
route: {{receiver: journal, group_wait: 0s, group_by: [alertname, task]}}
receivers:
  - name: journal
    webhook_configs:
      - url: https://{VPS}/api/v1/alerts?receiver=journal
        http_config:
          authorization: {{credentials_file: {folder}/exporter_token}}
          tls_config: {{insecure_skip_verify: true}}
""")


def _fire(elsewhere: Elsewhere, name: str, task: str) -> None:
    labels = {"alertname": name, "task": task, "severity": "critical"}
    wait_for(lambda: elsewhere.ask(9093, "/api/v2/alerts", [{"labels": labels}]), 20)


def test_grafana_comes_and_goes(site: Site, tmp_path: Path) -> None:
    """From a signed source, its key picked by its fingerprint, or from a file; behind the login,
    with data sources and boards. It goes again, and what it kept stays."""
    if not shutil.which("gpg"):
        pytest.skip("gpg is missing; tools/install-test-packages installs it")
    laptop, ssh = site.laptop, site.laptop.ssh
    installed = "dpkg-query -W -f '${db:Status-Status} ${Version}' grafana"
    ssh("rm -f /etc/apt/sources.list.d/grafana.list")
    laptop.write("vps.yml", "grafana: false\n")
    assert "remove grafana" in laptop.fab("provision").well()
    assert browse(site, "/grafana/")[0] == 404

    fingerprint = grafana_stand_in.signed_source(site.vps.root, tmp_path)
    source = "grafana: {source: 'file:/srv/signed', key: 'file:///srv/signed/gpg.key'"
    laptop.write("vps.yml", f"{source}, fingerprint: '{'0' * 40}'}}\n")
    said = laptop.fab("provision").failed()
    assert f"no key there has the fingerprint {'0' * 40}; it has " in said
    assert ssh(installed).startswith("config-files")
    laptop.write("vps.yml", f"{source}, fingerprint: {fingerprint}}}\n")
    assert "install grafana" in laptop.fab("provision").well()
    assert ssh(installed) == "installed 2"
    _grafana_serves(site)
    environment = "systemctl show -P Environment quant-exporter"
    assert f"QUANT_DASHBOARDS_URL=https://{VPS}/grafana" in ssh(environment).split()
    assert ssh("stat -c '%U:%G %a' /etc/grafana/grafana.ini").strip() == "root:grafana 640"
    assert "nothing to do" in laptop.fab("provision").well()

    grafana_stand_in.package(laptop.repository, "3")
    laptop.write("vps.yml", "grafana: {deb: grafana_3_all.deb}\n")
    said = laptop.fab("provision").well()
    assert "sending grafana_3_all.deb" in said
    assert ssh(installed) == "installed 3"
    _grafana_serves(site)
    said = laptop.fab("provision").well()
    assert said.text.strip() == "nothing to do"

    (laptop.repository / "vps.yml").unlink()
    assert "remove grafana" in laptop.fab("provision").well()
    assert "QUANT_DASHBOARDS_URL" not in ssh(environment)
    assert "Permission denied" not in ssh("ls /var/lib/grafana/grafana.db")
    left = "/etc/apt/sources.list.d /etc/apt/keyrings /etc/grafana/provisioning/*"
    assert "quant" not in ssh(f"ls {left}")
    assert "nothing to do" in laptop.fab("provision").well()


def _grafana_serves(site: Site) -> None:
    """Behind nginx' login, with what is provisioned and nothing that is not here."""
    assert browse(site, "/grafana/", password=None)[0] == 401
    boards = wait_for(lambda: browse(site, "/grafana/boards")[2], 20)
    assert "quant-overview.json" in json.loads(boards)
    assert json.loads(browse(site, "/grafana/sources")[2]) == [
        ["Prometheus", "http://127.0.0.1:9090"], ["Alertmanager", "http://127.0.0.1:9093"],
    ]  # fmt: skip
