"""What fired, who was notified, and how long it waited for a person."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import board
from grafana.boards.overview import BUDGET, FIRING_ROWS, NO_EXPORTER, OF_WHAT, SEVERITIES
from grafana.colours import BAD, FINE, IDLE, NOTE, SENT, TIERS, WARN
from grafana.panels import figure, graph, sheet, steps, timeline
from grafana.query import (
    counted,
    counted_in_all,
    counted_with_the_first,
    now,
    rows,
    series,
    some_or_zero,
)

FIRING = 'ALERTS{alertstate="firing", alertname!="QuantWatchdog"}'
# A silence, whoever made it, is the acknowledgement.
UNSEEN = (
    'count(ALERTS{alertstate="firing", severity="critical"})'
    ' unless on () max(alertmanager_silences{state="active"}) > 0'
)


def build() -> Dashboard:
    """The board of the alerts."""
    return board(
        "alerts",
        "Quant: alerts",
        "What fired and when, what was sent to whom, and what waited for a person.",
        [
            (6, 5, figure(
                "Watchdog", "The alert that always fires. While it is missing, no other alert can "
                "be trusted either.",
                now('count(ALERTS{alertname="QuantWatchdog", alertstate="firing"}) > bool 0'),
                unit="none", states={1: ("WATCHING", NOTE), 0: ("SILENT", BAD)},
                nothing="no watchdog: rules are not evaluated")),
            (6, 5, figure(
                "Alert budget", "Notifications below critical in the last 24 h; the budget is 10.",
                now(some_or_zero(BUDGET)), decimals=0,
                thresholds=steps((None, FINE), (8, WARN), (11, BAD)), nothing=NO_EXPORTER)),
            (6, 5, figure(
                "Waited for a person", "In the time range, how long a critical alert fired while "
                "no silence was active: the time until somebody acknowledged it.",
                now(f"60 * count_over_time(({UNSEEN})[$__range:1m])"), unit="dtdurations",
                thresholds=steps((None, FINE), (900, BAD)), nothing="never")),
            (6, 5, figure(
                "Failed notifications", "Notifications that Alertmanager could not deliver in the "
                "time range.",
                now(f"sum({counted_in_all('alertmanager_notifications_failed_total')})"),
                decimals=0, thresholds=steps((None, FINE), (1, BAD)),
                nothing="Alertmanager is not scraped")),
            (24, 8, timeline(
                "Firing", "One band for each alert while it fires.",
                series(f"max by (alertname, severity) ({FIRING})", "{{alertname}} ({{severity}})"),
                states={1: ("firing", BAD)}, nothing="nothing fired")),
            (24, 7, sheet(
                "Firing now", "Every alert that fires now, the worst first.",
                FIRING_ROWS,
                columns={"severity": "Severity", "alertname": "Alert", "task": "Task",
                         "feed": "Feed", "strategy": "Strategy", "limit": "Limit",
                         "exchange": "Exchange", "source": "Source"},
                states={"Severity": SEVERITIES}, links=OF_WHAT, nothing="nothing fires")),
            (12, 8, graph(
                "Notifications by tier", "What Alertmanager handed to the journal.",
                series("sum by (severity, status) "
                       f"({counted('quant_alert_notifications_total{@}')})",
                       "{{severity}} {{status}}"),
                zero=True, bars=True, colours=TIERS, calcs=("sum",),
                nothing="no notification yet")),
            (12, 8, graph(
                "Acknowledged and not", "Alerts that Alertmanager knows: those that notify, the "
                "watchdog always among them, and those that a silence or a worse alert mutes.",
                series('sum(alertmanager_alerts{state="active"})', "notifying"),
                series('sum(alertmanager_alerts{state="suppressed"})', "muted"),
                series('sum(alertmanager_silences{state="active"})', "silences"),
                zero=True, colours={"notifying": BAD, "muted": IDLE, "silences": NOTE},
                nothing="Alertmanager is not scraped")),
            (12, 8, graph(
                "Who was notified", "Attempts of Alertmanager to deliver a message, by channel and "
                "what became of it.",
                series("sum by (outcome, integration) "
                       f"({counted('quant_alert_deliveries_total{@}')})",
                       "{{outcome}} {{integration}}"),
                zero=True, bars=True, colours=SENT, many=True, calcs=("sum",),
                nothing="no message yet")),
            (12, 8, graph(
                "Reports and messages of tasks", "What the exporter sent by itself (reports, "
                "digests, what tasks and limits have to say), by channel.",
                series("sum by (outcome, channel) "
                       f"({counted('quant_messages_total{@}')})", "{{outcome}} {{channel}}"),
                zero=True, bars=True, colours=SENT, many=True, calcs=("sum",),
                nothing="no channel is configured")),
            (24, 7, sheet(
                "Alerts that notified most", "How often each alert notified in the shown time: "
                "one that is noisy wants another limit.",
                rows("sum by (alertname, severity) ("
                     f"{counted_with_the_first('quant_alert_rule_notifications_total{@}')}) > 0"),
                columns={"alertname": "Alert", "severity": "Severity", "Value": "Messages"},
                states={"Severity": SEVERITIES}, sort="Messages", descending=True,
                nothing="no notification yet")),
        ],
        hours="now-7d",
    )  # fmt: skip
