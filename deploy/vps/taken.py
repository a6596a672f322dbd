"""What the machine listens on already: ports that somebody else has, and where SSH is."""

from __future__ import annotations

import re
import shutil

from places import ProblemError
from shell import attempt

_OURS = {
    80: ("nginx",),
    443: ("nginx",),
}
_WAYS_ELSEWHERE = ("sshd", "systemd", "systemd-socket-")
"""What has their ports while they run elsewhere. The kernel keeps 15 letters of a name."""
_SERVERS = {
    9090: ("prometheus", *_WAYS_ELSEWHERE),
    9093: ("prometheus-aler", *_WAYS_ELSEWHERE),
}
_GRAFANA = {3000: ("grafana", "grafana-server")}

_LOGS = {3100: ("loki",), 9095: ("loki",), 12345: ("alloy",)}


def owner(port: int) -> str | None:
    """The program that listens there, None when nobody does."""
    if not shutil.which("ss"):
        return None
    listening = attempt("ss", "-Hltnp", f"sport = :{port}").stdout
    if not listening.strip():
        return None
    named = re.search(r'\(\("([^"]+)",pid=(\d+)', listening)
    return named[1] if named else "something"


def need_free_ports(*, with_servers: bool, with_grafana: bool, with_logs: bool) -> None:
    """Raises :class:`ProblemError` when another program has a port that is needed."""
    needed = {
        **_OURS,
        **(_SERVERS if with_servers else {}),
        **(_GRAFANA if with_grafana else {}),
        **(_LOGS if with_logs else {}),
    }
    for port, ours in needed.items():
        there = owner(port)
        if there and there not in ours:
            raise ProblemError(
                f"port {port} is taken by {there}, and {ours[0]} needs it; nothing was changed. "
                f"Stop it first (`ss -ltnp sport = :{port}` shows it), and keep it from starting "
                "with the machine"
            )


def ssh_ports() -> list[int]:
    """Where sshd is told to listen; 22 when it does not say."""
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    told = attempt(sshd, "-T").stdout if shutil.which(sshd) else ""
    return sorted({int(port) for port in re.findall(r"(?m)^port (\d+)$", told)}) or [22]
