"""From the laptop to the VPS: ``fab -H HOST provision|deploy|rollback|status|backup|restore …``.

Fabric carries files and starts commands over SSH; what happens on the machine is in ``vps/``, which
comes along each time. So a connection that dies in the middle of a deploy does not stop the deploy.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import io
import shlex
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import paramiko
from fabric import Connection, task
from invoke.exceptions import Exit, UnexpectedExit

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
sys.path[:0] = [str(HERE), str(HERE / "vps")]

import secrets_check  # noqa: E402
import systems  # noqa: E402
from places import ProblemError  # noqa: E402

_TOOL = "/opt/quant/tool"
_DIED = (
    "the connection died. What was begun on the machine goes on there; the same command again "
    "waits for it and tells how it ended"
)


@task(help={"dry-run": "only say what would change"})
def provision(c: Connection, dry_run: bool = False) -> None:
    """Make an empty VPS ready; repeatable, changes only what differs, keeps your edits."""
    with _machine(c):
        if dry_run:
            _vps(c, "provision", "--dry-run")
        else:
            _vps(c, "apart", "provision")


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
    version = _committed_version()
    archive = subprocess.run(
        ["git", "-C", REPOSITORY, "archive", "--format=tar.gz", "HEAD"],
        check=True,
        capture_output=True,
    ).stdout
    if found := secrets_check.check_archive(archive):
        raise Exit("\n".join(["refused: there are secrets in the tree", *found]), code=1)
    with _machine(c):
        _upload_or_refuse(c, archive, f"/opt/quant/incoming/{version}.tar.gz")
        options = ["--watch", str(watch)]
        options += ["--now"] if now else []
        options += ["--allow-simulated"] if allow_simulated else []
        _vps(c, "apart", "deploy", version, *options)


@task(help={"version": "where to go back to; the newest that proved good unless said"})
def rollback(c: Connection, version: str = "") -> None:
    """Go back to an earlier version, within seconds; waits for no task."""
    with _machine(c):
        _vps(c, "apart", "rollback", *([version] if version else []))


@task
def status(c: Connection) -> None:
    """Version, uptime, health, last runs, disk, and what is firing."""
    with _machine(c):
        _vps(c, "status")


@task(help={"to": "folder on this computer"})
def backup(c: Connection, to: str = "backups") -> None:
    """Fetch state, reports and config as one archive."""
    folder = Path(to)
    folder.mkdir(parents=True, exist_ok=True)
    remote = f"/var/backups/quant-exporter/{uuid.uuid4().hex}.tar.gz"
    with _machine(c):
        _vps(c, "backup", remote)
        stamp = c.run("date -u +%Y%m%dT%H%M%SZ", hide=True).stdout.strip()
        local = folder / f"quant-{stamp}.tar.gz"
        # Read by root on the other side: the archive is nobody else's to read.
        fetched = _bytes_of(c, f"{_sudo(c)}cat {remote}")
        local.touch(mode=0o600)
        local.write_bytes(fetched)
        c.run(f"{_sudo(c)}rm -f {remote}", hide=True)
    print(f"saved as {local}")


@task(help={"file": "an archive that `backup` made"})
def restore(c: Connection, file: str) -> None:
    """Put a backup back; what is there now is saved first, and nothing runs a second time."""
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise Exit(f"{file}: {error.strerror}", code=1) from error
    remote = f"/var/backups/quant-exporter/{uuid.uuid4().hex}.tar.gz"
    with _machine(c):
        _upload_or_refuse(c, content, remote)
        try:
            _vps(c, "apart", "restore", remote)
        finally:
            c.run(f"{_sudo(c)}rm -f {remote}", hide=True)


@task(
    help={
        "name": "as in exporter.yml's api_key_env, for example TICKDB_API_KEY",
        "remove": "delete it instead",
    }
)
def secret(c: Connection, name: str, remove: bool = False) -> None:
    """Store a secret on the VPS; it is asked for, or comes from standard input."""
    if remove:
        with _machine(c):
            _vps(c, "credential", "--remove", name)
        return
    value = getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read()
    with _machine(c):
        _vps(c, "credential", name, stdin=value)


@task(help={"user": "the login's name"})
def password(c: Connection, user: str = "quant") -> None:
    """Set the login of the web pages; the password comes from standard input or is asked for."""
    value = getpass.getpass(f"password of {user}: ") if sys.stdin.isatty() else sys.stdin.readline()
    with _machine(c):
        _vps(c, "login", user, stdin=value.strip() + "\n")


@task(help={"email": "where Let's Encrypt writes to"})
def domain(c: Connection, domain: str, email: str) -> None:
    """Get a certificate for a domain that points to the VPS."""
    with _machine(c):
        _vps(c, "domain", domain, email)


@contextlib.contextmanager
def _machine(c: Connection) -> Iterator[None]:
    """Connected to a host that is known; its tool folder is this tree's."""
    _connect(c)
    try:
        _send_tool(c)
        yield
    except (EOFError, OSError, paramiko.SSHException) as error:
        raise Exit(f"{_DIED} ({error or type(error).__name__})", code=1) from error
    finally:
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
            c.close()


def _connect(c: Connection) -> None:
    if not isinstance(c, Connection):
        raise Exit("say which machine: fab -H HOST …, or make … HOST=…", code=2)
    # Fabric would accept any host key; a deploy goes to the machine that is meant, or nowhere.
    c.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    for known in (Path("/etc/ssh/ssh_known_hosts"), Path.home() / ".ssh/known_hosts"):
        if known.exists():
            c.client.load_system_host_keys(str(known))
    try:
        c.open()
    except paramiko.SSHException as error:
        raise Exit(
            f"{c.host}: {error}. If you have not been there before: ssh {c.host}, compare the "
            "fingerprint with the one your provider shows, and say yes",
            code=1,
        ) from error
    try:
        systems.need_a_system_we_know(c.run("cat /etc/os-release", hide=True, warn=True).stdout)
    except ProblemError as problem:
        raise Exit(f"refused: {problem}", code=1) from problem


def _send_tool(c: Connection) -> None:
    """Have this tree's tool on the machine; where it takes nothing, the one that is there does."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted((HERE / "vps").glob("*.py")):
            archive.add(path, path.name, filter=_anonymous)
        for folder in ("files", "systemd"):
            archive.add(HERE / folder, folder, filter=_anonymous)
    content = packed.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    there = c.run(f"cat {_TOOL}/.digest", hide=True, warn=True).stdout.strip()
    if there == digest:
        return
    try:
        _upload(c, content, f"{_TOOL}.tar")
        c.run(
            f"{_sudo(c)}sh -c 'rm -rf {_TOOL}.new && mkdir -p {_TOOL} {_TOOL}.new && "
            f"tar -xf {_TOOL}.tar -C {_TOOL}.new --no-same-owner && "
            f"chmod -R u=rwX,go=rX {_TOOL}.new && echo {digest} > {_TOOL}.new/.digest && "
            f"rm -rf {_TOOL} && mv {_TOOL}.new {_TOOL} && rm {_TOOL}.tar'",
            hide=True,
        )
    except (OSError, UnexpectedExit) as error:
        if not there or not c.is_connected:
            raise Exit(f"{c.host} takes no files: {error}", code=1) from error
        print("the machine takes no new files (is its disk full?); its own tool is used")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whose file it is here, and since when, is nobody's business: equal trees make equal bytes."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def _upload(c: Connection, content: bytes, path: str) -> None:
    """Put bytes where only root may write; a half upload is never taken for a whole one. Raises
    OSError or UnexpectedExit when the machine does not take them."""
    draft = f"/tmp/quant-{uuid.uuid4().hex}"  # noqa: S108  a random name, moved at once
    c.run(f"umask 077 && : > {draft}", hide=True)
    c.put(io.BytesIO(content), draft)
    folder = shlex.quote(str(Path(path).parent))
    c.run(
        f"{_sudo(c)}sh -c 'mkdir -p {folder} && chown root:root {draft} && chmod 600 {draft} && "
        f"mv {draft} {shlex.quote(path)} || {{ rm -f {draft} {shlex.quote(path)}; exit 1; }}'",
        hide=True,
    )


def _upload_or_refuse(c: Connection, content: bytes, path: str) -> None:
    try:
        _upload(c, content, path)
    except (OSError, UnexpectedExit) as error:
        if not c.is_connected:
            raise
        said = error.result.stderr.strip() if isinstance(error, UnexpectedExit) else str(error)
        raise Exit(
            f"refused: {c.host} does not take the upload ({said}); nothing was changed. Is its "
            "disk full? `status` shows it",
            code=1,
        ) from error


def _vps(c: Connection, *arguments: str, stdin: str | None = None) -> None:
    """Run the machine's tool as root and pass its exit code on."""
    command = f"{_sudo(c)}python3 -I {_TOOL} {shlex.join(arguments)}"
    given = io.StringIO(stdin) if stdin is not None else False
    result = c.run(command, warn=True, pty=False, in_stream=given)
    if result.exited < 0:
        raise EOFError
    if result.exited:
        raise Exit(code=1)


def _bytes_of(c: Connection, command: str) -> bytes:
    _, out, _ = c.client.exec_command(command)
    content: bytes = out.read()
    if out.channel.recv_exit_status():
        raise Exit("the archive could not be fetched", code=1)
    return content


def _sudo(c: Connection) -> str:
    return "" if c.user == "root" else "sudo -n "


def _committed_version() -> str:
    """Commit time and short hash. Refuses a tree with changes: a version must be findable again."""
    if dirty := _git("status", "--porcelain", "--untracked-files=no").strip():
        raise Exit(
            "refused: these changes are not committed, so there would be no way back to them:\n"
            f"{dirty}\ncommit them first",
            code=1,
        )
    return _git("log", "-1", "--format=%cd-%h", "--date=format-local:%Y%m%d-%H%M%S").strip()


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(REPOSITORY), *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={"TZ": "UTC", "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home())},
    ).stdout
