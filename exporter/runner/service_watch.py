"""Services of systemd that must be up: looked at every few seconds, and what changed is recorded.

That a service went down is a failed run of its task, that it is up again a successful one, so that
history, log and texts have both. Whether it alerts now follows from the newest look alone: its
series say whether it is up, whether it must be, and how often systemd restarted it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from exporter.config import Task
from exporter.metrics import Metrics, Sample
from exporter.runner.headline import headline
from exporter.runner.recorder import Recorder
from exporter.runner.results import RunningRun, Store
from exporter.runner.systemd import Scope, Systemd, SystemdError, Unit
from exporter.state import StateError
from exporter.tasks.outcome import Outcome
from exporter.util.clock import Clock
from exporter.util.nan import NAN
from exporter.util.units import format_duration

log = logging.getLogger(__name__)

LOOKS_EVERY_SECONDS = 10.0
KEPT = "service"
"""Kept under this kind, by task: the restarts that were seen, and what was recorded last."""
_WINDOW_SECONDS = 3600.0
_REMEMBERED = 1001
"""Restarts; one more than any limit."""
_HOLDS_LOOKS = 2
"""A trouble is recorded when the next look has it too: a restart by hand is none."""


class Hours(Protocol):
    """The part of a calendar that is used."""

    def is_open(self, at: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service as of the newest look; times are Unix seconds, NaN: not known."""

    unit: str
    up: bool
    expected: bool
    """Whether it must be up now."""
    trouble: str
    """Why it is not well, as a sentence; empty when it is."""
    since: float = NAN
    restarts: int = 0
    """Within the last hour, by systemd itself."""

    @property
    def failing(self) -> bool:
        """Whether somebody should hear of it."""
        return self.expected and bool(self.trouble)


@dataclass(slots=True)
class _Watch:
    """What is remembered of one service."""

    restarts: int | None = None
    """systemd's own count at the newest look; None: there was none."""
    times: tuple[float, ...] = ()
    """When restarts were seen."""
    recorded: str = ""
    """The kind of trouble that was recorded last, ``up`` after the end of one."""
    seen: str = ""
    """The kind of trouble at the newest look, and how often in a row it was that."""
    looks: int = 0
    status: ServiceStatus | None = None


class ServiceWatch:
    """All tasks with a `service`. Use it on the loop alone."""

    def __init__(
        self,
        state: Store,
        metrics: Metrics,
        clock: Clock,
        new_id: Callable[[], str],
        *,
        record: Recorder,
        calendar: Callable[[str], Hours],
        systemd: Systemd | None = None,
    ) -> None:
        self._state, self._metrics, self._clock = state, metrics, clock
        self._new_id, self._record, self._calendar = new_id, record, calendar
        self._systemd = systemd or Systemd()
        self._tasks: dict[str, Task] = {}
        self._watched: dict[str, _Watch] = {}
        metrics.add_reader(self._samples)

    def apply(self, tasks: Mapping[str, Task]) -> None:
        """Watch the services of these tasks; what is known of those that stay is kept."""
        kept = self._state.kept(KEPT)
        old, before = self._tasks, self._watched
        self._tasks = {name: task for name, task in tasks.items() if task.service}
        self._watched = {}
        for name, task in self._tasks.items():
            same = name in old and old[name].service == task.service
            self._watched[name] = before[name] if same else _restored(kept.get(name), task)
            self._metrics.counter("quant_service_restarts_total").labels(name)

    def status(self, task: str) -> ServiceStatus | None:
        """Of a task's service, as of the newest look; None before the first."""
        watch = self._watched.get(task)
        return watch.status if watch else None

    async def look(self) -> None:
        """Ask systemd for every service, and record what changed."""
        for scope in ("system", "user"):
            names = [name for name, task in self._tasks.items() if task.scope == scope]
            if names:
                await self._look(names, scope)

    async def _look(self, names: list[str], scope: Scope) -> None:
        tasks = {name: self._tasks[name] for name in names}
        units = [*dict.fromkeys(str(task.service) for task in tasks.values())]
        found: Mapping[str, Unit] = {}
        why = ""
        try:
            found = await self._systemd.units(units, scope)
        except SystemdError as error:
            whose = "systemd" if scope == "system" else "the user's systemd"
            why = f"{whose} cannot be asked: {error}"
        for name, task in tasks.items():
            if self._tasks.get(name) is task:  # a reload may have come meanwhile
                unit = found.get(str(task.service))
                await self._settle(name, task, unit, why)

    async def _settle(self, name: str, task: Task, unit: Unit | None, why: str) -> None:
        watch, now = self._watched[name], self._clock.now()
        changed = unit is not None and self._count_restarts(name, watch, unit, now)
        recent = sum(now - at < _WINDOW_SECONDS for at in watch.times)
        kind, trouble = _trouble(task, unit, why, recent)
        age = NAN if unit is None else self._clock.monotonic() - unit.since
        watch.status = ServiceStatus(
            str(task.service),
            unit is not None and unit.up,
            self._expected(task, now),
            trouble,
            now - age,
            recent,
        )
        watch.looks = watch.looks + 1 if kind == watch.seen else 1
        watch.seen = kind
        if changed:
            await self._keep(name, watch, task)
        holds = kind == "up" or watch.looks >= _HOLDS_LOOKS
        if kind != watch.recorded and holds and watch.status.expected:
            await self._record_change(name, task, watch, kind)

    def _count_restarts(self, name: str, watch: _Watch, unit: Unit, now: float) -> bool:
        """Whether there were new ones. systemd counts from 0 again when somebody starts it."""
        before, watch.restarts = watch.restarts, unit.restarts
        if before is None or before == unit.restarts:
            return before is None
        again = unit.restarts < before  # somebody started it, and so took care of what was before
        new = unit.restarts if again else unit.restarts - before
        self._metrics.counter("quant_service_restarts_total").labels(name).inc(new)
        recent = [at for at in watch.times if not again and now - at < _WINDOW_SECONDS]
        watch.times = tuple([*recent, *[now] * min(new, _REMEMBERED)][-_REMEMBERED:])
        return True

    def _expected(self, task: Task, now: float) -> bool:
        return self._calendar(task.exchange).is_open(now) if task.exchange else True

    async def _record_change(self, name: str, task: Task, watch: _Watch, kind: str) -> None:
        status = watch.status
        outcome = Outcome("success")
        if status is not None and kind != "up":
            tail = await self._systemd.journal(status.unit, task.scope)
            last = headline(tail)
            text = f"{status.trouble}; its last lines: {last}" if last else status.trouble
            outcome = Outcome("error", text, tail=tail)
        run = RunningRun(
            self._new_id(), name, None, "manual", self._clock.now(), self._clock.monotonic()
        )
        try:
            await self._record.accept(run, outcome)
        except StateError:
            return  # the next look tries again
        watch.recorded = kind
        await self._keep(name, watch, task)

    async def _keep(self, name: str, watch: _Watch, task: Task) -> None:
        kept = {
            "unit": task.service,
            "restarts": watch.restarts,
            "times": list(watch.times),
            "recorded": watch.recorded,
        }
        with suppress(StateError):  # state says itself that it has trouble
            await self._state.keep(KEPT, name, kept)

    def _samples(self) -> Iterator[Sample]:
        now = self._clock.now()
        for name, task in list(self._tasks.items()):
            status = self.status(name)
            yield "quant_service_restarts_limit", (name,), float(task.max_restarts)
            yield "quant_service_expected", (name,), float(self._expected(task, now))
            yield "quant_service_up", (name,), float(status.up) if status else NAN
            since = status.since if status else NAN
            yield "quant_service_since_timestamp_seconds", (name,), since
            yield "quant_service_recent_restarts", (name,), float(status.restarts if status else 0)

    async def watch(self) -> None:
        """Look for good; cancel it to end."""
        while True:
            try:
                await self.look()
            except Exception:  # one failed look must not end the watch
                log.exception("looking at services failed", extra={"event": "background_failed"})
            await asyncio.sleep(LOOKS_EVERY_SECONDS)


def _trouble(task: Task, unit: Unit | None, why: str, recent: int) -> tuple[str, str]:
    """Its kind, which is ``up`` where there is none, and a sentence."""
    if unit is None:
        return "unreachable", f"whether {task.service} is up is not known: {why}"
    if recent > task.max_restarts and (unit.up or unit.active == "activating"):
        window = format_duration(_WINDOW_SECONDS)
        text = f"was restarted {recent} times within {window} (limit {task.max_restarts})"
        return "flapping", f"{task.service} {text}{_so(unit)}"
    if unit.up:
        return "up", ""
    kind = unit.load if unit.load != "loaded" else unit.active
    return kind, f"{task.service} {unit.trouble}"


def _so(unit: Unit) -> str:
    return f" and {unit.trouble}" if unit.trouble else ""


def _restored(kept: Any, task: Task) -> _Watch:
    """What an earlier process of the exporter saved; nothing if it was about another unit."""
    if not isinstance(kept, dict) or kept.get("unit") != task.service:
        return _Watch()
    restarts, times = kept.get("restarts"), kept.get("times")
    return _Watch(
        restarts if isinstance(restarts, int) else None,
        tuple(map(float, times)) if isinstance(times, list) else (),
        str(kept.get("recorded") or ""),
    )
