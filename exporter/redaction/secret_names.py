"""Names that announce a secret, and which of their values are secrets."""

from __future__ import annotations

import re
from enum import Enum

from exporter.redaction.value_checks import (
    is_code,
    is_placeholder,
    is_symbol_or_count,
    looks_random,
)


class Announces(Enum):
    """Which values that follow a name are secrets."""

    ALWAYS = "any value but a placeholder"
    USUALLY = "any value but a placeholder, a market symbol, a contract's address or a count"
    RANDOM = "a value that looks random"
    MIXED = "a value of letters and digits"
    DIGITS = "a code of four digits or more"
    LOGIN = "what stands in brackets: user and password"

    def is_secret(self, value: str) -> bool:
        """Whether this `value` is one."""
        match self:
            case Announces.ALWAYS:
                return not is_placeholder(value)
            case Announces.USUALLY:
                return not (is_placeholder(value) or is_symbol_or_count(value))
            case Announces.MIXED:
                return len(value) >= 6 and not _ONE_KIND.fullmatch(value)
            case Announces.DIGITS:
                return is_code(value) or looks_random(value)
            case _:
                return looks_random(value)


_ONE_KIND = re.compile(r"[^0-9]*|[^a-z]*", re.IGNORECASE)
_KEYS = (
    r"(?:api|app|access|secret|private|routing|integration|service|signing|account|encryption"
    r"|consumer|session|license|genie|listen|priv|master|hmac|rpc|deploy|webhook|wallet|auth|pagerduty)"
    r"(?:[_\- ]|%5f)?keys?(?:[_-]?id)?"
)
_WORDS = (
    r"(?:password|passwort|passwd|passphrase|passcode|pwd|secret|credential|jwt"
    r"|webhook(?:[_-]?url)?|session[_-]?id|(?:api|access)[_-]sign|mnemonic|seed[_\- ]?phrase)s?"
    r"|(?:[th]?otp|2fa|mfa)[_-]?(?:seed|key|ur[il])"
)
_HEADERS = r"(?:proxy-|x-)?authorization|x-auth[\w-]*|(?:set-)?cookies?"
_WHICH = (
    r"(?:[_-]?v?\d{1,3}|[_-][a-z]|[_-](?:prod|live|paper|test|demo|main|dev|old|new|backup))?"
    r"(?![a-z0-9])"
)
"""Of several accounts: api_key_2, TOKEN_A, password1, secret_prod."""

NAME = re.compile(
    rf"(?P<ALWAYS>(?:{_KEYS}|{_WORDS}){_WHICH}|(?:{_HEADERS})(?![a-z0-9]))"
    rf"|(?P<USUALLY>tokens?{_WHICH})"
    rf"|(?P<RANDOM>(?:key|code|session|(?:php)?ses?sid|sid|seed|sig|signature|[ps]k|priv|wif){_WHICH})"
    rf"|(?P<MIXED>(?:pass|pw){_WHICH})"
    r"|(?P<DIGITS>(?:(?:verification|security|login|sms|auth|authenticator|2fa|mfa)[_\- ]code"
    rf"|one[_\- ]time[_\- ](?:code|password|pin)|pin(?:[_\- ]?code)?|[th]?otp|2fa|mfa){_WHICH})"
    rf"|(?P<LOGIN>auth{_WHICH})"
)
"""Looked for in text in lower case, by a name's end: what stands before one of these belongs to it
too (smtp_password, X-API-Key), but trying every beginning would take quadratic time."""
NAME_ROOTS = (
    "key", "pass", "pw", "secret", "credential", "jwt", "webhook", "session", "sid", "sig",
    "mnemonic", "seed", "otp", "2fa", "mfa", "auth", "cookie", "token", "code", "pk", "sk", "priv",
    "wif", "pin",
)  # fmt: skip
"""One of them is in whatever :data:`NAME` finds; they are found much faster."""

_PUBLIC = frozenset(
    [
        "public", "primary", "foreign", "sort", "partition", "cache", "group", "dedup",
        "dedupe", "idempotency", "object", "row", "hash", "storage", "redis", "map",
        "lookup", "unique", "index", "message", "event", "order", "trade", "dict", "json",
        "column", "field", "config",
    ]
)  # fmt: skip
"""A key of these opens nothing."""


def announced_by(name: str) -> Announces | None:
    """What a complete name (of a field, an option, a header) announces; None if nothing."""
    lowered = name.lower()
    for found in NAME.finditer(lowered):
        if found.end() == len(lowered):
            return kind_of(name, found)
    return None


def kind_of(text: str, found: re.Match[str]) -> Announces | None:
    """What the name that was found in `text` (by :data:`NAME`, in its lower case) announces."""
    kind = Announces[str(found.lastgroup)]
    if kind in (Announces.ALWAYS, Announces.USUALLY):
        return kind
    start = found.start()
    before = text[max(0, start - 30) : start]
    if not (_WORD_STARTS.search(before) or (text[start].isupper() and before[-1:].islower())):
        return None
    if found[0].startswith("key") and (words := _LAST_WORD.search(before.lower())):
        if words[1] in _PUBLIC:
            return None
        # KRAKEN_KEY, as a variable of the environment.
        return Announces.USUALLY if _CONSTANT.search(before) and text[start].isupper() else kind
    return kind


def is_plural(name: str) -> bool:
    """Whether the name counts secrets, or lists them, rather than having one."""
    return name.endswith("s") and not name.endswith(("keys", "credentials", "pass", "cookies"))


_WORD_STARTS = re.compile(
    r"(?:\A|[?&]\w{1,20}|[^A-Za-z0-9]|\\[nrt]|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|%[0-9a-fA-F]{2})\Z"
)
_CONSTANT = re.compile(r"(?:\A|[^A-Za-z0-9_])[A-Z0-9_]+_\Z")
_LAST_WORD = re.compile(r"([a-z]+)[_\- ]?\Z")
