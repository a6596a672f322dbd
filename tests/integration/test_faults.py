"""A table of faults: each is noticed, by the tier that has to, in its time, and nothing else is
said.

The faults of data, tasks and money happen to one exporter on one day, each to things of its own;
those of the exporter and of the servers happen to one each. All of it is real but for the time.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import IO

import pytest

from exporter.alerts.replay.engine import Fired
from tests.generations import GENERATIONS, Generation
from tests.integration.alert_rig import (
    data_faults,
    exporter_faults,
    history,
    machine_faults,
    money_faults,
    other_days,
    server_faults,
    task_faults,
)
from tests.integration.alert_rig.fault import BEGIN, END, Fault, Told, merged
from tests.integration.alert_rig.hearing import Heard, hear
from tests.integration.alert_rig.life import Life
from tests.integration.processes import need
from tests.integration.servers import alert_stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

SHARED: list[Fault] = [*data_faults.FAULTS, *task_faults.FAULTS, *money_faults.FAULTS]
ALONE = [*exporter_faults.FAULTS, *machine_faults.FAULTS, *other_days.LIVED]
SERVERS = [*server_faults.FAULTS, *other_days.SERVERS]
TABLE: list[Fault] = [*SHARED, *ALONE, *SERVERS]
SPANS = ((BEGIN, END), *other_days.SPANS)
UNKNOWN = "nothing of the table"


async def everything_happens(folder: Path, out: IO[str]) -> None:
    # With so many faults at once there are many errors in its log.
    config = merged(SHARED, {"timezone": "America/New_York", "machine": {"max_errors": None}})
    events = sorted((event for fault in SHARED for event in fault.events), key=lambda one: one[0])
    await Life("all", folder / "all", config, out).live(BEGIN, END, events)
    for fault in ALONE:
        await fault.live(folder, out)  # one after the other: their loggers are the process's
    for server in SERVERS:
        server.write(out)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all scrapes of that day saw."""
    need("prometheus")
    folder = tmp_path_factory.mktemp("faults")
    with (folder / "day.om").open("w") as out:
        asyncio.run(everything_happens(folder, out))
        out.write("# EOF\n")
    return folder / "day.om"


@pytest.fixture(scope="module", params=GENERATIONS)
def heard(
    request: pytest.FixtureRequest, samples: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Heard]]:
    """By fault, what somebody heard of, or could have."""
    generation: Generation = request.param
    folder = tmp_path_factory.mktemp(generation.name)
    with history.served(samples, folder, generation, stale_after=90) as url:
        fired = history.fired(url, SPANS)
    return asyncio.run(_hear(folder, generation, fired))


async def _hear(folder: Path, generation: Generation, fired: list[Fired]) -> dict[str, list[Heard]]:
    scopes: dict[str, list[Fired]] = {}
    for one in fired:
        owner = next((fault.name for fault in TABLE if fault.owns(one)), UNKNOWN)
        scopes.setdefault(owner, []).append(one)
    async with alert_stack(folder, {}, generation, programs=["alertmanager"]) as place:
        return await hear(place, scopes)


def test_nothing_else_is_heard(heard: dict[str, list[Heard]]) -> None:
    """Every alert is about a fault of the table."""
    assert not heard.get(UNKNOWN)


@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: fault.name)
def test_a_fault_is_heard_of(fault: Fault, heard: dict[str, list[Heard]]) -> None:
    """By its tier, in its time, once, and nothing else is."""
    assert not (wrong := fault.wrong(heard.get(fault.name, []))), "\n".join(wrong)


def test_the_table_notices_what_is_wrong() -> None:
    """A row that is not heard, too late, on another tier, twice, or together with another one."""
    told = Told("QuantDrawdown", "phone", 5)
    fault = Fault("falls", (told,), struck=0.0)

    def one(alert: str = "QuantDrawdown", tier: str = "phone", at: float = 60.0) -> Heard:
        return Heard(alert, {"strategy": "falls"}, tier, at, at + 600)

    assert not fault.wrong([one(), one(tier="nobody")])
    assert fault.wrong([])
    assert fault.wrong([one(at=301.0)])
    assert fault.wrong([one(tier="chat")])
    assert fault.wrong([one(), one(at=120.0)])
    assert fault.wrong([one(), one("QuantTaskFailing")])
