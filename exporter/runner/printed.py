"""What coroutines print, kept run by run.

Plain functions and commands have a pipe of their own. Coroutines share the exporter's standard
output, so while one runs, whatever it writes there is taken aside; what others write passes.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, TextIO

from exporter.runner.output_tail import OutputTail

_of_this_run: ContextVar[OutputTail | None] = ContextVar("printed", default=None)


class _Divided(io.TextIOBase):
    """A standard stream that knows whose words it is given. Threads that a coroutine starts with
    :func:`asyncio.to_thread` count as the coroutine."""

    def __init__(self, original: TextIO) -> None:
        self._original = original

    def write(self, text: str) -> int:
        printed = _of_this_run.get()
        if printed is None:
            return self._original.write(text)
        printed.add(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        self._original.flush()

    def writable(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


class _Streams:
    """Stands in for standard output and error as long as any coroutine runs."""

    def __init__(self) -> None:
        self._users = 0
        self._originals = (sys.stdout, sys.stderr)

    def enter(self) -> None:
        if not self._users:
            self._originals = (sys.stdout, sys.stderr)
            sys.stdout, sys.stderr = _Divided(sys.stdout), _Divided(sys.stderr)
        self._users += 1

    def leave(self) -> None:
        self._users -= 1
        if not self._users:
            sys.stdout, sys.stderr = self._originals


_streams = _Streams()


@contextlib.contextmanager
def taken_aside() -> Iterator[OutputTail]:
    """What is printed in this context, and in what it starts, goes to the tail that is yielded."""
    printed = OutputTail()
    before = _of_this_run.set(printed)
    _streams.enter()
    try:
        yield printed
    finally:
        _streams.leave()
        _of_this_run.reset(before)
