"""What most commands share: read the config, and say what went wrong, with an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from exporter.cli import client
from exporter.config import Config, ConfigError, load, load_what_is_right


def with_config(path: Path, call: Callable[[Config], int], *, tolerant: bool = False) -> int:
    """Run `call` with the config; 2 when it is bad, 1 with a sentence when `call` fails.

    A command that must also work while the file is being edited is `tolerant`: it goes on with the
    part of the config that is right.
    """
    try:
        config, wrong = load_what_is_right(path) if tolerant else (load(path), None)
    except ConfigError as error:
        complain(error)
        return 2
    if wrong:
        complain(f"{wrong}\n{path} has mistakes; continuing with the part that is right")
    try:
        return call(config)
    except client.NotRunningError as error:
        complain(error)
        return 1
    except client.RequestRefusedError as error:
        complain(error)
        return 2 if error.wrong_use else 1


def complain(text: object) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr)
