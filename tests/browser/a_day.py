"""A person's first day, from an empty folder to the evening's digest, with a picture of each step.

The terminal, the browser, the exporter, Prometheus, Alertmanager and all that is sent between them
are real; only the servers' waiting times are short. The test lives it, and `make pictures` keeps
its pictures in docs/guide.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import aiohttp
from PIL import Image
from playwright.async_api import Browser, Page, expect

from exporter.demo import stack
from exporter.demo.sinks import Sinks, running
from exporter.util.clock import SystemClock
from exporter.util.local_time import date_of
from tests.browser.terminal import Terminal, as_html
from tests.browser.week_before import ZONE, write_week
from tests.generations import OLDER
from tests.integration.processes import ROOT, free_port
from tests.integration.servers import QUICK, AlertStack, until

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1600, "height": 900}
QUALITY = 80

MACHINE = """\
listen: 127.0.0.1:{exporter}
public_url: http://127.0.0.1:{exporter}
prometheus_url: http://127.0.0.1:{prometheus}
alertmanager_url: http://127.0.0.1:{alertmanager}
alerts: {{check_every: 1s, silence: 6s, settle: 3s}}
messages: {{chat: {{url_file: chat}}}}
"""
"""Where everything is on the machine of the day, above what `init` wrote."""
TASK = """\
cat > strategies/signals.py <<'END'
import socket

def compute(context):
    socket.socket().connect(("127.0.0.1", {broker}))
    bars = context.latest(["SPY.US"], "1m")["SPY.US"]
    print("SPY.US is at", bars[-1].close)
    return len(bars)
END"""
MISSPELT = (
    """echo '  signals: {run: "signals:compute", shedule: "every 15m", severity: critical}'"""
    " >> exporter.yml"
)


class Broker:
    """What the first task needs, and what fails."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", self.port)

    async def close(self) -> None:
        """Refuse them."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()


@dataclass
class Person:
    """What somebody has at hand, and the servers that are there already."""

    folder: Path
    terminal: Terminal
    second: Terminal
    desktop: Page
    phone: Page
    canvas: Page
    pictures: Path
    broker: Broker
    machine: AlertStack

    @property
    def url(self) -> str:
        """Of the exporter."""
        return self.machine.url("exporter")

    @property
    def chat(self) -> str:
        """A page with what arrived in the chat, on the pager and as mail."""
        return f"http://127.0.0.1:{self.machine.ports.sinks}/"

    async def screen(self, terminal: Terminal, name: str) -> None:
        """A picture of the terminal, which is then cleared."""
        await self.canvas.set_content(as_html(terminal.text))
        await self._keep(name, await self.canvas.locator("pre").screenshot())
        terminal.clear()

    async def see(self, page: Page, name: str) -> None:
        """A picture of what the window shows."""
        await self._keep(name, await page.screenshot())

    async def _keep(self, name: str, png: bytes) -> None:
        self.pictures.mkdir(parents=True, exist_ok=True)
        path = self.pictures / f"{name}.webp"
        await asyncio.to_thread(
            lambda: Image.open(BytesIO(png)).save(path, quality=QUALITY, method=6)
        )


async def live(folder: Path, browser: Browser, pictures: Path) -> None:
    """The day. An AssertionError where it does not go as the guide tells it."""
    async with _at_hand(folder, browser, pictures) as person:
        await first_hour(person)
        await a_mistake_and_its_end(person)
        await a_fault(person)
        await evening(person)
        await a_week_later(person)


@contextlib.asynccontextmanager
async def _at_hand(folder: Path, browser: Browser, pictures: Path) -> AsyncIterator[Person]:
    sinks, broker, home = Sinks(SystemClock()), Broker(), folder / "quant"
    async with contextlib.AsyncExitStack() as parts:
        http, mail = await parts.enter_async_context(running(sinks))
        ports = stack.Ports(free_port(), free_port(), free_port(), http, mail)
        servers = folder / "servers"
        stack.write(servers, ROOT, ports, QUICK, home / "var/token")
        machine = AlertStack(servers, sinks, ports, OLDER)
        machine.client = await parts.enter_async_context(aiohttp.ClientSession())
        parts.push_async_callback(machine.stop_all)
        await machine.start("alertmanager")
        await broker.open()
        parts.push_async_callback(broker.close)
        environ = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
        }
        terminal, second = Terminal(home, environ), Terminal(home, environ)
        parts.callback(terminal.close)
        parts.callback(second.close)
        desktop = await browser.new_page(viewport=DESKTOP)  # type: ignore[arg-type]
        phone = await browser.new_page(viewport=PHONE, color_scheme="dark", is_mobile=True)  # type: ignore[arg-type]
        canvas = await browser.new_page(viewport=DESKTOP)  # type: ignore[arg-type]
        yield Person(home, terminal, second, desktop, phone, canvas, pictures, broker, machine)


async def first_hour(person: Person) -> None:
    """An empty folder, two commands, a page."""
    said = await person.terminal.run("quant-exporter init")
    assert "exporter.yml  new" in said
    await person.screen(person.terminal, "01-init")
    file, ports = person.folder / "exporter.yml", person.machine.ports
    (person.folder / "chat").write_text(f"{person.chat}slack/made-up")
    addresses = MACHINE.format(
        exporter=ports.exporter, prometheus=ports.prometheus, alertmanager=ports.alertmanager
    )
    text = addresses + file.read_text()
    for task in ("end_of_day_report", "log_review", "weekly_review"):
        text = text.replace(
            f'"exporter.tasks:{task}",', f'"exporter.tasks:{task}", report_to: [chat],'
        )
    file.write_text(text)
    await person.second.start("quant-exporter run", "Ctrl-C stops it")
    await person.machine.start("prometheus")
    await person.screen(person.second, "02-run")
    await person.desktop.goto(person.url)
    await expect(person.desktop.locator("h1")).to_contain_text("All ok")
    await person.see(person.desktop, "03-first-page")


async def a_mistake_and_its_end(person: Person) -> None:
    """A first task with a misspelt key, and the same without."""
    ask = person.terminal.run
    await ask(TASK.format(broker=person.broker.port))
    await ask(MISSPELT)
    said = await ask("quant-exporter check", status=2)
    assert said.count("shedule") == 1, said
    await person.screen(person.terminal, "04-mistake")
    await ask("sed -i s/shedule/schedule/ exporter.yml")
    assert "reloaded" in await ask("quant-exporter reload")
    assert "SPY.US is at" in await ask("quant-exporter run-task signals")
    assert "signals" in await ask("quant-exporter tasks")
    await person.screen(person.terminal, "05-first-task")


async def a_fault(person: Person) -> None:
    """The broker is away: a message, a look, an acknowledgement, and the end of it."""
    phone, machine = person.phone, person.machine
    await person.broker.close()
    said = await person.terminal.run("quant-exporter run-task signals", status=1)
    assert "Connection refused" in said
    await person.screen(person.terminal, "06-fault")
    await until(lambda: machine.got("slack", "Task failed"), "the message")
    await until(lambda: machine.got("pagerduty", "Task failed"), "the page")
    await phone.goto(person.chat)
    await person.see(phone, "07-message")
    await phone.goto(person.url)
    await expect(phone.locator("h1")).to_contain_text("1 thing is wrong")
    await person.see(phone, "08-page")
    await phone.goto(f"{person.url}/runbook#quanttaskfailing")
    await person.see(phone, "09-runbook")
    await phone.goto(person.url)
    await phone.get_by_role("link", name="acknowledge").first.click()
    await person.see(phone, "10-acknowledge")
    await phone.get_by_label("Token").fill((person.folder / "var/token").read_text().strip())
    await phone.get_by_role("button", name="Acknowledge").click()
    await expect(phone.locator("main")).to_contain_text("Acknowledged")
    await person.see(phone, "11-acknowledged")
    await person.broker.open()
    await person.terminal.run("quant-exporter run-task signals")


async def evening(person: Person) -> None:
    """The resolved message, the report and the digest in the chat; the exporter stops."""
    for task in ("end_of_day_report", "log_review"):
        await person.terminal.run(f"quant-exporter run-task {task}")
    await until(lambda: person.machine.got("slack", "succeeds again"), "the resolved message")
    await person.terminal.run("quant-exporter alerts")
    await person.screen(person.terminal, "12-evening")
    await person.phone.goto(person.chat)
    await person.see(person.phone, "13-reports")
    await person.phone.goto(f"{person.url}/digests/{date_of(time.time(), ZONE)}")
    await expect(person.phone.locator("main")).to_contain_text("Connection refused")
    await person.see(person.phone, "14-digest")
    person.second.clear()
    said = await person.second.stop()
    assert "Traceback" not in said.partition("stopping")[2]
    await person.screen(person.second, "15-stop")


async def a_week_later(person: Person) -> None:
    """The week is made up; its review is not."""
    await write_week(person.folder)
    await person.second.start("quant-exporter run", "Ctrl-C stops it")
    await person.terminal.run("quant-exporter run-task weekly_review")
    arrived = await until(lambda: person.machine.got("slack", "Week from"), "the review")
    await person.phone.goto(person.chat)
    await person.see(person.phone, "16-review-message")
    (link,) = re.findall(r"http\S+/reviews/[\d-]+", arrived[0].title)
    await person.desktop.goto(link)
    await expect(person.desktop.locator("main")).to_contain_text("1 of 21 runs failed; 1 alert.")
    await person.see(person.desktop, "17-review")
    await person.desktop.goto(person.url)
    await expect(person.desktop.locator("#strategies svg.curve")).to_be_visible()
    await person.desktop.evaluate("document.getElementById('tasks').scrollIntoView()")
    await person.see(person.desktop, "18-page")
