"""What the machine should have, in the order in which it is brought about.

The firewall comes before anything that listens; Prometheus and Alertmanager get their settings
before their packages, so that they never run with Debian's.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from desired import Enabled, File, Folder, Packages, Step, Thing, User, bring_about
from places import (
    BACKUPS,
    CREDENTIALS,
    CURRENT,
    ETC,
    GRAFANA_PASSWORD,
    HISTORY,
    INCOMING,
    PAGER_SECRETS,
    RELEASES,
    STATE,
    TOOL,
    UNIT,
    USER,
)
from shell import attempt, credentials, run, say
from systems import need_a_system_we_know

_FILES = TOOL / "files"
_UNITS = TOOL / "systemd"
_SYSTEMD = Path("/etc/systemd/system")
_TLS = ETC / "tls"

_PROMETHEUS = """\
# Written by quant-exporter's provision; yours to edit.
ARGS="--config.file=/opt/quant/current/prometheus/prometheus.yml \
--web.listen-address=127.0.0.1:9090 --storage.tsdb.retention.time=400d \
--storage.tsdb.retention.size=8GB"
"""
_ALERTMANAGER = """\
# Written by quant-exporter's provision; yours to edit.
ARGS="--config.file=/opt/quant/current/alerting/alertmanager.yml \
--web.listen-address=127.0.0.1:9093 --cluster.listen-address="
"""
_UPGRADES = """\
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
Unattended-Upgrade::Automatic-Reboot "false";
"""
_NEEDRESTART = """\
# Written by quant-exporter's provision: an upgrade of a library is no reason to end a run.
$nrconf{override_rc}{qr(^quant-)} = 0;
"""
_JOURNALD = "[Journal]\nStorage=persistent\nSystemMaxUse=500M\nMaxRetentionSec=1month\n"


def provision(*, dry_run: bool) -> int:
    """Bring it all about, or say what would change; how many things differed."""
    need_a_system_we_know(Path("/etc/os-release").read_text())
    changes = bring_about(_things(), dry_run=dry_run)
    mode = "would change" if dry_run else "changed"
    say(f"{changes} {'thing' if changes == 1 else 'things'} {mode}" if changes else "nothing to do")
    return changes


def _things() -> list[Thing]:
    reload_units = ["systemctl daemon-reload"]
    units = [
        File(_SYSTEMD / unit.name, unit.read_text(), then=reload_units)
        for unit in sorted(_UNITS.iterdir())
    ]
    return [
        Packages(["nftables"]),
        Folder(ETC),
        File(
            ETC / "firewall.nft",
            (_FILES / "firewall.nft").read_text(),
            then=["systemctl try-reload-or-restart quant-firewall.service"],
        ),
        *units,
        Enabled("quant-firewall.service"),
        *_settings_of_servers(),
        Packages(_packages()),
        *_grafana(),
        User(USER, STATE),
        *_folders(),
        Enabled("quant-programs.socket"),
        Enabled(UNIT, now=False),
        _credentials_drop_in(),
        *_web(),
        *_upkeep(),
    ]


def _packages() -> list[str]:
    names = [
        "python3", "python3-venv", "nginx", "openssl", "prometheus",
        "prometheus-alertmanager", "unattended-upgrades", "logrotate",
    ]  # fmt: skip
    # A machine that keeps its time with chrony goes on with chrony.
    if not Path("/usr/sbin/chronyd").exists():
        names.append("systemd-timesyncd")
    if _has_grafana():
        names.append("grafana")
    return names


def _settings_of_servers() -> list[Thing]:
    things: list[Thing] = []
    for unit, arguments, config in (
        ("prometheus", _PROMETHEUS, "prometheus/prometheus.yml"),
        ("prometheus-alertmanager", _ALERTMANAGER, "alerting/alertmanager.yml"),
    ):
        waits = f"[Unit]\nConditionPathExists={CURRENT / config}\n"
        restart = [f"systemctl try-restart {unit}.service"]
        things += [
            File(
                _SYSTEMD / f"{unit}.service.d/quant.conf",
                waits,
                then=["systemctl daemon-reload", *restart],
            ),
            File(Path(f"/etc/default/{unit}"), arguments, then=restart),
        ]
    return things


def _has_grafana() -> bool:
    """Whether Grafana's package source is configured; Debian itself has no package of it."""
    asked = attempt("apt-cache", "policy", "grafana").stdout
    return "Candidate: " in asked and "Candidate: (none)" not in asked


def _grafana() -> list[Thing]:
    """Its settings, its password, and the dashboards of whatever release is current."""
    if not _has_grafana():
        return []
    restart = ["systemctl daemon-reload", "systemctl try-restart grafana-server.service"]
    boards = Path("/etc/grafana/quant-dashboards")
    made = Path("/opt/quant/current/grafana/dashboards")
    password = GRAFANA_PASSWORD
    return [
        Step(
            lambda: None if password.exists() else f"make a password for Grafana in {password}",
            lambda: _guarded(password, secrets.token_urlsafe(24), "grafana"),
        ),
        Step(
            lambda: None if boards.is_symlink() else f"link {boards} to the dashboards",
            lambda: boards.symlink_to(made),
        ),
        File(
            _SYSTEMD / "grafana-server.service.d/quant.conf",
            (_FILES / "grafana.conf").read_text(),
            then=restart,
        ),
        Enabled("grafana-server.service"),
    ]


def _folders() -> list[Thing]:
    log_link = STATE / "log"
    return [
        Folder(RELEASES),
        Folder(INCOMING, mode=0o700),
        Folder(CREDENTIALS, mode=0o700),
        Folder(PAGER_SECRETS, group="prometheus", mode=0o750),
        Folder(HISTORY.parent, mode=0o700),
        Folder(BACKUPS, USER, USER, 0o700),
        Folder(STATE, USER, USER, 0o750),
        Step(
            lambda: None if log_link.is_symlink() else f"link {log_link} to the logs",
            lambda: log_link.symlink_to("/var/log/quant-exporter"),
        ),
    ]


def _credentials_drop_in() -> File:
    """One LoadCredential= line for each secret that is here."""
    names = [f"LoadCredential={c.name}:{c}" for c in credentials()]
    return File(
        _SYSTEMD / f"{UNIT}.d/credentials.conf",
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
            _guarded(copy, text, "prometheus")
    return missing


def _web() -> list[Thing]:
    reload = ["systemctl reload-or-restart nginx.service"]
    certificate, key = _TLS / "fullchain.pem", _TLS / "privkey.pem"
    enabled, shipped = (
        Path("/etc/nginx/sites-enabled/quant"),
        Path("/etc/nginx/sites-enabled/default"),
    )

    def sign_ourselves() -> None:
        old_mask = os.umask(0o077)
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "3650", "-subj", "/CN=quant-exporter", "-keyout", key,
            "-out", certificate,
        )  # fmt: skip
        os.umask(old_mask)

    def enable() -> None:
        shipped.unlink(missing_ok=True)
        enabled.symlink_to("../sites-available/quant")
        run("nginx", "-t", "-q")
        run("systemctl", "reload-or-restart", "nginx.service")

    return [
        Folder(_TLS, mode=0o700),
        Folder(Path("/var/www/quant-acme")),
        Step(
            lambda: None if certificate.exists() else "make a certificate signed by itself",
            sign_ourselves,
        ),
        # Empty at first: nobody gets in until `password` was run.
        Step(
            lambda: None if (ETC / "login").exists() else f"write {ETC / 'login'}, with nobody",
            lambda: _guarded(ETC / "login", "", "www-data"),
        ),
        File(
            Path("/etc/nginx/sites-available/quant"),
            (_FILES / "nginx-site.conf").read_text(),
            then=reload,
        ),
        Step(lambda: None if enabled.is_symlink() else "let nginx serve the site", enable),
        Enabled("nginx.service"),
    ]


def _upkeep() -> list[Thing]:
    time_sync = "chrony" if Path("/usr/sbin/chronyd").exists() else "systemd-timesyncd"
    needrestart = Path("/etc/needrestart/conf.d")
    return [
        *([File(needrestart / "quant.conf", _NEEDRESTART)] if needrestart.is_dir() else []),
        File(Path("/etc/apt/apt.conf.d/52quant-upgrades"), _UPGRADES),
        File(
            Path("/etc/systemd/journald.conf.d/quant.conf"),
            _JOURNALD,
            then=["systemctl restart systemd-journald.service"],
        ),
        Enabled(f"{time_sync}.service"),
    ]


def _guarded(path: Path, text: str, group: str) -> None:
    """Write a file that only root and one group may read."""
    File(path, text, mode=0o640, group=group).mend()


def set_login(name: str, password: str) -> None:
    """The one login of the web pages; the password is hashed by openssl, given on its stdin."""
    hashed = run("openssl", "passwd", "-6", "-stdin", stdin=password).strip()
    _guarded(ETC / "login", f"{name}:{hashed}\n", "www-data")
    say(f"{name} may log in")


def use_domain(domain: str, email: str) -> None:
    """A certificate by Let's Encrypt; certbot's timer renews it from then on."""
    bring_about([Packages(["certbot"])], dry_run=False)
    run(
        "certbot", "certonly", "--webroot", "-w", "/var/www/quant-acme", "-d", domain,
        "-m", email, "--agree-tos", "--non-interactive", "--keep-until-expiring",
        "--deploy-hook", "systemctl reload nginx",
    )  # fmt: skip
    for name in ("fullchain.pem", "privkey.pem"):
        link = _TLS / name
        link.unlink(missing_ok=True)
        link.symlink_to(f"/etc/letsencrypt/live/{domain}/{name}")
    run("systemctl", "reload-or-restart", "nginx.service")
    say(f"https://{domain}/ has its certificate")
