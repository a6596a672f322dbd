"""Every benchmark runs, and what it prints can be true."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import month, recorded_day
from benchmarks.__main__ import FIGURES
from benchmarks.curves import curves, picture
from benchmarks.figures import OURS, Row
from benchmarks.slots import stretch
from tests.integration.processes import ROOT

pytestmark = pytest.mark.integration


@pytest.mark.timeout(400)
def test_every_figure_is_taken(tmp_path: Path) -> None:
    """In its quick form, several at once: it is about whether they run, not about how fast."""
    figures = [name for name in FIGURES if name != "boards" or recorded_day.FILE.exists()]
    with ThreadPoolExecutor(4) as pool:
        found = dict(
            zip(figures, pool.map(lambda name: _taken(name, tmp_path), figures), strict=True)
        )
    for name, rows in found.items():
        assert rows, name
        for row in rows:
            assert math.isfinite(row["value"]), row
            assert row["value"] >= 0, row
        ours = [row for row in rows if row["who"] == "quant-exporter"]
        assert all(row["value"] > 0 for row in ours if row["what"] != "lost"), ours
    assert [row["value"] for row in found["log_calls"] if row["what"] == "lost"] == [0]
    series = found["scrape"][0]["figure"].split()[1].replace(",", "")
    assert 9_000 < int(series) < 12_000, series
    (live,) = [row for row in found["month"] if row["what"] == month.HELD_A_RUN]
    assert live["met"], f"every run leaves {live['value']:.0f} bytes in memory"
    ideal = [row for row in found["sweep"] if row["who"].startswith("ideal")]
    assert ideal[0]["who"] == "ideal: 2 requests / 600 a minute", "60 symbols are two requests"


def test_late_slots_are_waited_for_and_counted(tmp_path: Path) -> None:
    """A busy machine may start nothing before the time is over; then the first start ends it."""
    starts = tmp_path / "starts"
    slot = time.time() + 1
    starts.write_text(f"{slot - 2!r} {slot - 1!r}\n")  # of before

    def start_late() -> None:
        time.sleep(1.2)
        with starts.open("a") as out:
            out.write(f"{slot!r} {slot + 0.1:.3f}\n{slot!r}")  # the next is only half written

    with ThreadPoolExecutor(1) as pool:
        pool.submit(start_late)
        assert stretch(starts, 0.1, 0.0) == [pytest.approx(100, abs=1)]


@pytest.mark.parametrize("leak", [0, 1000])
def test_a_kilobyte_that_every_run_leaves_shows_in_the_month(leak: int) -> None:
    """However the memory that the system gives goes up and down."""
    days = [
        {
            "day": day, "runs": 380.0, "live_mb": 60 + day % 3 * 0.03 + leak * 380e-6 * day,
            "memory_mb": 70 + day // 7 % 3 * 2.5, "below_mb": 9.5, "state_mb": 4.6, "logs_mb": 0.4,
            "open_files": 24,
        }
        for day in range(1, 61)
    ]  # fmt: skip
    rows = month.rows(days, 3, "60 days", month.AIM_BYTES_A_RUN)
    (held,) = [row for row in rows if row.what == month.HELD_A_RUN]
    assert held.value == pytest.approx(leak, abs=100)
    assert [row.what for row in rows if row.met is False] == ([month.HELD_A_RUN] if leak else [])


ROWS = [
    Row("of any name", what, OURS, value, unit, at=(size, "series"))
    for size, values in ((10_000.0, (4.0, 80.0, 0.0)), (100_000.0, (40.0, 160.0, 1.0)))
    for what, value, unit in zip(
        ("/metrics", "memory", "lost <"), values, ("ms", "MB", ""), strict=True
    )
]


def test_each_cost_is_a_line_of_multiples_of_its_smallest_size() -> None:
    """Whatever its unit; what began at nothing has no multiple, and one size is no line."""
    pings = Row("pings", "p99", OURS, 1.0, "ms", at=(500, "pings a second"))
    without_size = Row("memory", "memory", OURS, 5.0, "MB")
    assert curves([*ROWS, pings, without_size]) == {
        "series": {
            "/metrics: 4 → 40 ms": [(10_000, 1.0), (100_000, 10.0)],
            "memory: 80 → 160 MB": [(10_000, 1.0), (100_000, 2.0)],
        }
    }
    assert curves([*ROWS[:3], pings]) == {}


def test_the_picture_is_sound_and_no_name_covers_another() -> None:
    """A panel for each kind of work; lines that end at the same cost have their names one below the
    other, inside the picture."""
    works = ("series", "tasks <")
    drawn = {
        of: {f"<{of} {n}>": [(10_000.0, 1.0), (100_000.0, 10.0)] for n in range(14)} for of in works
    }
    image = ElementTree.fromstring(picture(drawn))
    texts = {text.text: text for text in image.iter() if text.tag.endswith("text")}
    assert set(works) < set(texts)
    heights = sorted(float(texts[name].attrib["y"]) for names in drawn.values() for name in names)
    assert all(below - above > 17 for above, below in pairwise(heights))
    assert heights[-1] < float(image.attrib["viewBox"].split()[3])
    assert "nothing was measured" in picture({})


def _taken(name: str, folder: Path) -> list[dict[str, object]]:
    out = folder / f"{name}.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", name, "--quick", "--out", out],
        cwd=ROOT, capture_output=True, text=True, timeout=350, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{name}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert "quant-exporter" in done.stdout
    rows: list[dict[str, object]] = json.loads(out.read_text())["figures"]
    return rows
