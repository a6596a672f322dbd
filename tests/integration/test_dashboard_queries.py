"""Every query of every board, asked of a real Prometheus that knows a day with faults in it.

The day is lived by the real exporter (:mod:`tests.integration.day`) and stored as blocks that end
at the present; rules are evaluated and Alertmanager is scraped while the test runs.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
import urllib.error
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.demo import stack
from tests.boards import BOARDS, Query, filled, label_values, queries, with_zeros
from tests.integration import day
from tests.integration.processes import ROOT, Program, answers, free_port, get, need, wait_for
from tests.integration.servers import QUICK

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

RANGE_SECONDS = int(day.END - day.BEGIN)
STEP_SECONDS = 120
"""What Grafana chooses for 16 hours on a panel of 500 pixels."""
RATE = f"{STEP_SECONDS + 15}s"
"""$__rate_interval: the step and the scrape interval that the data source states."""

EMPTY = {
    "quant-data/Spread/B": "no spread came near its limit",
    "quant-feed/Spread/B": "no spread came near its limit",
    "quant-feed/Settings and limits/B": "only critical is limited",
    "quant-feed/Settings and limits/E": "only a warning is given for spreads",
    "quant-feed/Settings and limits/F": "no second source is configured",
    "quant-feed/Silence of the stream / limit/A": "no stream is configured",
    "quant-feed/Symbols/D": "the market was closed in the evening",
    "quant-feed/Symbols/F": "unchanged bars are not limited",
    "quant-feed/Symbols/G": "no symbol is ignored",
    "quant-exporter/Open files/B": "the exporter had few files open",
    "quant-alerts/Reports and messages of tasks/A": "no channel is configured",
    **{
        f"quant-strategies/{panel}": "no total is configured"
        for panel in ("Equity of all strategies/A", "Rates/A", "Rates/B")
    },
    "quant-strategy/Performance/B": "ten days are needed",
    "quant-strategy/Performance/C": "ten days are needed",
    "quant-task/Duration/B": "no run has a longest duration",
    "quant-task/Items/B": "no task has a least number of items",
    "quant-task/Schedule and limits/C": "no task has a least number of items",
    "quant-task/Schedule and limits/D": "no run has a longest duration",
    **{
        f"quant-{board}/Services/{ref}": "no service was watched that day"
        for board in ("task", "tasks")
        for ref in "ABCDE"
    },
    **{f"quant-limits/Text files/{ref}": "no folder of text files is read" for ref in "AB"},
    **{
        f"quant-{board}/{panel}/{ref}": "no backtest ran that day"
        for board, panel, refs in (
            ("strategies", "Backtests", "ABCD"),
            ("strategies", "Backtests under way", "ABC"),
            ("strategy", "Backtests", "ABCD"),
        )
        for ref in refs
    },
}


@dataclass(frozen=True)
class Servers:
    """Where to ask, and the moment at which the day ended (Unix seconds)."""

    prometheus: str
    end: float

    def ask(self, path: str, **given: str) -> Any:
        """An answer's data; a refusal fails the test with Prometheus' own words."""
        url = f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(given)}"
        try:
            return json.loads(get(url))["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def values(self, query: Query) -> list[float]:
        """Every real number that a query returns, asked as Grafana would ask."""
        expr = filled(query.expr, rate=RATE, step=f"{STEP_SECONDS}s", whole=f"{RANGE_SECONDS}s")
        if query.instant:
            found = self.ask("query", query=expr, time=str(time.time()))["result"]
            texts = [series["value"][1] for series in found]
        else:
            now = time.time()  # the last step: what began to fire just now is seen there
            found = self.ask(
                "query_range", query=expr, start=str(now - RANGE_SECONDS), end=str(now),
                step=str(STEP_SECONDS),
            )["result"]  # fmt: skip
            texts = [text for series in found for _, text in series["values"]]
        return [value for value in map(float, texts) if not math.isnan(value)]

    def alerts(self) -> list[dict[str, Any]]:
        """What fires, by Prometheus."""
        return [a for a in self.ask("alerts")["alerts"] if a["state"] == "firing"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The day is lived once, for all tests of this file."""
    for program in ("prometheus", "promtool", "prometheus-alertmanager"):
        need(program)
    folder = tmp_path_factory.mktemp("day")
    ports = stack.Ports(free_port(), free_port(), free_port(), free_port(), free_port())
    stack.write(folder, ROOT, ports, QUICK, folder / "token")
    (folder / "token").write_text("t")
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    # The exporter's day is in the blocks; nobody answers now.
    config["scrape_configs"] = [
        job for job in config["scrape_configs"] if job["job_name"] != "quant-exporter"
    ]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    began = time.time()
    lived = day.write(folder, began)
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", lived, folder / "tsdb"],
        check=True, capture_output=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{ports.prometheus}"
    alertmanager = [
        "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=am",
        f"--web.listen-address=127.0.0.1:{ports.alertmanager}", "--cluster.listen-address=",
    ]  # fmt: skip
    prometheus = [
        "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
        f"--web.listen-address=127.0.0.1:{ports.prometheus}", "--query.lookback-delta=10m",
        "--rules.alert.for-grace-period=1s",
    ]  # fmt: skip
    with (
        Program(alertmanager, folder / "alertmanager.log", cwd=folder),
        Program(prometheus, folder / "prometheus.log", cwd=folder),
    ):
        wait_for(lambda: answers(f"{url}/-/ready"), "Prometheus")
        made = Servers(url, began)
        wanted = {"QuantDataOverdue", "QuantTaskFailing", "QuantDrawdown"}
        wait_for(
            lambda: wanted <= {a["labels"]["alertname"] for a in made.alerts()},
            "the alerts of the day",
        )
        # A silence, and one more look of the rules and the scrapes at everything that fires.
        subprocess.run(
            ["amtool", f"--alertmanager.url=http://127.0.0.1:{ports.alertmanager}", "silence",
             "add", "alertname=QuantDrawdown", "--duration=1h", "--author=me", "--comment=seen"],
            check=True, capture_output=True,
        )  # fmt: skip
        wait_for(
            lambda: made.ask("query", query='alertmanager_silences{state="active"} > 0')["result"],
            "the silence to be scraped",
        )
        failed = "increase(alertmanager_notifications_failed_total[1m])"
        wait_for(lambda: made.ask("query", query=failed)["result"], "a second scrape")
        yield made


def test_every_query_returns_data(servers: Servers) -> None:
    """Or it is listed with a reason; the list holds nothing that does return data."""
    empty = {str(query) for query in queries() if not servers.values(with_zeros(query))}
    assert sorted(empty) == sorted(EMPTY)


def test_waiting_for_a_person_is_counted_until_somebody_silences(servers: Servers) -> None:
    """The same query with a finer look: there was a critical alert and no silence yet."""
    (query,) = [q for q in queries() if q.legend == "Waited for a person"]
    finer = filled(query.expr, whole="5m").replace("[5m:1m]", "[5m:1s]")
    (found,) = servers.ask("query", query=finer)["result"]
    assert float(found["value"][1]) > 0


def test_every_variable_has_values(servers: Servers) -> None:
    """What stands in the lists at the top of each board."""
    for board in BOARDS.values():
        for name, definition in label_values(board):
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", definition)
            assert found
            values = servers.ask(
                f"label/{found[2]}/values", **{"match[]": filled(found[1])},
                start=str(servers.end - RANGE_SECONDS), end=str(servers.end),
            )  # fmt: skip
            assert values, f"{board['uid']}: {name}"


def test_queries_hold_for_a_choice_of_several_values(servers: Servers) -> None:
    """Grafana writes a choice as (a|b); every query stays valid and what was chosen is there."""
    for query in queries():
        expr = filled(query.expr, chosen="(quant-exporter|localhost:10077|health_check|none)")
        servers.ask("query", query=expr)


@pytest.mark.parametrize(
    ("tile", "expected"),
    [
        ("Exporter", 1), ("Overdue feeds", 1), ("Prices", 1), ("Drawdown / limit", 3.0),
        ("Messages today", 1),
    ],
)  # fmt: skip
def test_overview_tells_the_truth_of_that_evening(
    servers: Servers, tile: str, expected: float
) -> None:
    """One feed stands still, the drawdown is three times its first limit, prices are made up."""
    (value,) = servers.values(_tile(tile))
    assert value == pytest.approx(expected, rel=0.05)


def test_overview_counts_what_prometheus_says_fires(servers: Servers) -> None:
    """Critical alerts and warnings, as the alerts' own list has them."""
    firing = [a["labels"] for a in servers.alerts() if a["labels"]["alertname"] != "QuantWatchdog"]
    for tile, severity in (("Critical alerts", "critical"), ("Warnings", "warning")):
        assert servers.values(_tile(tile)) == [sum(a["severity"] == severity for a in firing)]


def _tile(name: str) -> Query:
    (found,) = [q for q in queries() if (q.board, q.legend) == ("quant-overview", name)]
    return found


def test_state_of_a_task_follows_its_day(servers: Servers) -> None:
    """broker_sync was well in the morning and failing from noon on."""
    (query,) = [q for q in queries() if (q.board, q.panel) == ("quant-tasks", "State")]
    expr = filled(query.expr)

    def state(moment: float) -> str:
        shifted = moment + servers.end - day.END
        found = servers.ask("query", query=expr, time=str(shifted))["result"]
        (value,) = [s["value"][1] for s in found if s["metric"]["task"] == "broker_sync"]
        return str(value)

    assert (state(day.at(10, 30)), state(day.at(14, 30))) == ("0", "3")


def test_what_another_program_does_is_not_the_exporters(servers: Servers) -> None:
    """Prometheus and Alertmanager are scraped, too: their `up` and memory are not shown."""
    assert len(servers.ask("query", query="up")["result"]) > 1
    for title in ("Memory", "Processor", "Scrape", "Open files"):
        for query in queries():
            if query.panel == title and query.board == "quant-exporter":
                found = servers.ask("query", query=filled(query.expr))["result"]
                instances = {series["metric"].get("instance") for series in found}
                assert instances <= {"localhost:10077"}


def test_state_of_a_task_is_the_worst_of_two_exporters(tmp_path: Path) -> None:
    """Both have a task of that name: paused at one, failing at the other. A service that is down
    fails where it is needed. A task that was removed has no state."""
    need("promtool")
    (query,) = [q for q in queries() if (q.board, q.panel) == ("quant-tasks", "State")]

    def exporter(instance: str, paused: int, failures: int) -> Iterator[dict[str, str]]:
        labels = f'{{job="quant-exporter", instance="{instance}", task="scan"}}'
        for name, value in {
            "quant_task_paused": paused, "quant_task_consecutive_failures": failures,
            "quant_task_failures_limit": 2, "quant_task_running": 0, "quant_task_info": 1,
            "quant_task_deadline_timestamp_seconds": 1e9,
        }.items():  # fmt: skip
            yield {"series": name + labels, "values": f"{value}+0x9"}

    def service(task: str, needed: int) -> Iterator[dict[str, str]]:
        labels = f'{{job="quant-exporter", instance="a", task="{task}"}}'
        for name, value in (("info", 1), ("service_up", 0), ("service_expected", needed)):
            of = f"quant_task_{name}" if name == "info" else f"quant_{name}"
            yield {"series": of + labels, "values": f"{value}x9"}

    expr = re.sub(r"\$\w+", ".+", query.expr)
    _says(tmp_path, expr, [*service("bot", 1)], "4m", '{task="bot"}', 3)
    _says(tmp_path, expr, [*service("bot", 0)], "4m", '{task="bot"}', 0)
    gone = 'quant_task_info{job="quant-exporter", instance="a", task="removed"}'
    given = [*exporter("a", 1, 0), *exporter("b", 0, 3), {"series": gone, "values": "1 stale"}]
    _says(tmp_path, expr, given, "4m", '{task="scan"}', 3)


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ("1x12 1x12", 1),  # one before, and one since
        ("1+0x6 4+0x5 1x12", 4),  # of the three that came before, too
        ("1+0x6 2+0x5 3x12", 3),  # one before may be one of them
    ],
)
def test_failures_after_a_restart_are_counted(failures: str, expected: int, tmp_path: Path) -> None:
    """Counters begin at 0 with the exporter: as many as before are not none."""
    need("promtool")
    (query,) = [q for q in queries() if (q.board, q.panel) == ("quant-tasks", "Failures")]
    labels = '{job="quant-exporter", instance="localhost:10077"'
    given = [
        {"series": f"quant_exporter_build_info{labels}}}", "values": "1x24"},
        {"series": f"process_start_time_seconds{labels}}}", "values": "5x12 700x12"},
        {"series": f'quant_task_failures_total{labels}, task="scan", reason="error"}}',
         "values": failures},
    ]  # fmt: skip
    expr = filled(query.expr, step="10m", whole="2h")
    _says(tmp_path, expr, given, "16m", '{task="scan", reason="error"}', expected)


@pytest.mark.parametrize(
    ("series", "expected"), [("QuantWatchdog", 0), ("QuantDrawdown", 1), ("", -1)]
)
def test_without_the_watchdog_nobody_knows_what_fires(
    series: str, expected: int, tmp_path: Path
) -> None:
    """While no rule is evaluated, "0 critical alerts" in green would be untrue."""
    need("promtool")
    build = 'quant_exporter_build_info{job="quant-exporter", instance="localhost:10077"}'
    given = [{"series": build, "values": "1x5"}]
    if series:
        labels = f'alertname="{series}", alertstate="firing", severity="critical"'
        given.append({"series": f"ALERTS{{{labels}}}", "values": "1x5"})
    _says(tmp_path, _tile("Critical alerts").expr, given, "4m", "{}", expected)


def _says(
    folder: Path, expr: str, given: list[dict[str, str]], at: str, labels: str, value: float
) -> None:
    """What `expr` comes to, by promtool, with one sample a minute of what is `given`."""
    (folder / "test.yml").write_text(yaml.safe_dump({
        "tests": [{
            "interval": "1m",
            "input_series": given,
            "promql_expr_test": [{
                "expr": expr, "eval_time": at,
                "exp_samples": [{"labels": labels, "value": value}],
            }],
        }],
    }))  # fmt: skip
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_lead_to_boards_that_exist(servers: Servers) -> None:
    """Every firing alert's dashboard has a uid of ours, and its runbook a heading."""
    runbook = (ROOT / "docs/runbook.md").read_text()
    for alert in servers.alerts():
        notes = alert["annotations"]
        found = re.search(r"/d/([\w-]+)", notes["dashboard_url"])
        assert found
        assert found[1] in BOARDS
        heading = notes["runbook_url"].rpartition("#")[2].lower()
        assert heading in {
            line.lstrip("# ").strip().lower() for line in runbook.splitlines() if line[:1] == "#"
        }
