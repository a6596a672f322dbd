"""Every query of every board over a recorded day of a realistic installation: New York's half day
after Thanksgiving, a source that hangs for 40 minutes, a failing task, a loss of 7 %, a restart."""

from __future__ import annotations

import contextlib
import json
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

from benchmarks import recorded_day
from benchmarks.recorded_day import DAY
from tests.boards import Query, filled, queries, with_zeros
from tests.integration.processes import ROOT, Program, answers, free_port, get, need, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

STEP = 120
RATE = 240
"""The day has one sample a minute, so $__rate_interval is four minutes."""
MOST_SAMPLES = 400_000
"""What a query may read for the day; Prometheus' own limit for one query is 50 million."""

EMPTY = {
    "quant-data/Spread/B": "no spread came near its limit",
    "quant-exporter/Open files/B": "few files were open",
    "quant-feed/Spread/B": "no spread came near its limit",
    "quant-feed/Settings and limits/E": "no spread has a critical limit",
    "quant-feed/Settings and limits/F": "the first source had answered again",
    "quant-task/Duration/B": "no run came near its limit",
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
        step = DAY // query.points
        rate = max(RATE, step + 60)
        expr = filled(query.expr, rate=f"{rate}s", step=f"{step}s", whole=f"{DAY}s")
        if query.instant:
            return self.ask("query", query=expr, time=str(self.end), stats="all")
        return self.ask(
            "query_range", query=expr, start=str(self.end - DAY), end=str(self.end),
            step=str(step), stats="all",
        )  # fmt: skip


def values(answer: dict[str, Any]) -> list[float]:
    """All numbers of an answer, without NaN."""
    texts = [
        text for series in answer["result"] for _, text in series.get("values") or [series["value"]]
    ]
    return [value for value in map(float, texts) if not math.isnan(value)]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """The day as blocks, with ALERTS made of what the shipped rules say about it."""
    if not recorded_day.FILE.exists():
        pytest.skip(f"the recorded day is not there: {recorded_day.FILE}")
    for program in ("prometheus", "promtool"):
        need(program)
    folder = tmp_path_factory.mktemp("history")
    recorded = folder / "day.om"
    end = recorded_day.write(recorded)
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
        answer = history.answer(with_zeros(query))
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
        assert counted.get(task, 0) == pytest.approx(about, abs=max(2, 0.01 * about)), task


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
