"""How Python itself is set, so that the event loop waits for nobody longer than it must."""

from __future__ import annotations

import gc
import sys

SWITCH_SECONDS = 0.0005
"""How long one thread may go on while another waits for the interpreter. The usual 5 ms are paid
anew at every return from the disk: beside a scrape, the claim of a slot waits for them 20 times."""


def settle() -> None:
    """Call it once everything is started.

    What is alive by then (calendars, pandas, the house itself) stays until the end: the garbage
    collector need not walk through half a million objects again and again, 40 ms at a time.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
