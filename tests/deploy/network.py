"""A network for the VPS that touches nothing of this machine's: two namespaces and one cable.

``outside`` is the internet's side. From this machine both are reached through relays on loopback.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
VPS = "10.77.0.2"
_OUTSIDE = "10.77.0.1"


class Namespace:
    """A network namespace, held open by a process that sleeps."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec sleep infinity"],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        self._holder.stdout.readline()
        self.path = f"/proc/{self._holder.pid}/ns/net"

    @property
    def pid(self) -> int:
        return self._holder.pid

    def run(self, *command: str) -> None:
        subprocess.run(["nsenter", f"--net={self.path}", *command], check=True)

    def within(self, function: Callable[[], T]) -> T:
        """Call a function in a thread that has entered the namespace (sockets stay in it)."""
        future: Future[T] = Future()

        def enter() -> None:
            try:
                with Path(self.path).open() as space:
                    if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  raised again where it is asked for
                future.set_exception(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return future.result()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


class Network:
    """The cable between the VPS and the outside, SSH's relay, and the relay to Debian's mirror."""

    def __init__(self, packages: Path) -> None:
        self.machine, self.outside = Namespace(), Namespace()
        self.outside.run(
            "ip", "link", "add", "cable", "type", "veth",
            "peer", "name", "eth0", "netns", str(self.machine.pid),
        )  # fmt: skip
        for space, device, address in (
            (self.machine, "eth0", VPS), (self.outside, "cable", _OUTSIDE),
        ):  # fmt: skip
            space.run("ip", "address", "add", f"{address}/24", "dev", device)
            space.run("ip", "link", "set", device, "up")
        self._relay = socket.create_server(("127.0.0.1", 0))
        self.ssh_port: int = self._relay.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._left: int | None = None
        threading.Thread(target=self._serve_ssh, daemon=True).start()
        mirror = self.machine.within(lambda: socket.create_server(("127.0.0.1", 3142)))
        self._mirror = _mirror(mirror, packages)
        threading.Thread(target=self._mirror.serve_forever, daemon=True).start()

    def connect(self, port: int, timeout: float = 2.0) -> socket.socket:
        """From the outside to a port of the VPS."""
        return self.outside.within(lambda: socket.create_connection((VPS, port), timeout))

    def cut_after(self, count: int) -> None:
        """Every SSH connection dies once that many more bytes went through, either way."""
        self._left = count

    def cut(self) -> None:
        """Every SSH connection dies, as when a laptop is closed."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._relay.close()
        self.cut()
        self._mirror.shutdown()
        self._mirror.server_close()
        self.outside.close()
        self.machine.close()

    def _serve_ssh(self) -> None:
        while True:
            try:
                here, _ = self._relay.accept()
            except OSError:
                return
            try:
                there = self.connect(22)
            except OSError:
                here.close()
                continue
            there.settimeout(None)
            for end in (here, there):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open |= {here, there}
            for source, target in ((here, there), (there, here)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                # sshd sends no second small piece before the first is acknowledged: 40 ms each.
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                target.sendall(data)
                if self._left is not None:
                    self._left -= len(data)
                    if self._left < 0:
                        self._left = None
                        self.cut()
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open -= {source, target}


def _mirror(listener: socket.socket, kept: Path) -> ThreadingHTTPServer:
    """apt's proxy in the VPS: asks what this machine's apt would ask, and keeps the packages."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                body = self._body()
            except urllib.error.HTTPError as error:
                self.send_response(error.code)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _body(self) -> bytes:
            file = kept / self.path.rpartition("/")[2]
            if self.path.endswith(".deb") and file.exists():
                return file.read_bytes()
            with urllib.request.urlopen(self.path, timeout=120) as answer:
                body: bytes = answer.read()
            if self.path.endswith(".deb"):
                draft = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
                draft.write_bytes(body)
                draft.replace(file)
            return body

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    kept.mkdir(exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.daemon_threads = True
    return server
