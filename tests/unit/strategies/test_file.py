"""Equity files that grow, shrink, are replaced, or hold nonsense."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exporter.config import Strategy
from exporter.strategies.equity_point import EquityPoint, parse_timestamp
from exporter.strategies.file import BadLine, EquityFilePosition, Restart, first_problem, read_new

UTC = ZoneInfo("UTC")


def take(path: Path, position: EquityFilePosition, **settings: Any) -> list[EquityPoint | BadLine]:
    found = read_new(path, position, Strategy(**settings), UTC)
    return [one for one in found if not isinstance(one, Restart)]


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
    file.write_text("day,equity\n")
    (bad,) = take(file, EquityFilePosition())
    assert isinstance(bad, BadLine)
    assert bad.problem == (
        "the header has no timestamp; write timestamp,equity[,flow], or name the file's columns "
        "under `columns`"
    )


def test_milliseconds_are_told_from_seconds() -> None:
    """As exchanges write them."""
    assert parse_timestamp(1790000000123, UTC) == 1790000000.123
    assert parse_timestamp("1790000000", UTC) == 1790000000


JULY = 1_751_328_000.0
"""2025-07-01 in UTC."""


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("timestamp;equity\n2025-07-01;100.000,50\n2025-07-02;61.000\n", {}),
        ("date;balance\n2025-07-01;100000,5\n2025-07-02;61000\n", {}),
        ("Date\tNAV\n2025-07-01\t100000.5\n2025-07-02\t61000\n", {}),
        ("date|equity|note\n2025-07-01|100000.5|x\n2025-07-02|61000|\n", {}),
        ("sep=;\nDate;Equity\n01.07.2025;$100,000.50\n02.07.2025;61,000.00\n", {}),
        (
            "# made by a tool\nAccount: 7\n\ntime,equity\n2025-07-01,100000.5\n2025-07-02,61000\n",
            {},
        ),
        ("2025-07-01;100000,5\n2025-07-02;61000\n", {}),
        ("<DATE>\t<EQUITY>\n2025.07.01 00:00\t100000.5\n2025.07.02 00:00\t61000\n", {}),
        ("ts,equity\n2025/07/01,100000.5\n2025/07/02 00:00:00,61000\n", {}),
        ('date,equity\n2025-07-01,"100,000.50"\n2025-07-02,"61,000"\n', {}),
        (
            "d;e\n2025-07-01;100.000,5\n2025-07-02;61.000\n",
            {"columns": {"timestamp": "D", "equity": "e"}},
        ),
        ("date;equity\n2025-07-01;100'000.5\n2025-07-02;61.000\n", {"decimal": ","}),
        ('{"Date": "2025-07-01", "NAV": 100000.5}\n{"Date": "2025-07-02", "NAV": 61000}\n', {}),
    ],
)
def test_files_of_other_layouts_are_read_rightly(
    tmp_path: Path, text: str, settings: dict[str, Any]
) -> None:
    """Delimiters, names, decimal signs, and titles above the header."""
    file = tmp_path / "e.csv"
    file.write_text(text)
    found = take(file, EquityFilePosition(), **settings)
    good = [one for one in found if isinstance(one, EquityPoint)]
    if "100'000.5" in text:  # a decimal point where a comma is configured is said, not guessed
        assert [type(one) for one in found] == [BadLine, EquityPoint]
        assert good == [EquityPoint(JULY + 86400, 61_000)]
        return
    assert good == [EquityPoint(JULY, 100_000.5), EquityPoint(JULY + 86400, 61_000)]
    assert all(one.above_header for one in found if isinstance(one, BadLine))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("date;equity\n2025-07-01;61.000\n", "'61.000' may mean thousands or decimals: set `dec"),
        ("date;equity\n2025-07-01;61,000\n", "'61,000' may mean thousands or decimals: set `dec"),
        ("date,equity,nav\n2025-07-01,1,2\n", "two columns may be the equity: name it under"),
        ("day,equity\n2025-07-01,1\n", "the header has no timestamp; write timestamp,equity"),
        ("Account 7\nnothing else\n", "the header has no timestamp and no equity"),
        ("date,equity\n07/01/2025,1\n", "timestamp '07/01/2025' is not a time"),
        ('[{"timestamp": 1, "equity": 2}]\n', "it is a JSON array; write one JSON object per line"),
        ("", "has no row yet"),
        ("timestamp,equity\r1790000000,1\r", "ends with a newline, so nothing is read"),
    ],
)
def test_what_is_not_understood_is_said(tmp_path: Path, text: str, problem: str) -> None:
    """By `check`, before anything runs; nothing is guessed."""
    file = tmp_path / "e.csv"
    file.write_text(text)
    assert problem in str(first_problem(file, Strategy(), UTC))


def test_utf_16_and_missing_files_are_said(tmp_path: Path) -> None:
    """With what to do."""
    file = tmp_path / "e.csv"
    assert first_problem(file, Strategy(), UTC) == f"cannot read {file}: No such file or directory"
    for encoding in ("utf-16", "utf-16-le"):
        file.write_bytes("timestamp,equity\n2025-07-01,1\n".encode(encoding))
        said = first_problem(file, Strategy(), UTC)
        assert said == f"cannot read {file}: it is UTF-16; write it as UTF-8"


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00", "a zip file or an Excel workbook"),
        (gzip.compress(b"timestamp,equity\n2025-07-01,1\n", mtime=0), "compressed"),
        (b"SQLite format 3\x00", "a database"),
        (b"\n<!DOCTYPE html>\n<table>\n", "HTML"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, start: bytes, what: str) -> None:
    """Its first bytes tell what to do about it."""
    file = tmp_path / "e.csv"
    file.write_bytes(start)
    said = first_problem(file, Strategy(), UTC)
    assert str(said).startswith(f"cannot read {file}: it is {what}; ")


def test_the_hour_that_clocks_repeat_is_read_in_order(tmp_path: Path) -> None:
    """Local times without an offset, every half hour, over the end of summer time."""
    file = tmp_path / "e.csv"
    stamps = ["00:30", "01:00", "01:30", "01:00", "01:30", "02:00"]
    rows = "".join(f"2026-11-01 {stamp},{n}\n" for n, stamp in enumerate(stamps))
    file.write_text(f"timestamp,equity\n{rows}")
    found = list(read_new(file, EquityFilePosition(), Strategy(), ZoneInfo("America/New_York")))
    times = [one.at for one in found if isinstance(one, EquityPoint)]
    assert [b - a for a, b in itertools.pairwise(times)] == [1800.0] * 5


def test_another_layout_in_the_config_reads_the_file_again(tmp_path: Path) -> None:
    """What was not understood before is there then."""
    file, position = tmp_path / "e.csv", EquityFilePosition()
    file.write_text("day,equity\n2025-07-01,1\n")
    take(file, position)
    position = EquityFilePosition.from_json(position.to_json())
    assert take(file, position) == []
    assert take(file, position, columns={"timestamp": "day"}) == [EquityPoint(JULY, 1)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("-$500", -500.0), ("$-500.25", -500.25), ("($5,000.00)", -5000.0), ("(500)", -500.0),
        ("\u22121.234,50", -1234.5), ("+€12", 12.0), ("90'000.00", 90000.0), ("12.5€", 12.5),
        ("₹1,00,000.50", 100000.5), ("12,34,567", 1234567.0), ("500.25-", -500.25),
    ],
)  # fmt: skip
def test_numbers_are_read_as_brokers_write_them(tmp_path: Path, text: str, number: float) -> None:
    """Signs of currencies and accountants; rows have a comma more than the header."""
    file = tmp_path / "e.csv"
    file.write_bytes(f'timestamp,equity,flow\n1790000000,100,"{text}",\n'.encode())
    assert take(file, EquityFilePosition()) == [EquityPoint(1790000000, 100, number)]


@pytest.mark.parametrize("text", ["USD 500", "500 EUR", "(-500)", "50%", "$", "()", "1$2", "--5"])
def test_what_is_no_plain_number_is_said(tmp_path: Path, text: str) -> None:
    """Another currency than the strategy's must not pass for its own."""
    file = tmp_path / "e.csv"
    file.write_text(f'timestamp,equity,flow\n1790000000,100,"{text}"\n')
    (bad,) = take(file, EquityFilePosition())
    assert isinstance(bad, BadLine)
    assert "flow must be a number" in bad.problem


def test_a_header_with_other_columns_is_the_layout_of_what_follows(tmp_path: Path) -> None:
    """A program that was changed goes on in the same file: its cash is not its equity."""
    file, position = tmp_path / "e.csv", EquityFilePosition()
    file.write_text("timestamp,equity,cash\n1790000000,100,7\n")
    take(file, position)
    with file.open("a") as more:
        more.write("timestamp,cash,equity\n1790000060,7,101\n")
    assert take(file, EquityFilePosition.from_json(position.to_json())) == [
        EquityPoint(1790000060, 101)
    ]
    with file.open("a") as more:
        more.write("time;nav\n1790000120;102,5\n")
    assert take(file, position)[-1] == EquityPoint(1790000120, 102.5)


def test_an_index_that_pandas_wrote_without_a_name_is_the_time(tmp_path: Path) -> None:
    """What `Series.to_csv` writes; with a timestamp next to it, it is a number of rows."""
    file = tmp_path / "e.csv"
    file.write_text(",equity\n2026-11-24,100\n")
    assert take(file, EquityFilePosition()) == [EquityPoint(1795478400, 100)]
    file.write_text(",date,equity\n0,2026-11-24,101\n")
    assert take(file, EquityFilePosition()) == [EquityPoint(1795478400, 101)]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            '{"timestamp": 1790000000, "equity": 100, "equity": 50}',
            "equity is there twice, 100 and",
        ),
        ('{"timestamp": 1790000000, "equity": 100, "balance": 50}', "that counts under `columns`"),
        (
            '{"timestamp": 1790000000, "equity": 100, "currency": "EUR"}',
            "the equity is in EUR, and",
        ),
        (f'{{"timestamp": 1790000000, "equity": {"9" * 400}}}', "equity has 400 digits"),
    ],
)
def test_a_line_of_json_that_may_mean_something_else_is_not_read(
    tmp_path: Path, line: str, problem: str
) -> None:
    """A wrong equity is a drawdown that nobody had."""
    file = tmp_path / "e.jsonl"
    file.write_text(line + "\n")
    (bad,) = take(file, EquityFilePosition())
    assert isinstance(bad, BadLine) and bad.dated and problem in bad.problem


def test_rows_in_another_currency_are_not_equity(tmp_path: Path) -> None:
    """A broker's export may have a row for each; what is pegged to the dollar is one."""
    file = tmp_path / "e.csv"
    rows = ("100,USD", "90,EUR", "101,USDT", "102,", "103,US Dollar")
    lines = [f"{1790000000 + 60 * n},{row}\n" for n, row in enumerate(rows)]
    file.write_text("timestamp,equity,currency\n" + "".join(lines))
    first, second, *others = take(file, EquityFilePosition())
    assert isinstance(second, BadLine) and second.problem == (
        "the equity is in EUR, and the strategy's `currency` is USD: correct one of them"
    )
    read = [one.equity for one in (first, *others) if isinstance(one, EquityPoint)]
    assert read == [100, 101, 102, 103]


@pytest.mark.parametrize(
    "text",
    ["2026-11-24 21:00:00 UTC", "2026-11-24T21:00:00GMT", "2026-11-24 16:00:00 -0500",
     "2026-11-24 16:00 -05:00", "2026-11-24 21:00Z"],
)  # fmt: skip
def test_a_zone_after_a_time_is_read_however_it_is_written(text: str) -> None:
    assert parse_timestamp(text, ZoneInfo("Asia/Tokyo")) == 1795554000.0
