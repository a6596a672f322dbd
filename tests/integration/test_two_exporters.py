"""Two real exporters under one Prometheus and one Alertmanager, with the shipped rules and routes:
what one of them reports neither mutes nor joins what the other does."""

import asyncio
import contextlib
import sys
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from exporter.demo.sinks import Message
from tests.integration.processes import Program, free_port
from tests.integration.servers import DOWN, AlertStack, alert_stack, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
TASKS = {"trades": "critical", "report": "warning"}


class Other(AlertStack):
    """The second exporter: a folder and a port of its own, the same tasks, the same servers."""

    def __init__(self, first: AlertStack, folder: Path) -> None:
        self.port = free_port()
        super().__init__(folder, first.sinks, first.ports, first.generation)
        self.client = first.client
        text = (first.folder / "exporter.yml").read_text()
        folder.mkdir()
        text = text.replace(str(first.ports.exporter), str(self.port))
        (folder / "exporter.yml").write_text(text)
        file = first.folder / "prometheus.yml"
        config = yaml.safe_load(file.read_text())
        [job] = [j for j in config["scrape_configs"] if j["job_name"] == "quant-exporter"]
        [targets] = job["static_configs"]
        targets["targets"].append(f"127.0.0.1:{self.port}")
        file.write_text(yaml.safe_dump(config))

    def url(self, name: str) -> str:
        """Its own, and the servers that it shares."""
        return f"http://127.0.0.1:{self.port}" if name == "exporter" else super().url(name)


@contextlib.asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[AlertStack, Other]]:
    """Both exporters and the servers."""
    async with alert_stack(folder, TASKS, programs=("exporter", "alertmanager")) as first:
        second = Other(first, folder / "second")
        command = [sys.executable, "-m", "exporter", "run", "--config=exporter.yml"]
        process = Program(command, second.folder / "exporter.out", cwd=second.folder)
        second.programs["exporter"] = process
        try:
            await first.start("prometheus")
            yield first, second
        finally:
            await second.stop_all()


def from_it(messages: list[Message], exporter: AlertStack) -> list[Message]:
    """Those that lead to this exporter."""
    return [m for m in messages if exporter.url("exporter") in str(m.body)]


async def test_neither_mutes_or_joins_the_other(tmp_path: Path) -> None:
    """The same task of both fails: two pages, each with its own links; an acknowledgement of one
    stops its escalation alone; one exporter that is gone takes nothing from the other."""
    async with two(tmp_path) as (first, second):
        await until(lambda: (second.folder / "var/token").is_file(), "the second exporter")
        await asyncio.sleep(6)  # Prometheus scrapes nothing in its first five seconds
        await first.fails("trades")
        await second.fails("trades")
        for channel in ("pagerduty", "slack"):
            heard = await until(
                lambda: len(first.got(channel, "trades")) >= 2 and first.got(channel, "trades"),  # noqa: B023
                "a message of each",
            )
            for exporter in (first, second):
                [mine] = from_it(heard, exporter)
                assert first.url("exporter") not in str(mine.body) or exporter is first, mine.body
        # So does each link of the page that lists both.
        async with first.client.get(first.url("exporter")) as answer:
            page = await answer.text()
        for exporter in (first, second):
            assert f"instance={at(exporter).replace(':', '%3A')}" in page
        labels = {"job": "quant-exporter", "task": "trades"}
        await first.ack("QuantTaskFailing", "10m", **labels, instance=at(first))
        [mail] = await until(lambda: first.got("email", "trades"), "the escalation of the other")
        assert second.url("exporter") in str(mail.body)

        # Each clears while it is acknowledged, by its own exporter: one resolved message each.
        await second.ack("QuantTaskFailing", "10m", **labels, instance=at(second))
        for exporter in (first, second):
            await exporter.succeeds("trades")
        resolved = await until(
            lambda: len(first.got("slack", "OK trades")) >= 2 and first.got("slack", "OK trades"),
            "the resolved messages",
        )
        await asyncio.sleep(3)
        assert len(first.got("slack", "OK trades")) == 2
        assert [len(from_it(resolved, exporter)) for exporter in (first, second)] == [1, 1]

        await second.kill("exporter")
        await until(lambda: first.got("pagerduty", DOWN), "that it is gone")
        await first.fails("report")
        [chat] = await until(lambda: first.got("slack", "report"), "what the first one reports")
        assert first.url("exporter") in str(chat.body)
        assert not from_it(first.got("email", "trades"), first)
        first.nothing_wrong_on_the_wire()


def at(exporter: AlertStack) -> str:
    """Its label `instance`."""
    return urllib.parse.urlsplit(exporter.url("exporter")).netloc
