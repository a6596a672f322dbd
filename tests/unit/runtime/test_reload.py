"""Reloading the config: applied as a whole, or rejected with the reason."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from exporter.config import Config, load
from exporter.runtime.reload import Reloading
from exporter.runtime.sd_notify import Notifier
from exporter.sources.registry import SupplyError
from tests.unit.clocks import ManualClock

TEXT = "listen: 127.0.0.1:0\nstate: var/state.db\ntasks: {}\n"


class Reloads:
    """A config file, and what was applied of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "exporter.yml"
        self.path.write_text(TEXT)
        self.config = load(self.path)
        self.applied: list[Config] = []
        self.refusal: str | None = None
        self.clock = ManualClock()
        self.reloading = Reloading(
            self.path, self.clock, Notifier(self.clock, {}), lambda: self.config, self.apply
        )

    async def apply(self, config: Config) -> None:
        if self.refusal:
            raise SupplyError(self.refusal)
        self.applied.append(config)
        self.config = config

    def samples(self) -> list[float]:
        return [value for _, _, value in self.reloading.samples()]


@pytest.fixture
def reloads(tmp_path: Path) -> Reloads:
    return Reloads(tmp_path)


async def test_a_changed_file_is_applied(reloads: Reloads) -> None:
    """And the moment is kept."""
    reloads.path.write_text(TEXT + "timezone: Asia/Tokyo\n")
    assert await reloads.reloading.reload() == []
    assert [config.timezone for config in reloads.applied] == ["Asia/Tokyo"]
    assert reloads.samples() == [1.0, reloads.clock.now()]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("127.0.0.1:0", "127.0.0.1:10099", "listen"),
        ("var/state.db", "var/other.db", "state"),
    ],
)
async def test_what_only_a_restart_can_change_is_rejected_as_a_whole(
    reloads: Reloads, old: str, new: str, key: str
) -> None:
    """Another address or state file: nothing of the new file applies, and the key is named."""
    reloads.path.write_text(TEXT.replace(old, new) + "timezone: Asia/Tokyo\n")
    (mistake,) = await reloads.reloading.reload()
    assert mistake.startswith(f"{reloads.path}")
    assert f"{key}: cannot change while the exporter runs; restart it" in mistake
    assert reloads.applied == []
    assert reloads.samples()[0] == 0.0


async def test_an_emptied_file_is_rejected_unless_forced(reloads: Reloads) -> None:
    """Half a file, or one that an editor is just writing, must not stop everything."""
    some = TEXT.replace("tasks: {}", "tasks: {t: {command: ['true'], schedule: '07:00'}}")
    reloads.path.write_text(some)
    assert await reloads.reloading.reload() == []
    for text in (TEXT, "", "tasks:\n"):
        reloads.path.write_text(text)
        mistakes = await reloads.reloading.reload()
        assert mistakes, text
        assert len(reloads.applied) == 1
    reloads.path.write_text(TEXT)
    assert "use reload --force" in (await reloads.reloading.reload())[0]
    assert await reloads.reloading.reload(force=True) == []
    assert not reloads.config.tasks


async def test_what_cannot_be_had_is_said(reloads: Reloads) -> None:
    """A calendar that cannot be built: the old config stays; the next good file heals it."""
    reloads.refusal = "the calendar of XNYS cannot be built"
    assert reloads.refusal in (await reloads.reloading.reload())[0]
    assert reloads.samples()[0] == 0.0
    reloads.refusal = None
    assert await reloads.reloading.reload() == []
    assert reloads.samples()[0] == 1.0


async def test_reloads_come_one_after_the_other(reloads: Reloads) -> None:
    """Two signals at once apply the file twice, never at the same time."""
    reloads.reloading.ask()
    reloads.reloading.ask()
    async with asyncio.timeout(10):
        while len(reloads.applied) < 2:
            await asyncio.sleep(0)


async def test_nothing_is_reloaded_while_the_exporter_stops(reloads: Reloads) -> None:
    """The reason is the answer."""
    reloads.reloading.close("the exporter is stopping")
    assert await reloads.reloading.reload() == ["the exporter is stopping"]
    assert reloads.applied == []
