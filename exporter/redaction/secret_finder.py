"""Secrets in files that are about to be handed on: only those that nobody would have made up.

A mask may hide too much; a check with false alarms is turned off. Nothing but the
standard library is needed here: this also runs where the exporter is not installed.
"""

from __future__ import annotations

import re

from exporter.redaction.call_arguments import CALL_ARGUMENTS
from exporter.redaction.issued_tokens import ISSUED, issued_tokens
from exporter.redaction.key_material import KEY_MATERIAL, wif_keys
from exporter.redaction.logins import LOGINS
from exporter.redaction.named_values import named_values
from exporter.redaction.secret_addresses import ADDRESSES
from exporter.redaction.value_checks import looks_random

LONGEST_LINE = 20_000
"""Characters; nobody writes longer lines."""
_PREFIXES = re.compile("|".join(map(re.escape, sorted(ISSUED, key=len, reverse=True))))
_BEGINS_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY")
_WRITTEN = re.compile(r"[{}<>$*…%]|\.\.\.|\Aexample")
"""In what stands for a secret: a template, a placeholder."""
_MIXED = re.compile(r"(?=.*\d)(?=.*[A-Za-z]).{6,}")
_LONG_AND_MIXED = re.compile(r"(?=[\w\-]{16})(?=[\w\-]*\d)(?=[\w\-]*[A-Za-z])")
_NAMED_AND_MIXED = re.compile(r"(?=\S*\d)(?=\S*[a-z])[\w+/=\-]{16,}", re.ASCII)
"""A passphrase may be made of words: under a secret's name it is one all the same."""
_OF_A_SERVICE = ("webhook", "bot token", "Discord token", "signed token")


def kinds_of_secrets(line: str) -> list[str]:
    """What secrets a line has, each kind once, with its article."""
    line = line[:LONGEST_LINE]
    lowered = line.lower()
    found = ["a private key"] if _BEGINS_KEY.search(line) else []
    hits = [(hit[0], hit.start(), hit.end()) for hit in _PREFIXES.finditer(line)]
    for start, end in issued_tokens(line, hits):
        prefix = next(p for p, at, _ in hits if at == start)
        if _LONG_AND_MIXED.search(line[start + len(prefix) : end]):
            found.append(ISSUED[prefix].kind)
    found += ["a private key"] * any(True for _ in wif_keys(line))
    for shape in (*KEY_MATERIAL, *LOGINS, *ADDRESSES, *CALL_ARGUMENTS):
        if any(sign.lower() in lowered for sign in shape.signs):
            found += [shape.kind for s, e in shape.find(line) if _is_real(shape.kind, line[s:e])]
    for start, end in named_values(line, lowered):
        value = line[start:end]
        in_a_path = line[:start].endswith("/")
        if looks_random(value) or (_NAMED_AND_MIXED.fullmatch(value) and not in_a_path):
            found.append("a secret's value")
    return list(dict.fromkeys(found))


def _is_real(kind: str, value: str) -> bool:
    if _WRITTEN.search(value):
        return False
    if kind == "a private key":
        return len(value) >= 40
    if kind == "a password in an address":
        return _MIXED.fullmatch(value.partition(":")[2]) is not None
    if kind == "a password":
        return looks_random(value, 8)
    if kind.endswith(_OF_A_SERVICE):
        return _LONG_AND_MIXED.search(value) is not None
    last = value.rpartition("/")[2] or value
    return looks_random(last) or (last.isdigit() and len(last) >= 18)
