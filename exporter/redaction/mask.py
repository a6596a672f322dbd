"""Secrets taken out of what is logged.

Two ways: the values that the process knows (:meth:`Mask.add`, :mod:`.known_secrets`), in every
writing, and well-known shapes (:mod:`.secret_patterns`). A name is kept, its value
becomes ``***``. Rather one harmless word too many than one key too few.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from ahocorasick_rs import BytesAhoCorasick

from exporter.redaction.secret_patterns import (
    MASKED,
    NAME_IS_SECRET,
    OPTION_IS_SECRET,
    masked,
    may_hold,
)

SHORTEST_KNOWN = 6
"""Characters. A shorter one would punch holes into ordinary words: it is masked by shape only."""
SHORTEST_NUMBER = 12
"""Digits. `token: 12` counts tokens; a secret in digits alone is long."""
LONGEST_SPELLED = 500
"""Characters. A longer value is known in its common writings, but not in every mixture of them."""

_BACK = r"\\{1,32}"
"""Backslashes before an escape: bounded, for a text of nothing else is no reason to stand still."""

# Something is written otherwise than it is: %2F, \u002f, \x2f, \/, &#x2F;. Only then are the
# patterns of all writings tried.
_ODD = re.compile(r"%[0-9a-f]{2}|\\[^nrt\"]|&(?:#|amp;|lt;|gt;|quot;)", re.IGNORECASE)
_ODD_IN_BYTES = re.compile(_ODD.pattern.encode(), re.IGNORECASE)


class Mask:
    """Knows this process' secrets and the shapes of others. Safe to use from any thread."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()
        self._known_in_bytes = BytesAhoCorasick(())
        self._secrets: tuple[str, ...] = ()
        self._writings: tuple[re.Pattern[str], ...] | None = ()

    def add_all(self, secrets: Iterable[str]) -> None:
        """Each of them; see :meth:`add`."""
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Never let `secret` into a log from now on; values under 6 characters are passed over."""
        secret = secret.strip()
        if len(secret) < SHORTEST_KNOWN or secret in self._secrets:
            return
        # Longest first: a form may be part of another.
        forms = {*self._forms, *_forms_of(secret)}
        self._forms = tuple(sorted(forms, key=lambda f: (-len(f), f)))
        in_json = {json.dumps(f, ensure_ascii=False)[1:-1] for f in self._forms}
        in_bytes = {f.encode("utf-8", "replace") for f in {*self._forms, *in_json}}
        self._known_in_bytes = BytesAhoCorasick(in_bytes)
        self._secrets = (*self._secrets, secret)
        self._writings = None

    def suspects(self, line: bytes) -> bool:
        """Whether a serialised line may hold a secret: quick, and never wrongly False."""
        if may_hold(line.lower()):
            return True
        if not self._secrets:
            return False
        if self._known_in_bytes.find_matches_as_indexes(line):
            return True
        odd = b"%" in line or b"\\" in line or b"&" in line  # quicker than the pattern
        return odd and _ODD_IN_BYTES.search(line) is not None

    def text(self, text: str) -> str:
        """`text` with every secret in it replaced."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASKED)
        if self._secrets and _ODD.search(text):
            if self._writings is None:  # made when first needed: most processes never do
                self._writings = tuple(_any_writing(s[:LONGEST_SPELLED]) for s in self._secrets)
            for pattern in self._writings:
                text = pattern.sub(MASKED, text)
        return masked(text)

    def value(self, value: Any) -> Any:
        """The same for JSON-like data: strings, keys, numbers, lists and mappings, at any depth."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                name = value.get("name", value.get("key"))
                told = "value" in value and isinstance(name, str) and NAME_IS_SECRET.match(name)
                return {
                    self.text(str(k)): _hidden(v)
                    if told and k == "value"
                    else self._entry(str(k), v)
                    for k, v in value.items()
                }
            case list() | tuple():
                return self._row(value)
            case int() | float() if not isinstance(value, bool) and self._forms:
                text = str(value)
                return MASKED if any(form in text for form in self._forms) else value
            case _:
                return value

    def _row(self, values: list[Any] | tuple[Any, ...]) -> list[Any]:
        """A list; after a word that announces a secret (a pair, a command line) comes one."""
        done: list[Any] = []
        announced = False
        for value in values:
            done.append(_hidden(value) if announced else self.value(value))
            announced = isinstance(value, str) and bool(OPTION_IS_SECRET.match(value))
        return done

    def _entry(self, name: str, value: Any) -> Any:
        value = self.value(value)
        # User and password, as requests has them, too.
        login = name in ("auth", "pass") and isinstance(value, str | list)
        if login or NAME_IS_SECRET.match(name):
            return _hidden(value, 4 if "pass" in name.lower() else SHORTEST_NUMBER)
        return value


def _hidden(value: Any, digits: int = SHORTEST_NUMBER) -> Any:
    """`value` with all strings in it replaced, and numbers from this length on."""
    match value:
        case str():
            return MASKED if value else value
        case Mapping():
            return {name: _hidden(inner, digits) for name, inner in value.items()}
        case list() | tuple():
            return [_hidden(inner, digits) for inner in value]
        case int() | float() if not isinstance(value, bool) and len(str(value)) >= digits:
            return MASKED
        case _:
            return value


def _forms_of(secret: str) -> set[str]:
    """How programs usually write it."""
    written = json.dumps(secret, ensure_ascii=False)[1:-1]
    in_bytes = secret.encode("utf-8", "replace")
    return {
        secret,
        quote(secret, safe="", errors="replace"),
        quote(secret, errors="replace"),
        quote_plus(secret, errors="replace"),
        html.escape(secret),
        written,
        json.dumps(secret)[1:-1],
        json.dumps(written, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        repr(in_bytes)[2:-1],
        in_bytes.hex(),
        in_bytes.hex().upper(),
        base64.b64encode(in_bytes).decode().rstrip("="),
        base64.urlsafe_b64encode(in_bytes).decode().rstrip("="),
        *_within_base64(in_bytes),
    }


def _within_base64(secret: bytes) -> Iterator[str]:
    """What it leaves in base64 of a longer text, wherever it begins there: the digits that depend
    on nothing else."""
    for before in range(3):
        whole = slice((8 * before + 5) // 6, 8 * (before + len(secret)) // 6)
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + secret).decode()[whole]


def _any_writing(secret: str) -> re.Pattern[str]:
    """Every mixture of plain, percent-encoded (also twice), escaped and HTML-escaped characters."""
    return re.compile("".join(map(_writings_of, secret)))


def _writings_of(character: str) -> str:
    code = ord(character)
    in_bytes = character.encode("utf-8", "replace")
    percent = "".join(f"%(?:25){{0,8}}{_hex(byte, 2)}" for byte in in_bytes)
    ways = [re.escape(character), percent, rf"&#x0{{0,8}}{_hex(code, 1)};", rf"&#0{{0,8}}{code};"]
    if code > 0xFFFF:
        pair = character.encode("utf-16-be")
        ways.append("".join(rf"{_BACK}u{_hex(int.from_bytes(pair[n : n + 2]), 4)}" for n in (0, 2)))
        ways.append(rf"{_BACK}U{_hex(code, 8)}")
    else:
        ways.append(rf"{_BACK}u{_hex(code, 4)}")
    if code < 0x80:
        ways.append(rf"{_BACK}x{_hex(code, 2)}")
    else:
        ways.append("".join(rf"{_BACK}x{_hex(byte, 2)}" for byte in in_bytes))
        if code <= 0xFF:
            ways.append(rf"{_BACK}x{_hex(code, 2)}")
    if character in "\"'/\\":
        ways.append(rf"{_BACK}{re.escape(character)}")
    if letter := {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}.get(character):
        ways.append(rf"{_BACK}{letter}")
    if character == " ":
        ways.append(r"\+")
    if (entity := html.escape(character)) != character:
        ways.append(entity)
    return f"(?:{'|'.join(ways)})"


def _hex(number: int, width: int) -> str:
    """The hexadecimal digits of `number` as a pattern, in either case."""
    digits = f"{number:0{width}x}"
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits)
