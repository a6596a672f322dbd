"""Settings of the Python interpreter that keep the event loop responsive."""

from __future__ import annotations

import gc
import sys

SWITCH_SECONDS = 0.0005
"""How long one thread may run while another waits for the interpreter. The default of 5 ms is paid
at every return from the disk: during a scrape, the claim of a slot pays it 20 times."""


def settle() -> None:
    """Call it once everything is started.

    What exists by then (calendars, pandas, the exporter itself) stays until the end: the garbage
    collector need not walk half a million objects again and again, 40 ms at a time.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
