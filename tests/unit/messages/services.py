"""Stand-ins on real sockets for the services behind their own names: a proxy that speaks TLS as
hooks.slack.com, discord.com, api.telegram.org and ntfy.sh, and answers as they document."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# Put together here, so that no file of this project holds the form of a secret.
SLACK = "https://hooks.slack.com/services/" + "/".join(
    ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ")
)
DISCORD = "https://discord.com/api/webhooks/" + "/".join(
    ("123456789012345678", "abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")
)
BOT_TOKEN = ":".join(("123456789", "AAEhBOweik6ad9r_QXMENQjcrGbqCr4K-bc"))
TELEGRAM = f"tgram://{BOT_TOKEN}/12315544"
NTFY = "ntfys://my-secret-topic-8731"
HOSTS = ("hooks.slack.com", "discord.com", "api.telegram.org", "ntfy.sh")
WELL: dict[str, tuple[int, dict[str, str], str]] = {
    "hooks.slack.com": (200, {"Content-Type": "text/html"}, "ok"),
    "discord.com": (200, {"Content-Type": "application/json"}, '{"id": "1", "type": 0}'),
    "api.telegram.org": (
        200, {"Content-Type": "application/json"}, '{"ok": true, "result": {"message_id": 7}}'
    ),
    "ntfy.sh": (200, {"Content-Type": "application/json"}, '{"id": "x", "event": "message"}'),
}  # fmt: skip


@dataclass
class Asked:
    """One request that came."""

    host: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class Services:
    """What came, and what is answered next (else what the service says when all is well).
    `hang`: seconds before anything is answered."""

    port: int
    authority: Path
    asked: list[Asked] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    hang: float = 0.0
    untrusted: bool = False

    def environ(self) -> dict[str, str]:
        """For a process that shall meet the stand-ins rather than the services."""
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self.port}", "NO_PROXY": "", "no_proxy": "",
            "https_proxy": f"http://127.0.0.1:{self.port}",
            "REQUESTS_CA_BUNDLE": str(self.authority),
        }  # fmt: skip


@contextmanager
def services(folder: Path) -> Iterator[Services]:
    """Listening until the block is left."""
    trusted, authority = _certificate(folder, "right")
    strange, _ = _certificate(folder, "wrong")
    made = Services(0, authority)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        host = ""

        def do_CONNECT(self) -> None:
            self.host = self.path.partition(":")[0]
            self.close_connection = False  # although it was asked as HTTP/1.0
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            context = strange if made.untrusted else trusted
            try:
                self.connection = context.wrap_socket(self.connection, server_side=True)
            except (OSError, ssl.SSLError):
                self.close_connection = True
                return
            self.rfile = self.connection.makefile("rb")  # type: ignore[assignment]
            self.wfile = self.connection.makefile("wb", 0)  # type: ignore[assignment]

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            asked = Asked(
                self.host, self.command, self.path, dict(self.headers), self.rfile.read(length)
            )
            made.asked.append(asked)
            if made.hang:
                self.connection.settimeout(made.hang)
                with suppress(OSError, ValueError):
                    self.rfile.read(1)  # until the client leaves
                self.close_connection = True
                return
            status, headers, text = made.answers.pop(0) if made.answers else WELL[self.host]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_PUT = do_GET = _answer  # noqa: N815 - as the library calls them

        def log_message(self, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=sign, crl_sign=sign, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A certificate of an authority of its own, for every host; and where the authority's is."""
    now = datetime.now(UTC)

    def build(subject: str, issuer: str, key: Any, signer: Any, *, ca: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            # From 3.13 on Python wants both identifiers, and an authority that says it may sign.
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
            )
            .add_extension(_usage(sign=ca), critical=True)
        )
        if not ca:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(signer, hashes.SHA256())

    above, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = build(f"{name} authority", f"{name} authority", above, above, ca=True)
    leaf = build("services", f"{name} authority", key, above, ca=False)
    authority, chain = folder / f"{name}-ca.pem", folder / f"{name}.pem"
    authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    chain.write_bytes(
        leaf.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context, authority


def nobody() -> str:
    """An address of this machine where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"
