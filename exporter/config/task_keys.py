"""The sections on what runs: tasks, and the strategies that they trade."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from exporter.config import schedule_syntax
from exporter.config.account_settings import AccountSettings
from exporter.config.entry_points import target_of
from exporter.config.process_limits import ProcessLimits
from exporter.config.schedule_forms import ALWAYS, Timetable, counts, needs_exchange
from exporter.config.types import Exchange, Limits, Model, Schedule, Severity, Variable
from exporter.util.backoff import backoff_cap
from exporter.util.units import Duration, DurationOrZero, Ratio, format_duration

_OF_COMMANDS = frozenset(
    ("cwd", "env", "secrets", "success_codes", "nothing_on", "retry_on", "json_output")
)
_OF_SERVICES = frozenset(("service", "scope", "max_restarts", "exchange", "strategy", "severity"))
ExitCode = Annotated[int, Field(ge=0, le=255)]
MAX_WAIT_SECONDS = 3600.0
"""How long a slot waits for the tasks of `after`, unless `max_wait` says it."""
NOTICE_SECONDS = 120.0
"""How long a warning may take to arrive: a run that is too slow must last that much longer."""


class Task(Model):
    """Something that runs on a schedule: a Python callable, a command, or an external program; or a
    service of systemd that must be up."""

    run: str | None = None
    command: tuple[str, ...] | None = None
    external: bool = False
    service: str | None = None
    scope: Literal["system", "user"] = "system"
    """Whose systemd runs the service: the machine's, or that of the exporter's user."""
    max_restarts: int = Field(3, ge=0, le=1000)
    """Restarts of a service within an hour beyond which it alerts."""
    schedule: Schedule
    on: tuple[date, ...] = ()
    """The only days on which it runs, if there are any."""
    after: tuple[str, ...] = ()
    """Tasks that must have succeeded before a slot of it starts."""
    max_wait: Duration | None = None
    exchange: Exchange | None = None
    source: str | None = None
    strategy: str | None = None
    """The strategy that it trades: its failures page."""
    grace: DurationOrZero = 300.0
    early: DurationOrZero = 10.0
    """How long before its slot a success of an external task still covers it."""
    timeout: Duration = 300.0
    retries: int = Field(0, ge=0, le=20)
    backoff: Duration = 5.0
    max_runtime: Duration | None = None
    min_items: int | None = Field(None, ge=1)
    max_duration: Duration | None = None
    severity: Severity = "warning"
    alert_after: int = Field(1, ge=1, le=1000)
    catch_up: bool | None = None
    rerun_after_crash: bool = False
    idempotent: bool = False
    announce: bool = False
    report_to: tuple[str, ...] = ()
    """Channels of `messages` that get what it reports."""
    interruptible: bool | None = None
    stop_grace: DurationOrZero = 5.0
    may_leave_processes: bool = False
    params: Mapping[str, Any] = {}
    limits: ProcessLimits = ProcessLimits()
    cwd: Path | None = None
    env: Mapping[str, str] = {}
    secrets: tuple[Variable, ...] = ()
    """Variables or credentials of the exporter that the program gets by these names."""
    success_codes: tuple[ExitCode, ...] = (0,)
    nothing_on: tuple[ExitCode, ...] = ()
    """Exit codes that end the run with `no_data`."""
    retry_on: tuple[ExitCode, ...] | None = None
    """The only exit codes that are tried again; None: all but those of a success."""
    json_output: bool = False
    """Lines of its output may say how many items it handled, and more."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_a_kind(cls, data: Any) -> Any:
        # Warning, but what trades a strategy pages, and so does the scan before the session. A
        # service has no slots.
        if isinstance(data, dict) and (
            data.get("strategy") or data.get("run") == "exporter.tasks:pre_market_scan"
        ):
            data = {"severity": "critical", **data}
        if isinstance(data, dict) and data.get("service"):
            data = {"schedule": ALWAYS, **data}
        return data

    @field_validator("run")
    @classmethod
    def _run_names_a_function(cls, run: str | None) -> str | None:
        return None if run is None else target_of(run)

    @field_validator("command")
    @classmethod
    def _command_names_a_program(cls, command: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if command is not None and not (command and command[0].strip()):
            raise ValueError("no program given: write [./rebalance.sh, --live]")
        if any("\0" in part for part in command or ()):
            raise ValueError("contains a null character, which no program can receive")
        return command

    @field_validator("service")
    @classmethod
    def _service_names_a_unit(cls, service: str | None) -> str | None:
        if service is not None and not re.fullmatch(r"[\w:.\\-]+(@[\w:.\\-]+)?\.service", service):
            raise ValueError(
                f"invalid unit {service!r}: write bot.service, or bot@one.service for an instance"
            )
        return service

    @field_validator("on")
    @classmethod
    def _on_names_days(cls, on: tuple[date, ...]) -> tuple[date, ...]:
        if not on:
            raise ValueError("empty: name at least one day, such as [2026-12-24], or remove it")
        return on

    @model_validator(mode="after")
    def _one_way_to_run(self) -> Task:
        ways = [w for w in ("run", "command", "external", "service") if getattr(self, w)]
        if len(ways) != 1:
            raise ValueError(
                "a task needs exactly one of `run: module:function`, `command: [program]`, "
                f"`external: true` and `service: bot.service`: {_given(ways)}"
            )
        self._check_service_keys()
        if self.external and self.retries:
            raise ValueError(
                "an external task has no `retries`, since it runs elsewhere: remove it"
            )
        if self.report_to and not self.run:
            raise ValueError(
                "only a function (`run`) reports: remove `report_to`; a program sends messages by "
                "`POST /api/v1/messages`"
            )
        if not self.external and "early" in self.model_fields_set:
            raise ValueError("only an external task can be `early`: remove it")
        if self.external and self.after:
            raise ValueError(
                "an external task is started elsewhere and cannot wait: remove `after`"
            )
        if self.max_wait is not None and not self.after:
            raise ValueError("`max_wait` is how long a task with `after` waits: remove it")
        if self.external and "limits" in self.model_fields_set:
            raise ValueError(
                "an external task has no `limits`, since it runs elsewhere: remove them"
            )
        self._check_exchange()
        self._check_command_keys()
        if self.max_duration is not None and self.max_duration > self.longest_duration_limit:
            raise ValueError(_useless_duration_limit(self.longest_duration_limit))
        return self

    def _check_exchange(self) -> None:
        if needs_exchange(self.timetable) and not self.exchange:
            raise ValueError(f"`schedule: {self.schedule}` needs `exchange`, such as XNYS")
        if self.exchange and counts(self.timetable, "day"):
            raise ValueError(
                f"`schedule: {self.schedule}` counts calendar days, also those on which "
                f"{self.exchange} is closed: write `trading day` instead of `day`, or remove "
                "`exchange`"
            )

    def _check_service_keys(self) -> None:
        if self.service:
            wrong = sorted(self.model_fields_set - _OF_SERVICES - {"schedule"})
            if self.schedule != ALWAYS:
                raise ValueError(
                    "a service has no `schedule`: it must be up at all times, or with `exchange` "
                    "while that is open"
                )
            if wrong:
                raise ValueError(f"a service cannot have `{wrong[0]}`: remove it")
            return
        if wrong := sorted(self.model_fields_set & {"scope", "max_restarts"}):
            raise ValueError(f"only a `service` can have `{wrong[0]}`: remove it")
        if self.schedule == ALWAYS:
            raise ValueError(
                f"`schedule: {ALWAYS}` is of a `service`: write when the task runs, such as "
                "`every 30m`"
            )

    def _check_command_keys(self) -> None:
        wrong = sorted(self.model_fields_set & _OF_COMMANDS)
        if wrong and not self.command:
            raise ValueError(f"only a `command` can have `{wrong[0]}`: remove it")
        if both := sorted(set(self.success_codes) & {*self.nothing_on, *(self.retry_on or ())}):
            raise ValueError(f"exit code {both[0]} is a success and something else: keep one")

    @field_validator("env")
    @classmethod
    def _env_has_names(cls, env: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in env.items():
            if not re.fullmatch(r"[A-Za-z_]\w*", name) or name.startswith("QUANT_"):
                raise ValueError(
                    f"invalid variable {name!r}: write letters, digits and _, and not QUANT_ first"
                )
            if "\0" in value:
                raise ValueError(f"{name} contains a null character, which no program can receive")
        return env

    @property
    def longest_duration_limit(self) -> float:
        """The largest useful `max_duration`: its warning arrives before `max_runtime` ends the run;
        0 or less when none is."""
        return self.max_runtime_seconds - NOTICE_SECONDS

    @property
    def timetable(self) -> Timetable:
        """The parsed schedule."""
        return schedule_syntax.parse(self.schedule, self.on)

    @property
    def kind(self) -> Literal["run", "command", "external", "service"]:
        """Which of the four ways it runs."""
        if self.service:
            return "service"
        return "run" if self.run else "command" if self.command else "external"

    @property
    def max_runtime_seconds(self) -> float:
        """All attempts of one run together, in seconds: (1 + retries) x timeout + back-off."""
        backoff = sum(backoff_cap(self.backoff, n) for n in range(self.retries))
        return self.max_runtime or (1 + self.retries) * self.timeout + backoff

    @property
    def latest_start(self) -> float:
        """How long after its time a slot may start: `grace`, and as long as it may wait for
        others."""
        return self.grace + self.longest_wait

    @property
    def longest_wait(self) -> float:
        """How long a slot may wait for the tasks of `after`."""
        if not self.after:
            return 0.0
        return MAX_WAIT_SECONDS if self.max_wait is None else self.max_wait

    @property
    def may_be_interrupted(self) -> bool:
        """Whether an orderly stop may end a run of it: by default not that of a command."""
        return self.kind != "command" if self.interruptible is None else self.interruptible

    @property
    def catches_up(self) -> bool:
        """Whether a slot that was missed is started late, within `grace`."""
        return self.kind == "run" if self.catch_up is None else self.catch_up


def _useless_duration_limit(longest: float) -> str:
    cure = f"write {format_duration(longest)} or less" if longest > 0 else "leave it out"
    return f"`max_duration` would warn only after `max_runtime` has ended the run: {cure}"


def _given(ways: list[str]) -> str:
    return f"{' and '.join(ways)} are both given" if ways else "none is given"


class Strategy(Model):
    """A named thing with an equity curve, in one currency."""

    equity_file: Path | None = None
    equity: SerializeAsAny[AccountSettings] | None = None
    """The account that says its equity, fills and positions."""
    positions_file: Path | None = None
    """What it holds by itself: CSV with symbol and quantity, or JSON."""
    currency: str = Field("USD", pattern=r"^[A-Z]{3,5}$")
    severity: Severity = "warning"
    max_age: Duration | None = None
    exchange: Exchange | None = None
    max_drawdown: Limits[Ratio] = Field(default_factory=dict)
    columns: Mapping[Literal["timestamp", "equity", "flow"], str] = Field(default_factory=dict)
    decimal: Literal[".", ","] | None = None

    @model_validator(mode="after")
    def _equity_has_one_origin(self) -> Strategy:
        if self.equity_file and self.equity:
            raise ValueError("`equity_file` and `equity` are both given: keep one")
        return self
