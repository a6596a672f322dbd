"""Processes that live on although their run is over: because they may, or because nothing can end
them.

They are noted in state, so that an exporter that starts later knows them, too: it counts them, and
starts no run of a task next to a process of it that could not be ended. So are those of a run that
takes longer: when the exporter is killed, their guardian ends them, but who starts next must know
whether it could.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from exporter.runner.results import Store
from exporter.runner.worker.forkserver_client import Process
from exporter.state import StateError
from exporter.util.process_tree import ProcessInfo, all_processes, descendants

log = logging.getLogger(__name__)

KIND = "left_processes"
LONG_RUN_SECONDS = 5.0
"""A shorter run costs no write: it hardly ever meets a kill that it survives."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Numbers and start times of processes mean nothing after the machine has started again."""


class _Survivor:
    """What an earlier exporter knew about one run."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.entry = entry

    def find(self, processes: Iterable[ProcessInfo]) -> list[ProcessInfo]:
        """What is still there of it."""
        known = {(pid, started) for pid, started in self.entry["processes"]}
        found = [each for each in processes if (each.pid, each.started) in known]
        guardian = next((each for each in found if each.pid == self.entry["guardian"]), None)
        return descendants(guardian.pid) if guardian else found


class LeftBehind:
    """By task. Use it on the loop alone."""

    def __init__(self, state: Store) -> None:
        self._state = state
        self._processes: dict[str, list[Process]] = {}
        self._running: dict[str, list[Process]] = {}
        """Of runs under way, once they take longer."""
        self._survivors: dict[str, list[_Survivor]] = {}
        self._writes: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def tasks(self) -> set[str]:
        """Those of which something may be there."""
        return {*self._processes, *self._survivors}

    def stuck(self, task: str) -> list[str]:
        """What could not be ended, in words."""
        found = [text for process in self._processes.get(task, ()) for text in process.alive]
        for survivor, living in self._living(task):
            found += [str(each) for each in living if survivor.entry["stuck"]]
        return found

    def counts(self) -> dict[str, int]:
        """How many processes of each task live on."""
        return {task: self._count(task) for task in self.tasks}

    def _count(self, task: str) -> int:
        here = sum(max(process.count, 1) for process in self._processes.get(task, ()))
        return here + sum(len(living) for _, living in self._living(task))

    def began(self, task: str, process: Process) -> None:
        """A run's process has started."""
        loop = asyncio.get_running_loop()
        later = loop.call_later(LONG_RUN_SECONDS, self._takes_longer, task, process)
        process.when_gone.append(later.cancel)

    def _takes_longer(self, task: str, process: Process) -> None:
        self._running.setdefault(task, []).append(process)
        process.when_gone.append(partial(self._is_gone, task, process, self._running))
        self._note(task)

    def add(self, task: str, process: Process) -> None:
        """A run's, which is over."""
        self._processes.setdefault(task, []).append(process)
        process.when_gone.append(partial(self._is_gone, task, process, self._processes))
        self._note(task)
        if process.alive:
            log.error(
                "could not be ended: %s; the task starts no other run until it is gone",
                ", ".join(process.alive),
                extra={"event": "run_cannot_be_ended", "count": process.count},
            )

    def restore(self) -> None:
        """What was left before this start, as far as it is still there."""
        boot = _boot_id()
        for task, entries in self._state.kept(KIND).items():
            known = [_Survivor(entry) for entry in entries if entry["boot"] == boot]
            if known:
                self._survivors[task] = known
            living = [each for _, found in self._living(task) for each in found]
            if living:
                log.warning(
                    "of earlier runs of %s there is still %s",
                    task,
                    ", ".join(map(str, living[:5])),
                    extra={"event": "processes_left", "task": task, "count": len(living)},
                )
            if len(self._survivors.get(task, ())) < len(entries):
                self._note(task)

    def close(self) -> None:
        """The exporter ends, and with it what it knows of processes; state keeps what it noted."""
        self._closed = True

    def _is_gone(self, task: str, process: Process, among: dict[str, list[Process]]) -> None:
        among[task].remove(process)
        if not among[task]:
            del among[task]
        if not self._closed:
            self._note(task)

    def _living(self, task: str) -> list[tuple[_Survivor, list[ProcessInfo]]]:
        survivors = self._survivors.get(task)
        if not survivors:
            return []
        processes = all_processes()
        found = [(survivor, survivor.find(processes)) for survivor in survivors]
        living = [(survivor, there) for survivor, there in found if there]
        if living:
            self._survivors[task] = [survivor for survivor, _ in living]
        else:
            del self._survivors[task]
        return living

    def _note(self, task: str) -> None:
        left = self._processes.get(task, ())
        entries = [_entry(process, stuck=bool(process.alive)) for process in left]
        entries += [
            _entry(process, stuck=True)
            for process in self._running.get(task, ()) if process not in left
        ]  # fmt: skip
        entries += [survivor.entry for survivor in self._survivors.get(task, ())]
        write = asyncio.ensure_future(self._keep(task, entries))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def _keep(self, task: str, entries: list[dict[str, Any]]) -> None:
        with suppress(StateError):  # then only this process knows
            await self._state.keep(KIND, task, entries)


def _entry(process: Process, *, stuck: bool) -> dict[str, Any]:
    """A process by its guardian, which outlives us where it may be left, and by itself."""
    there = [each for each in all_processes() if each.pid == process.guardian]
    there += descendants(process.guardian)
    return {
        "boot": _boot_id(),
        "guardian": process.guardian,
        "processes": [[each.pid, each.started] for each in there],
        "stuck": stuck,
    }


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
