"""Secrets in files that are about to be handed on: only those that nobody would have made up.

A mask may hide too much; a check with false alarms is turned off. Nothing but the
standard library is needed here: this also runs where the exporter is not installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from exporter.redaction.call_arguments import CALL_ARGUMENTS
from exporter.redaction.issued_tokens import ISSUED, issued_tokens
from exporter.redaction.key_material import KEY_MATERIAL, wif_keys
from exporter.redaction.logins import LOGINS
from exporter.redaction.named_values import named_values
from exporter.redaction.secret_addresses import ADDRESSES
from exporter.redaction.secret_names import NAME_ROOTS
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
_SHAPES = tuple(
    (tuple(sign.lower() for sign in shape.signs), shape)
    for shape in (*KEY_MATERIAL, *LOGINS, *ADDRESSES, *CALL_ARGUMENTS)
)


def secrets_by_line(text: str) -> Iterator[tuple[int, str]]:
    """What secrets a text has, as the number of the line and the kind with its article; a kind
    once a line."""
    lowered = _lowered(text)
    shapes = [  # most files have the signs of few shapes
        (present, shape)
        for signs, shape in _SHAPES
        if (present := [sign for sign in signs if sign in lowered])
    ]
    roots = [root for root in NAME_ROOTS if root in lowered]
    has_keys = _BEGINS_KEY.search(text) is not None
    has_prefixes = _PREFIXES.search(text) is not None
    for number, whole in enumerate(text.splitlines(), 1):
        line = whole[:LONGEST_LINE]
        lowered = _lowered(line)
        found = ["a private key"] if has_keys and _BEGINS_KEY.search(line) else []
        if has_prefixes:
            found += _issued(line)
        found += ["a private key"] * any(True for _ in wif_keys(line))
        for signs, shape in shapes:
            if any(sign in lowered for sign in signs):
                real = (_is_real(shape.kind, line[s:e]) for s, e in shape.find(line))
                found += [shape.kind] * any(real)
        if any(root in lowered for root in roots):
            found += _named(line, lowered)
        for kind in dict.fromkeys(found):
            yield number, kind


def _lowered(text: str) -> str:
    """In lower case, each character in its place: lower() makes two of a capital i with a dot."""
    return text.replace("\u0130", "i").lower()


def _issued(line: str) -> list[str]:
    hits = [(hit[0], hit.start(), hit.end()) for hit in _PREFIXES.finditer(line)]
    prefixes = {at: prefix for prefix, at, _ in hits}
    return [
        ISSUED[prefixes[start]].kind
        for start, end in issued_tokens(line, hits)
        if _LONG_AND_MIXED.search(line[start + len(prefixes[start]) : end])
    ]


def _named(line: str, lowered: str) -> list[str]:
    for start, end in named_values(line, lowered):
        value = line[start:end]
        in_a_path = line[:start].endswith("/")
        if looks_random(value) or (_NAMED_AND_MIXED.fullmatch(value) and not in_a_path):
            return ["a secret's value"]
    return []


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
