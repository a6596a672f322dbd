"""Finds secrets in a tree that is about to leave the laptop: ``python deploy/secrets_check.py``.

It looks for what secrets look like, not for words: a false alarm is answered by moving the value
where secrets belong (`fab secret NAME`), or, for an example, by a line in ``.secrets-allowed``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_NAMES = re.compile(
    r"(^|/)(\.env(\.(?!example)\w+)?|id_(rsa|dsa|ecdsa|ed25519)|credentials\.json"
    r"|\.pgpass|\.netrc|[^/]+\.(p12|pfx|keystore|kdbx))$"
)
_PATTERNS = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a Slack webhook": re.compile(r"hooks\.slack\.com/services/T\w{6,}/B\w{6,}/\w{16,}"),
    "a Slack token": re.compile(r"\bxox[abeprs]-[0-9A-Za-z-]{20,}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_\w{30,}|github_pat_\w{30,})"),
    "a Telegram bot token": re.compile(r"\b\d{8,10}:AA[\w-]{30,}"),
    "an AWS key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "a Grafana token": re.compile(r"\bgl(?:sa|c)_\w{30,}"),
    "a password in an address": re.compile(r"\b\w+://[^/\s:@'\"<>{$]+:[^/\s@'\"<>{$*]{6,}@[\w.]"),
    "a secret's value": re.compile(
        r"(?i)\b[\w-]*(?:api_?key|secret|token|passw(?:or)?d|routing_key)\b['\"]?\s*[:=]\s*['\"]?"
        r"(?=[\w+/=.-]*\d)(?=[\w+/=.-]*[A-Za-z])([\w+/=-]{20,})['\"]?\s*(?:$|[,}#])"
    ),
}
_MAX_BYTES = 2_000_000


def check(root: Path, names: Iterable[str]) -> list[str]:
    """Every finding as ``file:line: what`` (never the value); empty when there is none."""
    allowed = _allowed(root)
    found = []
    for name in names:
        if _NAMES.search(name):
            found.append(f"{name}: a file of secrets by its name")
        path = root / name
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            found += [
                f"{name}:{number}: {what}"
                for what, pattern in _PATTERNS.items()
                if pattern.search(line) and f"{name}: {what}" not in allowed
            ]
    return found


def _allowed(root: Path) -> set[str]:
    """Lines ``file: what`` of ``.secrets-allowed``, for examples that only look like secrets."""
    file = root / ".secrets-allowed"
    if not file.exists():
        return set()
    return {line.split("#")[0].strip() for line in file.read_text().splitlines()} - {""}


def main() -> int:
    """Check all files that git knows here; 1 when something was found."""
    root = Path(__file__).resolve().parent.parent
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z"], check=True, capture_output=True, text=True
    ).stdout
    found = check(root, [n for n in listed.split("\0") if n])
    print("\n".join(found) or "no secrets found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
