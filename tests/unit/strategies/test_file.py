"""Equity files that grow, shrink, are replaced, or hold nonsense."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from exporter.strategies.equity_point import EquityPoint, parse_timestamp
from exporter.strategies.file import BadLine, EquityFilePosition, read_new

UTC = ZoneInfo("UTC")


def take(path: Path, position: EquityFilePosition) -> list[EquityPoint | BadLine]:
    """What is new."""
    return list(read_new(path, position, UTC))


def test_only_what_was_appended_is_read(tmp_path: Path) -> None:
    """And a line is read once it is finished: `1000` may become `100012.5`."""
    file, position = tmp_path / "e.csv", EquityFilePosition()
    file.write_text("timestamp,equity,flow\n1790000000,100,0\n1790000060,1000")
    assert take(file, position) == [EquityPoint(1790000000, 100)]
    assert take(file, position) == []
    with file.open("a") as more:
        more.write("12.5,-3\n")
    assert take(file, position) == [EquityPoint(1790000060, 100012.5, -3)]


def test_a_position_survives_being_kept(tmp_path: Path) -> None:
    """After a restart reading goes on where it stopped, header known."""
    file, position = tmp_path / "e.csv", EquityFilePosition()
    file.write_text("equity,timestamp\n100,1790000000\n")
    take(file, position)
    with file.open("a") as more:
        more.write("101,1790000060\n")
    assert take(file, EquityFilePosition.from_json(position.to_json())) == [
        EquityPoint(1790000060, 101)
    ]


@pytest.mark.parametrize("way", ["rewritten in place", "replaced", "truncated"])
def test_a_file_that_is_another_is_read_from_its_start(tmp_path: Path, way: str) -> None:
    """A program may write the whole curve anew each time."""
    file, position = tmp_path / "e.csv", EquityFilePosition()
    file.write_text("timestamp,equity\n1790000000,100\n1790000060,101\n")
    assert len(take(file, position)) == 2
    text = "timestamp,equity\n1790000000,100.0\n1790000060,101.0\n1790000120,102.0\n"
    if way == "replaced":
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(file)
    elif way == "truncated":
        file.write_text("timestamp,equity\n")
        assert take(file, position) == []
        file.write_text(text)
    else:
        file.write_text(text)
    assert [p.equity for p in take(file, position)] == [100, 101, 102]


def test_json_lines(tmp_path: Path) -> None:
    """The same keys; ISO times, with and without an offset."""
    file = tmp_path / "e.jsonl"
    file.write_text(
        '{"timestamp": "2026-11-24T16:00:00-05:00", "equity": 100}\n'
        '{"timestamp": "2026-11-24T22:00:00", "equity": "101.5", "flow": null}\n'
    )
    assert take(file, EquityFilePosition()) == [
        EquityPoint(1795554000, 100),
        EquityPoint(1795557600, 101.5),
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1790000000,abc", "equity must be a number, not 'abc'"),
        ("1790000000,nan", "equity must be a finite number"),
        ("1790000000", "1 cells where the header has 2"),
        ("yesterday,100", "timestamp 'yesterday' is not a time"),
        ("-5,100", "timestamp '-5' is out of range"),
        ('{"equity": 5}', "timestamp is missing"),
        ('{"timestamp": 1790000000, "equity": [1]}', "equity must be a number"),
        ("{broken", "Expecting"),
        ("<html><body>502 Bad Gateway</body></html>", "1 cells where the header has 2"),
    ],
)
def test_a_bad_line_is_named_and_the_next_one_is_read(
    tmp_path: Path, line: str, problem: str
) -> None:
    """Nothing is lost but that line."""
    file = tmp_path / "e.csv"
    file.write_text(f"timestamp,equity\n{line}\n1790000060,101\n")
    bad, good = take(file, EquityFilePosition())
    assert isinstance(bad, BadLine)
    assert bad.line == 2
    assert problem in bad.problem
    assert good == EquityPoint(1790000060, 101)


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    """Nor do Windows line ends and a byte order mark."""
    file = tmp_path / "e.csv"
    file.write_bytes(b"\xef\xbb\xbftimestamp,equity\r\n\xff\xfe,\x00\r\n1790000060,101\r\n")
    bad, good = take(file, EquityFilePosition())
    assert isinstance(bad, BadLine)
    assert good == EquityPoint(1790000060, 101)


def test_a_header_that_lacks_a_column_says_which(tmp_path: Path) -> None:
    """And what to write."""
    file = tmp_path / "e.csv"
    file.write_text("date,equity\n")
    (bad,) = take(file, EquityFilePosition())
    assert isinstance(bad, BadLine)
    assert bad.problem == "the header has no timestamp; write timestamp,equity[,flow]"


def test_milliseconds_are_told_from_seconds() -> None:
    """As exchanges write them."""
    assert parse_timestamp(1790000000123, UTC) == 1790000000.123
    assert parse_timestamp("1790000000", UTC) == 1790000000
