"""The first screen: is all well, and if not, where to look."""

from __future__ import annotations

from collections.abc import Mapping

from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import board, cell, link, series_label
from grafana.boards.limits import broken
from grafana.colours import BAD, FINE, IDLE, NOTE, TIERS, WARN
from grafana.panels import State, Tile, graph, sheet, steps, tiles, timeline
from grafana.portfolio import today
from grafana.query import lowest_limit, now, or_band, or_word, rows, series, some_or_zero

NO_EXPORTER = "the exporter does not answer"
UNKNOWN = {-1: ("unknown", IDLE)}
ANSWERS = "0 * max(quant_exporter_build_info{@})"
NONE_IS_BAD = steps((None, FINE), (1, BAD))
OVERDUE_LIMIT = lowest_limit("quant_feed_overdue_limit_seconds", "feed")
OVERDUE_SHARE = (
    "max by (job, instance, feed) (quant_data_overdue_seconds{@})"
    f" / on (job, instance, feed) {OVERDUE_LIMIT}"
)
DRAWDOWN_SHARE = (
    "max by (job, instance, strategy) (quant_strategy_drawdown_ratio{@} >= 0)"
    " / on (job, instance, strategy) "
    + lowest_limit("quant_strategy_drawdown_limit_ratio", "strategy")
)
LATE = (
    "time() > quant_task_deadline_timestamp_seconds{@}"
    " unless on (job, instance, task) quant_task_paused{@} == 1"
)
BUDGET = (
    "sum(round(increase(quant_alert_notifications_total"
    '{@, severity!="critical", status="firing"}[1d])))'
)
WATCHDOG = 'ALERTS{alertstate="firing", alertname="QuantWatchdog"}'
FIRING_ROWS = rows(f"""
  label_replace(absent({WATCHDOG}), "severity", "unknown", "", "")
  or ALERTS{{alertstate="firing", severity="critical"}}
  or ALERTS{{alertstate="firing", severity="warning"}}
  or ALERTS{{alertstate="firing", severity!~"critical|warning", alertname!="QuantWatchdog"}}
""")
"""What fires, the worst first: `or` keeps the order of its sides; names have another. Without the
watchdog, which always fires, nobody knows."""
FIRING = 'ALERTS{{alertstate="firing", severity="{}", alertname!="QuantWatchdog"}}'
OF_WHAT = {
    "Task": link("task", task=cell("Task")),
    "Feed": link("feed", feed=cell("Feed")),
    "Strategy": link("strategy", strategy=cell("Strategy")),
    "Limit": link("limits", limit=cell("Limit")),
}
"""Where the things lead that an alert is about."""
SEVERITIES = {
    "unknown": ("unknown", WARN),
    **{tier: (tier, colour) for tier, colour in TIERS.items()},
}


def firing(severity: str) -> str:
    """How many alerts of a severity fire; no figure while nobody knows."""
    return f"count({FIRING.format(severity)}) or 0 * max({WATCHDOG})"


def none_of(thing: str) -> dict[int, State]:
    """Words of a figure that is not there."""
    return {-2: (f"no {thing}", IDLE), **UNKNOWN}


def build() -> Dashboard:
    """The home board."""
    return board(
        "overview",
        "Quant: overview",
        "Is everything ok? Then nothing fires and all figures are blue and green. Each figure "
        "leads to its board.",
        [*_top(), *_middle(), *_bottom()],
    )


def _top() -> list[tuple[int, int, object]]:
    return [
        (14, 7, sheet(
            "Firing now", "Every alert that fires, the worst first. The watchdog always fires and "
            "is left out; while it does not, its row says that nobody knows what fires.",
            FIRING_ROWS,
            columns={"severity": "Severity", "alertname": "Alert", "task": "Task", "feed": "Feed",
                     "strategy": "Strategy", "limit": "Limit"},
            states={"Severity": SEVERITIES}, links={"Alert": link("alerts"), **OF_WHAT},
            empty=dict.fromkeys(OF_WHAT, " "),
            widths={"Severity": 90, "Alert": 190, **dict.fromkeys(OF_WHAT, 140)},
            nothing="nothing fires")),
        (10, 7, tiles(
            "At a glance", "Exporter: whether Prometheus reaches it. Alerts: what fires now. "
            "Overdue feeds: beyond their first limit. Late tasks: past their deadline without a "
            "success. Today: profit of all strategies since midnight. Drawdown: the "
            "deepest as a share of the first limit; at 100% it alerts. "
            "Broken limits: those of exporter.yml that alert. Messages: alerts below critical "
            "sent in 24 h, of a budget of 10.",
            *_glance(), nothing=NO_EXPORTER)),
    ]  # fmt: skip


def _glance() -> list[Tile]:
    return [
        _tile("Exporter", "min(up{@})", "exporter", {1: ("UP", NOTE), 0: ("DOWN", BAD), **UNKNOWN}),
        _tile("Critical alerts", firing("critical"), "alerts", UNKNOWN,
              thresholds=NONE_IS_BAD),
        _tile("Warnings", firing("warning"), "alerts", UNKNOWN,
              thresholds=steps((None, FINE), (1, WARN))),
        _tile("Overdue feeds", some_or_zero(f"count({OVERDUE_SHARE} > 1)", of="quant_feed_info"),
              "data", none_of("feed"), thresholds=NONE_IS_BAD),
        _tile("Late tasks", some_or_zero(f"count({LATE})", of="quant_task_info"), "tasks",
              none_of("task"), thresholds=NONE_IS_BAD),
        today(link("strategies"), steps((None, NOTE))),
        _tile("Drawdown / limit", f"max({DRAWDOWN_SHARE}) or {ANSWERS} - 2", "strategies",
              none_of("limit"), unit="percentunit",
              thresholds=steps((None, FINE), (0.8, WARN), (1, BAD))),
        _tile("Broken limits", broken(), "limits", none_of("limit"), thresholds=NONE_IS_BAD),
        _tile("Messages today", some_or_zero(BUDGET), "alerts", UNKNOWN,
              thresholds=steps((None, FINE), (8, WARN), (11, BAD))),
        _tile("Prices", f"max(quant_source_simulated{{@}}) or {ANSWERS} - 2", "data",
              {0: ("REAL", NOTE), 1: ("SIMULATED", WARN), **none_of("source")}),
    ]  # fmt: skip


def _tile(
    name: str,
    expr: str,
    leads_to: str,
    states: Mapping[int, State],
    *,
    unit: str = "none",
    thresholds: ThresholdsConfig | None = None,
) -> Tile:
    query = now(or_word(expr, -1), name)
    return Tile(name, query, states, link(leads_to), unit, thresholds)


def _middle() -> list[tuple[int, int, object]]:
    return [
        (6, 10, sheet(
            "Next runs", "The tasks that run next; paused ones have no next slot.",
            rows("bottomk(10, quant_task_next_slot_timestamp_seconds{@} * 1000 > 0)"),
            columns={"task": "Task", "Value": "Next run"},
            units={"Next run": "dateTimeFromNow"},
            links={"Task": link("task", task=cell("Task"))}, sort="Next run",
            nothing="no task is scheduled")),
        (9, 10, graph(
            "Data overdue / limit", "Time since the oldest missing bar was due, worst symbol of "
            "each feed, as a share of its first limit: at 100% it alerts. 0 is good, nights and "
            "weekends included.",
            series(f"max by (feed) ({OVERDUE_SHARE})", "{{feed}}"),
            unit="percentunit", zero=True, share=True, calcs=("lastNotNull", "max"),
            leads_to=link("feed", feed=series_label("feed")),
            nothing="no feed with a limit is configured")),
        (9, 10, graph(
            "Drawdown / limit", "How far each strategy is below its peak, deposits and withdrawals "
            "taken out, as a share of the strategy's first limit: at 100% it alerts.",
            series(f"max by (strategy) ({DRAWDOWN_SHARE})", "{{strategy}}"),
            unit="percentunit", zero=True, share=True, calcs=("lastNotNull", "max"),
            leads_to=link("strategy", strategy=series_label("strategy")),
            nothing="no strategy with a limit is configured")),
    ]  # fmt: skip


def _bottom() -> list[tuple[int, int, object]]:
    return [
        (24, 4, timeline(
            "Markets", "When each exchange is in session.",
            series(or_band("max by (exchange) (quant_market_open{@})", "exchange"), "{{exchange}}"),
            states={1: ("open", NOTE), 0: ("closed", IDLE)}, nothing="no exchange is configured")),
    ]  # fmt: skip
