"""Finding what `run:` names by reading its source."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from exporter.config.entry_points import NotFoundError, find_kind


def test_a_parser_that_another_thread_disturbs_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11 raises SystemError when a traceback is formatted meanwhile; no run fails."""
    (tmp_path / "mine.py").write_text("async def compute(): pass\n")
    parse, calls = ast.parse, []

    def stumbling(*arguments: Any, **named: Any) -> ast.AST:
        calls.append(1)
        if len(calls) < 3:
            raise SystemError("AST constructor recursion depth mismatch (before=24, after=15)")
        return parse(*arguments, **named)

    monkeypatch.setattr(ast, "parse", stumbling)
    assert find_kind("mine:compute", [tmp_path]) == "coroutine"
    assert len(calls) == 3


def test_a_parser_that_never_recovers_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that cannot be found, not an internal error."""
    (tmp_path / "mine.py").write_text("def compute(): pass\n")

    def falls(*_: Any, **__: Any) -> ast.AST:
        raise SystemError("AST constructor recursion depth mismatch")

    # Undone before the assertion: pytest itself parses when one fails.
    with monkeypatch.context() as broken, pytest.raises(NotFoundError) as caught:
        broken.setattr(ast, "parse", falls)
        find_kind("mine:compute", [tmp_path])
    assert "could not parse it: try again" in str(caught.value)
