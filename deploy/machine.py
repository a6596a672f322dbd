"""The VPS, over SSH: a host that is known, and a login that may act as root there."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import io
import shlex
import socket
import sys
import tarfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import paramiko
from fabric import Connection
from invoke.exceptions import Exit, UnexpectedExit

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "vps")]

import systems  # noqa: E402
from places import ProblemError  # noqa: E402

_TOOL = "/opt/quant/tool"
_CLOCKS_APART_SECONDS = 30.0
_DIED = (
    "the connection died. What was begun on the machine goes on there; the same command again "
    "waits for it and tells how it ended"
)
_LEFT = (
    "\nyou no longer watch. What was begun on the machine goes on there; the same command again "
    "waits for its end, `status` shows how it stands, and `rollback` ends it"
)


@contextlib.contextmanager
def connected(c: Connection) -> Iterator[None]:
    """Connected to a host that is known; its tool folder is this tree's."""
    if not isinstance(c, Connection):
        raise Exit("say which machine: fab -H HOST …, or make … HOST=…", code=2)
    _open(c)
    try:
        _look_around(c)
        _send_tool(c)
        yield
    except (EOFError, OSError, paramiko.SSHException) as error:
        raise Exit(f"{_DIED} ({error or type(error).__name__})", code=1) from error
    finally:
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
            c.close()


def _open(c: Connection) -> None:
    # Fabric would accept any host key; a deploy goes to the machine that is meant, or nowhere.
    hop = c
    while isinstance(hop, Connection):
        _know_hosts(hop)
        hop = hop.gateway
    c.connect_timeout = c.connect_timeout or 15
    try:
        c.open()
    except (OSError, paramiko.SSHException) as error:
        raise Exit(_why_not(c, error), code=1) from error
    c.transport.set_keepalive(15)


def _know_hosts(c: Connection) -> None:
    c.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    own = c.ssh_config.get("userknownhostsfile", "~/.ssh/known_hosts").split()
    for name in ("/etc/ssh/ssh_known_hosts", *own):
        known = Path(name.strip('"').replace("%d", "~")).expanduser()
        if known.is_file():
            c.client.load_system_host_keys(str(known))


def _why_not(c: Connection, error: Exception) -> str:
    """A sentence for a connection that did not come about."""
    name, there = c.original_host, f"{c.host}:{c.port}"
    if isinstance(error, paramiko.BadHostKeyException):
        known = c.host if c.port == 22 else f"'[{c.host}]:{c.port}'"
        return (
            f"{there} shows another host key than the one you know. Was the machine installed "
            "anew? Compare the fingerprint with the one your provider shows, then forget the old "
            f"one (ssh-keygen -R {known}). Until then nothing is sent"
        )
    if isinstance(error, paramiko.PasswordRequiredException):
        return (
            f"{there}: your key is protected by a passphrase (good): hand it to the agent first: "
            "ssh-add, or ssh-add FILE"
        )
    if isinstance(error, paramiko.AuthenticationException):
        return (
            f"{there} does not let {c.user} in with the keys that are here. Try `ssh {name}`; "
            "say User and IdentityFile in ~/.ssh/config, and hand a key that has a passphrase to "
            "the agent: ssh-add"
        )
    if isinstance(error, socket.gaierror):
        return f"{name}: no such machine; name it in ~/.ssh/config, or write its address"
    if isinstance(error, paramiko.SSHException) and "known_hosts" in str(error):
        return (
            f"{error}. If you have not been there before: ssh {name}, compare the fingerprint "
            "with the one your provider shows, and say yes"
        )
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        error = next(iter(error.errors.values()))
    return (
        f"{there} does not answer ({error or type(error).__name__}). Is this computer online, and "
        f"the machine up? `ssh {name}` must work first"
    )


def _look_around(c: Connection) -> None:
    """Is this a system that will do, and a login that may act as root?"""
    asked = time.time()
    ask = "cat /etc/os-release; echo; date +now=%s; command -v python3 >/dev/null && echo python"
    said = c.run(f"{ask}; {sudo(c)}true && echo root", hide=True, warn=True, in_stream=False)
    system, _, rest = said.stdout.partition("\nnow=")
    try:
        systems.need_a_system_we_know(system)
    except ProblemError as problem:
        raise Exit(f"refused: {problem}", code=1) from problem
    now, *found = rest.split()
    if "root" not in found:
        raise Exit(
            f"refused: {c.user} may not use sudo without a password on {c.host}. Log in as root "
            f"(User root in ~/.ssh/config), or let it, as root there: echo '{c.user} "
            f"ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{c.user}",
            code=1,
        )
    if "python" not in found:
        raise Exit(f"refused: {c.host} has no python3: apt-get install python3 there", code=1)
    apart = float(now) - (asked + time.time()) / 2
    if abs(apart) > _CLOCKS_APART_SECONDS:
        print(
            f"note: the clock of {c.host} is {abs(apart):.0f} s "
            f"{'ahead of' if apart > 0 else 'behind'} this computer's. Tasks run by the "
            "machine's: see `timedatectl` there"
        )


def _send_tool(c: Connection) -> None:
    """Have this tree's tool on the machine; where it takes nothing, the one that is there does.

    Each lies in a folder of its own, so that what still runs keeps its own.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted((HERE / "vps").glob("*.py")):
            archive.add(path, path.name, filter=_anonymous)
        for folder in (HERE / "files", HERE / "systemd", HERE.parent / "logging/loki"):
            archive.add(folder, folder.name, filter=_anonymous)
    content = packed.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:16]
    there = c.run(f"readlink {_TOOL}", hide=True, warn=True, in_stream=False).stdout.strip()
    mine = f"{_TOOL}-{digest}"
    if there == mine:
        return
    try:
        upload(c, content, f"{_TOOL}.tar")
        c.run(
            f"{sudo(c)}sh -ec '[ -d {mine} ] || {{ rm -rf {mine}.new; mkdir {mine}.new; "
            f"tar -xf {_TOOL}.tar -C {mine}.new --no-same-owner; "
            f"chmod -R u=rwX,go=rX {mine}.new; mv {mine}.new {mine}; }}; rm {_TOOL}.tar; "
            f"[ -L {_TOOL} ] || rm -rf {_TOOL}; "
            f"ln -sfn {mine} {_TOOL}.link; mv -T {_TOOL}.link {_TOOL}; "
            f'find /opt/quant -maxdepth 1 -name "tool-*" -mtime +7 ! -path {mine} '
            "-exec rm -rf {} +'",
            hide=True,
            in_stream=False,
        )
    except (OSError, UnexpectedExit) as error:
        if not there or not c.is_connected:
            raise Exit(f"{c.host} takes no files: {_said(error)}", code=1) from error
        print("the machine takes no new files (is its disk full?); its own tool is used")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whose file it is here, and since when, is nobody's business: equal trees make equal bytes."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def upload(c: Connection, content: bytes, path: str) -> None:
    """Put bytes where only root may write; a half upload is never taken for a whole one. Raises
    OSError or UnexpectedExit when the machine does not take them."""
    draft = f"/tmp/quant-{uuid.uuid4().hex}"  # noqa: S108  a random name, moved at once
    c.run(f"umask 077 && : > {draft}", hide=True, in_stream=False)
    c.put(io.BytesIO(content), draft)
    folder = shlex.quote(str(Path(path).parent))
    c.run(
        f"{sudo(c)}sh -c 'mkdir -p {folder} && chown root:root {draft} && chmod 600 {draft} && "
        f"mv {draft} {shlex.quote(path)} || {{ rm -f {draft} {shlex.quote(path)}; exit 1; }}'",
        hide=True,
        in_stream=False,
    )


def upload_or_refuse(c: Connection, content: bytes, path: str) -> None:
    """The same. A machine that does not take it is said, with exit code 1."""
    try:
        upload(c, content, path)
    except (OSError, UnexpectedExit) as error:
        if not c.is_connected:
            raise
        raise Exit(
            f"refused: {c.host} does not take the upload ({_said(error)}); nothing was changed. "
            "Is its disk full? `status` shows it",
            code=1,
        ) from error


def _said(error: Exception) -> str:
    return error.result.stderr.strip() if isinstance(error, UnexpectedExit) else str(error)


def vps(c: Connection, *arguments: str, stdin: str = "") -> None:
    """Run the machine's tool as root, show what it says, and pass its exit code on."""
    channel = c.transport.open_session()
    channel.set_combine_stderr(True)
    channel.exec_command(f"{sudo(c)}python3 -I {_TOOL} {shlex.join(arguments)}")
    channel.sendall(stdin.encode())
    channel.shutdown_write()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    try:
        while data := channel.recv(65536):
            print(decoder.decode(data), end="", flush=True)
        code = channel.recv_exit_status()
    except KeyboardInterrupt as error:
        raise Exit(_LEFT, code=1) from error
    if code < 0:
        raise EOFError
    if code:
        raise Exit(code=1)


def bytes_of(c: Connection, path: str) -> bytes:
    """A file that only root may read."""
    _, out, _ = c.client.exec_command(f"{sudo(c)}cat {shlex.quote(path)}")
    content: bytes = out.read()
    if out.channel.recv_exit_status():
        raise Exit(f"{path} could not be fetched", code=1)
    return content


def sudo(c: Connection) -> str:
    """What a command of root's begins with."""
    return "" if c.user == "root" else "sudo -n "
