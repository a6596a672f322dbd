"""Text files as node_exporter's textfile collector knows them, and what is odd about them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from exporter.config import Config, OwnMetric, TextfileSettings
from exporter.custom_metrics.custom_metrics import NewValue
from exporter.custom_metrics.textfiles import MOST_FILES, TextfileFolder
from exporter.metrics import Metrics
from tests.unit.custom_metrics.test_custom_metrics import Desk


class Folder:
    """A folder of files, and looks at it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.desk = folder, Desk()
        self.files = TextfileFolder(self.desk.custom, _metrics(self.desk), self.desk.clock)
        self.files.apply(Config(textfiles=TextfileSettings(folder=folder, max_age=3600.0)))
        self._written = 0

    def write(self, name: str, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        (self.path / name).write_bytes(data)
        self._written += 1
        at = self.desk.clock.now() + self._written  # never the same time twice
        os.utime(self.path / name, (at, at))

    async def look(self) -> None:
        await self.files.refresh()

    def value(self, name: str, **labels: str) -> float | None:
        return self.desk.value(name, **labels)


def _metrics(desk: Desk) -> Metrics:
    (metrics,) = {one for one in desk.registry._collector_to_names if isinstance(one, Metrics)}
    return metrics


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


async def test_every_kind_of_metric_is_exposed(folder: Folder) -> None:
    """Typed or not, with labels, CRLF, and histograms with their three names."""
    folder.write(
        "bot.prom",
        '# HELP positions Open\n# TYPE positions gauge\npositions{strategy="m"} 3\r\nfree 1e3\n'
        "# TYPE orders_total counter\norders_total 7\n"
        '# TYPE wait histogram\nwait_bucket{le="1"} 1\nwait_bucket{le="+Inf"} 2\n'
        "wait_sum 3\nwait_count 2\n\n",
    )
    await folder.look()
    assert folder.files.problems() == []
    assert folder.value("positions", strategy="m") == 3
    assert folder.value("free") == 1000
    assert folder.value("orders_total") == 7
    assert folder.value("wait_bucket", le="+Inf") == 2
    assert folder.value("wait_count") == 2
    assert folder.value("quant_textfile_broken", file="bot.prom") == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 1\nb two\n", "not in Prometheus' text format"),
        ("a 12", "its last line has no newline"),
        ("a 1 1700000000000\n", "has a timestamp"),
        (b'a{x="\xff"} 1\n', "not UTF-8"),
        ("quant_a 1\n", "reserved"),
        ('a{job="x"} 1\n', "reserved"),
        ('a{x="1\n', "not in Prometheus' text format"),
        ("a 1\n" * 300_000, "larger than 1 MB"),
    ],
)
async def test_a_broken_file_is_said_and_keeps_its_last_good_values(
    folder: Folder, text: str | bytes, words: str
) -> None:
    """They grow old: the time is that of the last good file."""
    folder.write("bot.prom", "a 5\n")
    await folder.look()
    good = folder.value("quant_textfile_timestamp_seconds", file="bot.prom")
    folder.write("bot.prom", text)
    await folder.look()
    (problem,) = folder.files.problems()
    assert problem.startswith("bot.prom: ")
    assert words in problem
    assert folder.value("a") == 5
    assert folder.value("quant_textfile_broken", file="bot.prom") == 1
    assert folder.value("quant_textfile_timestamp_seconds", file="bot.prom") == good
    folder.write("bot.prom", "a 6\n")
    await folder.look()
    assert folder.files.problems() == []
    assert folder.value("a") == 6


async def test_a_sample_without_a_type_fits_what_is_known(folder: Folder) -> None:
    """As `echo "positions 3"` writes it, for a metric that is declared or that a program sets."""
    declared = {"positions": OwnMetric(), "orders": OwnMetric(type="counter")}
    folder.desk.custom.apply(Config(metrics=declared))
    folder.write("bot.prom", "positions 3\norders_total 4\nfree 5\n")
    await folder.look()
    assert folder.files.problems() == []
    text = generate_latest(folder.desk.registry).decode()
    assert "# TYPE positions gauge\npositions 3.0\n" in text
    assert "# TYPE orders_total counter\norders_total 4.0\n" in text
    assert folder.desk.custom.set("free", 6, {"x": "1"}) is None


async def test_only_names_that_end_with_prom_are_read(folder: Folder) -> None:
    """What is being written has another name until it is renamed."""
    folder.write("bot.prom.1234", "a 1\n")
    (folder.path / "folder.prom").mkdir()
    await folder.look()
    assert folder.value("quant_custom_series") == 0
    (folder.path / "bot.prom.1234").rename(folder.path / "bot.prom")
    await folder.look()
    assert folder.value("a") == 1


async def test_series_go_with_their_file(folder: Folder) -> None:
    """And with their line."""
    folder.write("bot.prom", "a 1\nb 2\n")
    await folder.look()
    folder.write("bot.prom", "b 2\n")
    await folder.look()
    assert (folder.value("a"), folder.value("b")) == (None, 2)
    (folder.path / "bot.prom").unlink()
    await folder.look()
    assert folder.value("b") is None
    assert folder.value("quant_textfile_timestamp_seconds", file="bot.prom") is None


async def test_the_same_series_from_two_places_counts_once_and_is_said(folder: Folder) -> None:
    """Twice in a file, in two files, and from a program: Prometheus would refuse the scrape."""
    folder.desk.custom.set("mine", 1)
    folder.write("a.prom", "x 1\nx 2\nmine 9\n")
    folder.write("b.prom", "x 3\ny 4\n")
    await folder.look()
    assert (folder.value("x"), folder.value("y"), folder.value("mine")) == (1, 4, 1)
    assert folder.files.problems() == [
        "a.prom: x: a.prom has it twice: the first counts",
        "b.prom: x: b.prom has it, and so does a.prom: the first counts",
    ]


async def test_a_new_file_is_a_new_value_and_the_same_one_is_not(folder: Folder) -> None:
    """A limit that wants a second value must not get it from a second look."""
    heard: list[NewValue] = []
    folder.desk.custom.listeners.append(heard.append)
    folder.write("bot.prom", "a 1\n")
    await folder.look()
    await folder.look()
    assert [new.value for new in heard] == [1]
    folder.write("bot.prom", "a 1\n")
    await folder.look()
    assert len(heard) == 2


async def test_a_stale_file_and_a_missing_folder_are_said(folder: Folder) -> None:
    """A cron job that died leaves its last numbers behind."""
    folder.write("bot.prom", "a 1\n")
    await folder.look()
    folder.desk.clock.advance(2 * 3600)
    assert folder.files.problems() == ["bot.prom has not been written for 1h 59m"]
    folder.files.apply(Config(textfiles=TextfileSettings(folder=folder.path / "no")))
    await folder.look()
    assert folder.value("a") is None
    (problem,) = folder.files.problems()
    assert problem.endswith("cannot be read: No such file or directory")


async def test_a_folder_of_too_many_files_is_read_up_to_a_bound(folder: Folder) -> None:
    """By name, and the rest is said."""
    for number in range(MOST_FILES + 2):
        folder.write(f"{number:03}.prom", f'm{number // 2}{{n="{number}"}} 1\n')
    await folder.look()
    assert len(folder.files.files) == MOST_FILES
    (problem,) = folder.files.problems()
    assert "2 .prom files more than the 100" in problem
