"""The first screen: is all well, and if not, where to look."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import board, cell, link
from grafana.colours import BAD, FINE, IDLE, NOTE, WARN
from grafana.panels import figure, graph, sheet, steps, timeline
from grafana.query import lowest_limit, now, rows, series, some_or_zero

NO_EXPORTER = "the exporter does not answer"
NONE_IS_BAD = steps((None, FINE), (1, BAD))
OVERDUE = "max by (job, instance, feed) (quant_data_overdue_seconds{@})"
OVERDUE_LIMIT = lowest_limit("quant_feed_overdue_limit_seconds", "feed")
DRAWDOWN = "max by (job, instance, strategy) (quant_strategy_drawdown_ratio{@})"
DRAWDOWN_LIMIT = lowest_limit("quant_strategy_drawdown_limit_ratio", "strategy")
LATE = (
    "time() > quant_task_deadline_timestamp_seconds{@}"
    " unless on (job, instance, task) quant_task_paused{@} == 1"
)
BUDGET = (
    'sum(increase(quant_alert_notifications_total{@, severity!="critical", status="firing"}[1d]))'
)
FIRING_ROWS = rows("""
  ALERTS{alertstate="firing", severity="critical"}
  or ALERTS{alertstate="firing", severity="warning"}
  or ALERTS{alertstate="firing", severity!~"critical|warning", alertname!="QuantWatchdog"}
""")
"""What fires, the worst first: `or` keeps the order of its sides; names have another."""
FIRING = 'count(ALERTS{{alertstate="firing", severity="{}", alertname!="QuantWatchdog"}})'


def build() -> Dashboard:
    """The home board."""
    return board(
        "overview",
        "Quant: overview",
        "Is everything ok? Then the top row is blue and green. Each figure leads to its board.",
        [*_top(), *_middle(), *_bottom()],
    )


def _top() -> list[tuple[int, int, object]]:
    return [
        (3, 4, figure(
            "Exporter", "Whether Prometheus reaches the exporter; DOWN when one is missing.",
            now("min(up{@})"), states={1: ("UP", NOTE), 0: ("DOWN", BAD)},
            unit="none", nothing="never scraped", link=link("exporter"))),
        (3, 4, figure(
            "Critical alerts", "Alerts of severity critical that fire now. Each one pages.",
            now(some_or_zero(FIRING.format("critical"))), thresholds=NONE_IS_BAD,
            nothing=NO_EXPORTER, link=link("alerts"))),
        (3, 4, figure(
            "Warnings", "Alerts of severity warning that fire now. They go to the chat.",
            now(some_or_zero(FIRING.format("warning"))),
            thresholds=steps((None, FINE), (1, WARN)), nothing=NO_EXPORTER, link=link("alerts"))),
        (3, 4, figure(
            "Overdue feeds", "Feeds whose worst symbol is overdue beyond the feed's first limit.",
            now(some_or_zero(f"count({OVERDUE} > on (job, instance, feed) {OVERDUE_LIMIT})")),
            thresholds=NONE_IS_BAD, nothing=NO_EXPORTER, link=link("data"))),
        (3, 4, figure(
            "Late tasks", "Tasks past their deadline with no success; paused ones do not count.",
            now(some_or_zero(f"count({LATE})")),
            thresholds=NONE_IS_BAD, nothing=NO_EXPORTER, link=link("tasks"))),
        (3, 4, figure(
            "Drawdown / limit", "Deepest drawdown as a share of the strategy's first limit; at "
            "100% it alerts.",
            now(f"max({DRAWDOWN} / on (job, instance, strategy) {DRAWDOWN_LIMIT})"),
            unit="percentunit", decimals=0,
            thresholds=steps((None, FINE), (0.8, WARN), (1, BAD)),
            nothing="no strategy with a limit", link=link("strategies"))),
        (3, 4, figure(
            "Alert budget", "Notifications below critical in the last 24 h; the budget is 10.",
            now(some_or_zero(BUDGET)), decimals=0,
            thresholds=steps((None, FINE), (8, WARN), (11, BAD)),
            nothing=NO_EXPORTER, link=link("alerts"))),
        (3, 4, figure(
            "Prices", "Whether any source simulates its prices.",
            now("max(quant_source_simulated{@})"), unit="none",
            states={0: ("REAL", NOTE), 1: ("SIMULATED", WARN)}, nothing="no source",
            link=link("data"))),
    ]  # fmt: skip


def _middle() -> list[tuple[int, int, object]]:
    task_link = link("tasks", task=cell("Task"))
    return [
        (12, 6, sheet(
            "Firing now", "Every alert that fires, the worst first. The watchdog always fires and "
            "is left out.",
            FIRING_ROWS,
            columns={"severity": "Severity", "alertname": "Alert", "task": "Task", "feed": "Feed",
                     "strategy": "Strategy"},
            links={"Alert": link("alerts")}, nothing="nothing fires")),
        (12, 6, sheet(
            "Next runs", "The tasks that run next; paused ones have no next slot.",
            rows("bottomk(10, quant_task_next_slot_timestamp_seconds{@} * 1000 > 0)"),
            columns={"task": "Task", "Value": "Next run"},
            units={"Next run": "dateTimeFromNow"}, links={"Task": task_link}, sort="Next run",
            nothing="no task is scheduled")),
    ]  # fmt: skip


def _bottom() -> list[tuple[int, int, object]]:
    return [
        (12, 7, graph(
            "Data overdue", "Time since the oldest missing bar was due, worst symbol of each "
            "feed; dashed lines are the limits. 0 is good, nights and weekends included.",
            series("max by (feed) (quant_data_overdue_seconds{@})", "{{feed}}"),
            series("max by (feed, severity) (quant_feed_overdue_limit_seconds{@})",
                   "limit {{feed}} {{severity}}"),
            unit="s", zero=True, limits="^limit .*", nothing="no feed is configured")),
        (12, 7, graph(
            "Drawdown", "How far each strategy is below its peak, deposits and withdrawals taken "
            "out; dashed lines are the limits.",
            series("max by (strategy) (quant_strategy_drawdown_ratio{@})", "{{strategy}}"),
            series("max by (strategy, severity) (quant_strategy_drawdown_limit_ratio{@})",
                   "limit {{strategy}} {{severity}}"),
            unit="percentunit", zero=True, limits="^limit .*",
            nothing="no strategy is configured")),
        (24, 4, timeline(
            "Markets", "When each exchange is in session.",
            series("max by (exchange) (quant_market_open{@})", "{{exchange}}"),
            states={1: ("open", NOTE), 0: ("closed", IDLE)}, nothing="no exchange is configured")),
    ]  # fmt: skip
