"""The fields of every line of a run, wherever in the code it is logged.

The runner sets :data:`run_fields` around a run; a context variable follows coroutines and the
threads that :func:`asyncio.to_thread` starts, so a library's own lines carry the fields too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_NO_FIELDS: Mapping[str, str] = {}

run_fields: ContextVar[Mapping[str, str]] = ContextVar("run_fields", default=_NO_FIELDS)
"""``{"task": …, "run_id": …}`` inside a run, empty outside."""


@contextmanager
def fields(**more: str) -> Iterator[None]:
    """Add fields to every line that is logged inside the ``with`` block."""
    token = run_fields.set({**run_fields.get(), **more})
    try:
        yield
    finally:
        run_fields.reset(token)


class ContextFilter(logging.Filter):
    """Adds the fields of the current run to each record; those of ``extra`` win."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in run_fields.get().items():
            record.__dict__.setdefault(name, value)
        return True
