"""What ``vps.yml`` asks for besides, all at once: Loki, and WireGuard to a Prometheus elsewhere
that reads /metrics by a token, too."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.deploy import grafana_stand_in, logs_stand_ins
from tests.deploy.network import VPS
from tests.deploy.site import Site, wait_for
from tests.deploy.test_4_machine import browse

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

_OURS, _THEIRS = "10.107.77.1", "10.107.77.2"
_TOKEN = "scrape.token-4711+0815"
_SETTINGS = """\
grafana: {deb: grafana_4_all.deb}
logs: {loki: loki_1_all.deb, alloy: alloy_1_all.deb}
prometheus: elsewhere
wireguard: {public_key: %s}
metrics_token: true
"""


class Peer:
    """The other machine, outside, with Debian's own WireGuard as it was unpacked on the VPS."""

    def __init__(self, site: Site) -> None:
        self._site, self._name = site, f"quant{os.getpid()}"
        self._started: list[subprocess.Popen[bytes]] = []
        key = X25519PrivateKey.generate()
        self.key, self.public_key = (
            base64.b64encode(raw).decode()
            for raw in (key.private_bytes_raw(), key.public_key().public_bytes_raw())
        )
        self.key_of_vps = ""

    def program(self, name: str) -> Path:
        """One of the VPS's packages."""
        return self._site.vps.root / "usr/bin" / name

    def start(self, *command: str | Path) -> None:
        """A program that goes on until the end."""
        space = self._site.vps.network.outside.path
        self._started.append(
            subprocess.Popen(
                ["nsenter", f"--net={space}", *command],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip

    def connect(self, folder: Path) -> None:
        """As docs/deploy.md says for wg-quick, step by step."""
        config = folder / "wireguard.conf"
        config.write_text(
            f"[Interface]\nPrivateKey = {self.key}\n[Peer]\nPublicKey = {self.key_of_vps}\n"
            f"Endpoint = {VPS}:51820\nAllowedIPs = {_OURS}/32\nPersistentKeepalive = 25\n"
        )
        run = self._site.vps.network.outside.run
        if self.program("wireguard-go").exists():
            self.start(self.program("wireguard-go"), "--foreground", self._name)
            wait_for(lambda: Path(f"/var/run/wireguard/{self._name}.sock").exists(), 10)
        else:  # provision saw that this kernel has it
            run("ip", "link", "add", self._name, "type", "wireguard")
        run("ip", "address", "add", f"{_THEIRS}/30", "dev", self._name)
        run("ip", "link", "set", self._name, "up")
        run(str(self.program("wg")), "setconf", self._name, str(config))

    def get(self, url: str, **headers: str) -> tuple[int, str]:
        """Status and text; 0 while nothing answers."""

        def ask() -> tuple[int, str]:
            try:
                request = urllib.request.Request(url, headers=headers)
                with urllib.request.urlopen(request, timeout=2) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, ""
            except OSError:
                return 0, ""

        return self._site.vps.network.outside.within(ask)

    def close(self) -> None:
        """End all of it."""
        for process in reversed(self._started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)


@pytest.fixture(scope="module")
def more(site: Site) -> Iterator[tuple[Site, Peer]]:
    """All of it is there; afterwards nothing of it runs any more."""
    if not any(Path(p).exists() for p in ("/dev/net/tun", "/sys/module/wireguard")):
        pytest.skip("neither /dev/net/tun nor a kernel with WireGuard here")
    laptop, ssh = site.laptop, site.laptop.ssh
    ssh("rm -f /etc/apt/sources.list.d/grafana.list")
    grafana_stand_in.package(laptop.repository, "4")
    logs_stand_ins.packages(laptop.repository)
    peer = Peer(site)
    laptop.write("vps.yml", _SETTINGS % peer.public_key)
    laptop.fab("secret", "metrics_token", stdin=_TOKEN).well()
    said = laptop.fab("provision").well().text
    peer.key_of_vps = said.partition("the public key of this machine is ")[2][:44]
    assert laptop.fab("provision").well().text.strip() == "nothing to do"
    yield site, peer
    peer.close()
    laptop.git("clean", "-qfd")
    (laptop.repository / "vps.yml").unlink(missing_ok=True)
    said = laptop.fab("provision").well()
    assert "remove loki alloy" in said
    left = ssh("ls /etc/{grafana/provisioning/datasources,loki,alloy/quant,wireguard}; ss -Hlntu")
    for name in ("quant-loki", "quant.yml", ".alloy", "quant.conf", ":3100", ":12345", ":51820"):
        assert name not in left
    assert ssh("systemctl cat loki alloy", check=False).count("No files found") == 2
    # What it has is kept.
    assert "streams.jsonl" in ssh("ls /var/lib/loki")
    assert browse(site, "/metrics")[0] == 404
    laptop.fab("secret", "metrics_token", "--remove").well()
    assert laptop.fab("provision").well().text.strip() == "nothing to do"
    site.serves()


def _streams(site: Site, job: str, text: str) -> list[dict[str, Any]]:
    """Those of a job with that text, as Loki's stand-in has them."""
    found: list[dict[str, Any]] = json.loads(site.get("/", port=3100))
    return [s for s in found if s["stream"]["job"] == job and text in json.dumps(s["values"])]


def test_log_lines_and_the_journal_are_in_loki(more: tuple[Site, Peer]) -> None:
    """The exporter's with level and run, each once; on loopback, limited, and without a look at
    what else the exporter has."""
    site, ssh = more[0], more[0].laptop.ssh
    run_id = site.run("slow")
    ssh("logger --tag bot 'connected to the broker'")
    by_run = f'{{"run_id": "{run_id}"}}'
    line = wait_for(lambda: _streams(site, "quant-exporter", by_run), 20)[0]
    assert line["stream"] == {"job": "quant-exporter", "level": "info"}
    wait_for(lambda: _streams(site, "journal", "connected to the broker"), 20)
    assert not _streams(site, "journal", run_id)

    listening = ssh("ss -Hltn").splitlines()
    ports = {at for line in listening if (at := line.split()[3]).endswith((":3100", ":12345"))}
    assert ports == {"127.0.0.1:3100", "127.0.0.1:12345"}
    limits = ssh("systemctl show -P MemoryMax loki alloy; systemctl show -P User loki alloy")
    assert limits.split() == ["536870912", "268435456", "loki", "alloy"]
    inside = "nsenter --mount --target $(systemctl show -P MainPID alloy)"
    token = "cat /var/lib/quant-exporter/token"
    assert "Permission denied" in ssh(f"{inside} runuser -u alloy -- {token}", check=False)


def test_grafana_has_loki_and_leads_to_the_run(more: tuple[Site, Peer]) -> None:
    """Its data source, and the address of the exporter's pages."""
    sources = json.loads(wait_for(lambda: browse(more[0], "/grafana/sources")[2], 20))
    assert ["Loki", "http://127.0.0.1:3100"] in sources
    environment = more[0].laptop.ssh("systemctl show -P Environment grafana-server")
    assert f"EXPORTER_URL=https://{VPS}" in environment.split()


def test_a_token_opens_metrics_and_nothing_else(more: tuple[Site, Peer]) -> None:
    """The very one; the pages' login does not do."""
    site = more[0]

    def status(path: str, token: str) -> int:
        sent = {"Authorization": f"Bearer {token}"}
        return browse(site, path, password=None, headers=sent)[0]

    assert status("/metrics", _TOKEN) == 200
    for other in (_TOKEN.upper(), _TOKEN + "0", _TOKEN.replace(".", "x"), ""):
        assert status("/metrics", other) == 401
    assert status("/", _TOKEN) == 401
    assert browse(site, "/metrics")[0] == 401
    assert _TOKEN not in site.laptop.ssh("cat /etc/nginx/sites-available/quant")


def test_prometheus_and_alertmanager_are_reached_by_wireguard(
    more: tuple[Site, Peer], tmp_path: Path
) -> None:
    """A real Prometheus there scrapes, and answers the VPS; a real Alertmanager posts to the
    journal, and an acknowledgement reaches it. The key of the VPS is shown to nobody; nobody
    without one gets in."""
    (site, peer), laptop = more, more[0].laptop
    private = laptop.ssh("cat /etc/quant-exporter/wireguard.key; ls -l /etc/quant-exporter").strip()
    assert "-rw------- 1 root root" in private
    assert peer.get(f"http://{_OURS}:10077/-/ready")[0] == 0
    peer.connect(tmp_path)
    wait_for(lambda: peer.get(f"http://{_OURS}:10077/metrics")[0] == 200, 20)

    token = laptop.ssh("cat /var/lib/quant-exporter/token").strip()
    (tmp_path / "token").write_text(token)
    (tmp_path / "alertmanager.yml").write_text(f"""
route: {{receiver: journal, group_wait: 0s}}
receivers:
  - name: journal
    webhook_configs:
      - url: http://{_OURS}:10077/api/v1/alerts?receiver=journal
        http_config: {{authorization: {{credentials_file: {tmp_path}/token}}}}
""")
    (tmp_path / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: quant-exporter
    static_configs: [{{targets: ["{_OURS}:10077"]}}]
""")
    peer.start(
        "prometheus", f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/series", f"--web.listen-address={_THEIRS}:9090",
    )  # fmt: skip
    peer.start(
        "prometheus-alertmanager", f"--config.file={tmp_path}/alertmanager.yml",
        f"--storage.path={tmp_path}/silences", f"--web.listen-address={_THEIRS}:9093",
        "--cluster.listen-address=",
    )  # fmt: skip
    wait_for(lambda: peer.get(f"http://{_THEIRS}:9093/-/ready")[0] == 200, 20)
    labels = {"alertname": "QuantTaskFailing", "task": "lazy", "severity": "critical"}
    # From here, through the port that Alertmanager has on loopback.
    site.post("/api/v2/alerts", [{"labels": labels}], port=9093)
    wait_for(lambda: '"task":"lazy"' in site.get("/api/v1/alerts?since=1h").replace(" ", ""), 30)
    form = urllib.parse.urlencode(labels | {"for": "30m", "token": token})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{VPS}",
               "Sec-Fetch-Site": "same-origin"}  # fmt: skip
    status, _, page = browse(site, "/ack", method="POST", body=form, headers=headers)
    assert (status, "Acknowledged" in page) == (200, True), page
    silences = json.loads(peer.get(f"http://{_THEIRS}:9093/api/v2/silences")[1])
    assert [s["status"]["state"] for s in silences] == ["active"]
    status_of_vps = laptop.fab("status").text
    assert "prometheus-alertmanager elsewhere" in status_of_vps
    assert f"wireguard public key {peer.key_of_vps}" in status_of_vps
    heard = status_of_vps.partition("other machine: heard ")[2]
    assert heard.startswith("0:0")
    # From the VPS, through the port that Prometheus has on loopback there.
    wait_for(lambda: site.prometheus("quant_exporter_build_info") == [1.0], 30)
    # Of the exporter's machine, this and what all reach is all that is open.
    assert peer.get(f"http://{_OURS}:9090/-/ready")[0] == 0
