"""What one part of the file says of another, or of code: names that must exist elsewhere.

One mistake is reported once: where a section cannot be read, what refers to its names is not wrong
too.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.config.backtests import BacktestedStrategy
from exporter.config.config_errors import Mistake
from exporter.config.entry_points import NoModuleError, find_kind, find_problem

LIMITED_COROUTINE = (
    "a coroutine runs in the exporter's own process, which has no limits of a task: make it a "
    "plain function (`def` without `async`), or remove `limits`"
)
_REFERENCES = (
    ("feeds", "source", "sources"), ("feeds", "fallback", "sources"),
    ("tasks", "source", "sources"),
    ("tasks", "strategy", "strategies"), ("tasks", "report_to", "messages"),
    ("tasks", "after", "tasks"),
)  # fmt: skip
"""Section, key, and the section that has what the key names: one of them, or a list."""


class AnyName(frozenset[str]):
    """Contains every name: nobody knows which ones the file means."""

    def __contains__(self, name: object) -> bool:
        return True


def not_indented(
    data: Mapping[str, Any], sections: Collection[str], known: Collection[str]
) -> dict[str, str]:
    """Keys at the top that must be meant for the section above them, and that section."""
    found: dict[str, str] = {}
    section = None
    for key, value in data.items():
        if key in known:
            section = key if key in sections else None
        elif section and isinstance(value, dict) and not _meant(key, known):
            found[str(key)] = section
    return found


def unsure(data: Mapping[str, Any], known: Collection[str], doubled: Collection[str]) -> set[str]:
    """Known keys at the top whose content nobody knows: mistyped, or written twice."""
    mistyped = {match for key in data if key not in known for match in _meant(key, known)}
    return {*mistyped, *doubled}


def _meant(key: Any, known: Collection[str]) -> list[str]:
    return difflib.get_close_matches(str(key), known, 1)


def unknown_names(
    named: Mapping[str, Mapping[str, Any]], data: Mapping[str, Any], unsure: Collection[str]
) -> Iterator[Mistake]:
    """Also in entries that have other mistakes, to report all at once."""
    for section, key, target in _REFERENCES:
        if target in unsure:
            continue
        known = ", ".join(named[target])
        cure = f"write one of {known}" if known else f"add it to `{target}:`, which is empty"
        for name in named[section]:
            body = data[section].get(name)
            given = body.get(key) if isinstance(body, dict) else None
            what = {"messages": "channel", "tasks": "task"}.get(target, key)
            for one in given if isinstance(given, list) else [given]:
                if isinstance(one, str) and one and one not in named[target]:
                    yield Mistake(f"{section}.{name}.{key}", f"unknown {what} {one!r}: {cure}")


def unknown_backtest_sources(
    strategies: Iterable[tuple[str, BacktestedStrategy]], sources: Collection[str]
) -> Iterator[Mistake]:
    """Sources that a backtest names and the file does not have, or that it should name."""
    known = ", ".join(sources)
    for name, one in strategies:
        place = f"backtests.strategies.{name}.source"
        if one.source is not None and one.source not in sources:
            cure = f"write one of {known}" if known else "add it to `sources:`, which is empty"
            yield Mistake(place, f"unknown source {one.source!r}: {cure}")
        elif one.source is None and len(sources) != 1:
            yield Mistake(place, f"name one of the sources: {known or 'none is configured'}")


def missing_code(
    tasks: Mapping[str, Any],
    elsewhere: Iterable[tuple[str, str]],
    code: Sequence[Path] | None,
) -> list[Mistake]:
    """Folders and functions that do not exist. `elsewhere` are the places of another `run`, and
    what they name. `code`: the folders with the user's modules; None when nobody knows them."""
    if code is None:
        return []
    missing = [folder for folder in code if not folder.is_dir()]
    found = [
        Mistake("code", f"no folder {folder}: create it or correct the path") for folder in missing
    ]
    places: dict[str, list[str]] = {}
    for place, run, task in (
        *((f"tasks.{name}.run", task.run, task) for name, task in tasks.items() if task.run),
        *((place, run, None) for place, run in elsewhere),
    ):
        problem = find_problem(run, code)
        limited = task and not problem and task.limits.given
        if limited and find_kind(run, code) == "coroutine":
            found.append(Mistake(f"{place.removesuffix('.run')}.limits", LIMITED_COROUTINE))
        if problem and not (missing and isinstance(problem, NoModuleError)):
            places.setdefault(str(problem), []).append(place)
    for text, [first, *others] in places.items():
        found.append(Mistake(first, f"{text} (also {', '.join(others)})" if others else text))
    return found
