"""`make stack` shows the shipped files, with other addresses and shorter times only."""

import re
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.config import load
from exporter.demo.show import main, prepare, taken
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


def test_alertmanager_has_the_zone_of_the_config(tmp_path: Path) -> None:
    """Its messages say "firing since" in it."""
    (tmp_path / "exporter.yml").write_text("timezone: Asia/Hong_Kong\n")
    prepare(tmp_path / "show", tmp_path / "exporter.yml", fault=False, now=0.0)
    assert "\nalertmanager: TZ=Asia/Hong_Kong exec " in (tmp_path / "show/Procfile").read_text()


def test_the_fault_is_a_task_of_its_own(tmp_path: Path) -> None:
    """Beside the user's tasks, with state and logs of its own."""
    (tmp_path / "exporter.yml").write_text(
        "tasks: {sync: {external: true, schedule: every 1h}}\nstate: var/state.db\n"
    )
    folder = tmp_path / "show"
    prepare(folder, tmp_path / "exporter.yml", fault=True, now=0.0)
    config = load(tmp_path / "exporter.stack.yml")
    assert set(config.tasks) == {"sync", "made_up_fault"}
    assert config.state == folder / "state/state.db"


OWN = """\
code: [mine]
sources: {market: {type: simulated}}
strategies: {book: {equity_file: data/equity.csv}}
digest: {slack: {url_env: HOOK}}
messages: {chat: {url_env: CHANNEL}}
tasks:
  scan: {run: "exporter.tasks:pre_market_scan", schedule: "07:00", report_to: [chat]}
  paper: {run: "paper:trade", schedule: "every 1m"}
  orders: {run: "orders:place", schedule: "every 1m", retries: 2, report_to: [chat]}
  script: {command: [./rebalance.sh], schedule: "every 1m", strategy: book}
  sync: {external: true, schedule: "every 1h"}
"""


def own_config(folder: Path) -> Path:
    """Two tasks that could trade, and three that cannot."""
    (folder / "mine").mkdir()
    (folder / "mine/orders.py").write_text("def place(context): ...\n")
    shipped = ROOT / "sample/strategies/paper.py"
    (folder / "mine/paper.py").write_bytes(shipped.read_bytes())
    config = folder / "exporter.yml"
    config.write_text(OWN)
    return config


def test_tasks_of_ones_own_do_nothing_in_a_show(tmp_path: Path) -> None:
    """They may place orders; what comes with the project runs, and no digest leaves."""
    config = own_config(tmp_path)
    assert prepare(tmp_path / "show", config, fault=False, now=0.0) == ["orders", "script"]
    shown = load(tmp_path / "exporter.stack.yml")
    kinds = {
        name: task.run or (task.command or ("external",))[0] for name, task in shown.tasks.items()
    }
    assert kinds == {
        "scan": "exporter.tasks:pre_market_scan", "paper": "paper:trade", "orders": "echo",
        "script": "echo", "sync": "external",
    }  # fmt: skip
    assert (shown.digest.slack, shown.messages) == (None, {})
    (tmp_path / "mine/paper.py").write_text("def trade(context): ...\n")
    assert "paper" in prepare(tmp_path / "show", config, fault=False, now=0.0)


def test_a_live_show_runs_them_where_they_are(tmp_path: Path) -> None:
    """Relative paths mean what they mean in the user's own file."""
    config = own_config(tmp_path)
    assert prepare(tmp_path / "show", config, fault=False, now=0.0, live=True) == []
    shown, own = load(tmp_path / "exporter.stack.yml"), load(config)
    assert (shown.tasks, shown.code, shown.strategies) == (own.tasks, own.code, own.strategies)
    assert shown.state == tmp_path / "show/state/state.db"
    assert shown.logs.directory == tmp_path / "show/log"


def test_it_says_which_tasks_it_does_not_run_and_where_the_token_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or an echo would be taken for the real thing."""
    monkeypatch.setattr("exporter.demo.show.taken", lambda _: [])
    monkeypatch.chdir(tmp_path)
    config = own_config(tmp_path)
    assert main([str(tmp_path / "show"), str(config)]) == 0
    said = capsys.readouterr().out
    assert "Not run, because they are your own: orders, script." in said
    assert f"write token    cat {tmp_path}/show/state/token" in said
    assert "ack QuantTaskFailing --config exporter.stack.yml" in said
