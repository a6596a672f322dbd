"""Work in a thread leaves the interpreter to others."""

from __future__ import annotations

import asyncio
import resource
import threading
import time

from exporter.util.give_way import WORK_SECONDS, GiveWay, TakeTurns


def test_a_thread_that_works_for_long_sleeps_again_and_again() -> None:
    """The system then hardly ever stops it while it holds Python's lock."""
    slept = []

    def work() -> None:
        give_way = GiveWay()
        before = resource.getrusage(resource.RUSAGE_THREAD)
        used = 0.0
        while used < 10 * WORK_SECONDS:
            give_way()
            now = resource.getrusage(resource.RUSAGE_THREAD)
            used = now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime
        slept.append(now.ru_nvcsw - before.ru_nvcsw)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert slept[0] >= 5


async def test_long_work_on_the_loop_lets_others_have_their_turn() -> None:
    """Again and again, however long it is."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(others())
    take_turns, begin = TakeTurns(), time.thread_time()
    while time.thread_time() - begin < 10 * WORK_SECONDS:
        await take_turns()
    waiting.cancel()
    assert turns >= 5
