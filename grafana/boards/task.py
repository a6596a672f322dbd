"""One task: how it stands, its runs and failures, its schedule and its limits."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import Back, Choice, board, cell
from grafana.boards.tasks import CHOSEN, DURATION, KINDS, STATE, STATES, services
from grafana.colours import BAD, FINE, IDLE, NOTE, OUTCOMES
from grafana.panels import Tile, graph, sheet, steps, tiles, timeline
from grafana.query import (
    counted,
    events,
    near,
    near_below,
    newest,
    now,
    or_band,
    or_word,
    rows,
    series,
)

NEVER = {-1: ("never", IDLE)}
NONE = {-1: ("none", IDLE)}
ITEMS = f"max by (task) (quant_task_items{CHOSEN} >= 0)"
# The newest failure, looked at once a minute: each run that failed, with the moment of its end.
# Prometheus keeps a run that is no longer the newest for 5 minutes where a scrape was missed.
FAILED_RUNS = f"""
  max by (task, reason, text, run_id, exporter_url) (
    min_over_time((
      quant_task_last_failure_info{CHOSEN}
      * on (job, instance, task) group_left ()
      (quant_task_last_failure_timestamp_seconds{CHOSEN} * 1000 > 0)
    )[$__range:1m])
    * on (job, instance) group_left (exporter_url) quant_alert_links_info{{@}}
  )
"""
ABOUT = f"""
  max by (task, kind, schedule, exchange, source, severity, exporter_url) (
    quant_task_info{CHOSEN}
    * on (job, instance) group_left (exporter_url) quant_alert_links_info{{@}}
  )
"""


def build() -> Dashboard:
    """The board of one task."""
    return board(
        "task",
        "Quant: one task",
        "How a task stands, its runs and failures with links to their pages, schedule and limits.",
        [*_now(), *_runs(), *_rest()],
        choices=[Choice("task", "quant_task_info{@}", one=True)],
        back=Back("tasks", "All tasks"),
        hours="now-7d",
    )


def _now() -> list[tuple[int, int, object]]:
    bad_from_one = steps((None, FINE), (1, BAD))
    times = [
        Tile(name, now(newest(f"quant_task_{what}_timestamp_seconds", CHOSEN), name), words,
             unit="dateTimeFromNow")
        for name, what, words in (
            ("Last success", "last_success", NEVER), ("Last failure", "last_failure", NEVER),
            ("Next run", "next_slot", NONE), ("Deadline", "deadline", NONE),
        )
    ]  # fmt: skip
    failures = or_word(f"max(quant_task_consecutive_failures{CHOSEN})", -1)
    return [
        (24, 4, tiles(
            "Now", "Failing: as many failures in a row as alert, or a service that is needed and "
            "down. Late: past its deadline without a success. The deadline is when the next "
            "success is due at the latest.",
            Tile("State", now(or_word(f"max({STATE})", -1), "State"),
                 {**STATES, -1: ("unknown", IDLE)}),
            *times,
            Tile("Failures in a row", now(failures, "Failures in a row"), NONE,
                 thresholds=bad_from_one),
            Tile("Items", now(or_word(f"max({ITEMS})", -1), "Items"), {-1: ("not counted", IDLE)}),
            nothing="no task of this name is configured")),
    ]  # fmt: skip


def _runs() -> list[tuple[int, int, object]]:
    failures = events("quant_task_failures_total" + CHOSEN, "reason")
    all_failures = f"sum({counted('quant_task_failures_total' + CHOSEN)})"
    runs = f"sum({counted('quant_task_runs_total' + CHOSEN)})"
    return [
        (24, 4, timeline(
            "State", "Its state over time.",
            series(or_band(STATE, "task"), "{{task}}"), states=STATES,
            nothing="no task of this name is configured")),
        (24, 7, sheet(
            "Failed runs", "Each run that failed in the shown time, and the page of that run with "
            "its output. The page of the task has all runs.",
            rows(FAILED_RUNS),
            columns={"Value": "When", "reason": "Outcome", "text": "Error", "run_id": "Run",
                     "exporter_url": "Exporter", "task": "All runs of"},
            units={"When": "dateTimeAsIso"},
            widths={"When": 170, "Outcome": 100, "Run": 170, "Exporter": 220, "All runs of": 160},
            links={"Run": f"{cell('Exporter')}/runs/{cell('Run')}", "Exporter": cell("Exporter"),
                   "All runs of": f"{cell('Exporter')}/tasks/{cell('All runs of')}"},
            sort="When", descending=True, nothing="no run failed")),
        (12, 10, graph(
            "Runs", "Runs that ended, by outcome.",
            series(f"clamp_min({runs} - ({all_failures}), 0) > 0", "success"),
            series(failures, "{{reason}}"),
            zero=True, bars=True, colours=OUTCOMES, calcs=("sum",),
            nothing="no run in the shown time")),
        (12, 10, graph(
            "Duration", "Mean duration of the runs that ended at each moment, retries included; a "
            "dashed line is max_duration when it is near.",
            series(DURATION, "mean"),
            series(near(f"max by (task) (quant_task_duration_limit_seconds{CHOSEN})", DURATION,
                        "task"), "limit"),
            unit="s", dots=True, limits="^limit", calcs=("mean", "max"),
            nothing="no run yet")),
    ]  # fmt: skip


def _rest() -> list[tuple[int, int, object]]:
    return [
        (24, 5, sheet(
            "Schedule and limits", "As exporter.yml has them. It alerts at so many failures in a "
            "row, below so many items, and while a run takes longer than the limit.",
            rows(ABOUT, name="A"),
            rows(f"max by (task) (quant_task_failures_limit{CHOSEN})", name="B"),
            rows(f"max by (task) (quant_task_items_limit{CHOSEN})", name="C"),
            rows(f"min by (task) (quant_task_duration_limit_seconds{CHOSEN})", name="D"),
            columns={"task": "Task", "kind": "Kind", "schedule": "Schedule",
                     "exchange": "Exchange", "source": "Source", "severity": "Severity",
                     "Value #B": "Failures in a row", "Value #C": "Least items",
                     "Value #D": "Longest run", "exporter_url": "Exporter"},
            units={"Longest run": "dtdhms"}, texts={"Kind": KINDS},
            empty={"Least items": "no limit", "Longest run": "no limit"},
            links={"Task": f"{cell('Exporter')}/tasks/{cell('Task')}",
                   "Exporter": cell("Exporter")},
            nothing="no task of this name is configured")),
        (12, 10, graph(
            "Missed, skipped and tried again", "Slots whose time and grace passed without a run, "
            "slots skipped on purpose, by reason, and attempts beyond a run's first.",
            series(events("quant_task_missed_total" + CHOSEN), "missed"),
            series(events("quant_task_skipped_total" + CHOSEN, "reason"), "skipped: {{reason}}"),
            series(events("quant_task_retries_total" + CHOSEN), "retries"),
            zero=True, bars=True, colours={"missed": BAD, "retries": NOTE}, calcs=("sum",),
            nothing="none of these in the shown time")),
        (12, 10, graph(
            "Items", "What its newest successful run says it handled; a dashed line is min_items "
            "when it is near.",
            series(ITEMS, "items"),
            series(near_below(f"max by (task) (quant_task_items_limit{CHOSEN})", ITEMS, "task"),
                   "limit"),
            zero=True, limits="^limit", nothing="this task reports no items")),
        (12, 7, graph(
            "Memory", "Resident memory of the processes of its run; 0 while none runs.",
            series(f"max by (task) (quant_task_memory_bytes{CHOSEN})", "memory"),
            unit="bytes", zero=True, calcs=("max",),
            nothing="it runs in no process of this machine")),
        (12, 7, services({"Task": 120, "Service": 90, "Needed now": 110, "Since": 130},
                         nothing="this task is not a service of systemd")),
    ]  # fmt: skip
