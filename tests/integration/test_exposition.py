"""/metrics of a running exporter: each name of the contract from the first scrape, in each form."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from tests.integration.processes import Exporter, free_port, get, need

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
sources: {{sim: {{type: simulated}}}}
feeds:
  coins:
    {{source: sim, symbols: [BTCUSDT], interval: 1m, exchange: 24/7,
     max_overdue: {{critical: 2h}}, max_spread: {{warning: 0.5%}}}}
tasks:
  never: {{command: [sh], schedule: "00:00"}}
strategies:
  momentum: {{max_age: 1d, max_drawdown: {{warning: 5%}}}}
"""
# What rules, dashboards and users rely on: a change here is a breaking one.
CONTRACT = """\
quant_task_info [task, severity, exchange, source, kind, schedule]
quant_feed_info [feed, source, interval, exchange, severity]
quant_strategy_info [strategy, currency, severity]
quant_task_runs_total quant_task_retries_total quant_task_missed_total [task]
quant_task_failures_total quant_task_skipped_total [task, reason]
quant_task_duration_seconds [task]
quant_task_last_success_timestamp_seconds quant_task_last_failure_timestamp_seconds [task]
quant_task_last_start_timestamp_seconds quant_task_consecutive_failures quant_task_items [task]
quant_task_failures_limit quant_task_deadline_timestamp_seconds [task]
quant_task_next_slot_timestamp_seconds quant_task_running quant_task_paused [task]
quant_fetch_requests_total quant_fetch_retries_total quant_fetch_duration_seconds [source, endpoint]
quant_fetch_failures_total [source, endpoint, reason]
quant_fetch_wait_seconds_total [source]
quant_data_last_bar_timestamp_seconds quant_data_age_seconds [feed, symbol]
quant_data_overdue_seconds quant_data_close_price quant_data_spread_ratio [feed, symbol]
quant_feed_missing_bars [feed]
quant_feed_overdue_limit_seconds quant_feed_spread_limit_ratio [feed, severity]
quant_market_open quant_market_next_open_timestamp_seconds [exchange]
quant_market_next_close_timestamp_seconds quant_calendar_end_timestamp_seconds [exchange]
quant_source_key_expiry_timestamp_seconds quant_source_simulated [source]
quant_strategy_equity quant_strategy_equity_peak quant_strategy_drawdown_ratio [strategy]
quant_strategy_pnl_today quant_strategy_last_update_timestamp_seconds [strategy]
quant_strategy_drawdown_limit_ratio [strategy, severity]
quant_strategy_age_limit_seconds [strategy]
quant_log_records_total [level]
quant_log_dropped_total quant_log_lost_total []
quant_log_queue_bytes quant_log_waiting_bytes []
quant_alert_notifications_total [severity, status, receiver]
quant_state_healthy quant_exporter_event_loop_lag_seconds []
quant_exporter_config_last_reload_successful []
quant_exporter_config_last_reload_success_timestamp_seconds []
process_resident_memory_bytes process_open_fds process_start_time_seconds []
"""
# Of these nobody knows the labels before the first one comes.
BORN_LATER = (
    "quant_log_errors_total", "quant_strategy_last_fill_timestamp_seconds",
    "quant_strategy_last_fill_price", "quant_backtest_return_ratio", "quant_backtest_sharpe_ratio",
    "quant_backtest_worst_drawdown_ratio", "quant_backtest_last_success_timestamp_seconds",
    "quant_backtest_units", "quant_backtest_units_done", "quant_backtest_units_failed",
)  # fmt: skip


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An exporter on which nothing has run yet."""
    folder, port = tmp_path_factory.mktemp("exposition"), free_port()
    (folder / "exporter.yml").write_text(CONFIG.format(port=port))
    with Exporter(folder / "exporter.yml") as exporter:
        yield exporter.wait_ready(port).url


def test_every_series_of_the_contract_is_there_before_anything_happened(url: str) -> None:
    """With exactly its labels; a series that is born at its first failure rises from nothing."""
    found: dict[str, set[frozenset[str]]] = {}
    values: dict[str, list[float]] = {}
    families = list(plain(get(f"{url}/metrics").decode()))
    for family in families:
        for sample in family.samples:
            name = re.sub(r"_(bucket|sum|count)$", "", sample.name)
            found.setdefault(name, set()).add(frozenset(sample.labels) - {"le"})
            values.setdefault(name, []).append(sample.value)
    for line in CONTRACT.splitlines():
        names, _, labels = line.removesuffix("]").partition(" [")
        for name in names.split():
            wanted = frozenset(label for label in labels.split(", ") if label)
            assert found.get(name) == {wanted}, name
    named = {family.name for family in families}
    assert {name.removesuffix("_total") for name in BORN_LATER} <= named
    for name in ("success", "failure", "start"):
        (value,) = values[f"quant_task_last_{name}_timestamp_seconds"]
        assert value != value, "a time that never was is NaN"
    assert set(values["quant_task_failures_total"]) == {0.0}


def test_promtool_finds_nothing(url: str) -> None:
    """Names, units, help texts."""
    text = get(f"{url}/metrics")
    checked = subprocess.run(
        [need("promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_each_form_says_the_same(url: str) -> None:
    """Prometheus text and OpenMetrics, plain and gzip."""
    accept = "application/openmetrics-text; version=1.0.0"
    text = get(f"{url}/metrics").decode()
    other = get(f"{url}/metrics", Accept=accept).decode()
    assert other.endswith("# EOF\n")
    names = {sample.name for family in plain(text) for sample in family.samples}
    assert names == {sample.name for family in openmetrics(other) for sample in family.samples}
    zipped = gzip.decompress(get(f"{url}/metrics", **{"Accept-Encoding": "gzip"})).decode()
    assert {sample.name for family in plain(zipped) for sample in family.samples} == names
    some = get(f"{url}/metrics?name[]=quant_task_running").decode()
    assert [line for line in some.splitlines() if not line.startswith("#")] == [
        'quant_task_running{task="never"} 0.0'
    ]


def test_the_list_for_people_has_every_name(url: str) -> None:
    """docs/metrics.md."""
    listed = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    for family in plain(get(f"{url}/metrics").decode()):
        if family.name.startswith("quant_"):
            assert f"`{family.name}" in listed
