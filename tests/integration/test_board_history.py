"""Every query of every board over a recorded day of a realistic installation: New York's half day
after Thanksgiving, a source that hangs for 40 minutes, a failing task, a loss of 7 %, a restart."""

from __future__ import annotations

import contextlib
import json
import lzma
import math
import shutil
import subprocess
import urllib.error
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.boards import Query, filled, queries
from tests.integration.processes import ROOT, Program, answers, free_port, get, need, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

RECORDED = ROOT.parent / "shared" / "data" / "boards-day.om.xz"
DAY = 86_400
STEP = 120
RATE = 240
"""The day has one sample a minute, so $__rate_interval is four minutes."""
MOST_SAMPLES = 1_000_000
"""What a query may read for the day; Prometheus' own limit for one query is 50 million."""

OF_THE_EXPORTER = 'job="quant-exporter",instance="localhost:10077"'
LACKING = {
    "alertmanager_alerts": ['state="active"', 'state="suppressed"'],
    "alertmanager_notifications_failed_total": ['integration="slack"'],
    "alertmanager_silences": ['state="active"'],
    "quant_backtest_last_success_timestamp_seconds": ['strategy="momentum",symbol="SPY.US"'],
    "quant_backtest_return_ratio": ['strategy="momentum",symbol="SPY.US"'],
    "quant_backtest_sharpe_ratio": ['strategy="momentum",symbol="SPY.US"'],
    "quant_backtest_worst_drawdown_ratio": ['strategy="momentum",symbol="SPY.US"'],
    "quant_log_dropped_total": [""],
    "quant_position_quantity": ['strategy="momentum",origin="strategy",symbol="SPY.US"'],
    "quant_service_expected": ['task="bot"'],
    "quant_service_recent_restarts": ['task="bot"'],
    "quant_service_restarts_limit": ['task="bot"'],
    "quant_service_since_timestamp_seconds": ['task="bot"'],
    "quant_service_up": ['task="bot"'],
    "quant_strategy_last_fill_price": ['strategy="momentum",symbol="SPY.US",side="buy"'],
    "quant_strategy_last_fill_timestamp_seconds": [
        'strategy="momentum",symbol="SPY.US",side="buy"'
    ],
    "quant_task_last_failure_info": ['task="signals",reason="error",run_id="r-1",text="no route"'],
    "scrape_duration_seconds": [""],
    "scrape_samples_post_metric_relabeling": [""],
}
"""What the recorded day does not have, with labels for a series of each."""
EMPTY = {
    "quant-data/Spread/B": "no spread came near its limit",
    "quant-exporter/Open files/B": "few files were open",
}


@dataclass(frozen=True)
class History:
    """A Prometheus that knows the day."""

    url: str
    end: int
    """The day's last moment, in Unix seconds."""

    def ask(self, path: str, **given: str) -> dict[str, Any]:
        """The whole answer; a refusal fails the test with Prometheus' own words."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(given)}"
        try:
            answer: dict[str, Any] = json.loads(get(url))["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        return answer

    def answer(self, query: Query) -> dict[str, Any]:
        """What Grafana would get for the whole day."""
        expr = filled(query.expr, rate=f"{RATE}s", step=f"{STEP}s", whole=f"{DAY}s")
        if query.instant:
            return self.ask("query", query=expr, time=str(self.end), stats="all")
        return self.ask(
            "query_range", query=expr, start=str(self.end - DAY), end=str(self.end),
            step=str(STEP), stats="all",
        )  # fmt: skip


def values(answer: dict[str, Any]) -> list[float]:
    """All numbers of an answer, without NaN."""
    texts = [
        text for series in answer["result"] for _, text in series.get("values") or [series["value"]]
    ]
    return [value for value in map(float, texts) if not math.isnan(value)]


def _recorded(folder: Path) -> tuple[Path, int]:
    """The day as OpenMetrics with a series of all that it lacks, and its last moment."""
    path, newest = folder / "day.om", 0
    with lzma.open(RECORDED, "rt") as recorded, path.open("w") as written:
        for line in recorded:
            if line.startswith("up{"):
                newest = max(newest, int(float(line.rsplit(" ", 1)[1])))
            if not line.startswith("# EOF"):
                written.write(line)
        for name, series in LACKING.items():
            for labels in series:
                shown = ",".join(filter(None, [OF_THE_EXPORTER, labels]))
                for moment in range(newest - DAY + 60, newest + 1, 60):
                    written.write(f"{name}{{{shown}}} {_made(name, moment)} {moment}\n")
        written.write("# EOF\n")
    return path, newest


def _made(name: str, moment: int) -> float:
    """A value that the metric could have: counters grow, times are of an hour ago."""
    if name.endswith("_total"):
        return float(moment // 3600 % 1000)
    return float(moment - 3600) if "timestamp" in name else 0.5


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """The day as blocks, with ALERTS made of what the shipped rules say about it."""
    if not RECORDED.exists():
        pytest.skip(f"the recorded day is not there: {RECORDED}")
    for program in ("prometheus", "promtool"):
        need(program)
    folder = tmp_path_factory.mktemp("history")
    recorded, end = _recorded(folder)
    _blocks(folder, recorded)
    with _prometheus(folder) as url:
        alerts = list(_alerts(History(url, end)))
    (folder / "alerts.om").write_text("\n".join([*alerts, "# EOF", ""]))
    _blocks(folder, folder / "alerts.om")
    recorded.unlink()
    with _prometheus(folder) as url:
        yield History(url, end)
    shutil.rmtree(folder / "tsdb")


def _blocks(folder: Path, file: Path) -> None:
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", file, folder / "tsdb"],
        check=True, capture_output=True,
    )  # fmt: skip


@contextlib.contextmanager
def _prometheus(folder: Path) -> Iterator[str]:
    """A Prometheus that scrapes nothing and forgets nothing."""
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [
        "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
        "--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with Program(command, folder / "prometheus.log", cwd=folder):
        wait_for(lambda: answers(f"{url}/-/ready"), "Prometheus")
        yield url


def _alerts(history: History) -> Iterator[str]:
    """ALERTS as the rules would have written it, without their `for`."""
    for file in sorted((ROOT / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    yield from _firing(history, rule)


def _firing(history: History, rule: dict[str, Any]) -> Iterator[str]:
    answer = history.ask(
        "query_range", query=rule["expr"], start=str(history.end - DAY), end=str(history.end),
        step=str(STEP),
    )  # fmt: skip
    for series in answer["result"]:
        labels = {**series["metric"], **rule.get("labels", {}), "alertname": rule["alert"]}
        labels.pop("__name__", None)
        if "{{" in labels.get("severity", ""):
            labels["severity"] = series["metric"].get("severity", "critical")
        shown = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
        for moment, _ in series["values"]:
            yield f'ALERTS{{alertstate="firing",{shown}}} 1 {moment}'


def test_every_query_comes_back_with_something_and_reads_little(history: History) -> None:
    """No error, data or a listed reason, and never more samples than a day is worth."""
    empty, much = set(), {}
    for query in queries():
        answer = history.answer(query)
        if not values(answer):
            empty.add(str(query))
        read = answer["stats"]["samples"]["totalQueryableSamples"]
        if read > MOST_SAMPLES:
            much[str(query)] = read
    assert empty == set(EMPTY)
    assert not much


def test_counted_events_are_whole_and_add_up(history: History) -> None:
    """Each bar is a whole number, and all bars of a task are all its runs of the day."""
    for query in queries():
        if "$__interval" in query.expr:
            assert all(value == int(value) for value in values(history.answer(query))), query
    (runs,) = [q for q in queries() if (q.board, q.panel) == ("quant-tasks", "Runs")]
    counted = {
        series["metric"]["task"]: sum(float(value) for _, value in series["values"])
        for series in history.answer(runs)["result"]
    }
    exact = history.ask(
        "query", query=f"sum by (task) (increase(quant_task_runs_total[{DAY}s]))",
        time=str(history.end),
    )  # fmt: skip
    for series in exact["result"]:
        task, about = series["metric"]["task"], float(series["value"][1])
        assert counted[task] == pytest.approx(about, abs=max(2, 0.01 * about)), task


def test_the_day_is_told_as_it_was(history: History) -> None:
    """The task that failed fails on its board, and the loss is in its drawdown."""
    by_name = {(q.board, q.panel, q.ref): q for q in queries()}
    state = history.answer(by_name["quant-tasks", "State", "A"])
    worst = {
        series["metric"]["task"]: max(float(value) for _, value in series["values"])
        for series in state["result"]
    }
    assert worst["signals"] == 3
    drawdown = history.answer(by_name["quant-strategies", "Drawdown", "A"])
    (momentum,) = [
        [float(value) for _, value in series["values"] if value != "NaN"]
        for series in drawdown["result"]
        if series["metric"]["strategy"] == "momentum"
    ]
    assert max(momentum) - momentum[0] == pytest.approx(0.07, abs=0.02)
