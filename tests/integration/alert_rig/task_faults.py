"""What goes wrong with tasks. Every row has a task of its own; those that the exporter runs have a
slot every ten minutes, external ones report every hour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exporter.runner.external import Ping, PingKind
from tests.integration.alert_rig.fault import BEGIN, END, STRIKE, Event, Fault, Told, after
from tests.integration.alert_rig.life import Life

PROGRAMS = "tests.integration.alert_rig.programs"
NEXT_SLOT = 9
"""Minutes until it has failed, and the rule's own one has passed."""
CHAT = Told("QuantTaskFailing", "chat", NEXT_SLOT)
PHONE = Told("QuantTaskFailing", "phone", NEXT_SLOT)
LATE = 45
"""Minutes: the external task's slot at 11:00, its grace and its longest run."""


def task(name: str, *tells: Told, how: str, lasts: float = 600, **more: Any) -> Fault:
    """A coroutine that is broken for so many minutes."""
    return Fault(name, tells, {"tasks": {name: broken(how, lasts) | more}})


def broken(how: str, lasts: float = 600) -> dict[str, Any]:
    params = {"from": STRIKE, "until": STRIKE + lasts * 60}
    return {"run": f"{PROGRAMS}:{how}", "schedule": "every 10m", "params": params}


def command(name: str, *tells: Told, program: list[str], **more: Any) -> Fault:
    """A program that is started once, at 10:40."""
    run = {"command": program, "schedule": "10:40", **more}
    return Fault(name, tells, {"tasks": {name: run}})


def external(name: str, *tells: Told, then: tuple[Event, ...] = (), **more: Any) -> Fault:
    """A program of somebody else's that reported an hourly success until the fault struck."""
    about = {"external": True, "schedule": "every 1h", "grace": "5m", "timeout": "10m", **more}
    well = tuple((BEGIN + n * 3600 + 30, says(name, "success")) for n in range(2))
    return Fault(name, tells, {"tasks": {name: about}}, well + then)


def says(name: str, kind: PingKind, message: str | None = None) -> Callable[[Life], Any]:
    return lambda life: life.parts.runner.ping(name, Ping(kind, message=message))


def pauses(name: str, minutes: float) -> Callable[[Life], Any]:
    return lambda life: life.parts.state.pause(name, life.now + minutes * 60)


def waits(name: str, *tells: Told, how: str = "fails", lasts: float = 600, **more: Any) -> Fault:
    """A task that breaks, and two that wait for it, one behind the other, which never break."""
    never = {"from": 0, "until": 0}
    behind = {"run": f"{PROGRAMS}:fails", "schedule": "every 10m", "max_wait": "4m",
              "timeout": "1m", "params": never}  # fmt: skip
    tasks = {
        name: broken(how, lasts) | {"severity": "warning"} | more,
        f"{name}__first": behind | {"after": [name], "severity": "critical"},
        f"{name}__second": behind | {"after": [f"{name}__first"]},
    }
    return Fault(name, tells, {"tasks": tasks})


FAULTS = [
    waits("fails_before_others", CHAT),
    waits("fails_before_others_for_a_while",
          Told("QuantTaskFailing", "chat", NEXT_SLOT, over_after=36), lasts=20),
    waits("hangs_before_others", CHAT, how="hangs", timeout="2s"),
    Fault("is_paused_before_others", (), waits("is_paused_before_others").config,
          (after(-5, pauses("is_paused_before_others", (END - STRIKE) / 60 + 10)),)),
    task("fails", CHAT, how="fails"),
    task("fails_and_it_matters", PHONE, how="fails", severity="critical"),
    task("fails_and_nobody_cares", how="fails", severity="info"),
    task("fails_once_more_than_allowed", Told("QuantTaskFailing", "chat", 29),
         how="fails", alert_after=3, grace="1h"),
    task("fails_less_often_than_allowed", how="fails", alert_after=3, lasts=20, grace="20m"),
    task("fails_at_first", how="fails_at_first", retries=1, backoff="10ms"),
    task("fails_for_a_while", Told("QuantTaskFailing", "chat", NEXT_SLOT, over_after=36),
         how="fails", lasts=20),
    task("has_no_data", CHAT, how="has_no_data"),
    task("has_stale_data", CHAT, how="has_stale_data"),
    task("hangs", PHONE, how="hangs", timeout="2s", severity="critical", schedule="10:40"),
    task("hangs_and_hangs", CHAT, how="hangs", timeout="1s", retries=2, backoff="10ms",
         schedule="10:40"),
    task("gives_up", CHAT, how="gives_up"),
    task("says_no", CHAT, how="says_no"),
    Fault("is_paused", (), {"tasks": {"is_paused": broken("fails")}},
          (after(-5, pauses("is_paused", (END - STRIKE) / 60 + 10)),)),
    task("does_too_little", CHAT, how="does_little", min_items=2),
    external("is_slower_than_ever", Told("QuantTaskFailing", "chat", 39, over_after=56),
             timeout="40m", max_duration="10m",
             then=(after(27, says("is_slower_than_ever", "start")),
                   after(47, says("is_slower_than_ever", "success")),
                   after(87, says("is_slower_than_ever", "success")))),
    task("trades_a_strategy", PHONE, how="fails", strategy="stands_still"),
    command("command_fails", CHAT, program=["sh", "-c", "echo no margin >&2; exit 3"]),
    command("command_is_killed", CHAT, program=["sh", "-c", "kill -9 $$"]),
    command("command_hangs", PHONE, program=["sleep", "60"], timeout="300ms", stop_grace="1s",
            severity="critical"),
    command("command_is_not_there", CHAT, program=["/nowhere/rebalance"]),
    command("command_leaves_a_process", CHAT, program=["sh", "-c", "sleep 30 & exit 0"],
            stop_grace="1s"),
    external("external_is_silent", Told("QuantTaskFailing", "chat", LATE)),
    external("external_is_silent_and_it_matters", Told("QuantTaskFailing", "phone", LATE),
             severity="critical"),
    external("external_fails", Told("QuantTaskFailing", "chat", 2),
             then=(after(0, says("external_fails", "fail", "exit status 1")),)),
    external("external_never_ends", Told("QuantTaskFailing", "chat", LATE),
             then=(after(27, says("external_never_ends", "start")),)),
    external("external_does_well",
             then=tuple((BEGIN + n * 3600 + 120, says("external_does_well", "success"))
                        for n in range(2, 8))),
    Fault("external_never_came", (Told("QuantTaskFailing", "chat", 77),),
          {"tasks": {"external_never_came":
              {"external": True, "schedule": "every 1h", "grace": "5m", "timeout": "10m"}}},
          struck=BEGIN),
]  # fmt: skip
