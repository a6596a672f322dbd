"""``quant-exporter completion``, and what a shell asks us while somebody types."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import argcomplete
from argcomplete.shell_integration import shellcode

from exporter.config import ConfigError, load_what_is_right


def completion(*, shell: str) -> int:
    """Print the shell's code: ``eval "$(quant-exporter completion bash)"``."""
    print(shellcode(["quant-exporter"], shell=shell))
    return 0


def answer_shell(parser: argparse.ArgumentParser) -> None:
    """Does not return: what fits is written where the shell reads it."""
    argcomplete.autocomplete(parser)


def task_names() -> Callable[..., list[str]]:
    """Completes with the tasks of the config that is meant; with none when it cannot be read."""

    def complete(*, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        try:
            config, _wrong = load_what_is_right(parsed_args.config)
        except ConfigError:
            return []
        return sorted(config.tasks)

    return complete
