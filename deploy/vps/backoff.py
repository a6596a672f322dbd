"""Before each start: wait longer the more starts there were in the last ten minutes.

systemd 252 (Debian 12) restarts after a fixed time only; this is its RestartSteps=. The list lies
in the unit's runtime folder, which an orderly stop removes, so a deploy never waits.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

WAITS = (0, 2, 5, 15, 45)
"""Seconds before the first, second, … start within the window."""
WINDOW_SECONDS = 600.0


def wait_before(starts: list[float], now: float) -> int:
    """Seconds to wait, given the moments of earlier starts (monotonic seconds)."""
    recent = [s for s in starts if 0 <= now - s < WINDOW_SECONDS]
    return WAITS[min(len(recent), len(WAITS) - 1)]


def main() -> None:
    """Note this start, then wait."""
    file = Path(os.environ.get("RUNTIME_DIRECTORY", "/run/quant-exporter")) / "starts"
    now = time.monotonic()
    starts = [float(s) for s in file.read_text().split()] if file.exists() else []
    file.write_text("\n".join(map(str, [*starts, now][-10:])))
    time.sleep(wait_before(starts, now))


if __name__ == "__main__":
    main()
