"""What `check` says of services, and what a preview says of what has no slots."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.config import Config, Task
from exporter.runner.systemd import Scope, SystemdError, Unit
from exporter.runtime.service_check import service_notes


class FakeSystemd:
    """Has some units; its user's part cannot be asked."""

    async def units(self, names: Sequence[str], scope: Scope) -> dict[str, Unit]:
        if scope == "user":
            raise SystemdError("Failed to connect to bus: No medium found")
        known = {
            "bot.service": Unit("bot.service", "loaded", "active"),
            "odd.service": Unit("odd.service", "masked", "inactive"),
            "backup.service": Unit("backup.service", "loaded", "inactive", ends_itself=True),
        }
        return {name: known.get(name, Unit(name, "not-found", "inactive")) for name in names}


def test_services_that_are_not_as_they_should_be_are_noted() -> None:
    """Those that are up are not."""
    config = Config(
        tasks={
            "well": Task(service="bot.service"),
            "masked": Task(service="odd.service"),
            "mistyped": Task(service="bto.service"),
            "oneshot": Task(service="backup.service"),
            "mine": Task(service="bot.service", scope="user"),
        }
    )
    notes = service_notes(config, FakeSystemd())  # type: ignore[arg-type]
    assert {note.place: note.text for note in notes} == {
        "tasks.masked.service": "odd.service is masked: systemctl unmask odd.service",
        "tasks.mistyped.service":
            "bto.service is unknown to systemd: install its unit, or correct the name",
        "tasks.oneshot.service":
            "backup.service is a oneshot, which ends by itself: make a task of what starts it "
            "(`quant-exporter import timers`)",
        "tasks.mine.service":
            "whether it is up cannot be known here: the systemd of this user (`scope: user`) "
            "cannot be asked: Failed to connect to bus: No medium found",
    }  # fmt: skip
