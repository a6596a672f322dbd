"""Finding what `run:` names by reading its source."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from exporter.config.entry_points import NotFoundError, find_kind


def test_a_parser_that_stumbles_over_another_thread_is_asked_again(
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


def test_a_parser_that_never_gets_up_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a task that cannot be found, not as an error of ours."""
    (tmp_path / "mine.py").write_text("def compute(): pass\n")

    def falls(*_: Any, **__: Any) -> ast.AST:
        raise SystemError("AST constructor recursion depth mismatch")

    monkeypatch.setattr(ast, "parse", falls)
    with pytest.raises(NotFoundError, match="could not parse it; try again"):
        find_kind("mine:compute", [tmp_path])
