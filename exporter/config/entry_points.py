"""Finds what ``run: module:function`` names, without running any of the user's code.

The daemon must know whether a function is a coroutine before it decides where to run it, and
``check`` must say what is wrong offline. Importing would execute code and load libraries into the
daemon, so the module's source is read instead.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
import threading
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

Kind = Literal["coroutine", "function"]

_parsing = threading.Lock()
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class NotFoundError(Exception):
    """The module or the function does not exist; the message says what to do."""


class NoModuleError(NotFoundError):
    """No folder has the module."""


def target_of(text: str) -> str:
    """``module:function`` as written, or as ``module.py:function``. Raises :class:`ValueError` that
    says what to write instead."""
    target = re.sub(r"\.py(?=:)", "", text)
    if _TARGET.fullmatch(target):
        return target
    folder, _, rest = target.strip().removesuffix("()").rpartition("/")
    module, colon, function = rest.rpartition(":" if ":" in rest else ".")
    likely = f"{module.removesuffix('.py')}:{function}"
    if colon and function != "py" and _TARGET.fullmatch(likely):
        where = f", and name its folder {folder}/ in `code:`" if folder else ""
        raise ValueError(f"invalid function {text!r}: write {likely}{where}")
    raise ValueError(
        f"invalid function {text!r}: write module:function, such as my_signals:compute"
    )


def _source_of(module: str, code: Iterable[Path]) -> Path:
    path: list[str] | None = [*(str(p) for p in code), *sys.path]
    spec = None
    for depth in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:depth])
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            raise NoModuleError(
                f"no module {name!r}: put {name.split('.')[-1]}.py into a folder that `code:` names"
            )
        path = list(spec.submodule_search_locations or [])
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise NotFoundError(f"{module!r} is not a Python file: name one with a function to run")
    return Path(spec.origin)


def _parse(file: Path) -> ast.Module:
    """The file's syntax tree. Raises OSError, SyntaxError or ValueError.

    Two threads that parse at the same time make Python 3.11 raise SystemError in one of them
    (https://github.com/python/cpython/issues/106905). Ours take turns, but a traceback that is
    formatted elsewhere parses too; then trying again is enough.
    """
    source = file.read_bytes()
    for _ in range(20):
        try:
            with _parsing:
                return ast.parse(source, filename=str(file))
        except SystemError:
            continue
    raise ValueError("Python could not parse it: try again")


def find_kind(target: str, code: Iterable[Path]) -> Kind:
    """Whether ``module:function`` is a coroutine function or a plain one.

    A name that the module imports or assigns, rather than defines, is followed through `from`
    imports; anything else counts as a plain function. Raises :class:`NotFoundError`.
    """
    found = _definition(target, code)
    return "coroutine" if isinstance(found, ast.AsyncFunctionDef) else "function"


def find_parameters(target: str, code: Iterable[Path], method: str = "bars") -> frozenset[str]:
    """The names of the parameters of a function, or of a class' `method`; none where the source
    does not show them. Raises :class:`NotFoundError`."""
    found = _definition(target, code)
    if isinstance(found, ast.ClassDef):
        found = next((n for n in found.body if getattr(n, "name", None) == method), None)
    if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
        return frozenset()
    return frozenset(each.arg for each in (*found.args.args, *found.args.kwonlyargs))


def _definition(target: str, code: Iterable[Path]) -> ast.stmt | None:
    """The statement that defines ``module:name``; None where too many imports lead to it."""
    folders = list(code)
    module, _, name = target.partition(":")
    for _ in range(8):  # re-exports of re-exports; a circle ends here
        file = _source_of(module, folders)
        try:
            tree = _parse(file)
        except (OSError, SyntaxError, ValueError) as error:
            line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
            raise NotFoundError(f"{file.name} cannot be read as Python: {error}{line}") from error
        found = _defined(tree, name)
        if isinstance(found, ast.ImportFrom):
            package = module if file.name == "__init__.py" else module.rpartition(".")[0]
            base = package.split(".")[: len(package.split(".")) - (found.level - 1)]
            module = (
                ".".join([*base, found.module or ""]).strip(".")
                if found.level
                else str(found.module)
            )
            name = next(a.name for a in found.names if (a.asname or a.name) == name)
            continue
        if found is None:
            raise NotFoundError(f"{module} has no function {name!r}: {_instead(tree, name)}")
        if isinstance(found, ast.Assign | ast.AnnAssign) and isinstance(found.value, _DATA):
            raise NotFoundError(f"{module}:{name} is data: name a function")
        return found
    return None


_DATA = (ast.Constant, ast.List, ast.Dict, ast.Tuple, ast.Set, ast.JoinedStr)


def _instead(tree: ast.Module, name: str) -> str:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    own = [n.name for n in tree.body if isinstance(n, functions)]
    imported = [
        alias.asname or alias.name
        for node in _conditional(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    known = [each for each in (*own, *imported) if not each.startswith("_")]
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}"


def _defined(tree: ast.Module, name: str) -> ast.stmt | None:
    for node in reversed([*tree.body, *_conditional(tree)]):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if node.name == name:
                return node
            case ast.ImportFrom() | ast.Import():
                if any((alias.asname or alias.name) == name for alias in node.names):
                    return node
            case ast.Assign() if any(
                isinstance(t, ast.Name) and t.id == name for t in node.targets
            ):
                return node
            case ast.AnnAssign() if isinstance(node.target, ast.Name) and node.target.id == name:
                return node
            case _:
                pass
    return None


def _conditional(tree: ast.Module) -> list[ast.stmt]:
    """The statements one level down: under `if TYPE_CHECKING:`, `try:` and the like."""
    found: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, (ast.If, ast.Try)):
            found += [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt)]
    return found


def find_problem(target: str, code: Iterable[Path]) -> NotFoundError | None:
    """What is wrong with ``module:function``, or None."""
    try:
        find_kind(target, code)
    except NotFoundError as error:
        return error
    return None
