"""The rules' own tests, run by Prometheus' promtool."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.generations import Generation, each_generation

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "prometheus/tests").glob("*.yml"))

pytestmark = [pytest.mark.integration]


def promtool(generation: Generation, *arguments: object) -> str:
    done = subprocess.run(
        [generation.program("promtool"), *map(str, arguments)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "GOGC": "400"},  # memory is there, and collecting it takes time
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_are_files() -> None:
    """No file would be no test."""
    assert FILES


@each_generation
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_rules(generation: Generation, file: Path) -> None:
    """Not yet, firing with exact labels and annotations, over."""
    assert "SUCCESS" in promtool(generation, "test", "rules", file)


@each_generation
@pytest.mark.parametrize(
    "file",
    [
        f
        for f in FILES
        if f.stem in ("budget", "data_overdue", "drawdown", "source_down", "watchers")
    ],
    ids=lambda file: file.stem,
)
def test_rules_hold_with_a_second_exporter(
    generation: Generation, file: Path, tmp_path: Path
) -> None:
    """The same happens to another one at the same time: the same alerts twice, and no error."""
    whole = yaml.safe_load(file.read_text())
    whole["rule_files"] = [str((file.parent / rules).resolve()) for rules in whole["rule_files"]]
    for test in whole["tests"]:
        test["input_series"] += _another(test["input_series"])
        for case in test["alert_rule_test"]:
            case["exp_alerts"] = case.get("exp_alerts", [])
            case["exp_alerts"] += _another(case["exp_alerts"])
    (tmp_path / "two.yml").write_text(yaml.safe_dump(whole, sort_keys=False, width=10_000))
    assert "SUCCESS" in promtool(generation, "test", "rules", tmp_path / "two.yml")


def _another(things: list[Any]) -> list[Any]:
    """Those that are about the exporter a:1, about b:9 instead."""
    mine = [json.dumps(thing) for thing in things]
    return [json.loads(text.replace("a:1", "b:9")) for text in mine if "a:1" in text]


@each_generation
def test_500_symbols_in_trouble_are_one_message(generation: Generation, tmp_path: Path) -> None:
    """It names the worst, and says how many there are."""
    of = 'job="quant-exporter",instance="a:1",feed="us"'
    info = f"{of},source='s',interval='1m',exchange='XNYS',severity='critical'"
    series = {
        f"quant_feed_info{{{info}}}": "1",
        f"quant_feed_overdue_limit_seconds{{{of},severity='critical'}}": "600",
        f"quant_feed_spread_limit_ratio{{{of},severity='warning'}}": "0.005",
        'quant_market_open{job="quant-exporter",instance="a:1",exchange="XNYS"}': "1",
        'up{job="quant-exporter",instance="a:1"}': "1",
        'quant_exporter_build_info{job="quant-exporter",instance="a:1"}': "1",
    }
    for n in range(500):
        symbol = f"{of},symbol='S{n}.US'"
        series[f"quant_data_overdue_seconds{{{symbol}}}"] = str(700 + n)
        series[f"quant_data_spread_ratio{{{symbol}}}"] = str(0.01 + n / 10_000)
    links = {
        "exporter_url": "http://localhost:10077",
        "dashboard_url": "http://localhost:3000/d/quant-feed?var-feed=us",
    }
    expected = [
        ("QuantDataOverdue", "critical", "Market data is overdue",
         "Market data is up to date again",
         "Feed us: S499.US has been waiting 19m 59s for a bar (limit 10m 0s), since 1970-01-01"
         " 00:00 UTC. No bar received yet. Symbols over the limit: 500 of 500."),
        ("QuantSpreadAnomaly", "warning", "Spread is too wide", "Spread is back within its limit",
         "Feed us: spread of S499.US 5.99% (limit 0.5%). Symbols over the limit: 500."),
    ]  # fmt: skip
    cases = [
        {
            "eval_time": "20m",
            "alertname": name,
            "exp_alerts": [
                {
                    "exp_labels": {
                        "severity": severity, "job": "quant-exporter", "instance": "a:1",
                        "feed": "us", "source": "s", "exchange": "XNYS",
                    },
                    "exp_annotations": {
                        "summary": summary, "resolved": resolved, "description": description,
                        **links,
                        "runbook_url": f"http://localhost:10077/runbook#{name.lower()}",
                    },
                }
            ],
        }
        for name, severity, summary, resolved, description in expected
    ]  # fmt: skip
    whole = {
        "rule_files": [str(file) for file in sorted((ROOT / "prometheus/rules").glob("*.yml"))],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name.replace("'", '"'), "values": f"{value}x30"}
                    for name, value in series.items()
                ],
                "alert_rule_test": cases,
            }
        ],
    }
    (tmp_path / "many.yml").write_text(yaml.safe_dump(whole))
    assert "SUCCESS" in promtool(generation, "test", "rules", tmp_path / "many.yml")


@each_generation
def test_a_wrong_expectation_fails(generation: Generation, tmp_path: Path) -> None:
    """promtool passes when `rule_files` matches nothing, so see one of our files fail."""
    text = (ROOT / "prometheus/tests/task_succeeded.yml").read_text()
    text = text.replace("../rules", str(ROOT / "prometheus/rules"))
    (tmp_path / "t.yml").write_text(text.replace("severity: info", "severity: critical"))
    with pytest.raises(AssertionError, match="FAILED"):
        promtool(generation, "test", "rules", tmp_path / "t.yml")


@each_generation
def test_the_config_finds_the_rules(generation: Generation) -> None:
    """`check config` accepts a glob that matches no file, so read what it found."""
    found = promtool(generation, "check", "config", ROOT / "prometheus/prometheus.yml")
    assert f"{len(list((ROOT / 'prometheus/rules').glob('*.yml')))} rule files found" in found
