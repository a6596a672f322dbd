"""What ``vps.yml`` asks for besides, all of it at once: Loki."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.deploy import grafana_stand_in, logs_stand_ins
from tests.deploy.network import VPS
from tests.deploy.site import Site, wait_for
from tests.deploy.test_4_machine import browse

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

_SETTINGS = """\
grafana: {deb: grafana_4_all.deb}
logs: {loki: loki_1_all.deb, alloy: alloy_1_all.deb}
"""


@pytest.fixture(scope="module")
def more(site: Site) -> Iterator[Site]:
    """All of it is there; afterwards nothing of it runs any more."""
    laptop, ssh = site.laptop, site.laptop.ssh
    ssh("rm -f /etc/apt/sources.list.d/grafana.list")
    grafana_stand_in.package(laptop.repository, "4")
    logs_stand_ins.packages(laptop.repository)
    laptop.write("vps.yml", _SETTINGS)
    laptop.fab("provision").well()
    assert laptop.fab("provision").well().text.strip() == "nothing to do"
    yield site
    laptop.git("clean", "-qfd")
    (laptop.repository / "vps.yml").unlink(missing_ok=True)
    said = laptop.fab("provision").well()
    assert "remove loki alloy" in said
    left = ssh("ls /etc/{grafana/provisioning/datasources,loki,alloy/quant}; ss -Hltn")
    for name in ("quant-loki", "quant.yml", ".alloy", ":3100", ":12345"):
        assert name not in left
    assert ssh("systemctl cat loki alloy", check=False).count("No files found") == 2
    # What it has is kept.
    assert "streams.jsonl" in ssh("ls /var/lib/loki")
    assert laptop.fab("provision").well().text.strip() == "nothing to do"
    site.serves()


def _streams(site: Site) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(site.get("/", port=3100))
    return found


def test_log_lines_and_the_journal_are_in_loki(more: Site) -> None:
    """The exporter's with level and run, each once; on loopback, limited, and without a look at
    what else the exporter has."""
    ssh = more.laptop.ssh
    run_id = more.run("slow")
    ssh("logger --tag bot 'connected to the broker'")

    def found(job: str, text: str) -> list[dict[str, object]]:
        return [
            stream
            for stream in _streams(more)
            if stream["stream"]["job"] == job and text in json.dumps(stream["values"])  # type: ignore[index]
        ]

    [line] = wait_for(lambda: found("quant-exporter", f'{{"run_id": "{run_id}"}}'), 20)[:1]
    assert line["stream"] == {"job": "quant-exporter", "level": "info"}
    wait_for(lambda: found("journal", "connected to the broker"), 20)
    assert not found("journal", run_id)

    listening = ssh("ss -Hltn").splitlines()
    ports = {at for line in listening if (at := line.split()[3]).endswith((":3100", ":12345"))}
    assert ports == {"127.0.0.1:3100", "127.0.0.1:12345"}
    limits = "systemctl show --value -P MemoryMax -P User loki alloy"
    assert ssh(limits).split() == ["536870912", "loki", "268435456", "alloy"]
    token = "cat /var/lib/quant-exporter/token"
    inside = "nsenter --mount --target $(systemctl show -P MainPID alloy) -S 0"
    assert "Permission denied" in ssh(f"{inside} runuser -u alloy -- {token}", check=False)
    assert "alloy                   active" in more.laptop.fab("status").text


def test_grafana_has_loki_and_leads_to_the_run(more: Site) -> None:
    """Its data source, with the address of the exporter's pages, that of each later version too."""
    sources = json.loads(wait_for(lambda: browse(more, "/grafana/sources")[2], 20))
    assert ["Loki", "http://127.0.0.1:3100"] in sources
    environment = "systemctl show -P Environment grafana-server"
    assert f"EXPORTER_URL=https://{VPS} " in f"{more.laptop.ssh(environment).strip()} "
