"""Arguments to one call. Exit code 0: ok; 1: it failed; 2: wrong use or a bad config."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from exporter import __version__
from exporter.cli.command_table import COMMANDS, Argument, Command, OneOf
from exporter.util.printable import clean

_CONFIG = "exporter.yml"
_COLOURED = ("run", "logs")
"""These colour their lines, and clean what is in them, themselves."""
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


def main(argv: Sequence[str] | None = None) -> int:
    """The command ``quant-exporter``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show must not end us
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = _parsed(argv)
        code = _call(arguments.pop("command"), arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _leave_stdout()  # whoever read our output left, as `head` does
        return 0
    except OSError as error:
        if error.errno not in _DISK_ERRORS or error.filename is not None:
            raise
        _leave_stdout()
        print(f"the output cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return code


def _parsed(argv: Sequence[str] | None) -> dict[str, Any]:
    commands = parser()
    if "_ARGCOMPLETE" in os.environ:
        from exporter.cli.completion import answer_shell

        answer_shell(commands)
    return vars(commands.parse_args(argv))


def _leave_stdout() -> None:
    """Python flushes stdout once more at its end, and would complain."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no file of ours
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _call(command: Command, arguments: dict[str, Any]) -> int:
    config = arguments.pop("config")
    call = _imported(command.calls)
    with contextlib.ExitStack() as stack:
        if command.name not in _COLOURED:
            stack.enter_context(contextlib.redirect_stdout(_Clean(sys.stdout)))
            stack.enter_context(contextlib.redirect_stderr(_Clean(sys.stderr)))
        return int(call(config, **arguments) if command.config else call(**arguments))


def _imported(calls: str) -> Callable[..., int]:
    """Ctrl-C while libraries are imported ends it at once: some of them make of it an error of
    their own, or abort."""
    module, _, function = calls.partition(":")
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        found: Callable[..., int] = getattr(importlib.import_module(module), function)
    finally:
        signal.signal(signal.SIGINT, before)
    return found


class _Clean(io.TextIOBase):
    """Prints what a terminal would obey as text: names, errors and output come from elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(clean(text))
        return len(text)

    @property
    def buffer(self) -> BinaryIO:
        """For files that are handed on as they are; nothing cleans what is written to it."""
        return self._stream.buffer

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Leave the stream open and unflushed: `main` flushes it, where an error can be reported.
        Python closes every stream that it deletes, and since 3.13 prints what goes wrong then."""

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()


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
                    _add(group, each)
            else:
                _add(verb, argument)
    return top


def _add(parser: argparse._ActionsContainer, argument: Argument) -> None:
    action = parser.add_argument(*argument.flags, **argument.options)
    if argument.is_task and "_ARGCOMPLETE" in os.environ:
        from exporter.cli.completion import task_names

        action.completer = task_names()  # type: ignore[attr-defined]


def _add_config(parser: argparse.ArgumentParser, default: Path | str) -> None:
    parser.add_argument(
        "--config", type=Path, default=default, metavar="FILE",
        help=f"default: $QUANT_CONFIG, or {_CONFIG} in this folder",
    )  # fmt: skip
