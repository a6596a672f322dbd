"""What the machine should have, in the order in which it is brought about.

The firewall comes before anything that listens; Prometheus and Alertmanager get their settings
before their packages, so that they never run with Debian's.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import settings
from desired import Enabled, File, Folder, Link, Step, Thing, User, bring_about, guarded
from grafana_server import Grafana
from log_store import log_things
from package_source import source_things
from packages import Packages
from places import (
    BACKUPS,
    CREDENTIALS,
    ETC,
    HISTORY,
    INCOMING,
    LOGS,
    PAGER_SECRETS,
    RELEASES,
    SETTINGS,
    STATE,
    SYSTEMD,
    TOOL,
    UNIT,
    USER,
)
from servers import servers, settings_of_servers, tunnel_things
from shell import credentials, say
from systems import need_a_system_we_know
from taken import need_free_ports, ssh_ports
from web import web_things
from wireguard import INTERFACE, wireguard_things

_FILES = TOOL / "files"
_UNITS = TOOL / "systemd"

_UPGRADES = """\
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
Unattended-Upgrade::Automatic-Reboot "false";
"""
_NEEDRESTART = """\
# Written by quant-exporter's provision: an upgrade of a library is no reason to end a run.
$nrconf{override_rc}{qr(^quant-)} = 0;
"""
_AFTER_NFTABLES = """\
# Written by quant-exporter's provision: nftables.service empties every table, ours with them.
[Service]
ExecStartPost=-/usr/sbin/nft -f /etc/quant-exporter/firewall.nft
ExecReload=-/usr/sbin/nft -f /etc/quant-exporter/firewall.nft
"""
_JOURNALD = "[Journal]\nStorage=persistent\nSystemMaxUse=500M\nMaxRetentionSec=1month\n"


def provision(wanted: settings.Settings, *, dry_run: bool) -> int:
    """Bring it all about, or say what would change; how many things differed."""
    need_a_system_we_know(Path("/etc/os-release").read_text())
    boards = Grafana(wanted)
    need_free_ports(
        with_servers=bool(wanted.servers),
        with_grafana=boards.is_wanted,
        with_logs=wanted.logs is not None,
    )
    changes = bring_about(_things(wanted, boards), dry_run=dry_run)
    mode = "would change" if dry_run else "changed"
    say(f"{changes} {'thing' if changes == 1 else 'things'} {mode}" if changes else "nothing to do")
    return changes


def _things(wanted: settings.Settings, boards: Grafana) -> list[Thing]:
    reload_units = ["systemctl daemon-reload"]
    units = [
        File(SYSTEMD / unit.name, unit.read_text(), then=reload_units)
        for unit in sorted(_UNITS.iterdir())
    ]
    return [
        Packages(["nftables"]),
        Folder(ETC),
        File(
            ETC / "firewall.nft",
            _firewall(wanted),
            then=["systemctl try-reload-or-restart quant-firewall.service"],
        ),
        File(SYSTEMD / "nftables.service.d/quant.conf", _AFTER_NFTABLES, then=reload_units),
        *units,
        Enabled("quant-firewall.service"),
        *settings_of_servers(wanted),
        Packages(_packages(wanted)),
        *tunnel_things(wanted),
        # Their ports are those of Prometheus and Alertmanager.
        *(wireguard_things(wanted) if wanted.wireguard is None else ()),
        *servers(wanted),
        *(wireguard_things(wanted) if wanted.wireguard is not None else ()),
        *source_things((wanted.grafana, wanted.logs)),
        *boards.things(),
        User(USER, STATE),
        *_folders(),
        *log_things(wanted),
        File(Path("/usr/local/bin/quant-exporter"), (_FILES / "quant-exporter").read_text(), 0o755),
        Enabled("quant-programs.socket"),
        Enabled(UNIT, now=False),
        _credentials_drop_in(),
        *web_things(wanted, with_grafana=boards.is_wanted),
        *_upkeep(),
        _kept_settings(wanted),
    ]


def _kept_settings(wanted: settings.Settings) -> Step:
    """At the end: a provision that is cut off is not taken for one that did it all."""
    return Step(
        lambda: None if settings.read() == wanted else f"write {SETTINGS}",
        lambda: SETTINGS.write_text(wanted.text()),
    )


def _firewall(wanted: settings.Settings) -> str:
    """The rules, with the port that SSH has on this machine: nobody is locked out."""
    rules = (_FILES / "firewall.nft").read_text()
    ports = ssh_ports()
    if ports != [22]:
        say(f"SSH listens on {', '.join(map(str, ports))} here; the firewall leaves that open")
    last = f"tcp dport {{ {', '.join(map(str, ports))}, 80, 443 }} accept"
    if wanted.wireguard is not None:
        last += f"""
    udp dport {wanted.wireguard["port"]} accept comment "WireGuard"
    iifname "{INTERFACE}" tcp dport 10077 accept"""
    return rules.replace("tcp dport { 22, 80, 443 } accept", last)


def _packages(wanted: settings.Settings) -> list[str]:
    names = [
        "python3", "python3-venv", "nginx", "openssl", "unattended-upgrades", "logrotate",
        *(["prometheus", "prometheus-alertmanager"] if wanted.servers else []),
    ]  # fmt: skip
    if (keeper := _time_keeper()) == "systemd-timesyncd":
        names.append(keeper)
    return names


def _time_keeper() -> str:
    """What keeps the time here; a machine that has another than systemd's goes on with that."""
    others = Packages(["chrony", "ntpsec", "ntp", "openntpd"])
    return next(iter(others.there()), "systemd-timesyncd")


def _folders() -> list[Thing]:
    return [
        Folder(RELEASES),
        Folder(INCOMING, mode=0o700),
        Folder(CREDENTIALS, mode=0o700),
        Folder(HISTORY.parent, mode=0o700),
        Folder(BACKUPS, USER, USER, 0o700),
        Folder(STATE, USER, USER, 0o750),
        Link(STATE / "log", LOGS),
    ]


def _credentials_drop_in() -> File:
    """One LoadCredential= line for each secret that is here."""
    names = [f"LoadCredential={c.name}:{c}" for c in credentials()]
    return File(
        SYSTEMD / f"{UNIT}.d/credentials.conf",
        "\n".join(["[Service]", *names, ""]),
        then=["systemctl daemon-reload"],
    )


def load_credentials() -> None:
    """Tell the unit of the secrets that are here now."""
    bring_about([_credentials_drop_in()], dry_run=False)


def share_secrets(wanted: Iterable[str], token: Path) -> list[str]:
    """Give Alertmanager copies of those secrets that its configuration names; which are missing."""
    missing = []
    for name in wanted:
        ours = token if name == "exporter_token" else CREDENTIALS / name
        if not ours.is_file():
            missing.append(name)
            continue
        copy, text = PAGER_SECRETS / name, ours.read_text().strip()
        if not copy.exists() or copy.read_text() != text:
            guarded(copy, text, "prometheus")
    return missing


def _upkeep() -> list[Thing]:
    needrestart = Path("/etc/needrestart/conf.d")
    return [
        *([File(needrestart / "quant.conf", _NEEDRESTART)] if needrestart.is_dir() else []),
        File(Path("/etc/apt/apt.conf.d/52quant-upgrades"), _UPGRADES),
        File(
            Path("/etc/systemd/journald.conf.d/quant.conf"),
            _JOURNALD,
            then=["systemctl restart systemd-journald.service"],
        ),
        Enabled(f"{_time_keeper()}.service"),
    ]
