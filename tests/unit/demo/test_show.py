"""`make stack` shows the shipped files, with other addresses and shorter times only."""

import re
import socket
from pathlib import Path
from typing import Any

import yaml

from exporter.config import load
from exporter.demo.show import prepare, taken
from tests.alerting import ROOT


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_routes_and_rules_stay_what_they_are(tmp_path: Path) -> None:
    """Names, matchers and expressions are equal to the shipped ones; 15 minutes are shorter."""
    (tmp_path / "exporter.yml").write_text("sources: {market: {type: simulated}}\n")
    folder = tmp_path / "show"
    prepare(folder, tmp_path / "exporter.yml", fault=False, now=0.0)
    shipped, shown = read(ROOT / "alerting/alertmanager.yml"), read(folder / "alertmanager.yml")
    assert shown["inhibit_rules"] == shipped["inhibit_rules"]

    def who(route: dict[str, Any]) -> Any:
        return (
            route.get("receiver"),
            route.get("matchers"),
            [who(child) for child in route.get("routes", ())],
        )

    assert who(shown["route"]) == who(shipped["route"])
    assert "15m" not in (folder / "alertmanager.yml").read_text()
    for name in ("quant.yml", "watchers.yml"):
        rules = [
            [rule["expr"] for rule in read(place / name)["groups"][0]["rules"]]
            for place in (ROOT / "prometheus/rules", folder / "rules")
        ]
        assert rules[0] == rules[1]


def test_nothing_points_outside(tmp_path: Path) -> None:
    """Every address is this machine's, by number: a bare system may not know the name localhost.
    Every secret is a made-up file."""
    (tmp_path / "exporter.yml").write_text("tasks: {}\n")
    folder = tmp_path / "show"
    prepare(folder, tmp_path / "exporter.yml", fault=False, now=0.0)
    text = (folder / "alertmanager.yml").read_text() + (folder / "prometheus.yml").read_text()
    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    assert hosts == {"127.0.0.1"}
    assert "/etc/alertmanager" not in text


def test_each_show_begins_anew_and_says_what_is_in_its_way(tmp_path: Path) -> None:
    """What the last one kept is gone; a port in use is named, with what to do."""
    (tmp_path / "exporter.yml").write_text("tasks: {}\n")
    folder = tmp_path / "show"
    (folder / "tsdb").mkdir(parents=True)
    prepare(folder, tmp_path / "exporter.yml", fault=False, now=0.0)
    assert not (folder / "tsdb").exists()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (said,) = taken({"prometheus": port})
    assert said.startswith(f"port {port}, for prometheus, is in use")
    assert taken({"prometheus": port}) == []


def test_the_fault_is_a_task_of_its_own(tmp_path: Path) -> None:
    """Beside the user's tasks, with state and logs of its own."""
    (tmp_path / "exporter.yml").write_text(
        "tasks: {sync: {external: true, schedule: every 1h}}\nstate: var/state.db\n"
    )
    folder = tmp_path / "show"
    prepare(folder, tmp_path / "exporter.yml", fault=True, now=0.0)
    config = load(folder / "exporter.yml")
    assert set(config.tasks) == {"sync", "made_up_fault"}
    assert config.state == folder / "state/state.db"
