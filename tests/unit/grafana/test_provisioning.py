"""What Grafana is given at its start: sources with fixed names, boards that nobody edits."""

from __future__ import annotations

import re
from typing import Any

import orjson
import yaml

from tests.boards import BOARDS, ROOT

FOLDER = ROOT / "grafana/provisioning"
SOURCES: dict[str, dict[str, Any]] = {
    source["uid"]: source
    for file in sorted((FOLDER / "datasources").glob("*.yml"))
    for source in yaml.safe_load(file.read_text())["datasources"]
}


def test_sources_keep_their_uids() -> None:
    """Bookmarks and alerts refer to them."""
    assert {"quant-prometheus", "quant-alertmanager"} <= set(SOURCES)
    assert [uid for uid, source in SOURCES.items() if source.get("isDefault")] == [
        "quant-prometheus"
    ]


def test_sources_are_read_only_and_removed_with_their_entry() -> None:
    """What stands in the files is what there is."""
    for file in (FOLDER / "datasources").glob("*.yml"):
        assert yaml.safe_load(file.read_text())["prune"] is True
    assert all(source["editable"] is False for source in SOURCES.values())


def test_sources_are_where_the_environment_says() -> None:
    """One file for a VPS and for containers; no password in it."""
    for source in SOURCES.values():
        assert source["url"].startswith("$")
        assert "secureJsonData" not in source
        assert "password" not in source


def test_source_knows_how_often_is_scraped() -> None:
    """$__rate_interval is made from it: too short a one leaves gaps in every graph."""
    scraped = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    interval = SOURCES["quant-prometheus"]["jsonData"]["timeInterval"]
    assert interval == scraped["global"]["scrape_interval"]


def test_alertmanager_is_prometheus_own_kind() -> None:
    """Silences made in Grafana count as acknowledgements, too."""
    alertmanager = SOURCES["quant-alertmanager"]
    assert alertmanager["type"] == "alertmanager"
    assert alertmanager["jsonData"]["implementation"] == "prometheus"


def test_boards_come_from_files_and_stay() -> None:
    """No edit in the browser is lost at the next start, because there is none."""
    (provider,) = yaml.safe_load((FOLDER / "dashboards/quant.yml").read_text())["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True
    assert provider["folderUid"] == "quant"


def test_home_is_the_overview_wherever_grafana_runs() -> None:
    """In containers and on a VPS."""
    name = "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"
    (provider,) = yaml.safe_load((FOLDER / "dashboards/quant.yml").read_text())["providers"]
    home = f"{provider['options']['path']}/quant-overview.json"
    assert "quant-overview" in BOARDS
    for file in ("docker-compose.yml", "deploy/files/grafana.conf"):
        text = (ROOT / file).read_text()
        assert name in text
        assert home in text


def test_nobody_looks_without_a_password_where_others_can_come() -> None:
    """A VPS is on the internet: no anonymous viewer there."""
    assert "ANONYMOUS_ENABLED" not in (ROOT / "deploy/files/grafana.conf").read_text()


def test_a_line_in_loki_leads_to_its_run() -> None:
    """By a pattern that fits what the exporter writes, and an address that only the reader sees."""
    (field,) = SOURCES["quant-loki"]["jsonData"]["derivedFields"]
    for run_id in ("66b2f8a1-01a210f5", "0b7f3c9e-5d4e-4f1a-9b7e-2f6f1f0c7a11.my-bot"):
        line = orjson.dumps({"message": 'a "run_id" of old', "run_id": run_id}).decode()
        assert re.findall(field["matcherRegex"], line) == [run_id]
    assert field["url"] == "$EXPORTER_URL/runs/$${__value.raw}"
    assert "EXPORTER_URL: ${EXPORTER_URL:-" in (ROOT / "docker-compose.yml").read_text()
