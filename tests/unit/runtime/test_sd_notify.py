"""What systemd hears from us."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.runtime.sd_notify import Notifier
from exporter.util.clock import Clock
from tests.unit.clocks import ManualClock


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


@pytest.fixture
def clock() -> Clock:
    return ManualClock(now=1_700_000_000.0)


def test_says_ready_reloading_and_stopping(systemd: socket.socket, clock: ManualClock) -> None:
    """Each state is one datagram in sd_notify's words; a reload carries its monotonic moment."""
    notifier = Notifier(clock, {"NOTIFY_SOCKET": systemd.getsockname()})
    notifier.ready("12 tasks")
    assert systemd.recv(1000) == b"READY=1\nSTATUS=12 tasks"
    notifier.reloading()
    assert (
        systemd.recv(1000) == f"RELOADING=1\nMONOTONIC_USEC={int(clock.monotonic() * 1e6)}".encode()
    )
    notifier.stopping("waiting for\nrebalance")
    assert systemd.recv(1000) == b"STOPPING=1\nSTATUS=waiting for rebalance"


def test_abstract_sockets_are_reached(clock: Clock) -> None:
    """An address with a leading @ is in the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0quant-notify-{os.getpid()}")
        listener.settimeout(5)
        Notifier(clock, {"NOTIFY_SOCKET": f"@quant-notify-{os.getpid()}"}).ready()
        assert listener.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens(clock: Clock) -> None:
    """Started by hand there is no socket, no interval, and no error."""
    notifier = Notifier(clock, {})
    notifier.ready()
    assert notifier.interval is None


def test_a_socket_that_is_gone_is_only_logged(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A failing notification never ends the process."""
    Notifier(clock, {"NOTIFY_SOCKET": str(tmp_path / "none")}).ready()
    assert "sd_notify failed" in caplog.text


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_interval(environ: dict[str, str], interval: float | None, clock: Clock) -> None:
    """A third of systemd's limit, and only if the limit is meant for this process."""
    assert Notifier(clock, environ).interval == interval


async def test_watchdog_falls_silent_with_its_loop(systemd: socket.socket, clock: Clock) -> None:
    """Signs of life come from the loop, so they end when it does not turn."""
    environ = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "30000"}
    signs = asyncio.create_task(Notifier(clock, environ).watchdog())
    systemd.setblocking(False)
    loop = asyncio.get_running_loop()
    for _ in range(3):
        assert await asyncio.wait_for(loop.sock_recv(systemd, 100), 5) == b"WATCHDOG=1"
    time.sleep(0.2)  # a hung loop
    with pytest.raises(BlockingIOError):
        systemd.recv(100)
    signs.cancel()
    await asyncio.gather(signs, return_exceptions=True)
