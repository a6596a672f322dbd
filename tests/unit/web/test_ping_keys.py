"""Addresses of pings: what they mean, and what nobody can learn from a wrong one."""

from __future__ import annotations

from uuid import UUID

import pytest

from exporter.state import StateError
from exporter.web.ping_keys import PingKeys, PingTarget
from tests.unit.stores import MemoryStore


async def made(*tasks: str, store: MemoryStore | None = None) -> tuple[PingKeys, list[str]]:
    """Keys that are ready, and what they count as secrets."""
    secrets: list[str] = []
    keys = PingKeys(store or MemoryStore(), secrets.append)
    await keys.ensure()
    keys.apply(tasks)
    return keys, secrets


async def test_an_address_means_its_task_and_what_follows() -> None:
    """By UUID in any spelling, and by key and name, with dashes too."""
    keys, secrets = await made("nightly_etl", "orders")
    by_uuid, by_key = keys.paths("nightly_etl") or ("", "")
    uuid = by_uuid.rpartition("/")[2]
    assert by_key.endswith("/nightly_etl")
    for path in (by_uuid, by_key, by_uuid.upper().replace("PING", "ping"), by_uuid + "/",
                 f"/ping/{UUID(uuid).hex}", by_key.replace("_etl", "-ETL")):  # fmt: skip
        assert keys.find(path) == PingTarget("nightly_etl", "0"), path
        for action in ("start", "fail", "log", "0", "1", "255", "-9", "3221225786"):
            found = keys.find(f"{path.rstrip('/')}/{action}")
            assert found == PingTarget("nightly_etl", action)
    assert {uuid, by_key.split("/")[2]} < set(secrets)


@pytest.mark.parametrize(
    "path",
    ["/ping/", "/ping/x", "/ping/KEY", "/ping/KEY/", "/ping/KEY/nobody", "/ping/x/orders",
     "/ping/KEY/orders/--1", "/ping/KEY/orders/1.0", "/ping/KEY/orders/stop", "/ping/UUID/a/b",
     "/ping/KEY/orders/start/1", "/ping/UUID/²", "/ping/\udcff", "/ping//orders",
     "/ping/00000000-0000-4000-8000-000000000000", "/ping/KEYx/orders", "/ping/key/orders"],
)  # fmt: skip
async def test_everything_else_means_nothing(path: str) -> None:
    """Among it a right key with an unknown task, and a wrong key with a known one."""
    keys, _ = await made("orders")
    by_uuid, by_key = keys.paths("orders") or ("", "")
    path = path.replace("KEY", by_key.split("/")[2]).replace("UUID", by_uuid.split("/")[2])
    assert keys.find(path) is None
    assert keys.problem(path)


async def test_addresses_outlive_the_process_and_end_when_they_are_renewed() -> None:
    """One task's alone, or the key's."""
    store = MemoryStore()
    keys, _ = await made("a", "b", store=store)
    before = {task: keys.paths(task) or ("", "") for task in "ab"}
    again, _ = await made("b", "a", store=store)
    assert {task: again.paths(task) for task in "ab"} == before
    await again.renew("a")
    later, _ = await made("a", "b", store=store)
    assert later.find(before["a"][0]) is None
    assert later.paths("b") == before["b"]
    assert later.find(before["a"][1]) == PingTarget("a", "0")
    await later.renew(None)
    assert later.find(before["b"][1]) is None
    assert later.find(before["b"][0]) == PingTarget("b", "0")


async def test_an_installation_has_addresses_of_its_own() -> None:
    """Nobody can compute them from a task's name."""
    one, other = (await made("a"))[0], (await made("a"))[0]
    assert not set(one.paths("a") or ()) & set(other.paths("a") or ())


async def test_nothing_is_refused_for_good_before_the_addresses_are_known() -> None:
    """A client would give up at 404; while the exporter starts it gets 503."""

    class FullDisk(MemoryStore):
        full = True

        async def keep(self, kind: str, name: str, value: object) -> None:
            if self.full:
                raise StateError("the disk is full")
            await super().keep(kind, name, value)

    store = FullDisk()
    keys, _ = await made("a", store=store)
    assert not keys.ready
    assert keys.problem("/ping/x") is None
    assert keys.paths("a") is None
    store.full = False
    await keys.ensure()
    assert keys.ready
    assert keys.problem("/ping/x") == "not found"


async def test_whoever_has_the_key_gets_to_know_what_is_wrong_with_an_address() -> None:
    """A mistyped task names the one that was meant; without the key nothing tells them apart."""
    keys, _ = await made("nightly_etl", "orders")
    uuid, by_key = keys.paths("orders") or ("", "")
    key = by_key.removesuffix("/orders")
    assert keys.problem(f"{key}/nightly_elt") == (
        "there is no external task 'nightly_elt': did you mean nightly_etl?"
    )
    assert keys.problem(f"{key}/backup/1") == (
        "there is no external task 'backup'; there are nightly_etl, orders"
    )
    assert keys.problem(key) == "the address lacks the name of a task at its end"
    for path in (f"{uuid}/stop", f"{by_key}/stop"):
        assert keys.problem(path) == (
            "there is no 'stop': after the task write nothing, start, fail, log or an exit status"
        )
    for path in ("/ping/x/orders", "/ping/x/backup", "/ping/x/orders/stop", "/ping/"):
        assert keys.problem(path) == "not found"
    keys.apply(())
    assert keys.problem(f"{key}/orders") == (
        "there is no external task 'orders': none is configured (`external: true`)"
    )
