"""What a process really holds, apart from the pages that the system has given it.

Memory of the system moves in steps of megabytes, and stays where it was at its highest; what the
program holds does not, so a few kilobytes a day show in it.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from itertools import combinations
from statistics import median

from benchmarks.processes import BenchmarkError

_PYTHON = re.compile(r"# bytes in allocated blocks +=\s+([\d,]+)")


class _Mallinfo(ctypes.Structure):
    """See mallinfo2(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    )  # fmt: skip


def live_bytes() -> int:
    """Bytes that this process has allocated and not freed: Python's objects, and what libraries
    such as SQLite took from malloc. Raises :class:`BenchmarkError` without glibc 2.33."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError as error:
        raise BenchmarkError("live memory needs glibc 2.33 or newer") from error
    mallinfo.restype = _Mallinfo
    found = mallinfo()
    return _python_bytes() + int(found.uordblks) + int(found.hblkhd)


def _python_bytes() -> int:
    """Of objects up to 512 bytes; Python tells it to stderr alone."""
    with tempfile.TemporaryFile() as out:
        kept = os.dup(2)
        os.dup2(out.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        out.seek(0)
        found = _PYTHON.search(out.read().decode())
    if found is None:
        raise BenchmarkError("this Python does not say what it has allocated")
    return int(found[1].replace(",", ""))


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Rise a unit of the first: the median over all pairs (Theil and Sen), which a few steps do
    not change."""
    return median((y - x_y) / (x - x_x) for (x_x, x_y), (x, y) in combinations(points, 2))
