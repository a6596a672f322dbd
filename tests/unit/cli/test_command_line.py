"""The table of commands, and how arguments reach what a row calls."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from exporter.cli import main as command_line
from exporter.cli.command_table import COMMANDS, Command, OneOf


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_row_names_a_function_that_accepts_its_arguments(command: Command) -> None:
    """It is imported only when the command runs: a typing error would show no earlier."""
    module, _, name = command.calls.partition(":")
    function = getattr(importlib.import_module(module), name)
    flat = [
        argument
        for each in command.arguments
        for argument in (each.arguments if isinstance(each, OneOf) else [each])
    ]
    given = [
        argument.options.get("dest") or max(argument.flags, key=len).lstrip("-").replace("-", "_")
        for argument in flat
    ]
    first = [object()] if command.config else []
    inspect.signature(function).bind(*first, **dict.fromkeys(given))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would have been called."""
    calls: list[tuple[Any, ...]] = []

    def call(command: Command, arguments: dict[str, Any]) -> int:
        calls.append((command.name, arguments))
        return 0

    monkeypatch.setattr(command_line, "_call", call)
    monkeypatch.delenv("QUANT_CONFIG", raising=False)
    return calls


@pytest.mark.parametrize(
    ("typed", "config"),
    [
        (["tasks"], "exporter.yml"),
        (["--config", "a.yml", "tasks"], "a.yml"),
        (["tasks", "--config", "b.yml"], "b.yml"),
        (["--config", "a.yml", "tasks", "--config", "b.yml"], "b.yml"),
    ],
)
def test_the_config_may_be_named_before_and_after_the_verb(
    asked: list[tuple[Any, ...]], typed: list[str], config: str
) -> None:
    """The last one counts, as with every option."""
    assert command_line.main(typed) == 0
    assert asked[0][1]["config"] == Path(config)


def test_quant_config_names_the_config_unless_the_command_line_does(
    asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a shell in any folder reaches the one exporter of this machine."""
    monkeypatch.setenv("QUANT_CONFIG", "/srv/mine.yml")
    command_line.main(["check"])
    command_line.main(["check", "--config", "other.yml"])
    assert [arguments["config"] for _, arguments in asked] == [
        Path("/srv/mine.yml"), Path("other.yml"),
    ]  # fmt: skip


def test_a_pause_needs_an_end(
    asked: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exactly one; wrong use is exit code 2."""
    with pytest.raises(SystemExit) as left:
        command_line.main(["pause", "scan"])
    assert left.value.code == 2
    assert "--for --until is required" in capsys.readouterr().err
