"""The real exporter, Prometheus and Alertmanager with the shipped files and shortened times, and
the sinks, on free ports. Tasks are external ones, so a test says over HTTP that one failed."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from exporter.alerts.api_clients import AlertmanagerClient, PrometheusClient
from exporter.demo import stack
from exporter.demo.sinks import Message, Sinks, running
from exporter.util.clock import SystemClock
from tests.generations import OLDER, Generation
from tests.integration.processes import ROOT, Program, free_port

QUICK = stack.Speed(
    scrape="1s", pending="2s", hold="3s", group_wait="1s", group_interval="2s", escalation="10s"
)
RESEND = "4s"
PATIENCE = 90.0
FAILING = "QuantTaskFailing"
TITLE = "Task failed"
DOWN = "Exporter unreachable"
UP = "Exporter is reachable again"


async def until(what: Callable[[], Any], why: str, seconds: float = PATIENCE) -> Any:
    """Wait until `what()` is true; its value. An AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {why}"
        await asyncio.sleep(0.05)
    return found


class AlertStack:
    """Everything running."""

    def __init__(
        self, folder: Path, sinks: Sinks, ports: stack.Ports, generation: Generation
    ) -> None:
        self.folder, self.sinks, self.ports, self.generation = folder, sinks, ports, generation
        self.programs: dict[str, Program] = {}
        self.client: aiohttp.ClientSession
        self.alertmanager: AlertmanagerClient
        self.prometheus: PrometheusClient

    def url(self, name: str) -> str:
        """Of exporter, prometheus or alertmanager."""
        return f"http://127.0.0.1:{getattr(self.ports, name)}"

    async def start(self, name: str) -> None:
        """Until it is ready; after :meth:`stop` it finds its own storage."""
        port = getattr(self.ports, name)
        command = {
            "exporter": [sys.executable, "-m", "exporter", "run", "--config=exporter.yml"],
            "prometheus": [
                self.generation.program("prometheus"), "--config.file=prometheus.yml",
                "--storage.tsdb.path=tsdb",
                f"--web.listen-address=127.0.0.1:{port}", f"--rules.alert.resend-delay={RESEND}",
                "--log.level=warn",
            ],
            "alertmanager": [
                self.generation.program("prometheus-alertmanager"),
                "--config.file=alertmanager.yml", "--storage.path=am",
                f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
                "--log.level=warn",
            ],
        }[name]  # fmt: skip
        program = Program(command, self.folder / f"{name}.out", cwd=self.folder)
        self.programs[name] = program
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert program.process.poll() is None, program.output()
            with contextlib.suppress(aiohttp.ClientError):
                async with self.client.get(f"{self.url(name)}/-/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)
        raise AssertionError(program.output())

    async def stop(self, name: str) -> None:
        """In an orderly way."""
        await asyncio.to_thread(self.programs.pop(name).stop)

    async def kill(self, name: str) -> None:
        """With -9."""
        await asyncio.to_thread(self.programs.pop(name).kill)

    async def stop_all(self) -> None:
        """Whatever still runs; a stopped process first goes on."""
        for name in list(self.programs):
            await self.kill(name)

    async def _post(self, path: str, body: Any) -> Any:
        token = (self.folder / "var/token").read_text().strip()
        url = f"{self.url('exporter')}/api/v1/{path}"
        headers = {"Authorization": f"Bearer {token}"}
        async with self.client.post(url, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            return json.loads(text)

    async def fails(self, task: str) -> None:
        """The task says that it failed."""
        await self._post(f"tasks/{task}/fail", {"message": "the broker does not answer"})

    async def succeeds(self, task: str) -> None:
        """And that it is well again."""
        await self._post(f"tasks/{task}/success", {"items": 3})

    async def ack(self, alert: str, duration: str, **labels: str) -> Any:
        """As `quant-exporter ack` does."""
        wanted = {"alertname": alert, **labels}
        return await self._post(
            "ack", {"labels": wanted, "for": duration, "by": "me", "comment": "on it"}
        )

    async def _stories(self) -> list[dict[str, Any]]:
        """What `quant-exporter alerts --json` knows."""
        async with self.client.get(f"{self.url('exporter')}/api/v1/alerts?since=1h") as answer:
            return list((await answer.json())["alerts"])

    async def story(self, task: str, complete: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The one story of a task in the journal, once it is complete: Alertmanager posts to the
        journal by itself, so what a channel has got may not stand there yet."""
        end = time.monotonic() + PATIENCE
        while True:
            found = [s for s in await self._stories() if s["labels"].get("task") == task]
            if len(found) == 1 and complete(found[0]):
                return found[0]
            assert time.monotonic() < end, found
            await asyncio.sleep(0.1)

    def got(self, sink: str, words: str) -> list[Message]:
        """What arrived there with these words in its title."""
        return [m for m in self.sinks.accepted(sink) if words in m.title]

    def count(self, words: str) -> dict[str, int]:
        """How many messages each channel got with these words."""
        return {sink: len(self.got(sink, words)) for sink in ("pagerduty", "slack", "email")}

    def nothing_wrong_on_the_wire(self) -> None:
        """Every message was what the real service takes."""
        wrong = [
            m for m in self.sinks.received if m.problems and m.problems != ["refused on command"]
        ]
        assert not wrong, wrong


def _write(folder: Path, ports: stack.Ports, tasks: dict[str, str]) -> None:
    stack.write(folder, ROOT, ports, QUICK, folder / "var/token")
    config = {
        "listen": f"127.0.0.1:{ports.exporter}",
        "public_url": f"http://127.0.0.1:{ports.exporter}",
        "prometheus_url": f"http://127.0.0.1:{ports.prometheus}",
        "alertmanager_url": f"http://127.0.0.1:{ports.alertmanager}",
        "timezone": "UTC",
        "alerts": {"check_every": "1s", "silence": "6s", "settle": "3s"},
        # What else happens on the machine is not of the story.
        "machine": {"min_free": "0.1%", "full_within": "1s", "max_loop_lag": "1h",
                    "max_memory": "8GB", "max_errors": None},
        "tasks": {
            name: {"external": True, "schedule": "every 12h", "grace": "12h", "severity": severity,
                   "announce": severity == "info"}
            for name, severity in tasks.items()
        },
    }  # fmt: skip
    (folder / "exporter.yml").write_text(yaml.safe_dump(config))


@contextlib.asynccontextmanager
async def alert_stack(
    folder: Path,
    tasks: dict[str, str],
    generation: Generation = OLDER,
    programs: Sequence[str] = ("exporter", "alertmanager", "prometheus"),
) -> AsyncIterator[AlertStack]:
    """All of it, quick, with these external tasks (name to severity); ends what it started."""
    sinks = Sinks(SystemClock())
    async with contextlib.AsyncExitStack() as parts:
        http, mail = await parts.enter_async_context(running(sinks))
        ports = stack.Ports(free_port(), free_port(), free_port(), http, mail)
        _write(folder, ports, tasks)
        whole = AlertStack(folder, sinks, ports, generation)
        whole.client = await parts.enter_async_context(aiohttp.ClientSession())
        whole.alertmanager = AlertmanagerClient(whole.client, lambda: whole.url("alertmanager"))
        whole.prometheus = PrometheusClient(whole.client, lambda: whole.url("prometheus"))
        parts.push_async_callback(whole.stop_all)
        await asyncio.gather(*(whole.start(name) for name in programs if name != "prometheus"))
        if "prometheus" in programs:
            await whole.start("prometheus")
        yield whole
