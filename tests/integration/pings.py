"""Programs that report their runs at a steady pace, and what became of their reports."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import sqlite3
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

TASKS = ("orders", "prices", "fills")
EXTERNAL_TASKS = "".join(f'  {name}: {{external: true, schedule: "every 1h"}}\n' for name in TASKS)
"""For a config, below ``tasks:``."""
_AGAIN_SECONDS = 0.2
_MOST_WAITING = 1000
"""Reports that may be under way at once: on a busy machine fewer are sent, and none piles up."""


@dataclass
class Traffic:
    """Sends pings at a steady pace, and notes those that were accepted.

    A third of the runs have an id of their own; their start comes first, and what is not accepted
    of them is sent again until it is, or until the traffic ends.
    """

    url: str
    token: str
    rng: random.Random
    ends: dict[str, set[str]] = field(default_factory=dict)
    """Run id to the outcomes that were accepted for it."""
    starts: set[str] = field(default_factory=set)
    """Run ids of accepted starts."""
    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    async def run(self, rate: float, seconds: float = math.inf, pings: int | None = None) -> None:
        """For so long, or so many, or until :attr:`over`."""
        headers = {"Authorization": f"Bearer {self.token}"}
        limits = aiohttp.TCPConnector(limit=200)  # the exporter keeps 256 open
        async with aiohttp.ClientSession(headers=headers, connector=limits) as session:
            began, sent = time.monotonic(), set[asyncio.Task[None]]()
            for number in itertools.count() if pings is None else range(pings):
                at = began + number / rate
                if at > began + seconds or self.over.is_set():
                    break
                await asyncio.sleep(max(0.0, at - time.monotonic()))
                while len(sent) >= _MOST_WAITING and not self.over.is_set():
                    await asyncio.sleep(0.01)
                one = asyncio.create_task(self._report(session))
                sent.add(one)
                one.add_done_callback(sent.discard)
            self.over.set()
            await asyncio.gather(*sent)

    async def _report(self, session: aiohttp.ClientSession) -> None:
        task, end = self.rng.choice(TASKS), self.rng.choice(("success", "fail"))
        if self.rng.random() < 0.3:
            rid = str(uuid.UUID(int=self.rng.getrandbits(128)))
            if await self._until_accepted(session, task, "start", rid):
                await self._until_accepted(session, task, end, rid)
        else:
            await self._ping(session, task, self.rng.choice(("start", end, end, end)))

    async def _until_accepted(
        self, session: aiohttp.ClientSession, task: str, kind: str, rid: str
    ) -> bool:
        while not await self._ping(session, task, kind, rid):
            if self.over.is_set():
                return False
            await asyncio.sleep(_AGAIN_SECONDS)
        return True

    async def _ping(
        self, session: aiohttp.ClientSession, task: str, kind: str, rid: str | None = None
    ) -> bool:
        query = {"rid": rid} if rid else {}
        try:
            async with session.post(
                f"{self.url}/api/v1/tasks/{task}/{kind}", params=query
            ) as answer:
                body = await answer.json()
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.unanswered += 1
            return False  # killed meanwhile: nothing was promised
        if answer.status != 200:
            self.refused += 1
            return False
        self.accepted += 1
        if kind == "start":
            self.starts.add(body["run_id"])
        else:
            outcome = "success" if kind == "success" else "error"
            self.ends.setdefault(body["run_id"], set()).add(outcome)
        return True


def recorded(folder: Path) -> dict[str, str | None]:
    """Run id to outcome of every run that was reported, as the file has it; None while it is
    open."""
    db = sqlite3.connect(folder / "var/state.db")
    places = ", ".join("?" * len(TASKS))
    try:
        return dict(db.execute(f"SELECT run_id, outcome FROM runs WHERE task IN ({places})", TASKS))
    finally:
        db.close()


def lost(traffic: Traffic, folder: Path) -> dict[str, set[str]]:
    """Accepted pings that the file does not have: the outcomes that it should have."""
    found = recorded(folder)
    ends = {run: said for run, said in traffic.ends.items() if found.get(run) not in said}
    return {**{run: set() for run in traffic.starts - found.keys()}, **ends}
