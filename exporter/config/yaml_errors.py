"""What is wrong with text that is not YAML, in words for the person who wrote it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from exporter.util.printable import clean

SHOWN = 100
"""Characters of a line that are shown."""
_KEY_WITHOUT_SPACE = re.compile(r"\s*[A-Za-z_]\w*:[^\s/]")
_NO_COLON = re.compile(r"[A-Za-z_]\w*\s*")
_BEGINS_THERE = ("while scanning a quoted scalar", "while scanning a simple key")
_WORDS = (
    ("\\t", "a tab: indent with spaces, and put text with a tab in quotes"),
    ("quoted scalar: found unexpected", "this quote is never closed: close it"),
    ("could not find expected ':'", "a key needs a colon and a space: write `key: value`"),
    (
        "mapping values are not allowed here",
        "a second `: ` in this value, or a key that does not stand below its neighbours: put the "
        "value in quotes, or align the key",
    ),
    ("<document start>", "this does not belong to the lines above it: write `key: value`"),
    ("another document", "a second document: remove the line `---`, the file is one document"),
    ("cannot start any token", "text that begins with this character needs quotes"),
    ("undefined alias", "text that begins with this character needs quotes"),
)
_CLOSING = {"[": "]", "{": "}"}


def explain(error: Exception, text: str) -> tuple[str, str, str]:
    """Place, what to do, and the line with a mark below it (empty where no line is known)."""
    mark = getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return "", f"invalid YAML: {getattr(error, 'problem', None) or error}", ""
    lines = text.splitlines()
    line, column, words = _cause(error, lines)
    return f"line {line + 1}, column {column + 1}", words, excerpt(lines, line, column)


def excerpt(lines: Sequence[str], line: int, column: int) -> str:
    """The line, cut where it is long, with a mark below the column; both count from 0."""
    whole = lines[line] if line < len(lines) else ""
    start = max(0, column - SHOWN // 2)
    shown = clean(whole.replace("\t", "→"))[start : start + SHOWN].rstrip()
    number = f"{line + 1}"
    return f"    {number} | {shown}\n    {' ' * len(number)} | {' ' * (column - start)}^"


def _cause(error: yaml.MarkedYAMLError, lines: Sequence[str]) -> tuple[int, int, str]:
    """Line and column (from 0) of the mistake, not of where the parser gave up; and what it is."""
    problem, context = error.problem or "", error.context or ""
    at, began = _at(error.problem_mark), _at(error.context_mark)
    if context in ("while parsing a flow mapping", "while parsing a flow sequence"):
        return _unclosed(began, at, lines)
    if "expected <block end>" in problem:
        return _misplaced(problem, at, lines)
    if "<document start>" in problem or "mapping values" in problem:
        far = len(lines) if "<document start>" in problem else 1
        if found := _without_colon(lines[: at[0] + 1], far):
            return found
    place = began if context in _BEGINS_THERE else at
    words = (words for part, words in _WORDS if part in f"{context}: {problem}")
    return *place, next(words, f"invalid YAML: {problem}")


def _at(mark: Any) -> tuple[int, int]:
    return (mark.line, mark.column) if mark else (0, 0)


def _unclosed(
    began: tuple[int, int], at: tuple[int, int], lines: Sequence[str]
) -> tuple[int, int, str]:
    opening = lines[began[0]][began[1]]
    closing = _CLOSING[opening]
    if at[0] > began[0]:
        return *began, f"this `{opening}` is never closed: add `{closing}`"
    return *at, (
        f"expected `,` or `{closing}` before this: a comma, a bracket or a quote is missing in "
        "this line"
    )


def _misplaced(problem: str, at: tuple[int, int], lines: Sequence[str]) -> tuple[int, int, str]:
    if "<block mapping start>" in problem or "<block sequence start>" in problem:
        return *at, (
            f"indented by {_spaces(at[1])}, the line above it by "
            f"{_spaces(_indentation_above(at[0], lines))}: align it with its neighbours"
        )
    if "'-'" in problem:
        return *at, "an item of a list among keys: write `key: value`, or indent it below its key"
    if "']'" in problem or "'}'" in problem:
        return *at, "a closing bracket without an opening one: remove it"
    return *at, "text after the end of a value: put the whole value in quotes"


def _without_colon(lines: Sequence[str], far: int) -> tuple[int, int, str] | None:
    """The last line that should be a key and is not, in the last one or up to `far` before it."""
    for number in range(len(lines) - 1, max(-1, len(lines) - 2 - far), -1):
        if _KEY_WITHOUT_SPACE.match(lines[number]):
            column = lines[number].index(":")
            return number, column, "a colon without a space after it: write `key: value`"
        if _NO_COLON.fullmatch(lines[number]):
            return number, 0, "a key without a colon: write `key: value`"
    return None


def _indentation_above(line: int, lines: Sequence[str]) -> int:
    for above in reversed(lines[:line]):
        text = above.lstrip()
        if text and not text.startswith("#"):
            return len(above) - len(text)
    return 0


def _spaces(number: int) -> str:
    return f"{number} space" if number == 1 else f"{number} spaces"
