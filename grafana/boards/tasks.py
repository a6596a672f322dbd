"""What the scheduled tasks did, do and will do."""

from __future__ import annotations

from collections.abc import Mapping

from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.table import Panel
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import Choice, board, cell, link, series_label
from grafana.colours import BAD, FINE, IDLE, NOTE, OUTCOMES, WARN
from grafana.panels import graph, heat, sheet, timeline
from grafana.query import cells, events, moments, or_band, rows, series

STATES = {
    0: ("ok", FINE),
    1: ("running", NOTE),
    2: ("paused", IDLE),
    3: ("failing", BAD),
    4: ("late", WARN),
}
KINDS = {"run": "Python", "command": "command", "external": "pings", "service": "service"}
ONE = link("task", task=series_label("task"))
# One value a task of each exporter: what stands first wins. Then the worst of all exporters.
STATE = """
  max by (task) (
    (quant_task_paused{@, task=~"$task"} == 1) * 0 + 2
    or (quant_task_consecutive_failures{@, task=~"$task"}
        >= quant_task_failures_limit{@, task=~"$task"}) * 0 + 3
    or (quant_service_up{@, task=~"$task"} == 0
        and quant_service_expected{@, task=~"$task"} == 1) * 0 + 3
    or (time() > quant_task_deadline_timestamp_seconds{@, task=~"$task"}) * 0 + 4
    or (quant_task_running{@, task=~"$task"} == 1)
    or max by (job, instance, task) (quant_task_info{@, task=~"$task"}) * 0
  )
"""
CHOSEN = '{@, task=~"$task"}'
DURATION = (
    f"sum by (task) (rate(quant_task_duration_seconds_sum{CHOSEN}[$__rate_interval]))"
    f" / (sum by (task) (rate(quant_task_duration_seconds_count{CHOSEN}[$__rate_interval])) > 0)"
)
# The value is the moment, in the milliseconds that Grafana counts in.
FAILURES = f"""
  max by (task, reason, text, run_id, exporter_url) (
    quant_task_last_failure_info{CHOSEN}
    * on (job, instance) group_left (exporter_url) quant_alert_links_info{{@}}
    * on (job, instance, task) group_left ()
    (quant_task_last_failure_timestamp_seconds{{@}} * 1000 > 0)
  )
"""


def _moments(what: str, *, name: str) -> Dataquery:
    return moments(f"quant_task_{what}_timestamp_seconds", "task", chosen=CHOSEN, name=name)


def _since(*, name: str) -> Dataquery:
    return moments("quant_service_since_timestamp_seconds", "task", chosen=CHOSEN, name=name)


def services(widths: Mapping[str, int], nothing: str = "no service is watched") -> Panel:
    """The tasks that are services of systemd."""
    return sheet(
        "Services", "Services of systemd that are watched as tasks.",
        rows(f"max by (task) (quant_service_up{CHOSEN})", name="A"),
        rows(f"max by (task) (quant_service_expected{CHOSEN})", name="B"),
        _since(name="C"),
        rows(f"max by (task) (quant_service_recent_restarts{CHOSEN})", name="D"),
        rows(f"max by (task) (quant_service_restarts_limit{CHOSEN})", name="E"),
        columns={"task": "Task", "Value #A": "Service", "Value #B": "Needed now",
                 "Value #C": "Since", "Value #D": "Restarts in the last hour",
                 "Value #E": "Restarts allowed"},
        units={"Since": "dateTimeFromNow"}, widths=widths,
        states={"Service": {1: ("up", FINE), 0: ("down", BAD)},
                "Needed now": {1: ("yes", NOTE), 0: ("no", "")}},
        empty={"Since": "unknown"}, links={"Task": link("task", task=cell("Task"))},
        sort="Service", nothing=nothing)  # fmt: skip


def build() -> Dashboard:
    """The board of the tasks."""
    return board(
        "tasks",
        "Quant: tasks",
        "Each task's state over time, its newest run, and what went wrong.",
        [
            (24, 8, timeline(
                "State", "One band for each task. Failing: as many failures in a row as alert, or "
                "a service that is needed and down. Late: past its deadline without a success.",
                series(or_band(STATE, "task"), "{{task}}"), states=STATES,
                nothing="no task is configured")),
            (24, 9, sheet(
                "Tasks", "The newest of each task; a click on its name shows its own board. Pings: "
                "it runs elsewhere and says so.",
                rows(STATE, name="A"),
                _moments("last_success", name="B"),
                _moments("last_failure", name="C"),
                rows(f"max by (task) (quant_task_consecutive_failures{CHOSEN})", name="D"),
                rows(f"max by (task) (quant_task_items{CHOSEN} >= 0)", name="E"),
                _moments("next_slot", name="F"),
                _moments("deadline", name="G"),
                rows(f"max by (task, kind, schedule) (quant_task_info{CHOSEN})", name="H"),
                columns={"task": "Task", "Value #A": "State", "kind": "Kind",
                         "schedule": "Schedule", "Value #B": "Last success",
                         "Value #C": "Last failure", "Value #D": "Failures in a row",
                         "Value #E": "Items", "Value #F": "Next run", "Value #G": "Deadline"},
                units={"Last success": "dateTimeFromNow", "Last failure": "dateTimeFromNow",
                       "Next run": "dateTimeFromNow", "Deadline": "dateTimeFromNow"},
                empty={"Last success": "never", "Last failure": "never", "Items": "–",
                       "Next run": "none", "Deadline": "none"},
                links={"Task": link("task", task=cell("Task"))}, texts={"Kind": KINDS},
                states={"State": STATES}, sort="State", descending=True,
                nothing="no task is configured")),
            (24, 6, sheet(
                "Newest failures", "Why each task failed last, and the page of that run with its "
                "output. The page is on the exporter's own address.",
                rows(FAILURES),
                columns={"task": "Task", "Value": "When", "reason": "Outcome", "text": "Error",
                         "run_id": "Run", "exporter_url": "Exporter"},
                units={"When": "dateTimeFromNow"},
                widths={"Task": 160, "When": 140, "Outcome": 100, "Run": 170, "Exporter": 220},
                links={"Task": f"{cell('Exporter')}/tasks/{cell('Task')}",
                       "Run": f"{cell('Exporter')}/runs/{cell('Run')}",
                       "Exporter": cell("Exporter")},
                sort="When", descending=True, nothing="no failure is known")),
            (24, 5, services({})),
            (12, 10, graph(
                "Runs", "Runs that ended, with any outcome.",
                series(events("quant_task_runs_total" + CHOSEN, "task"), "{{task}}"),
                zero=True, bars=True, calcs=("sum",), leads_to=ONE,
                nothing="no run in the shown time")),
            (12, 10, graph(
                "Failures", "Runs without success, by reason.",
                series(events("quant_task_failures_total" + CHOSEN, "task, reason"),
                       "{{reason}} {{task}}"),
                zero=True, bars=True, colours=OUTCOMES, colour=BAD, calcs=("sum",), leads_to=ONE,
                nothing="no run failed")),
            (12, 10, graph(
                "Duration", "Mean duration of the runs that ended at each moment, retries "
                "included; a point where a run ended.",
                series(DURATION, "{{task}}"),
                unit="s", dots=True, log=True, calcs=("mean", "max"), leads_to=ONE,
                nothing="no run yet")),
            (12, 10, heat(
                "Duration of all runs", "How many runs took how long; the scale is below.",
                cells("quant_task_duration_seconds_bucket" + CHOSEN),
                unit="s", nothing="no run yet")),
            (12, 10, graph(
                "Missed slots", "Slots whose time and grace passed without a run.",
                series(events("quant_task_missed_total" + CHOSEN, "task"), "{{task}}"),
                zero=True, bars=True, colour=BAD, calcs=("sum",), leads_to=ONE,
                nothing="none was missed")),
            (12, 10, graph(
                "Skipped slots and retries", "Slots that were skipped on purpose, by reason, and "
                "attempts beyond a run's first.",
                series(events("quant_task_skipped_total" + CHOSEN, "reason"),
                       "skipped: {{reason}}"),
                series(events("quant_task_retries_total" + CHOSEN), "retries"),
                zero=True, bars=True, calcs=("sum",), nothing="none was skipped")),
            (24, 10, graph(
                "Items", "What the newest successful run of each task says it handled. A task that "
                "succeeds with 0 items did nothing.",
                series(f"max by (task) (quant_task_items{CHOSEN} >= 0)", "{{task}}"),
                zero=True, leads_to=ONE, nothing="no task reports items")),
        ],
        choices=[Choice("task", "quant_task_info{@}")],
    )  # fmt: skip
