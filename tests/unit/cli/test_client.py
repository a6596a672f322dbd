"""How commands talk to an exporter that is not there, hangs, or talks nonsense."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.cli import client
from exporter.config import Config
from exporter.config.paths import INSTANCE_HEADER, instance_id


@pytest.fixture
def port() -> Iterator[socket.socket]:
    """A port at which nobody answers yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def config(server: socket.socket, tmp_path: Path) -> Config:
    """One whose exporter would be there."""
    return Config(listen=f"127.0.0.1:{server.getsockname()[1]}", state=tmp_path / "state.db")


def test_one_that_hangs_is_not_one_that_is_not_there(port: socket.socket, tmp_path: Path) -> None:
    """Starting another one would not help."""
    with pytest.raises(client.NotRunningError, match="did not answer within"):
        client.call(config(port, tmp_path), "GET", "/api/v1/tasks", timeout=0.1)
    port.close()


def test_one_that_is_not_there_can_be_started(port: socket.socket, tmp_path: Path) -> None:
    """The sentence says how."""
    known = config(port, tmp_path)
    port.close()
    with pytest.raises(client.NotRunningError, match="start it with `quant-exporter run`"):
        client.call(known, "GET", "/api/v1/tasks")


def test_another_folders_exporter_is_not_taken_for_ours(
    port: socket.socket, tmp_path: Path
) -> None:
    """A second one on the same port would be shown as if it were this one."""
    ours, theirs = config(port, tmp_path), config(port, tmp_path / "other")

    def answer() -> None:
        for _ in range(2):
            with port.accept()[0] as peer:
                peer.recv(1000)
                head = f"HTTP/1.1 200 OK\r\n{INSTANCE_HEADER}: {instance_id(ours)}\r\n\r\n"
                peer.sendall(head.encode() + b"{}")

    threading.Thread(target=answer, daemon=True).start()
    assert client.call(ours, "GET", "/api/v1/tasks") == {}
    with pytest.raises(client.OtherExporterError, match="belongs to another folder"):
        client.call(theirs, "GET", "/api/v1/tasks")


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n\r\n<html>"])
def test_another_program_at_its_port_is_no_traceback(
    port: socket.socket, tmp_path: Path, said: bytes
) -> None:
    """Whatever it speaks."""

    def speak() -> None:
        with port.accept()[0] as peer:
            peer.recv(1000)
            peer.sendall(said)

    threading.Thread(target=speak, daemon=True).start()
    with pytest.raises(client.NotRunningError, match="no exporter answers"):
        client.call(config(port, tmp_path), "GET", "/api/v1/tasks")
