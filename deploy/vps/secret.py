"""Secrets on the machine: files that root alone may read, handed on by systemd."""

from __future__ import annotations

import re

from places import CREDENTIALS, PAGER_SECRETS, ProblemError
from provision import load_credentials
from shell import say


def forget_credential(name: str) -> None:
    """Delete a secret. What runs has it until its next start."""
    if not re.fullmatch(r"\w+", name) or not (CREDENTIALS / name).is_file():
        raise ProblemError(f"there is no secret {name!r}")
    (CREDENTIALS / name).unlink()
    (PAGER_SECRETS / name).unlink(missing_ok=True)
    load_credentials()
    say(f"{name} is deleted; the exporter has it until its next start")


def put_credential(name: str, value: str) -> None:
    """Store a secret that came in on standard input; the unit loads it at its next start."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name):
        raise ProblemError(f"{name!r} is no name for a secret; write letters, digits and _")
    if not value.strip():
        raise ProblemError("the secret is empty; give it on standard input")
    CREDENTIALS.mkdir(parents=True, exist_ok=True)
    draft = CREDENTIALS.parent / f".{name}.draft"
    draft.touch(mode=0o600)
    draft.write_text(value.strip())
    draft.replace(CREDENTIALS / name)
    load_credentials()
    say(f"{name} is stored; the exporter has it after its next start: deploy")
