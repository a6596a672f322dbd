"""Takes secrets out of what is logged, kept and shown.

In two ways: the values that the process knows (:meth:`Mask.add`, :mod:`.known_secrets`), however
they are written, and well-known shapes (:mod:`.secret_patterns`). A name stays, its value becomes
``***``. Rather one harmless word too many than one key too few.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

from ahocorasick_rs import BytesAhoCorasick

from exporter.redaction.logins import LOGIN_FIELD, LOGIN_WORD, is_login_value
from exporter.redaction.secret_names import Announces, announced_by
from exporter.redaction.secret_patterns import masked, may_hold
from exporter.redaction.secret_shape import MASKED

SHORTEST_KNOWN = 6
"""Characters. A shorter one would punch holes into ordinary words: it is masked by shape only."""
SHORTEST_NUMBER = 12
"""Digits. `token: 12` counts tokens; a secret in digits alone is long."""
SHORTEST_CODE = 4
"""Digits of a PIN, or of a password that is a number."""
LONGEST_SPELLED = 500
"""Characters. A longer value is known in its common writings, but not in every mixture of them."""

_BACK = r"\\{1,32}"
"""Backslashes before an escape: bounded, so that a text of nothing else takes no longer."""

# Something is escaped: %2F, \u002f, \x2f, \/, &#x2F;. Only then are the
# patterns of all writings tried.
_ODD = re.compile(r"%[0-9a-f]{2}|\\[^nrt\"]|&(?:#|amp;|lt;|gt;|quot;)", re.IGNORECASE)
_ODD_IN_BYTES = re.compile(_ODD.pattern.encode(), re.IGNORECASE)


class _Known(NamedTuple):
    """A secret that the process knows."""

    secret: str
    forms: tuple[str, ...]
    """How programs usually write it, the longest first: a form may be part of another."""


class Mask:
    """Knows this process' secrets and the shapes of others. Safe to use from any thread."""

    def __init__(self) -> None:
        self._known: tuple[_Known, ...] = ()
        self._known_in_bytes = BytesAhoCorasick(())
        self._writings: tuple[re.Pattern[str], ...] | None = ()

    def add_all(self, secrets: Iterable[str]) -> None:
        """Each of them; see :meth:`add`."""
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Never let `secret` into a log from now on. Values under 6 characters are ignored."""
        secret = secret.strip()
        if len(secret) < SHORTEST_KNOWN or any(secret == known.secret for known in self._known):
            return
        forms = tuple(sorted(_forms_of(secret), key=lambda form: (-len(form), form)))
        # The longest secret first: a shorter one may be part of it, and would leave the rest.
        known = sorted([*self._known, _Known(secret, forms)], key=lambda k: -len(k.secret))
        written = {form for k in known for form in k.forms}
        in_json = {json.dumps(form, ensure_ascii=False)[1:-1] for form in written}
        in_bytes = {form.encode("utf-8", "replace") for form in {*written, *in_json}}
        self._known_in_bytes = BytesAhoCorasick(in_bytes)
        self._known, self._writings = tuple(known), None

    def suspects(self, line: bytes) -> bool:
        """Whether a serialised line may hold a secret: quick, and never wrongly False."""
        if may_hold(line):
            return True
        if not self._known:
            return False
        if self._known_in_bytes.find_matches_as_indexes(line):
            return True
        odd = b"%" in line or b"\\" in line or b"&" in line  # quicker than the pattern
        return odd and _ODD_IN_BYTES.search(line) is not None

    def text(self, text: str) -> str:
        """`text` with every secret in it replaced."""
        if self._known:
            text = self._without_known(text)
        return masked(text)

    def _without_known(self, text: str) -> str:
        odd = _ODD.search(text) is not None
        if odd and self._writings is None:  # made when first needed: most processes never do
            self._writings = tuple(_any_writing(k.secret[:LONGEST_SPELLED]) for k in self._known)
        for number, known in enumerate(self._known):
            for form in known.forms:
                if form in text:
                    text = text.replace(form, MASKED)
            if odd and self._writings:
                text = self._writings[number].sub(MASKED, text)
        return text

    def value(self, value: Any) -> Any:
        """The same for JSON-like data: strings, keys, numbers, lists and mappings, at any depth."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return self._mapping(value)
            case list() | tuple():
                return self._row(value)
            case int() | float() if not isinstance(value, bool) and self._known:
                text = str(value)
                known = any(form in text for k in self._known for form in k.forms)
                return MASKED if known else value
            case _:
                return value

    def mapping(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The same for fields that seldom have a secret, and are many: labels of alerts."""
        if not self.suspects(json.dumps(values, default=str).encode("utf-8", "replace")):
            return dict(values)
        return self._mapping(values)

    def _mapping(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        name = values.get("name", values.get("key", values.get("header")))
        apart = announced_by(name) if isinstance(name, str) and "value" in values else None
        if _is_login(values):
            values = {key: _without_login(value) for key, value in values.items()}
        return {
            self.text(str(key)): _hidden(value, apart)
            if apart and key == "value"
            else self._entry(str(key), value)
            for key, value in values.items()
        }

    def _row(self, values: list[Any] | tuple[Any, ...]) -> list[Any]:
        """A list; after a word that announces a secret (a pair, a command line) comes one."""
        done: list[Any] = []
        announced: Announces | None = None
        for value in values:
            done.append(_hidden(value, announced) if announced else self.value(value))
            announced = announced_by(_bare(value)) if isinstance(value, str) else None
        return done

    def _entry(self, name: str, value: Any) -> Any:
        value = self.value(value)
        # User and password, as requests has them, too.
        if name in ("auth", "pass") and isinstance(value, str | list):
            return _hidden(value, Announces.ALWAYS, SHORTEST_CODE)
        kind = announced_by(_bare(name))
        if kind is None:
            return value
        short = kind is Announces.DIGITS or "pass" in name.lower()
        return _hidden(value, kind, SHORTEST_CODE if short else SHORTEST_NUMBER)


def _bare(name: str) -> str:
    """A name without the signs around it: ``b'x-api-key'``, ``--token``, ``password:``."""
    return name.removeprefix("b").strip("\"'").removesuffix(":")


def _is_login(values: Mapping[Any, Any]) -> bool:
    """Whether it is the frame by which a connection logs in; a line of the log is none."""
    return "logger" not in values and any(
        isinstance(value, str) and LOGIN_FIELD.match(str(name)) and LOGIN_WORD.match(value)
        for name, value in values.items()
    )


def _without_login(value: Any) -> Any:
    match value:
        case str():
            return MASKED if is_login_value(value) else value
        case Mapping():
            return {name: _without_login(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_without_login(inner) for inner in value]
        case _:
            return value


def _hidden(value: Any, kind: Announces, digits: int = SHORTEST_NUMBER) -> Any:
    """`value` with the secrets of this kind replaced, and numbers from this length on."""
    match value:
        case str():
            return MASKED if value and kind.is_secret(value) else value
        case Mapping():
            return {name: _hidden(inner, kind, digits) for name, inner in value.items()}
        case list() | tuple():
            return [_hidden(inner, kind, digits) for inner in value]
        case int() | float() if not isinstance(value, bool):
            sure = kind in (Announces.ALWAYS, Announces.USUALLY, Announces.DIGITS)
            return MASKED if sure and len(str(value)) >= digits else value
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
