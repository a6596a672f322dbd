"""The command line as one table, a row a command. What a row calls is imported when it runs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Argument:
    """What ``ArgumentParser.add_argument`` gets; its name is a keyword of what the row calls."""

    flags: tuple[str, ...]
    options: dict[str, Any]
    is_task: bool = False
    """A shell completes it with the names of the tasks."""


@dataclass(frozen=True)
class OneOf:
    """Exactly one of these must be given."""

    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Command:
    """One verb. ``calls`` is ``module:function``, which gets the config's path (unless ``config``
    is false) and the arguments by keyword, and returns the exit code."""

    name: str
    help: str
    calls: str
    arguments: tuple[Argument | OneOf, ...] = ()
    config: bool = True


def _arg(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options)


def _flag(*flags: str, **options: Any) -> Argument:
    return Argument(flags, {"action": "store_true", **options})


def _task(*flags: str, **options: Any) -> Argument:
    return Argument(flags, options, is_task=True)


_JSON = _flag("--json", dest="as_json", help="for programs")
_TASK = _task("task", nargs="?", metavar="TASK", help="default: all tasks")

COMMANDS = (
    Command(
        "init", "write a starting folder: a config that works, and files to edit",
        "exporter.cli.init:init",
        (
            _arg("folder", nargs="?", type=Path, default=Path(), metavar="DIR",
                 help="default: this folder; existing files stay as they are"),
        ),
        config=False,
    ),
    Command("run", "start the exporter; Ctrl-C stops it", "exporter.cli.start:run"),
    Command(
        "check", "check the config and print every mistake, one per line",
        "exporter.cli.check:check",
        (
            _JSON,
            _flag("--online", help="also ask sources for symbols, and Prometheus for alerts"),
            _flag("--secrets-elsewhere",
                  help="a key that is not set on this machine is only a note"),
        ),
    ),
    Command(
        "reload", "load the config file again into the running exporter",
        "exporter.cli.reload_config:reload",
        (
            _arg("--force", action="store_true",
                 help="accept a file without any task, feed or strategy: all of them stop"),
        ),
    ),
    Command(
        "tasks", "show every task with its state, last and next run",
        "exporter.cli.tasks:tasks",
        (
            _task("name", nargs="?", metavar="TASK",
                  help="show only this task's schedule, in words, and its next slots"),
            _JSON,
        ),
    ),
    Command(
        "run-task", "run a task now, or for slots of the past, and wait for its outcome",
        "exporter.cli.run_task:run_task",
        (
            _task("name", metavar="NAME", help="the task"),
            _arg("--for", dest="day", metavar="WHEN",
                 help="for a past slot: a day (2026-11-20, yesterday) or 2026-11-20T09:30"),
            _arg("--from", dest="first", metavar="WHEN",
                 help="for each slot since then without a success, one after the other"),
            _arg("--to", dest="last", metavar="WHEN",
                 help="with --from: the last day or moment; default: the same day"),
            _arg("--param", dest="params", action="append", default=[], metavar="NAME=VALUE",
                 help="replace one of the task's `params`; may be repeated"),
            _flag("--again", help="also run slots that have already succeeded"),
            _flag("--keep-going", help="with --from: go on after a failure"),
            _arg("--no-wait", dest="wait", action="store_false",
                 help="do not wait for the end of the run"),
        ),
    ),
    Command(
        "pause", "run nothing and alert nobody until a given time", "exporter.cli.pause:pause",
        (
            _TASK,
            OneOf((
                _arg("--for", dest="duration", metavar="DURATION", help="2h, 30m, 1d"),
                _arg("--until", metavar="TIME", help="2026-12-24T09:30, in the config's time zone"),
            )),
        ),
    ),
    Command(
        "resume", "end a pause, or the pauses that a limit made", "exporter.cli.pause:resume",
        (
            _TASK,
            _arg("--limit", metavar="LIMIT", help="end the pauses that this limit made"),
        ),
    ),
    Command(
        "closed", "count a day of an exchange as a holiday, from now on",
        "exporter.cli.closed:closed",
        (
            _arg("exchange", metavar="EXCHANGE", help="for example XNYS"),
            _arg("day", metavar="DATE", help="2026-12-24, in the exchange's time zone"),
            _arg("--undo", action="store_true", help="count it as a trading day again"),
        ),
    ),
    Command(
        "alerts", "show what fired, who was notified, who acknowledged, how long it took",
        "exporter.cli.alerts:alerts",
        (_arg("action", nargs="?", choices=("test",),
              help="send a trial alert through every receiver of Alertmanager"),
         _arg("--since", default="24h", metavar="DURATION", help="default: %(default)s"), _JSON),
    ),
    Command(
        "ack", "stop the escalation of a firing alert; its resolved notification still comes",
        "exporter.cli.ack:ack",
        (
            _arg("alert", metavar="ALERT", help="its name, for example QuantTaskFailing"),
            _arg("pairs", nargs="*", metavar="NAME=VALUE", help="for example task=rebalance"),
            _arg("--for", dest="duration", default="2h", help="default: %(default)s"),
            _arg("-m", "--message", default="", help="a comment for others"),
        ),
    ),
    Command(
        "replay", "show what the rules, with these or other limits, would have fired",
        "exporter.cli.replay:replay",
        (
            _arg("--rules", dest="files", nargs="+", type=Path, metavar="FILE",
                 help="default: prometheus/rules/*.yml next to the config, or else those that "
                 "come with the exporter"),
            _arg("--since", default="30d", metavar="DURATION", help="default: %(default)s"),
            _arg("--step", default="15s", metavar="DURATION",
                 help="Prometheus' evaluation interval; default: %(default)s"),
            _arg("--set", dest="changes", action="append", default=[], metavar="LIMIT=VALUE",
                 help="for example strategies.momentum_001.max_drawdown=4%%; may be repeated"),
            _flag("--recorded", help="use the limits of that time, not today's"),
            _flag("--json", dest="as_json", help="print every alert, for programs"),
        ),
    ),
    Command(
        "logs", "show the log lines of a task, a run or a level", "exporter.cli.logs:logs",
        (
            _task("--task", metavar="TASK", help="lines of this task"),
            _arg("--run", metavar="ID", help="lines of this run; the start of its id is enough"),
            _arg("--level", metavar="LEVEL", help="this level and above, for example error"),
            _arg("--since", metavar="DURATION", help="for example 8h; default: one day"),
            _flag("--follow", help="keep printing new lines"),
            _JSON,
        ),
    ),
    Command(
        "digest", "sum up the logs of a day or of the last hours", "exporter.cli.digest:digest",
        (
            _arg("--day", metavar="DAY", help="2026-11-24 or yesterday; default: today"),
            _arg("--since", metavar="DURATION", help="for example 8h, instead of a day"),
            _arg("--format", choices=("md", "html", "json"), default="md",
                 help="default: %(default)s"),
            _flag("--keep", help="also write it to the reports folder"),
        ),
    ),
    Command(
        "trades", "print the recorded fills or equity, for a spreadsheet or a tax adviser",
        "exporter.cli.trades:trades",
        (
            _arg("--strategy", metavar="NAME", help="default: all strategies"),
            _arg("--since", metavar="TIME", help="30d, or a day: 2026-01-01; default: all"),
            _flag("--equity", help="print points of equity instead of fills"),
            _flag("--csv", dest="as_csv", help="for a spreadsheet"),
            _JSON,
        ),
    ),
    Command(
        "messages", "send a trial message to one or all channels of `messages:`",
        "exporter.cli.try_channels:messages",
        (
            _arg("action", choices=("test",)),
            _arg("channel", nargs="?", metavar="CHANNEL", help="default: every channel"),
        ),
    ),
    Command(
        "backtest", "compute what the strategies of `backtests:` would have earned",
        "exporter.cli.backtest:backtest",
        (
            _arg("strategies", nargs="*", metavar="STRATEGY", help="default: all"),
            _arg("--days", type=int, metavar="N",
                 help="days of history; with this option metrics do not change"),
            _arg("--params", action="append", default=[], metavar="NAME=VALUE,…",
                 help="values to try instead of the grid: window=10,20; may be repeated"),
            _arg("--workers", type=int, metavar="N", help="processes; default: one per core"),
            _arg("--dask", metavar="ADDRESS", help="the scheduler of a Dask cluster: tcp://host:8786"),
            _flag("--all", dest="everything",
                  help="also compute what has not changed since the last run"),
            _JSON,
        ),
    ),
    Command(
        "ping-url", "print the address that an external task pings, and curl lines to copy",
        "exporter.cli.ping_url:ping_url",
        (
            _task("name", metavar="TASK", help="an external task"),
            _flag("--renew", help="make a new address; the old one stops working"),
            _flag("--renew-key", help="make a new key for all tasks; the old one stops working"),
            _flag("--plain", help="print only the address"),
        ),
    ),
    Command(
        "exec", "run a command as an external task: report its start, its end and its output",
        "exporter.cli.exec_task:exec_task",
        (
            _arg("words", nargs=argparse.REMAINDER, metavar="TASK -- COMMAND",
                 help="or --print-file, to copy it to another machine; --flush; --help for more"),
        ),
    ),
    Command(
        "import", "print the cron jobs or systemd timers of this machine as tasks",
        "exporter.cli.import_schedules:import_schedules",
        (
            _arg("kind", choices=("crontab", "timers")),
            _arg("file", nargs="?", metavar="FILE",
                 help="a crontab, or - for stdin; default: what `crontab -l` prints"),
            _flag("--system", help="the crontab has a user column, as /etc/crontab does"),
            _flag("--user", help="the timers of the user's own systemd"),
            _arg("--timezone", metavar="ZONE", help="default: this machine's"),
            _flag("--command", dest="as_command", help="make tasks that the exporter runs itself"),
            _flag("--wrapped", help="print only the crontab to install, which reports each run"),
            _arg("--wrapper", default="/usr/local/bin/qexec", metavar="PATH",
                 help="where you saved `exec --print-file`; default: %(default)s"),
        ),
        config=False,
    ),
    Command(
        "discover", "list what runs on this machine unwatched, with lines for exporter.yml",
        "exporter.cli.discover:discover",
        (
            _flag("--all", dest="as_all", help="also list what comes with the system"),
        ),
    ),
    Command(
        "grafana-cloud", "write rules and routes as files for Grafana Cloud's alerting",
        "exporter.cli.grafana_cloud:grafana_cloud",
        (
            _arg("folder", nargs="?", type=Path, default=Path("grafana-cloud"), metavar="DIR",
                 help="where to write them; default: %(default)s"),
            _arg("--pack", dest="packs", action="append", default=[], metavar="NAME",
                 help="also prometheus/packs/NAME.yml; may be repeated"),
            _arg("--exporter", default="", metavar="URL",
                 help="the exporter's public address, for posts to its journal"),
        ),
    ),
    Command(
        "simulate", "start a simulated TickDB with made-up prices, and faults on command",
        "exporter.cli.simulate:simulate",
        (
            _arg("--listen", default="127.0.0.1:10078", help="default: %(default)s"),
            _arg("--seed", type=int, default=1, help="determines the prices; default: %(default)s"),
            _arg("--key", default="simulated", help="the API key it accepts; default: %(default)s"),
            _arg("--requests-per-minute", type=int, default=600, help="default: %(default)s"),
            _arg("--now", metavar="TIME", help="start at this time: 2026-11-27T14:30:00Z"),
            _arg("--speed", type=float, default=1.0, help="how fast its time passes"),
        ),
        config=False,
    ),
    Command(
        "sinks", "start stand-ins for Slack, PagerDuty, mail and a dead-man service",
        "exporter.cli.try_sinks:sinks",
        (
            _arg("--listen", default="127.0.0.1:10079", help="default: %(default)s"),
            _arg("--smtp-port", type=int, default=10025, help="default: %(default)s"),
        ),
        config=False,
    ),
    Command(
        "completion", "print a script that completes commands and task names in your shell",
        "exporter.cli.completion:completion",
        (_arg("shell", choices=("bash", "zsh", "fish")),),
        config=False,
    ),
)  # fmt: skip
