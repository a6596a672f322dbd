"""A real Debian with systemd and sshd, booted for a test, and the laptop that deploys to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.deploy.debian_tree import NoVpsError, cache, origins, tree, wheels
from tests.deploy.network import Network

_ASKS_FOR_REBOOT = 133
"""nspawn's exit code, with --keep-unit."""
_SSH_OPTIONS = (
    "-o BatchMode=yes -o ConnectTimeout=5 "
    # One connection for all of them: a login costs a quarter of a second. It ends with the machine.
    "-o ControlMaster=auto -o ControlPath=connection -o ControlPersist=60"
)


class Vps:
    """The machine. Its disk is a throw-away layer over the tree that is kept."""

    def __init__(self, folder: Path, lock: Path, release: str = "") -> None:
        self.root, self._release = folder / "root", release
        self.root.mkdir(parents=True)
        self._disk = _disk(folder)
        self.own_disk = self._disk is not None
        """Whether it has a disk of its own, which can be filled."""
        layer = self._disk or folder
        for name in ("upper", "work"):
            (layer / name).mkdir()
        base = tree(release=release)
        mounted = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o",
             f"lowerdir={base},upperdir={layer / 'upper'},workdir={layer / 'work'}", self.root],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if mounted.returncode:
            if self._disk:
                subprocess.run(["umount", "--lazy", self._disk], check=False)
            raise NoVpsError(f"no layered disk here: {mounted.stderr.strip()}")
        self.network = Network(cache() / "packages")
        self._log = folder / "console.log"
        self._console = self._log.open("wb")
        self._process: subprocess.Popen[bytes] | None = None
        python = subprocess.run(
            ["chroot", base, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        self._wheels = wheels(lock, python)
        self._write("etc/apt/sources.list", "".join(f"{o.line}\n" for o in origins(release)))
        self._write(
            "etc/apt/apt.conf.d/00test",
            'Acquire::http::Proxy "http://127.0.0.1:3142";\nAcquire::Check-Date "false";\n'
            'Acquire::Check-Valid-Until "false";\nAcquire::Languages "none";\n',
        )
        # Nobody trusts this disk after the test, so dpkg need not wait for it.
        self._write("etc/dpkg/dpkg.cfg.d/test", "force-unsafe-io\n")
        self._write("etc/pip.conf", "[global]\nno-index = true\nfind-links = /srv/wheels\n")
        self._write("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 vps\n")
        self._write("etc/hostname", "vps\n")

    def _write(self, path: str, text: str, mode: int = 0o644) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def admit(self, public_key: str) -> None:
        """Let the owner of a key in as root."""
        (self.root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
        self._write("root/.ssh/authorized_keys", public_key, 0o600)

    def host_key(self) -> str:
        """What the provider would show as the machine's identity."""
        return (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()

    def boot(self) -> None:
        """Switch it on."""
        self._process = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit",
             f"--directory={self.root}", f"--machine=quant-test-{self._release}{os.getpid()}",
             f"--network-namespace-path={self.network.machine.path}", "--capability=CAP_NET_ADMIN",
             "--link-journal=no", "--resolv-conf=off", "--timezone=off",
             f"--bind-ro={self._wheels}:/srv/wheels"],
            stdin=subprocess.DEVNULL, stdout=self._console, stderr=self._console,
        )  # fmt: skip

    def boot_again(self) -> None:
        """After it was told to reboot: what only the kernel knew is forgotten."""
        assert self._process
        assert self._process.wait(60) == _ASKS_FOR_REBOOT
        self.network.machine.run("chroot", str(self.root), "nft", "flush", "ruleset")
        self.boot()

    def is_on(self) -> bool:
        """Whether it boots or runs."""
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        """The end of what it wrote on its console."""
        return " / ".join(self._log.read_text(errors="replace").strip().splitlines()[-3:])

    def close(self) -> None:
        """Switch it off and forget its disk."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        self.network.close()
        self._console.close()
        for mounted in (self.root, self._disk):
            if mounted:
                subprocess.run(["umount", "--lazy", mounted], check=False)

    def limit_memory(self) -> bool:
        """Let the machine's systemd limit memory; False where this machine does not lend it that.

        With the older cgroups nspawn keeps them from its guests. They are lent only where nobody
        else here uses the same names: where this machine is not itself run by systemd.
        """
        if Path("/sys/fs/cgroup/cgroup.controllers").exists():
            return True
        memory = Path("/sys/fs/cgroup/memory")
        if not memory.is_dir() or Path("/run/systemd/system").exists() or not self._process:
            return False
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        init = children.read_text().split()[0]
        done = subprocess.run(
            ["nsenter", f"--target={init}", "--mount", "mount", "-o", "remount,rw,bind", memory],
            check=False,
        )
        return done.returncode == 0


def _disk(folder: Path) -> Path | None:
    """A file system of 4 GB in a file that takes only what is used; None where that cannot be."""
    image, disk = folder / "disk.img", folder / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(4_000_000_000)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-F", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, disk], check=False)
    image.unlink()  # the kernel holds on to it until it is unmounted
    return disk if mounted.returncode == 0 else None


class Laptop:
    """Where the commands are typed: a home with an SSH key, and a clone of the project."""

    def __init__(self, folder: Path, project: Path, vps: Vps) -> None:
        self._vps = vps
        self.home, self.repository = folder / "home", folder / "project"
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True, mode=0o700)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / "id_ed25519"], check=True
        )
        vps.admit((ssh / "id_ed25519.pub").read_text())
        port = vps.network.ssh_port
        (ssh / "config").write_text(
            f"Host vps\n  HostName 127.0.0.1\n  Port {port}\n  User root\n"
            f"  IdentityFile {ssh}/id_ed25519\n  UserKnownHostsFile {ssh}/known_hosts\n"
        )
        (ssh / "known_hosts").write_text(f"[127.0.0.1]:{port} {vps.host_key()}")
        self.environment = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "TZ": "UTC",
        }
        self._copy(project)
        self.git("init", "-q", "-b", "main")
        self.commit("as it is")

    def _copy(self, project: Path) -> None:
        listed = subprocess.run(
            ["git", "-C", project, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if listed.returncode:
            skipped = {".venv", ".git", "var", "build", "dist"}
            found = [p for p in project.rglob("*") if p.is_file()]
            names = [p.relative_to(project) for p in found]
            names = [n for n in names if n.parts[0] not in skipped]
        else:
            names = [Path(n) for n in listed.stdout.split("\0") if n]
        for name in names:
            if (project / name).is_file() and name.parts[0] != "tests":
                (self.repository / name).parent.mkdir(parents=True, exist_ok=True)
                (self.repository / name).write_bytes((project / name).read_bytes())

    def git(self, *arguments: str) -> str:
        """Git in the clone."""
        named = ("-c", "user.name=Test", "-c", "user.email=test@localhost")
        return subprocess.run(
            ["git", *named, *arguments], cwd=self.repository, env=self.environment,
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    def write(self, name: str, text: str) -> None:
        """A file in the clone."""
        (self.repository / name).parent.mkdir(parents=True, exist_ok=True)
        (self.repository / name).write_text(text)

    def change(self, name: str, old: str, new: str) -> None:
        """Replace some text in a file of the clone."""
        text = (self.repository / name).read_text()
        assert old in text, f"{name} no longer holds {old!r}"
        self.write(name, text.replace(old, new, 1))

    def commit(self, message: str) -> str:
        """Commit all that was changed; the version that a deploy will give it."""
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("log", "-1", "--format=%cd-%h", "--date=format-local:%Y%m%d-%H%M%S").strip()

    def start(
        self, *arguments: str, stdin: str | None = None, hosts: str = "vps"
    ) -> subprocess.Popen[str]:
        """A fab command that goes on by itself."""
        started = subprocess.Popen(
            [sys.executable, "-m", "fabric", "--search-root", "deploy", "--hosts", hosts,
             *arguments],
            cwd=self.repository, env=self.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert started.stdin
        started.stdin.write(stdin or "")
        started.stdin.close()
        started.stdin = None
        return started

    def fab(
        self, *arguments: str, stdin: str | None = None, timeout: float = 300, hosts: str = "vps"
    ) -> Said:
        """A fab command to its end."""
        began = time.monotonic()
        started = self.start(*arguments, stdin=stdin, hosts=hosts)
        try:
            out, _ = started.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            started.kill()
            out, _ = started.communicate()
            raise AssertionError(f"{arguments} took longer than {timeout} s:\n{out}") from None
        seconds = time.monotonic() - began
        print(f"$ fab {' '.join(arguments)}  # {seconds:.1f} s\n{out}", flush=True)
        return Said(out, started.returncode)

    @staticmethod
    def hear(started: subprocess.Popen[str], words: str) -> str:
        """Read what a command prints until it has said that; what it said so far."""
        said = ""
        assert started.stdout
        while words not in said:
            line = started.stdout.readline()
            assert line, f"it ended without {words!r}:\n{said}"
            said += line
        return said

    def python(self, script: str) -> str:
        """A Python program on the VPS, as root."""
        return self.ssh("python3 -", stdin=script)

    def ssh(self, command: str, check: bool = True, stdin: str = "") -> str:
        """A command on the VPS, by the system's own ssh."""
        done = subprocess.run(
            ["ssh", "-F", self.home / ".ssh/config", *_SSH_OPTIONS.split(), "vps", command],
            env=self.environment, capture_output=True, text=True, check=False, timeout=120,
            input=stdin,
            cwd=self.home,  # a socket's whole path may be too long
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout + ("" if check else done.stderr)

    def wait_for_boot(self, before: str = "") -> str:
        """Wait until the machine lets us in, with another boot id than `before`; returns it."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                began = self.ssh("systemctl show -P UserspaceTimestampMonotonic")
                if began != before:
                    return began
            if not self._vps.is_on():
                raise NoVpsError(f"systemd-nspawn boots no Debian: {self._vps.last_words()}")
            time.sleep(0.3)
        raise AssertionError("the machine did not boot")


class Said:
    """What a command printed, and how it ended."""

    def __init__(self, text: str, code: int) -> None:
        self.text, self.code = text, code

    def __contains__(self, words: str) -> bool:
        return words in self.text

    def well(self) -> Said:
        """Itself, if the command succeeded."""
        assert self.code == 0, self.text
        return self

    def failed(self) -> Said:
        """Itself, if the command failed as it should."""
        assert self.code == 1, self.text
        return self
