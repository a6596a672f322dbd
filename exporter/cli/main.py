"""Arguments to one call. Exit code 0: ok; 1: it failed; 2: wrong use or a bad config."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter import __version__
from exporter.cli.command_table import COMMANDS, Command, OneOf

_CONFIG = "exporter.yml"


def main(argv: Sequence[str] | None = None) -> int:
    """The command ``quant-exporter``."""
    arguments = vars(parser().parse_args(argv))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show must not end us
            stream.reconfigure(errors="backslashreplace")
    try:
        return _call(arguments.pop("command"), arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output left, as `head` does.
        sys.stderr.close()
        return 0


def _call(command: Command, arguments: dict[str, Any]) -> int:
    module, _, function = command.calls.partition(":")
    config = arguments.pop("config")
    call = getattr(importlib.import_module(module), function)
    return int(call(config, **arguments) if command.config else call(**arguments))


def parser() -> argparse.ArgumentParser:
    """All commands; ``--config`` may stand before or after the verb."""
    top = argparse.ArgumentParser(
        prog="quant-exporter",
        description="Runs scheduled tasks and exposes Prometheus metrics about them.",
    )
    top.add_argument("--version", action="version", version=f"quant-exporter {__version__}")
    default = Path(os.environ.get("QUANT_CONFIG") or _CONFIG)
    _add_config(top, default)
    verbs = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        verb = verbs.add_parser(command.name, help=command.help, description=command.help)
        verb.set_defaults(command=command)
        # Suppressed where it is not given, or it would undo the one before the verb.
        _add_config(verb, argparse.SUPPRESS)
        for argument in command.arguments:
            if isinstance(argument, OneOf):
                group = verb.add_mutually_exclusive_group(required=True)
                for each in argument.arguments:
                    group.add_argument(*each.flags, **each.options)
            else:
                verb.add_argument(*argument.flags, **argument.options)
    return top


def _add_config(parser: argparse.ArgumentParser, default: Path | str) -> None:
    parser.add_argument(
        "--config", type=Path, default=default, metavar="FILE",
        help=f"default: $QUANT_CONFIG, or {_CONFIG} in this folder",
    )  # fmt: skip
