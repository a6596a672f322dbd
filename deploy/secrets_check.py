"""Finds secrets in what is about to leave the laptop: ``python deploy/secrets_check.py``.

It looks for what secrets look like, not for words: a false alarm is answered by moving the value
where secrets belong (`make secret NAME=…`), or, for an example, by a comment on its line that says
``secrets-check: example``, or by a line in ``.secrets-allowed``.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

EXAMPLE = "secrets-check: example"
_NAMES = re.compile(
    r"(^|/)(\.env(\.(?!example)\w+)?|id_(rsa|dsa|ecdsa|ed25519)|credentials\.json"
    r"|\.pgpass|\.netrc|[^/]+\.(p12|pfx|keystore|kdbx))$"
)
_PATTERNS = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a Slack webhook": re.compile(r"hooks\.slack\.com/services/T\w{6,}/B\w{6,}/\w{16,}"),
    "a Slack token": re.compile(r"\bxox[abeprs]-[0-9A-Za-z-]{20,}"),
    "a Discord webhook": re.compile(r"discord(?:app)?\.com/api/webhooks/\d{15,}/[\w-]{30,}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_\w{30,}|github_pat_\w{30,})"),
    "a Telegram bot token": re.compile(r"\b\d{8,10}:AA[\w-]{30,}"),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a Grafana token": re.compile(r"\bgl(?:sa|c)_\w{30,}"),
    "a Google key": re.compile(r"\bAIza[\w-]{35}\b"),
    "a Stripe key": re.compile(r"\b[rs]k_live_\w{20,}"),
    "a password in an address": re.compile(r"\b\w+://[^/\s:@'\"<>{$]+:[^/\s@'\"<>{$*]{6,}@[\w.]"),
    "a key of an AI service": re.compile(r"\bsk-[A-Za-z0-9_-]{24,}"),
    "a signed token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "a bearer token": re.compile(r"(?i)\bbearer\s+(?=[\w.+/=-]*\d)[\w.+/=-]{24,}"),
    # Named like one, and not the name of the place where it lies; letters and digits mixed.
    "a secret's value": re.compile(
        r"(?i)\b(?![\w-]*[_-](?:env|file|path|name|url)\b)[\w-]*"
        r"(?:(?:api|access|private|routing|service|integration|auth)[_-]?key|secret|token"
        r"|passw(?:or)?d)[\w-]*['\"]?\s*[:=]\s*['\"]?"
        r"(?=[\w+/=.-]*\d)(?=[\w+/=.-]*[A-Za-z])[\w+/=-]{16,}['\"]?\s*(?:$|[,;})#\]])"
    ),
}
_MAX_BYTES = 2_000_000


def check(root: Path, names: Iterable[str]) -> list[str]:
    """Every finding in files below `root` as ``file:line: what`` (never the value)."""

    def files() -> Iterator[tuple[str, bytes]]:
        for name in names:
            path = root / name
            is_text = not path.is_symlink() and path.is_file()
            small = is_text and path.stat().st_size <= _MAX_BYTES
            yield name, path.read_bytes() if small else b""

    allowed = root / ".secrets-allowed"
    return _find(files(), allowed.read_text() if allowed.is_file() else "")


def check_archive(archive: bytes) -> list[str]:
    """The same in a tar file: in exactly what is shipped."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        files = {}
        for member in packed.getmembers():
            reader = packed.extractfile(member) if member.isreg() else None
            small = member.size <= _MAX_BYTES
            files[member.name] = reader.read() if reader and small else b""
    return _find(files.items(), files.get(".secrets-allowed", b"").decode())


def _find(files: Iterable[tuple[str, bytes]], allowed: str) -> list[str]:
    """Lines ``file: what`` of `allowed` are for examples that only look like secrets."""
    fine = {line.split("#")[0].strip() for line in allowed.splitlines()} - {""}
    found = []
    for name, content in files:
        if _NAMES.search(name) and f"{name}: a file of secrets by its name" not in fine:
            found.append(f"{name}: a file of secrets by its name")
        try:
            lines = content.decode().splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{name}:{number}: {what}"
            for number, line in enumerate(lines, 1)
            if EXAMPLE not in line
            for what, pattern in _PATTERNS.items()
            if pattern.search(line) and f"{name}: {what}" not in fine
        ]
    return found


def main() -> int:
    """Check all files that git knows here or would take; 1 when something was found."""
    root = Path(__file__).resolve().parent.parent
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    found = check(root, [n for n in listed.split("\0") if n])
    print("\n".join(found) or "no secrets found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
