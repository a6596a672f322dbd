"""What ``check`` says of the services that tasks name: whether this machine's systemd has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from exporter.config import Config, Mistake
from exporter.runner.systemd import Scope, Systemd, SystemdError, Unit


def service_notes(config: Config, systemd: Systemd | None = None) -> list[Mistake]:
    """Services that are unknown, masked or down here, or that end by themselves."""
    return [
        note
        for scope in ("system", "user")
        for note in _of_scope(config, scope, systemd or Systemd())
    ]


def _of_scope(config: Config, scope: Scope, systemd: Systemd) -> Iterator[Mistake]:
    services = {n: t.service for n, t in config.tasks.items() if t.service and t.scope == scope}
    if not services:
        return
    found: Mapping[str, Unit] = {}
    try:
        found = asyncio.run(systemd.units([*dict.fromkeys(services.values())], scope))
    except SystemdError as error:
        whose = "systemd" if scope == "system" else "the systemd of this user (`scope: user`)"
        text = f"whether it is up cannot be known here: {whose} cannot be asked: {error}"
        yield Mistake(f"tasks.{next(iter(services))}.service", text)
    for name, service in services.items():
        unit = found.get(service)
        if unit and unit.ends_itself:
            yield Mistake(
                f"tasks.{name}.service",
                f"{service} is a oneshot, which ends by itself: make a task of what starts it "
                "(`quant-exporter import timers`)",
            )
        elif unit and unit.trouble:
            yield Mistake(f"tasks.{name}.service", f"{service} {unit.trouble}")
