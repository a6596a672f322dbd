"""Tells systemd: ready, reloading, stopping, and that the event loop still runs.

The protocol is one datagram of ``KEY=value`` lines to the socket in ``NOTIFY_SOCKET``; see
sd_notify(3). Without that variable (no systemd, or ``Type=simple``) nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping

from exporter.util.clock import Clock

log = logging.getLogger(__name__)


class Notifier:
    """Sends to systemd, if it listens. Never raises: a lost message must not end the process."""

    def __init__(self, clock: Clock, environ: Mapping[str, str] = os.environ) -> None:
        self._clock = clock
        # A leading @ means Linux' abstract namespace, written as a null byte.
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self._limit = _watchdog_seconds(environ)

    @property
    def interval(self) -> float | None:
        """Seconds between signs of life: a third of systemd's limit; None when it sets none."""
        return self._limit / 3 if self._limit else None

    def ready(self, status: str = "") -> None:
        """Everything has started; systemd considers the service up."""
        self._send("READY=1", status=status)

    def reloading(self) -> None:
        """The configuration is being reloaded; :meth:`ready` must follow."""
        # Type=notify-reload (systemd 253) requires the time; older versions ignore it.
        microseconds = int(self._clock.monotonic() * 1e6)
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self, status: str = "") -> None:
        """An orderly stop has begun; running tasks are allowed to finish."""
        self._send("STOPPING=1", status=status)

    async def watchdog(self) -> None:
        """Send a keep-alive every :attr:`interval`, until cancelled.

        It runs on the event loop: when the loop hangs, the keep-alives stop and systemd restarts
        the service.
        """
        while self.interval:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.interval)

    def _send(self, *lines: str, status: str = "") -> None:
        if not self._address:
            return
        if status:
            lines = (*lines, f"STATUS={' '.join(status.split())}")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                # Never block the loop for a systemd that does not read.
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.warning("sd_notify failed: %s", error, extra={"event": "systemd_notify_failed"})


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Systemd's limit in seconds, if it is set for this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() and int(text) else None
