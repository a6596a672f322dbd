"""What fired, who was notified, and how long it waited for a person."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import board
from grafana.boards.overview import BUDGET, FIRING_ROWS, OF_WHAT, SEVERITIES, WATCHDOG, firing
from grafana.colours import BAD, FINE, IDLE, NOTE, SENT, TIERS, WARN
from grafana.panels import State, Tile, graph, sheet, steps, tiles, timeline
from grafana.query import (
    counted_in_all,
    counted_with_the_first,
    events,
    now,
    or_word,
    rows,
    series,
    some_or_zero,
)

FIRING = 'ALERTS{{alertstate="firing", severity{}, alertname!="QuantWatchdog"}}'
# Without "Quant", which all of ours begin with: a phone has no room for it.
BY_TIER = f"""
  label_replace(
    max by (alertname, severity) (
      3 * {FIRING.format('="critical"')}
      or 2 * {FIRING.format('="warning"')}
      or {FIRING.format('!~"critical|warning"')}
    ),
    "alertname", "$1", "alertname", "Quant(.+)"
  )
"""
WATCHING = f"count({WATCHDOG}) or vector(0)"
QUIET = f"""
  label_replace(label_replace(
    -max({WATCHDOG}), "alertname", "none", "", ""), "severity", "watchdog alone", "", "")
  or label_replace(label_replace(
    -2 * absent({WATCHDOG}), "alertname", "unknown", "", ""), "severity", "no watchdog", "", "")
"""
# A silence, whoever made it, is the acknowledgement.
UNSEEN = (
    'count(ALERTS{alertstate="firing", severity="critical"})'
    ' unless on () max(alertmanager_silences{state="active"}) > 0'
)


def _tiles() -> list[Tile]:
    unknown = {-1: ("unknown", IDLE)}
    watchdog = f"max({WATCHING}) > bool 0"
    waited = f"sum(60 * count_over_time(({UNSEEN})[$__range:1m]))"
    unconfigured = counted_in_all('quant_alert_deliveries_total{@, outcome="unconfigured"}')
    failed = (
        f"sum({counted_in_all('alertmanager_notifications_failed_total')})"
        f" + (sum({unconfigured}) or vector(0))"
    )

    def tile(name: str, expr: str, words: dict[int, State], limits: ThresholdsConfig) -> Tile:
        unit = "dtdhms" if name == "Waited for a person" else "none"
        return Tile(name, now(or_word(expr, -1), name), words, unit=unit, thresholds=limits)

    def fires(tier: str, limit: str) -> Tile:
        name = "Critical alerts" if tier == "critical" else "Warnings"
        return tile(name, firing(tier), unknown, steps((None, FINE), (1, limit)))

    silences = 'sum(alertmanager_silences{state="active"})'
    return [
        fires("critical", BAD),
        fires("warning", WARN),
        tile("Watchdog", watchdog,
             {1: ("WATCHING", NOTE), 0: ("SILENT", BAD), -1: ("SILENT", BAD)}, steps((None, IDLE))),
        tile("Messages today", some_or_zero(BUDGET), unknown,
             steps((None, FINE), (8, WARN), (11, BAD))),
        tile("Waited for a person", waited, {-1: ("never", FINE)},
             steps((None, FINE), (900, BAD))),
        tile("Acknowledged now", silences, unknown, steps((None, NOTE))),
        tile("Not delivered", failed, unknown, steps((None, FINE), (1, BAD))),
    ]  # fmt: skip


def build() -> Dashboard:
    """The board of the alerts."""
    return board(
        "alerts",
        "Quant: alerts",
        "What fired and when, what was sent to whom, and what waited for a person.",
        [
            (24, 4, tiles(
                "Now", "Watchdog: the alert that always fires; while it is missing, no other alert "
                "can be trusted either. Messages today: those below critical in 24 h, of a budget "
                "of 10. Waited for a person: how long a critical alert fired in the shown time "
                "while nobody had acknowledged it. Acknowledged now: silences in force. Not "
                "delivered: messages of the shown time, with those to a receiver that has no "
                "channel (unconfigured).",
                *_tiles(), nothing="Prometheus does not answer")),
            (24, 8, timeline(
                "Firing", "One band for each alert while it fires.",
                series(f"{BY_TIER} or on () {QUIET}", "{{alertname}} ({{severity}})"),
                states={3: ("critical", BAD), 2: ("warning", WARN), 1: ("info", NOTE),
                        -1: ("nothing fires", FINE), -2: ("unknown", IDLE)},
                nothing="nothing fires")),
            (24, 7, sheet(
                "Firing now", "Every alert that fires now, the worst first; unknown while the "
                "watchdog does not.",
                FIRING_ROWS,
                columns={"severity": "Severity", "alertname": "Alert", "task": "Task",
                         "feed": "Feed", "strategy": "Strategy", "limit": "Limit",
                         "exchange": "Exchange", "source": "Source"},
                states={"Severity": SEVERITIES}, links=OF_WHAT,
                empty=dict.fromkeys(OF_WHAT, " "), widths={"Severity": 110},
                nothing="nothing fires")),
            (12, 10, graph(
                "Notifications by tier", "What Alertmanager handed to the journal.",
                series(events('quant_alert_notifications_total{@, status="firing"}', "severity"),
                       "{{severity}}"),
                series(events('quant_alert_notifications_total{@, status="resolved"}', "severity"),
                       "resolved: {{severity}}"),
                zero=True, bars=True, colours={**TIERS, "resolved:": FINE}, calcs=("sum",),
                nothing="no notification in the shown time")),
            (12, 10, graph(
                "Acknowledged and not", "Alerts that Alertmanager knows, without the watchdog: "
                "those that notify, and those that a silence or a worse alert mutes.",
                series(f'clamp_min(sum(alertmanager_alerts{{state="active"}}) - ({WATCHING}), 0)',
                       "notifying"),
                series('sum(alertmanager_alerts{state="suppressed"})', "muted"),
                series('sum(alertmanager_silences{state="active"})', "silences"),
                zero=True, colours={"notifying": BAD, "muted": IDLE, "silences": NOTE},
                nothing="Alertmanager is not scraped")),
            (12, 10, graph(
                "Who was notified", "Attempts of Alertmanager to deliver a message, by channel and "
                "what became of it.",
                series(events("quant_alert_deliveries_total{@}", "outcome, integration"),
                       "{{outcome}} {{integration}}"),
                zero=True, bars=True, colours=SENT, calcs=("sum",),
                nothing="no message in the shown time")),
            (12, 10, graph(
                "Reports and messages of tasks", "What the exporter sent by itself (reports, "
                "digests, what tasks and limits have to say), by channel.",
                series(events("quant_messages_total{@}", "outcome, channel"),
                       "{{outcome}} {{channel}}"),
                zero=True, bars=True, colours=SENT, calcs=("sum",),
                nothing="no message in the shown time")),
            (24, 7, sheet(
                "Alerts that notified most", "How often each alert notified in the shown time: "
                "one that is noisy wants another limit.",
                rows("sum by (alertname, severity) ("
                     f"{counted_with_the_first('quant_alert_rule_notifications_total{@}')}) > 0"),
                columns={"alertname": "Alert", "severity": "Severity", "Value": "Messages"},
                states={"Severity": SEVERITIES}, widths={"Severity": 110},
                sort="Messages", descending=True, nothing="no notification yet")),
        ],
        hours="now-7d",
    )  # fmt: skip
