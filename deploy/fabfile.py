"""From the laptop to the VPS: ``fab -H HOST provision|deploy|rollback|status|backup|restore …``.

Fabric carries files and starts commands over SSH; what happens on the machine is in ``vps/``, which
comes along each time. So a connection that dies in the middle of a deploy does not stop the deploy.
"""

from __future__ import annotations

import getpass
import sys
import uuid
from pathlib import Path

from fabric import Connection, task
from invoke.exceptions import Exit

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import committed  # noqa: E402
import wanted  # noqa: E402
from machine import bytes_of, connected, sudo, upload_or_refuse, vps  # noqa: E402


@task(
    help={
        "dry-run": "only say what would change",
        "settings": f"what this machine gets besides the basics; {wanted.FILE} unless said",
    }
)
def provision(c: Connection, dry_run: bool = False, settings: str = wanted.FILE) -> None:
    """Make an empty VPS ready; repeatable, changes only what differs, keeps your edits."""
    asked = wanted.wanted(committed.REPOSITORY / settings)
    remote = f"/opt/quant/settings-{uuid.uuid4().hex}.json"
    with connected(c):
        upload_or_refuse(c, asked.text.encode(), remote)
        try:
            for package in [] if dry_run else asked.packages:
                _send_package(c, package)
            how = ["provision", "--dry-run"] if dry_run else ["apart", "provision"]
            vps(c, *how, "--settings", remote)
        finally:
            c.run(f"{sudo(c)}rm -f {remote}", hide=True, in_stream=False)


def _send_package(c: Connection, package: wanted.Package) -> None:
    """One that the machine has not got yet."""
    there = package.there
    known = f"test -e {there} || grep -qsxF {Path(there).name} {wanted.KNOWN_PACKAGES}"
    if c.run(f"{sudo(c)}sh -c '{known}'", hide=True, warn=True, in_stream=False).failed:
        print(f"sending {package.file.name}")
        upload_or_refuse(c, package.file.read_bytes(), there)


@task(
    help={
        "now": "do not wait for tasks that must not be interrupted",
        "allow-simulated": "deploy although the prices are simulated",
        "watch": "seconds to watch the new version before it counts as good",
    }
)
def deploy(
    c: Connection, now: bool = False, allow_simulated: bool = False, watch: float = 30.0
) -> None:
    """Put the committed version on the VPS; a version that is not well is rolled back by itself."""
    import secrets_check  # its patterns take longer than all the rest of a command's start

    version, archive = committed.version(), committed.archive()
    if found := secrets_check.check_archive(archive, committed.own_file("quant-without-secrets")):
        raise Exit("\n".join(["refused: there are secrets in the tree", *found]), code=1)
    with connected(c):
        upload_or_refuse(c, archive, f"/opt/quant/incoming/{version}.tar.gz")
        options = ["--watch", str(watch)]
        options += ["--now"] if now else []
        options += ["--allow-simulated"] if allow_simulated else []
        vps(c, "apart", "deploy", version, *options)


@task(help={"version": "where to go back to; the newest that proved good unless said"})
def rollback(c: Connection, version: str = "") -> None:
    """Go back to an earlier version, within seconds; waits for no task."""
    with connected(c):
        vps(c, "apart", "rollback", *([version] if version else []))


@task
def status(c: Connection) -> None:
    """Version, uptime, health, last runs, disk, and what is firing."""
    with connected(c):
        vps(c, "status")


@task(help={"to": "folder on this computer"})
def backup(c: Connection, to: str = "backups") -> None:
    """Fetch state, reports and config as one archive."""
    folder = Path(to)
    folder.mkdir(parents=True, exist_ok=True)
    remote = f"/var/backups/quant-exporter/{uuid.uuid4().hex}.tar.gz"
    with connected(c):
        vps(c, "backup", remote)
        stamp = c.run("date -u +%Y%m%dT%H%M%SZ", hide=True, in_stream=False).stdout.strip()
        local = folder / f"quant-{stamp}.tar.gz"
        # Read by root on the other side: the archive is nobody else's to read.
        fetched = bytes_of(c, remote)
        local.touch(mode=0o600)
        local.write_bytes(fetched)
        c.run(f"{sudo(c)}rm -f {remote}", hide=True, in_stream=False)
    print(f"saved as {local}")


@task(
    help={
        "file": "an archive that `backup` made",
        "config": "put back its exporter.yml, alerting/ and prometheus/, too",
    }
)
def restore(c: Connection, file: str, config: bool = False) -> None:
    """Put a backup back; what is there now is saved first, and nothing runs a second time."""
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise Exit(f"{file}: {error.strerror}", code=1) from error
    remote = f"/var/backups/quant-exporter/{uuid.uuid4().hex}.tar.gz"
    with connected(c):
        upload_or_refuse(c, content, remote)
        try:
            vps(c, "apart", "restore", remote, *(["--config"] if config else []))
        finally:
            c.run(f"{sudo(c)}rm -f {remote}", hide=True, in_stream=False)


@task(
    help={
        "name": "as in exporter.yml's api_key_env, for example TICKDB_API_KEY",
        "remove": "delete it instead",
    }
)
def secret(c: Connection, name: str, remove: bool = False) -> None:
    """Store a secret on the VPS; it is asked for, or comes from standard input."""
    if remove:
        with connected(c):
            vps(c, "credential", "--remove", name)
        return
    value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read()
    with connected(c):
        vps(c, "credential", name, stdin=value)


@task(help={"user": "the login's name"})
def password(c: Connection, user: str = "quant") -> None:
    """Set the login of the web pages; the password comes from standard input or is asked for."""
    value = getpass.getpass(f"password of {user}: ") if sys.stdin.isatty() else sys.stdin.readline()
    with connected(c):
        vps(c, "login", user, stdin=value.strip() + "\n")


@task(help={"email": "where Let's Encrypt writes to"})
def domain(c: Connection, domain: str, email: str) -> None:
    """Get a certificate for a domain that points to the VPS."""
    with connected(c):
        vps(c, "domain", domain, email)
