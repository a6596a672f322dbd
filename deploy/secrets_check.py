"""Finds secrets in what is about to leave the laptop: ``python deploy/secrets_check.py``.

It knows the shapes that the exporter masks in its logs (exporter/redaction), and reports those
whose value nobody would have made up. What to do: move the value where secrets belong
(`make secret NAME=…`), or, for an example, say ``secrets-check: example`` in a comment on its line,
or add a line to ``.secrets-allowed``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from exporter.redaction import secret_finder

EXAMPLE = "secrets-check: example"
_NAMES = re.compile(
    r"(^|/)(\.env(\.(?!example)\w+)?|id_(rsa|dsa|ecdsa|ed25519)|credentials\.json"
    r"|\.pgpass|\.netrc|[^/]+\.(p12|pfx|keystore|kdbx))$"
)
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


def check_archive(archive: bytes, looked_at: Path | None = None) -> list[str]:
    """The same in a tar file: in exactly what is shipped. The file `looked_at` keeps which contents
    had nothing in them: the next check looks at the others."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        files = {}
        for member in packed.getmembers():
            reader = packed.extractfile(member) if member.isreg() else None
            small = member.size <= _MAX_BYTES
            files[member.name] = reader.read() if reader and small else b""
    clean = _CleanContents(looked_at)
    found = _find(files.items(), files.get(".secrets-allowed", b"").decode(), clean)
    clean.keep()
    return found


class _CleanContents:
    """Digests of contents in which these very rules found nothing."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._met: set[str] = set()
        self._known: set[str] = set()
        if file:
            self._rules = _digest(b"".join(p.read_bytes() for p in _rules()))
            with contextlib.suppress(OSError, UnicodeDecodeError):
                rules, *known = file.read_text().split()
                self._known = set(known) if rules == self._rules else set()

    def has(self, content: bytes) -> bool:
        """Whether a check before found nothing in it."""
        return self._file is not None and _digest(content) in self._known

    def add(self, content: bytes) -> None:
        """There is nothing in it."""
        if self._file:
            self._met.add(_digest(content))

    def keep(self) -> None:
        """For the next check; without a place to write, that looks at everything again."""
        if self._file:
            draft = self._file.with_name(f"{self._file.name}.draft")
            with contextlib.suppress(OSError):
                draft.write_text("\n".join([self._rules, *sorted(self._met)]))
                draft.replace(self._file)


def _rules() -> list[Path]:
    """The files that decide what is a secret."""
    return [Path(__file__), *sorted(Path(secret_finder.__file__).parent.glob("*.py"))]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _find(
    files: Iterable[tuple[str, bytes]], allowed: str, clean: _CleanContents | None = None
) -> list[str]:
    """Lines ``file: what`` of `allowed` are for examples that only look like secrets."""
    fine = {line.split("#")[0].strip() for line in allowed.splitlines()} - {""}
    clean = clean or _CleanContents()
    found = []
    for name, content in files:
        if _NAMES.search(name) and f"{name}: a file of secrets by its name" not in fine:
            found.append(f"{name}: a file of secrets by its name")
        if clean.has(content):
            clean.add(content)
            continue
        try:
            text = content.decode()
        except UnicodeDecodeError:
            continue
        if not (secrets := list(secret_finder.secrets_by_line(text))):
            clean.add(content)
        lines = text.splitlines()
        found += [
            f"{name}:{number}: {what}"
            for number, what in secrets
            if EXAMPLE not in lines[number - 1] and f"{name}: {what}" not in fine
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
