"""Grafana Labs' package source, or a mirror of it: Grafana, Loki and Alloy come from there."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import openpgp
from desired import File, Gone, Step, Thing
from places import ProblemError
from shell import run

_LIST = Path("/etc/apt/sources.list.d/quant-grafana.list")
_KEYS = Path("/etc/apt/keyrings/quant-grafana.gpg")
_NAMED = re.compile(r"(?im)^[^#\n]*\bgrafana\b")


def source_things(sections: Iterable[Any]) -> list[Thing]:
    """What the sections of ``vps.yml`` ask for, which are checked to name one source; or none. One
    that the owner of the machine configured for the same address stays the only one."""
    asked = next((s for s in sections if isinstance(s, dict) and "source" in s), None)
    if asked is None or is_somebody_elses(re.compile(rf"(?m)^[^#\n]*{re.escape(asked['source'])}")):
        return [Gone(_LIST), Gone(_KEYS)]
    return [
        Step(lambda: _key_differs(asked), lambda: _write_key(asked)),
        File(_LIST, f"deb [signed-by={_KEYS}] {asked['source']} stable main\n"),
    ]


def is_somebody_elses(named: re.Pattern[str] = _NAMED) -> bool:
    """Whether a source that we did not write is configured, also one that apt has not asked yet."""
    folder = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *folder.glob("*.list"), *folder.glob("*.sources")]
    return any(
        named.search(file.read_text(errors="replace"))
        for file in files
        if file.is_file() and file != _LIST
    )


def _key_differs(asked: dict[str, Any]) -> str | None:
    try:
        openpgp.only(_KEYS.read_bytes(), asked["fingerprint"])
    except (OSError, ProblemError):
        return f"write {_KEYS}, from {asked['key']}, fingerprint {asked['fingerprint']}"
    return None


def _write_key(asked: dict[str, Any]) -> None:
    try:
        with urllib.request.urlopen(asked["key"], timeout=30) as answer:
            fetched = answer.read(1_000_000)
    except OSError as error:
        raise ProblemError(
            f"vps.yml: key: {asked['key']} cannot be fetched ({error}). Where the machine may not "
            "go there, give the packages as files: grafana: {deb: …}, logs: {loki: …, alloy: …}"
        ) from error
    try:
        key = openpgp.only(fetched, asked["fingerprint"])
    except ProblemError as problem:
        raise ProblemError(f"vps.yml: fingerprint: {problem}") from problem
    _KEYS.parent.mkdir(parents=True, exist_ok=True)
    _KEYS.write_bytes(key)
    run("chmod", "644", _KEYS)
