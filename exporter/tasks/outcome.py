"""What a task's return value or exception means: the one place that decides it.

Used on the loop for coroutines and in the worker process for plain functions, so it knows the
standard library alone.
"""

from __future__ import annotations

import math
import operator
import traceback
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any, Literal, get_args

from exporter.redaction.truncate import drop_partial_start, mask_window
from exporter.tasks.errors import NoData, Permanent, StaleData
from exporter.util.nan import nan_to_none

Kind = Literal["success", "error", "timeout", "no_data", "stale_data", "crashed"]
KINDS: tuple[str, ...] = get_args(Kind)

ERROR_CHARS = 500
"""How long an error's text is in the end; here it is cut further on, for it is not yet masked."""
_TRACE_CHARS = 4000
_VALUE_CHARS = 80
_ITEMS_MAX = 10**15
_PROGRAMMING = (
    TypeError, NameError, AttributeError, ImportError, SyntaxError, AssertionError,
    NotImplementedError, Permanent,
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. ``items`` is NaN when the task did not say."""

    kind: Kind
    error: str | None = None
    items: float = math.nan
    retryable: bool = False
    retry_after_seconds: float | None = None
    tail: str = ""
    exit_code: int | None = None
    """The argument of a function's sys.exit, when that was not 0."""
    message: str | None = None
    """What it says of a success, for people."""

    def with_tail(self, text: str) -> Outcome:
        """The same with what the attempt printed before what was known already."""
        return replace(self, tail="\n".join(part for part in (text, self.tail) if part))

    def to_json(self) -> dict[str, Any]:
        """As the worker process sends it."""
        data = asdict(self)
        data["items"] = nan_to_none(self.items)
        return data


def from_json(data: dict[str, Any]) -> Outcome:
    """Read what the worker process sent. Raises :class:`ValueError` when it is nonsense."""
    try:
        items = data["items"]
        after = data["retry_after_seconds"]
        outcome = Outcome(
            kind=data["kind"],
            error=None if data["error"] is None else str(data["error"]),
            items=math.nan if items is None else float(items),
            retryable=bool(data["retryable"]),
            retry_after_seconds=None if after is None else float(after),
            tail=str(data["tail"]),
            exit_code=None if data["exit_code"] is None else int(data["exit_code"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an outcome: {error}") from error
    if outcome.kind not in KINDS:
        raise ValueError(f"not an outcome: {outcome.kind!r}")
    return outcome


def of_return(value: object) -> Outcome:
    """What a returned value says: a count, a collection whose size counts, whether it succeeded, or
    nothing."""
    if value is None:
        return Outcome("success")
    if type(value).__name__ in ("bool", "bool_"):  # numpy's too
        return Outcome("success") if value else Outcome("error", "returned False", retryable=True)
    try:
        items = _items(value)
    except Exception as error:  # noqa: BLE001  a user's __len__ may raise anything
        return Outcome("error", f"returned a {_type(value)} that has no size: {_text_of(error)}")
    if items is None or not 0 <= items <= _ITEMS_MAX:
        what = repr(value) if isinstance(value, bool | int | float | str) else _type(value)
        if len(what) > _VALUE_CHARS:
            what = f"a long {_type(value)}"  # not its beginning: that may be half a secret
        return Outcome(
            "error",
            f"returned {what}; return the number of items it handled, a list of them, or nothing",
        )
    return Outcome("success", items=float(items))


def _items(value: object) -> int | None:
    if isinstance(value, str | bytes | bytearray):
        return None  # "ok" is an answer to another question than "how many?"
    if isinstance(value, Collection):
        return len(value)
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def of_exception(error: BaseException) -> Outcome:
    """What an exception says: no data, stale data, or an error that may pass or may not."""
    tail = trace(error)
    if isinstance(error, NoData):
        return Outcome("no_data", _text_of(error), retryable=True, tail=tail)
    if isinstance(error, StaleData):
        return Outcome("stale_data", _text_of(error), retryable=True, tail=tail)
    if isinstance(error, SystemExit):
        return _of_exit(error.code)
    retryable = isinstance(error, Exception) and not isinstance(error, _PROGRAMMING)
    # A source knows better than its exception's class whether asking again may help.
    hint = getattr(error, "retryable", None)
    after = getattr(error, "retry_after", None)
    return Outcome(
        "error",
        _text_of(error),
        retryable=hint if isinstance(hint, bool) else retryable,
        retry_after_seconds=float(after) if isinstance(after, int | float) else None,
        tail=tail,
    )


def _of_exit(code: object) -> Outcome:
    """As the shell sees it: nothing and 0 are a success, a text is printed and stands for 1."""
    if code is None or code == 0:
        return Outcome("success")
    if isinstance(code, int):
        return Outcome("error", f"called sys.exit({code})", retryable=True, exit_code=int(code))
    text = " ".join(str(code).split())
    return Outcome("error", mask_window(f"called sys.exit: {text}", ERROR_CHARS), retryable=True)


def trace(error: BaseException) -> str:
    """The newest part of the traceback, from the user's own code on."""
    frames: TracebackType | None = error.__traceback__
    while frames and frames.tb_next and _is_ours(frames):
        frames = frames.tb_next
    try:
        lines = traceback.format_exception(type(error), error, frames, limit=-20)
    except Exception as broken:  # noqa: BLE001  a user's exception may not even print
        lines = [f"{_type(error)} (no traceback: {_type(broken)})\n"]
    text = "".join(lines).rstrip()
    return text if len(text) <= _TRACE_CHARS else drop_partial_start(text[-_TRACE_CHARS:])


def _is_ours(frames: TracebackType) -> bool:
    module = str(frames.tb_frame.f_globals.get("__name__", ""))
    return module.startswith(("exporter.runner.worker", "exporter.runner", "importlib", "asyncio"))


def _type(value: object) -> str:
    return type(value).__qualname__


def _text_of(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  a user's __str__ may raise anything
        text = "(its text cannot be shown)"
    name = _type(error)
    full = text if isinstance(error, NoData | StaleData) and text else f"{name}: {text}"
    return mask_window(full if text else name, ERROR_CHARS)
