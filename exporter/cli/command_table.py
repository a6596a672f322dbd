"""Arguments to one call each. Exit 0 well, 1 the thing failed, 2 wrong use or bad config."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from exporter import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """The command ``quant-exporter``."""
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show must not end us
            stream.reconfigure(errors="backslashreplace")
    try:
        return int(arguments.call(arguments))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output left, as `head` does.
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quant-exporter",
        description="Runs scheduled tasks and exposes Prometheus metrics about them.",
    )
    parser.add_argument("--version", action="version", version=f"quant-exporter {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, text, build in _COMMANDS:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--config", type=Path, default=Path("exporter.yml"), help="default: %(default)s"
        )
        build(command)
    return parser


def _run(parser: argparse.ArgumentParser) -> None:
    def call(arguments: argparse.Namespace) -> int:
        from exporter import app

        return app.run(arguments.config)

    parser.set_defaults(call=call)


def _check(parser: argparse.ArgumentParser) -> None:
    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import tasks as commands

        return commands.check(arguments.config)

    parser.set_defaults(call=call)


def _reload(parser: argparse.ArgumentParser) -> None:
    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import tasks as commands

        return commands.reload(arguments.config)

    parser.set_defaults(call=call)


def _tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")

    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import tasks as commands

        return commands.tasks(arguments.config, as_json=arguments.json)

    parser.set_defaults(call=call)


def _run_task(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the task")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it has ended")

    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import tasks as commands

        return commands.run_task(arguments.config, arguments.name, wait=not arguments.no_wait)

    parser.set_defaults(call=call)


def _pause(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", nargs="?", metavar="TASK", help="all, when none is named")
    end = parser.add_mutually_exclusive_group(required=True)
    end.add_argument("--for", dest="duration", metavar="DURATION", help="2h, 30m, 1d")
    end.add_argument("--until", metavar="TIME", help="2026-12-24T09:30, in the config's zone")

    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import tasks as commands

        return commands.pause(
            arguments.config, arguments.task, duration=arguments.duration, until=arguments.until
        )

    parser.set_defaults(call=call)


def _resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", nargs="?", metavar="TASK", help="all, when none is named")

    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import tasks as commands

        return commands.resume(arguments.config, arguments.task)

    parser.set_defaults(call=call)


def _alerts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", default="24h", metavar="DURATION", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="for programs")

    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import alerts as commands

        return commands.alerts(arguments.config, since=arguments.since, as_json=arguments.json)

    parser.set_defaults(call=call)


def _ack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("alert", metavar="ALERT", help="its name, as QuantTaskFailing")
    parser.add_argument("label", nargs="*", metavar="NAME=VALUE", help="as task=rebalance")
    parser.add_argument("--for", dest="duration", default="2h", help="default: %(default)s")
    parser.add_argument("-m", "--message", default="", help="what others should know")

    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import alerts as commands

        return commands.ack(
            arguments.config,
            arguments.alert,
            arguments.label,
            duration=arguments.duration,
            message=arguments.message,
        )

    parser.set_defaults(call=call)


def _replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rules",
        nargs="+",
        type=Path,
        metavar="FILE",
        default=sorted((Path(__file__).parents[2] / "prometheus/rules").glob("*.yml")),
        help="default: the shipped prometheus/rules/*.yml",
    )
    parser.add_argument("--since", default="30d", metavar="DURATION", help="default: %(default)s")
    parser.add_argument(
        "--step", default="15s", help="Prometheus' evaluation interval; %(default)s"
    )
    parser.add_argument(
        "--set", dest="changes", action="append", default=[], metavar="LIMIT=VALUE",
        help="as strategies.momentum_001.max_drawdown=4%%; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--recorded", action="store_true", help="limits as they were then, not as they are today"
    )
    parser.add_argument("--json", action="store_true", help="every alert, for programs")

    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import alerts as commands

        return commands.replay(
            arguments.config,
            arguments.rules,
            since=arguments.since,
            step=arguments.step,
            changes=arguments.changes,
            recorded=arguments.recorded,
            as_json=arguments.json,
        )

    parser.set_defaults(call=call)


def _sinks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", default="127.0.0.1:10079", help="default: %(default)s")
    parser.add_argument("--smtp-port", type=int, default=10025, help="default: %(default)s")

    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import tasks as commands

        return commands.sinks(arguments.listen, arguments.smtp_port)

    parser.set_defaults(call=call)


def _simulate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", default="127.0.0.1:10078", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="prices follow from it; default 1")
    parser.add_argument("--key", default="simulated", help="the API key to ask for")
    parser.add_argument("--requests-per-minute", type=int, default=600, help="default 600")
    parser.add_argument("--now", help="start at this time, for example 2026-11-27T14:30:00Z")
    parser.add_argument("--speed", type=float, default=1.0, help="how fast its time passes")

    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import tasks as commands

        return commands.simulate(
            arguments.listen,
            seed=arguments.seed,
            key=arguments.key,
            requests_per_minute=arguments.requests_per_minute,
            now=arguments.now,
            speed=arguments.speed,
        )

    parser.set_defaults(call=call)


def _digest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--day", metavar="DAY", help="2026-11-24, yesterday; default: today")
    parser.add_argument("--since", metavar="DURATION", help="instead of a day: the last 8h")
    parser.add_argument("--format", choices=("md", "html", "json"), default="md")
    parser.add_argument("--keep", action="store_true", help="write it under the reports folder too")

    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import tasks as commands

        return commands.digest(
            arguments.config,
            day=arguments.day,
            since=arguments.since,
            format=arguments.format,
            keep=arguments.keep,
        )

    parser.set_defaults(call=call)


def _logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", metavar="TASK", help="lines of this task")
    parser.add_argument(
        "--run", metavar="ID", help="lines of this run (the id's beginning will do)"
    )
    parser.add_argument("--level", metavar="LEVEL", help="this level and above, for example error")
    parser.add_argument("--since", metavar="DURATION", help="the last 8h; default: a day")
    parser.add_argument("--follow", action="store_true", help="go on with what is written")
    parser.add_argument("--json", action="store_true", help="for programs")

    def call(arguments: argparse.Namespace) -> int:
        from exporter.cli import tasks as commands

        return commands.logs(
            arguments.config,
            task=arguments.task,
            run=arguments.run,
            level=arguments.level,
            since=arguments.since,
            follow=arguments.follow,
            as_json=arguments.json,
        )

    parser.set_defaults(call=call)


_COMMANDS = (
    ("run", "start the exporter and run until told to stop", _run),
    ("check", "check the config; prints every mistake, one a line", _check),
    ("reload", "have the running exporter take the config file as it is now", _reload),
    ("tasks", "what the tasks do: state, last and next run", _tasks),
    ("run-task", "run one task now, and wait for its outcome", _run_task),
    ("pause", "run nothing, and alert nobody, until a given time", _pause),
    ("resume", "end a pause", _resume),
    ("alerts", "what fired, who was told, who acknowledged, how long it took", _alerts),
    ("ack", "stop the escalation of what fires; the good news still comes", _ack),
    ("replay", "a backtest for alerts: what the rules would have fired on history", _replay),
    ("sinks", "stand-ins for Slack, PagerDuty, mail and a dead-man service, for trying", _sinks),
    ("digest", "what the logs of a day, or of the last hours, say", _digest),
    ("logs", "the lines of a task, a run, a level", _logs),
    ("simulate", "a TickDB-speaking server with made-up prices and faults on command", _simulate),
)
