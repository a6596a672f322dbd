"""WireGuard to the machine where Prometheus and Alertmanager run. They reach the exporter's port,
and here their ports are on loopback, as if they ran here. The key is made here and stays here."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from desired import Disabled, Enabled, File, Gone, Step, Thing
from packages import Packages
from places import ETC, SYSTEMD
from settings import Settings
from shell import attempt, is_active, run, say

INTERFACE = "quant"
_UNIT = f"wg-quick@{INTERFACE}.service"
_CONFIG = Path(f"/etc/wireguard/{INTERFACE}.conf")
_KEY = ETC / "wireguard.key"
_PASSING_ON = "quant-through@*.service"
_SOCKETS = ("exporter", "prometheus", "alertmanager")


def ends(wanted: dict[str, Any]) -> tuple[str, str]:
    """The addresses of this machine and of the other one."""
    ours, theirs = ipaddress.IPv4Network(wanted["network"]).hosts()
    return str(ours), str(theirs)


def wireguard_things(wanted: Settings) -> Iterator[Thing]:
    """Key, interface and the three ports; or none of them."""
    sockets = [_socket(name) for name in _SOCKETS]
    if wanted.wireguard is None:
        yield from (Disabled(file.name) for file in sockets)
        yield Step(_is_passed_on, lambda: run("systemctl", "stop", _PASSING_ON))
        yield from (Gone(file, then=["systemctl daemon-reload"]) for file in sockets)
        yield Disabled(_UNIT)
        yield from (Gone(file) for file in (_CONFIG, _KEY))
        return
    yield Packages(_packages())
    yield Step(lambda: None if _KEY.exists() else f"make a key in {_KEY}", _make_key)
    again = [f"systemctl try-restart {_UNIT}"]
    yield File(_CONFIG, _config(wanted.wireguard), mode=0o600, then=again)
    yield Enabled(_UNIT)
    names = " ".join(file.name for file in sockets)
    # A socket does not start while what it passed on before is not at its end.
    afresh = [
        f"systemctl stop {names}",
        f"systemctl stop {_PASSING_ON}",
        f"systemctl start {names}",
    ]
    then = ["systemctl daemon-reload", *afresh]
    for file, (listens, leads_to) in zip(sockets, _ways(wanted.wireguard), strict=True):
        yield File(file, _socket_text(listens, leads_to), then=then)
        yield Enabled(file.name)


def public_key() -> str:
    """The half that the other machine needs; empty where there is no key yet."""
    return run("wg", "pubkey", stdin=_KEY.read_text()).strip() if _KEY.exists() else ""


def last_heard() -> float:
    """When the other machine last proved to be there (Unix time); 0.0 when it never did."""
    shown = attempt("wg", "show", INTERFACE, "latest-handshakes").stdout.split()
    return float(shown[1]) if len(shown) > 1 else 0.0


def _is_passed_on() -> str | None:
    return "end the connections that were passed on" if is_active(_PASSING_ON) else None


def _packages() -> list[str]:
    """Also a WireGuard of its own for machines whose kernel has none, such as containers."""
    added = attempt("ip", "link", "add", "quant-try", "type", "wireguard").returncode == 0
    if added:
        run("ip", "link", "delete", "quant-try")
    return ["wireguard-tools", "iproute2", *([] if added else ["wireguard-go"])]


def _make_key() -> None:
    draft = _KEY.with_name(".wireguard.key.draft")
    draft.touch(mode=0o600)
    draft.write_text(run("wg", "genkey"))
    draft.replace(_KEY)
    say(f"wireguard: the public key of this machine is {public_key()}")


def _config(wanted: dict[str, Any]) -> str:
    ours, theirs = ends(wanted)
    return f"""\
# Written by quant-exporter's provision, from vps.yml.
[Interface]
Address = {ours}/30
ListenPort = {wanted["port"]}
PostUp = wg set %i private-key {_KEY}

[Peer]
PublicKey = {wanted["public_key"]}
AllowedIPs = {theirs}/32
"""


def _ways(wanted: dict[str, Any]) -> list[tuple[str, str]]:
    """Where each socket listens, and where it leads to."""
    ours, theirs = ends(wanted)
    return [
        (f"{ours}:10077", "127.0.0.1:10077"),
        ("127.0.0.1:9090", f"{theirs}:9090"),
        ("127.0.0.1:9093", f"{theirs}:9093"),
    ]


def _socket(name: str) -> Path:
    return SYSTEMD / f"quant-wireguard-{name}.socket"


def _socket_text(listens: str, leads_to: str) -> str:
    return f"""\
# Written by quant-exporter's provision, from vps.yml.
[Socket]
ListenStream={listens}
# The address may come later than this.
FreeBind=yes
Service=quant-through@{leads_to}.service

[Install]
WantedBy=sockets.target
"""
