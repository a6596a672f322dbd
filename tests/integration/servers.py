"""Real Prometheus and Alertmanager, the sinks, and a small exporter, on free ports."""

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from exporter.alerts.journal import Journal
from exporter.alerts.keeper import Keeper, Times
from exporter.alerts.pages import routes
from exporter.alerts.servers import Servers
from exporter.clock import SystemClock
from exporter.metrics import Metrics
from exporter.simulator import stack
from exporter.simulator.sinks import Message, Sinks, running
from exporter.state import State

ROOT = Path(__file__).parents[2]
MISSING = [p for p in ("prometheus", "prometheus-alertmanager") if not shutil.which(p)]
QUICK = stack.Speed(
    scrape="1s", pending="2s", hold="3s", group_wait="1s", group_interval="2s", escalation="8s"
)
FAILING = "QuantTaskFailing"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(what: Callable[[], Any], seconds: float = 40.0) -> Any:
    """Wait until `what()` is true; its value. An AssertionError after so many seconds."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.1)
    return found


class Fake:
    """An exporter with one critical task whose failures the test sets."""

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.state = State.open(folder / "state.db", self.clock)
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.failures = 0
        self.severity = "critical"
        self.empty = False
        self.metrics.add_reader(self._read)
        self.runner: web.AppRunner | None = None

    def _read(self) -> Any:
        yield "quant_exporter_build_info", ("1", "3"), 1.0
        for name, value in (
            ("quant_task_consecutive_failures", float(self.failures)),
            ("quant_task_failures_limit", 1.0),
            ("quant_task_deadline_timestamp_seconds", time.time() + 1e6),
            ("quant_task_paused", 0.0),
        ):
            yield name, ("signals",), value
        yield "quant_task_info", ("signals", self.severity, "XNYS", "tickdb"), 1.0

    async def start(self, keeper: Keeper, journal: Journal, port: int) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                *routes(journal, keeper, self.state, self.clock, lambda token: token == "t"),
            ]
        )
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", port).start()

    async def _metrics(self, request: web.Request) -> web.Response:
        page = b"" if self.empty else generate_latest(self.registry)
        return web.Response(body=page, content_type="text/plain")

    async def stop(self) -> None:
        if self.runner:
            await self.runner.cleanup()
            self.runner = None


class House:
    """Everything running."""

    def __init__(self, folder: Path, sinks: Sinks, fake: Fake, ports: stack.Ports) -> None:
        self.folder, self.sinks, self.fake, self.ports = folder, sinks, fake, ports
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self.keeper: Keeper
        self.journal: Journal

    async def start(self, name: str) -> None:
        """prometheus or alertmanager; again after :meth:`stop` it finds its own storage."""
        commands = {
            "prometheus": [
                "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
                f"--web.listen-address=127.0.0.1:{self.ports.prometheus}",
                "--rules.alert.resend-delay=4s", "--rules.alert.for-grace-period=1s",
                "--log.level=warn",
            ],
            "alertmanager": [
                "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=am",
                f"--web.listen-address=127.0.0.1:{self.ports.alertmanager}",
                "--cluster.listen-address=", "--log.level=warn",
            ],
        }  # fmt: skip
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *commands[name], cwd=self.folder, stdout=log, stderr=log
            )

    async def stop(self, name: str) -> None:
        process = self._processes.pop(name)
        process.terminate()
        await process.wait()

    async def stop_all(self) -> None:
        for name in list(self._processes):
            await self.stop(name)

    async def ready(self, name: str) -> None:
        port = getattr(self.ports, name)
        async with aiohttp.ClientSession() as client:
            end = time.monotonic() + 40
            while time.monotonic() < end:
                with contextlib.suppress(aiohttp.ClientError):
                    async with client.get(f"http://127.0.0.1:{port}/-/ready") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)
        raise AssertionError((self.folder / f"{name}.log").read_text())

    def got(self, sink: str, words: str) -> list[Message]:
        """What arrived there with these words in its title."""
        return [m for m in self.sinks.accepted(sink) if words in m.title]

    def nothing_wrong_on_the_wire(self) -> None:
        wrong = [
            m for m in self.sinks.received if m.problems and m.problems != ["refused on command"]
        ]
        assert not wrong, wrong


@contextlib.asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """All of it, quick; ends every process it started."""
    sinks = Sinks(SystemClock())
    fake = Fake(folder)
    (folder / "token").write_text("t")
    async with contextlib.AsyncExitStack() as parts:
        http, mail = await parts.enter_async_context(running(sinks))
        ports = stack.Ports(free_port(), free_port(), free_port(), http, mail)
        stack.write(folder, ROOT, ports, QUICK, folder / "token")
        whole = House(folder, sinks, fake, ports)
        session = await parts.enter_async_context(aiohttp.ClientSession())
        servers = Servers(
            session,
            lambda: f"http://127.0.0.1:{ports.alertmanager}",
            lambda: f"http://127.0.0.1:{ports.prometheus}",
        )
        whole.journal = Journal(fake.state, fake.metrics, fake.clock)
        whole.keeper = Keeper(
            servers, whole.journal, fake.state, fake.clock, Times(sweep=1, silence=6, settle=3)
        )
        parts.push_async_callback(fake.state.close)
        await fake.start(whole.keeper, whole.journal, ports.exporter)
        parts.push_async_callback(fake.stop)
        parts.push_async_callback(whole.stop_all)
        await whole.start("alertmanager")
        await whole.start("prometheus")
        await whole.ready("alertmanager")
        await whole.ready("prometheus")
        sweeping = asyncio.create_task(whole.keeper.run())
        try:
            yield whole
        finally:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
