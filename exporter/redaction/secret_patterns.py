"""Shapes of secrets whose value nobody knows, all of them together.

What a shape's text has in it (its signs) is looked for first, all signs in one go: most texts have
none of them.
"""

from __future__ import annotations

import re

from ahocorasick_rs import AhoCorasick, BytesAhoCorasick

from exporter.redaction.call_arguments import CALL_ARGUMENTS
from exporter.redaction.issued_tokens import ISSUED, issued_tokens
from exporter.redaction.key_material import KEY_MATERIAL, WIF_SIGNS, wif_keys
from exporter.redaction.logins import LOGINS
from exporter.redaction.named_values import named_values
from exporter.redaction.secret_addresses import ADDRESSES
from exporter.redaction.secret_shape import without

_SHAPES = (*KEY_MATERIAL, *LOGINS, *ADDRESSES, *CALL_ARGUMENTS)
_WORDS = frozenset(
    [
        "key", "token", "secret", "passw", "passphrase", "passcode", "pwd", "auth", "credential",
        "webhook", "cookie", "session", "mnemonic", "seed", "jwt", "signature", "priv", "wif",
        "otp", "api-sign", "api_sign", "access-sign", "2fa", "mfa", "pin ", "pin is", "pincode",
        "pin code", "code=", "code%3d",
        *(name + sign for name in ("pass", "pw", "pin", "sid", "sess", "sig")
          for sign in ("=", ":", '"', "'", "\\", "%3d", "%3a", "%22", " =", " :")),
        *(before + name + sign for name in ("pk", "sk") for before in " \"'{(,"
          for sign in "=:\"'\\"),
        *(name + between + what for between in " _-" for name, what in (
            ("verification", "code"), ("security", "code"), ("login", "code"), ("sms", "code"),
            ("authenticator", "code"), ("one", "time"))),
    ]
)  # fmt: skip
"""One of them is in each text that has a name of :mod:`.secret_names` with a value."""
_SIGNS = tuple(
    dict.fromkeys([*_WORDS, *(sign for shape in _SHAPES for sign in shape.signs), *ISSUED])
)
# re.IGNORECASE treats these as letters that lower() does not make of them: the long s, the Kelvin
# sign, i without and with its dot.
_ALSO = {"\u017f": "s", "\u212a": "k", "\u0131": "i", "\u0130": "i"}
_AS_PLAIN = str.maketrans(_ALSO)
# Also where something has taken the escape character out.
_COLOURS = re.compile(r"(?:\x1b|\\+(?:x1b|u001b|033|e))\[[\d;]*m|\[\d[\d;]{0,10}m", re.IGNORECASE)
_COLOUR_SIGNS = ("1b[", "033[", "\\e[", "[0m")
# All of them are looked for in one go: every line comes here.
_SIGNS_IN_TEXT = AhoCorasick([sign.lower() for sign in _SIGNS])
_SIGNS_IN_LINE = tuple(sign.encode() for sign in (*_SIGNS, *WIF_SIGNS, *_ALSO, *_COLOUR_SIGNS))
_ANY_CASE = tuple(sign == sign.lower() and sign.decode() not in ISSUED for sign in _SIGNS_IN_LINE)
_SEARCH_IN_LINE = BytesAhoCorasick([sign.lower() for sign in _SIGNS_IN_LINE])


def may_hold(line: bytes) -> bool:
    """Whether a line of JSON may hold one of the shapes: quick, and never wrongly False."""
    hits = _SEARCH_IN_LINE.find_matches_as_indexes(line.lower(), overlapping=True)
    return any(_ANY_CASE[n] or line[start:end] == _SIGNS_IN_LINE[n] for n, start, end in hits)


def masked(text: str) -> str:
    """`text` with the value of every shape replaced. Where colours stand between a name and its
    value, they go with it."""
    if "[" in text and _COLOURS.search(text):
        plain = _COLOURS.sub("", text)
        hidden = _masked(plain)
        return text if hidden == plain else hidden
    return _masked(text)


def _masked(text: str) -> str:
    lowered = _lowered(text)
    # Some signs begin with what stands before a word: so the text begins with a space.
    hits = _SIGNS_IN_TEXT.find_matches_as_indexes(f" {lowered}", overlapping=True)
    met = {_SIGNS[number] for number, _, _ in hits}
    hidden = text
    if not met.isdisjoint(ISSUED):
        named = ((_SIGNS[number], start - 1, end - 1) for number, start, end in hits)
        hidden = without(text, issued_tokens(text, (hit for hit in named if hit[0] in ISSUED)))
    hidden = without(hidden, wif_keys(hidden))
    for shape in _SHAPES:
        if not met.isdisjoint(shape.signs):
            hidden = without(hidden, shape.find(hidden))
    if not met.isdisjoint(_WORDS):
        hidden = without(hidden, named_values(hidden, _lowered(hidden)))
    return hidden


def _lowered(text: str) -> str:
    """In lower case, each character in its place."""
    if text.isascii():
        return text.lower()
    lowered = text.translate(_AS_PLAIN).lower()
    try:
        lowered.encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8 has lone surrogates
        return lowered.encode("utf-8", "replace").decode()
    return lowered
