"""Prometheus and Alertmanager: here, with the release's files, or on another machine, which comes
here through an SSH tunnel."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
from pathlib import Path

from desired import Disabled, Enabled, File, Folder, Gone, Step, Thing, User, tried_again
from places import CURRENT, PAGER_SECRETS, PROMETHEUS_COPY, SYSTEMD
from remote_write import RemoteWrite
from settings import SERVERS, Settings
from shell import attempt, run

_PROMETHEUS = """\
# Written by quant-exporter's provision; yours to edit.
ARGS="--config.file=/opt/quant/current/prometheus/{config} \
--web.listen-address=127.0.0.1:9090 --storage.tsdb.retention.time=400d \
--storage.tsdb.retention.size=8GB{more}"
"""
_AT_ITS_END = " --storage.remote.flush-deadline=10s"
"""A store that is away would hold Prometheus for a minute, longer than Debian's unit waits."""
_ALERTMANAGER = """\
# Written by quant-exporter's provision; yours to edit.
ARGS="--config.file=/opt/quant/current/alerting/alertmanager.yml \
--web.listen-address=127.0.0.1:9093 --cluster.listen-address="
"""
_GUEST, _GUESTS_HOME = "quant-tunnel", Path("/var/lib/quant-tunnel")
_KEYS = _GUESTS_HOME / ".ssh/authorized_keys"
_MAY = (
    'restrict,port-forwarding,permitopen="127.0.0.1:10077",permitlisten="127.0.0.1:9090",'
    'permitlisten="127.0.0.1:9093"'
)
_SSHD = Path("/etc/ssh/sshd_config.d/quant-tunnel.conf")
_LIVES = f"""\
# Written by quant-exporter's provision: a tunnel that died gives its ports back within a minute.
Match User {_GUEST}
    ClientAliveInterval 15
    ClientAliveCountMax 3
"""
_RELOAD_SSHD = ["systemctl try-reload-or-restart ssh.service"]


def settings_of_servers(wanted: Settings) -> list[Thing]:
    """They come before the packages, so that the servers never run with Debian's."""
    sends = RemoteWrite(wanted)
    if not wanted.servers:
        return sends.things()
    config, more = (PROMETHEUS_COPY, _AT_ITS_END) if sends.is_on else ("prometheus.yml", "")
    arguments = _PROMETHEUS.format(config=config, more=more)
    return [
        *sends.things(),
        *_settings("prometheus", arguments, "prometheus/prometheus.yml"),
        *_settings("prometheus-alertmanager", _ALERTMANAGER, "alerting/alertmanager.yml"),
    ]


def servers(wanted: Settings) -> list[Thing]:
    """They run, or they do not."""
    if not wanted.servers:
        return [Disabled(unit) for unit in SERVERS]
    return [
        Folder(PAGER_SECRETS, group="prometheus", mode=0o750),
        *(Enabled(unit) for unit in wanted.servers),
    ]


def _settings(unit: str, arguments: str, config: str) -> list[Thing]:
    waits = tried_again(f"ConditionPathExists={CURRENT / config}\n")
    restart = [f"systemctl try-restart {unit}.service"]
    drop_in = SYSTEMD / f"{unit}.service.d/quant.conf"
    return [
        File(drop_in, waits, then=["systemctl daemon-reload", *restart]),
        File(Path(f"/etc/default/{unit}"), arguments, then=restart),
    ]


def tunnel_things(wanted: Settings) -> list[Thing]:
    """A user whose key opens the ports of exporter, Prometheus and Alertmanager, and nothing else;
    or none that lets anybody in."""
    if not wanted.tunnel:
        return [Step(_somebody_may_come, _let_nobody_in), Gone(_SSHD, then=_RELOAD_SSHD)]
    return [
        User(_GUEST, _GUESTS_HOME),
        Step(_is_locked, lambda: run("usermod", "--password", "*", _GUEST)),
        Folder(_GUESTS_HOME, mode=0o755),
        Folder(_KEYS.parent, mode=0o755),
        File(_SSHD, _LIVES, then=_RELOAD_SSHD),
        File(_KEYS, f"{_MAY} {wanted.tunnel}\n"),
    ]


def _somebody_may_come() -> str | None:
    return f"remove {_KEYS}, and end its tunnel" if _KEYS.exists() else None


def _let_nobody_in() -> None:
    _KEYS.unlink()
    guest = pwd.getpwnam(_GUEST).pw_uid
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == guest:
                os.kill(int(process.name), signal.SIGTERM)


def _is_locked() -> str | None:
    """sshd without PAM lets nobody in whose password begins with "!"; "*" fits no password."""
    entry = attempt("getent", "shadow", _GUEST).stdout
    return None if entry.startswith(f"{_GUEST}:*:") else f"let {_GUEST} in by its key"
