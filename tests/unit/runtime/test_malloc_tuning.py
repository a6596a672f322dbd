"""Memory that was used once returns to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from exporter.runtime.malloc_tuning import give_back

def resident_mb():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * 4096 / 1e6

give_back()
bytes(1_500_000)  # from now on, glibc would have such blocks in its heap
before, kept = resident_mb(), []
for _ in range(20):
    answer = b"x" * 1_500_000
    kept += [answer, b"y" * 1000]
most = resident_mb()
del kept[::2], answer
print(most - before, resident_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_answers_leave_no_holes_in_the_heap() -> None:
    """Small blocks between them stay."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    most, left = map(float, done.stdout.split())
    assert most > 25
    assert left < 3, "28 MB by default"
