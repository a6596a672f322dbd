"""How the C library's malloc gives memory back to the system."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE_BYTES = _FREE_BYTES = 1 << 20


def give_back() -> None:
    """Call it before other threads start. Without glibc it does nothing.

    By default glibc takes large blocks from its heap once it has seen some freed: an answer or a
    page of a megabyte leaves a hole there which small blocks soon keep from being given back, so
    memory climbs by steps for weeks. Blocks of a megabyte and more always come from the system, and
    return to it. One heap serves all threads: Python's own lock lets one at a time work anyway.

    Processes for tasks start with the defaults, which suit numpy's arrays.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    mallopt(_ARENA_MAX, 1)
    mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_TRIM_THRESHOLD, _FREE_BYTES)
