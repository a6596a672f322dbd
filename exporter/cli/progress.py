"""Long steps of a command are not silent."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

PATIENCE_SECONDS = 1.0


@contextlib.contextmanager
def working(
    text: str,
    patience_seconds: float = PATIENCE_SECONDS,
    stream: TextIO | None = None,
    *,
    share: Callable[[], float] | None = None,
) -> Iterator[None]:
    """Say on stderr what takes longer than a moment: on a terminal a line that counts the seconds
    and goes away at the end, elsewhere one plain line. `share`, from 0 to 1, says how much is
    done; it is asked by another thread."""
    where = stream or sys.__stderr__
    if where is None:
        yield
        return
    done = threading.Event()
    said = (text, patience_seconds, done, where, share)
    thread = threading.Thread(target=_say, args=said, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def show_count(what: str, done: int, of: int, stream: TextIO | None = None) -> None:
    """On a terminal, one line that counts; its end stays."""
    where = stream or sys.__stderr__
    if where is not None and where.isatty():
        with contextlib.suppress(OSError, ValueError):  # nobody reads it now
            end = "\n" if done == of else ""
            print(f"\r{what}: {done} of {of}", end=end, file=where, flush=True)


def _say(
    text: str,
    patience_seconds: float,
    done: threading.Event,
    stream: TextIO,
    share: Callable[[], float] | None,
) -> None:
    began = time.monotonic()
    if done.wait(patience_seconds):
        return
    with contextlib.suppress(OSError, ValueError):  # nobody reads it now
        if not stream.isatty():
            print(f"{text} …", file=stream, flush=True)
            return
        shown = ""
        while True:
            percent = f"{share():.0%}, " if share else ""
            now = f"{text} … {percent}{time.monotonic() - began:.0f} s"
            shown = now.ljust(len(shown))  # it may have become shorter
            print(f"\r{shown}", end="", file=stream, flush=True)
            if done.wait(1.0):
                break
        print(f"\r{' ' * len(shown)}\r", end="", file=stream, flush=True)
