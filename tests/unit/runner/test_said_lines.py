"""Lines of JSON in which a command reports on its run."""

from __future__ import annotations

import math
import time

import pytest

from exporter.runner.said_lines import LONGEST_LINE_BYTES, Said, SaidLines


def said(*pieces: bytes) -> Said:
    lines = SaidLines()
    for piece in pieces:
        lines.add(piece)
    lines.close()
    return lines.said


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lines_are_found_among_output_however_it_is_cut(size: int) -> None:
    """The newest of each counts; a last line without an end too."""
    output = (
        b'start\n{"quant": {"items": 1, "message": "one"}}\r\n{"other": 1}\nx {"quant": {}}\n'
        b'10%\r{ "quant" : {"items": 2}}\n{"quant":{"message":"all\\n sent \xc2\xb5"}}'
    )
    found = said(*(output[n : n + size] for n in range(0, len(output), size)))
    assert (found.items, found.message, found.bad_lines) == (2, "all sent µ", 0)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"quant": {"items": "3"}}', "items must be an integer of 0 or more, not 3"),
        (b'{"quant": {"items": true}}', "items must be an integer of 0 or more, not True"),
        (b'{"quant": {"items": -1}}', "items must be an integer"),
        (b'{"quant": {"items": NaN}}', "items must be an integer"),
        (b'{"quant": {"items": 1e3}}', "items must be an integer"),
        (b'{"quant": {"items": 99999999999999999999}}', "items must be an integer"),
        (b'{"quant": {"message": 3}}', "message must be text"),
        (b'{"quant": {"message": "\\ud800"}}', "half a character"),
        (b'{"quant": {"itmes": 3}}', "unknown key 'itmes': write items, message or metrics"),
        (b'{"quant": {"metrics": 3}}', "metrics must be an object"),
        (b'{"quant": {"items": 1, "metrics": {"x": {"labels": {}}}}}', "metrics.x: write a number"),
        (b'{"quant": {"metrics": {"x": {"value": 1, "label": {}}}}}', "metrics.x: write a number"),
        (b'{"quant": {"metrics": {"x": {"value": 1, "labels": 2}}}}', "metrics.x: write a number"),
        (b'{"quant": 3}', 'write {"quant": {"items": 3}} and nothing else'),
        (b'{"quant": {}, "more": 1}', 'write {"quant": {"items": 3}} and nothing else'),
        (b'{"quant": {"items": 3}', "Expecting"),
        (b'{"quant": ' + b"[" * 3000, "nests too deeply"),
        (b'{"quant": {"message": "\xff"}}', "can't decode byte 0xff"),
        (b'{"quant": {"message": "' + b"x" * LONGEST_LINE_BYTES + b'"}}', "longer than 8192 bytes"),
    ],
)
def test_a_line_that_is_not_understood_counts_and_changes_nothing(line: bytes, why: str) -> None:
    """All of a line counts, or none of it; what was said before stays."""
    found = said(b'{"quant": {"items": 7}}\n', line + b"\n" + line)
    assert (found.items, found.message, found.bad_lines) == (7, None, 2)
    assert why in str(found.problem)


def test_ordinary_output_says_nothing_and_is_not_kept() -> None:
    """A line without an end must not fill the memory."""
    lines = SaidLines()
    for _ in range(100):
        lines.add(b'{"quantity": 3}\n' + b"x" * 100_000)
    assert math.isnan(lines.said.items)
    assert (lines.said.bad_lines, len(lines._line)) == (0, LONGEST_LINE_BYTES + 1)


def test_of_a_flood_of_lines_the_newest_is_read_and_the_loop_is_free() -> None:
    """Reading each would take seconds; how many were passed over is known."""
    flood = b"".join(b'{"quant": {"items": %d}}\n' % n for n in range(50_000))
    began = time.process_time()
    found = said(*(flood[n : n + 65536] for n in range(0, len(flood), 65536)))
    assert time.process_time() - began < 0.5
    assert (found.items, found.bad_lines) == (49_999, 0)
    assert 40_000 < found.passed_over < 50_000
