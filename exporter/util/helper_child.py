"""The child of :mod:`.helper_process`: loads what the first line names, then answers each line.

Lines are the number of the call and JSON. ``{"value": …}`` is what it returned, ``{"failed": {…}}``
what it raised. What the code prints goes to stderr: stdout belongs to the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from exporter.util.process_tree import adopt_orphans, die_with_parent

PROGRAMMING = (
    TypeError, NameError, AttributeError, ImportError, SyntaxError, AssertionError,
    NotImplementedError,
)  # fmt: skip
"""Mistakes of a program: calling it again cannot help."""
_LONGEST_TEXT = 2000


def main() -> None:
    """Serve until stdin ends."""
    _end_with(int(sys.argv[1]))
    adopt_orphans()
    own = os.getpid()
    orders = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    order = json.loads(orders.readline().partition(b" ")[2])
    called: Callable[..., Any] | None = None
    with contextlib.suppress(BaseException):  # what it raises, the first call says
        called = _load(order["target"])(**order["setup"])
    if os.getpid() != own:
        os._exit(0)
    answers.write(b"0 {}\n")
    answers.flush()
    with asyncio.Runner() as loop:
        for order_line in orders:
            number, _, line = order_line.partition(b" ")
            try:
                if called is None:  # a failure is the outcome of each call until it loads
                    called = _load(order["target"])(**order["setup"])
                value = called(**json.loads(line))
                if inspect.iscoroutine(value):
                    value = loop.run(value)
                answer = json.dumps({"value": value})
            except BaseException as error:  # noqa: BLE001  whatever it is, it is the outcome
                answer = json.dumps({"failed": failure(error)})
            if os.getpid() != own:  # the code forked, and this is the child
                os._exit(0)
            answers.write(number + b" " + answer.encode() + b"\n")
            answers.flush()
    _leave(answers)


def _leave(answers: Any) -> None:
    # A thread that hangs would keep the interpreter alive.
    if threading.active_count() > 1:
        os._exit(0)
    answers.close()


def _end_with(parent: int) -> None:
    """Ask the kernel to kill this process when the exporter ends, whatever the code is doing."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)


def _load(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def failure(error: BaseException) -> Mapping[str, Any]:
    """The fields of :class:`.helper_process.CallFailedError`."""
    try:
        text = " ".join(str(error).split())[:_LONGEST_TEXT]
    except Exception:  # noqa: BLE001  a user's __str__ may raise anything
        text = "(its text cannot be shown)"
    reason, retryable = getattr(error, "reason", None), getattr(error, "retryable", None)
    after = getattr(error, "retry_after", None)
    return {
        "kind": type(error).__qualname__,
        "classes": [cls.__name__ for cls in type(error).__mro__],
        "text": text,
        "programming": isinstance(error, PROGRAMMING) or not isinstance(error, Exception),
        "reason": reason if isinstance(reason, str) else None,
        "retryable": retryable if isinstance(retryable, bool) else None,
        "retry_after": float(after) if isinstance(after, int | float) else None,
    }


if __name__ == "__main__":
    main()
