"""Which units a run has, and what identifies each: code, parameters and data, by hash."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from exporter.backtests.bar_table import BarTable
from exporter.backtests.trading import Account
from exporter.config.backtests import BacktestedStrategy, ParameterSet

VERSION = 1
"""Of engine and numbers: raised when the same unit would give another result."""


@dataclass(frozen=True)
class PlannedUnit:
    """One strategy, symbol and set of parameters."""

    strategy: str
    symbol: str
    params: ParameterSet
    configured: bool
    key: str


def plan_units(
    strategy: str,
    settings: BacktestedStrategy,
    sets: Sequence[ParameterSet],
    bars: BarTable,
    *,
    code: str,
    periods_per_year: float,
) -> list[PlannedUnit]:
    """The units of one strategy on one symbol; the first set is the configured one. `code` is what
    :func:`code_fingerprint` says."""
    account = account_of(settings)
    data = bars.fingerprint()
    units = []
    for number, params in enumerate(sets):
        parts = [
            VERSION, code, settings.run, data, round(periods_per_year, 3), astuple(account),
            settings.walk_forward, number == 0,
            sorted((name, repr(value)) for name, value in params.items()),
        ]  # fmt: skip
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        units.append(PlannedUnit(strategy, bars.symbol, params, number == 0, key))
    return units


def account_of(settings: BacktestedStrategy) -> Account:
    """What a strategy starts with and pays."""
    return Account(settings.capital, settings.costs, settings.slippage)


def code_fingerprint(run: str, folders: Iterable[Path]) -> str:
    """Changes with the function's module, with each module in those folders that it imports, and
    with the versions of Python, NumPy and pandas."""
    digest = hashlib.sha256()
    for one in (sys.version, version("numpy"), version("pandas")):
        digest.update(one.encode() + b"\n")
    roots = list(folders)
    waiting, seen = [run.partition(":")[0]], set[Path]()
    while waiting:
        name = waiting.pop()
        for file in _files_of(name, roots):
            if file in seen:
                continue
            seen.add(file)
            content = file.read_bytes()
            digest.update(f"{file.name}\n{len(content)}\n".encode() + content)
            waiting += _imports(content, name, file.name == "__init__.py")
    return digest.hexdigest()


def _files_of(module: str, roots: Iterable[Path]) -> list[Path]:
    """The module's file and those of the packages around it, where the folders have it."""
    parts = module.split(".")
    for root in roots:
        found = []
        for depth in range(1, len(parts) + 1):
            base = root.joinpath(*parts[:depth])
            for file in (base / "__init__.py", base.with_suffix(".py")):
                if file.is_file():
                    found.append(file)
                    break
        if found:
            return found
    return []


def _imports(content: bytes, module: str, is_package: bool) -> list[str]:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return []  # the unit fails and says it
    package = module if is_package else module.rpartition(".")[0]
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - max(node.level - 1, 0)]
            start = ".".join([*base, node.module or ""]).strip(".") if node.level else node.module
            names.append(start or "")
            names += [f"{start}.{alias.name}" for alias in node.names]
    return [name for name in names if name]


def replaced_params(texts: Iterable[str]) -> dict[str, list[Any]]:
    """``["window=10,20", "mode=fast"]`` as a grid. Raises :class:`ValueError`."""
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not (equals and name.isidentifier() and values):
            raise ValueError(f"invalid parameters {text!r}: write window=10,20,40")
        grid[name] = [_value(one) for one in values.split(",")]
    return grid


def _value(text: str) -> Any:
    words: Mapping[str, Any] = {"true": True, "false": False, "null": None}
    if text in words:
        return words[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
