"""What a secret looks like, and what only stands where a secret could stand."""

from __future__ import annotations

import re

# Words that programs write in place of a secret, or about one.
_STATES = frozenset(
    [
        "missing", "none", "null", "nil", "undefined", "unset", "empty", "required",
        "invalid", "incorrect", "wrong", "expired", "expires", "revoked", "denied",
        "rejected", "refreshed", "ok", "good", "valid", "true", "false", "yes", "no", "on",
        "off", "disabled", "enabled", "unknown", "absent", "found", "failed", "fails",
        "error", "hidden", "redacted", "masked", "changed", "rotated", "loaded",
        "configured", "provided", "needed", "optional", "default", "not", "is", "was",
        "are", "has", "must", "should", "cannot", "will", "does", "too", "mismatch",
        "accepted", "ignored", "unused", "str", "string", "int", "float", "bool", "bytes",
        "any", "from", "see", "via", "in",
    ]
)  # fmt: skip
_PLACEHOLDER = re.compile(
    r"\*+|\.{2,}|…|-+|<[^>]*>?|\{\{?[\w .]*\}?\}?|\$\{\w+\}?|(?-i:\$[A-Z_]{3,})|%[sdr]"
    r"|%\(\w+\)?[sdr]"
    # Code in a stack: self.api_key, os.environ["KEY"], get_token(), args.password.
    r"|(?:self|cls|os|config|conf|settings|context|args|options|request|env|environ|cfg)"
    r"(?:\.[A-Za-z_]\w*)+[\[(]?|(?-i:[a-z_]+\(\)?)"
    # Where the secret lies.
    r"|(?:\.{0,2}|~)(?:/[a-z_.][a-z_.\-]*){2,8}/?",
    re.IGNORECASE,
)
_SYMBOL = re.compile(
    r"\$?(?:[A-Z]{1,10}|\d{1,4}[A-Z]{2,9}|[A-Z]{1,9}\d{1,2})"  # PEPE, 1INCH, AAPL.US,
    r"(?:[.:/_=\-](?:[A-Z]{1,6}|\d{1,2}[A-Z]{3}\d{2}|\d{1,6})){0,3}"  # BTC/USDT:USDT
    r"|[a-z]{1,5}"  # usdt
    r"|(?:[a-z]{2}\.?)?\d{1,8}(?:\.[A-Z]{2,4})?"  # sh600519, 600519.SH
    r"|(?:[A-Z]{2}\.)?[A-Z]{1,6}\d{6}[CP]\d{3,8}"  # options
    r"|0x[0-9a-fA-F]{40}"  # the address of a contract
    r"|[+\-]?\d{1,11}(?:\.\d+)?(?:[a-zA-Z%]{1,3})?"  # counts, amounts, durations
)
"""`token: 12` counts tokens; a secret in digits alone is longer."""
_ALPHABET = re.compile(r"[\w+/=.~\-]+", re.ASCII)
_SEPARATORS = re.compile(r"[\-_.+/=~]+")
_PLAIN_PART = re.compile(
    r"[A-Z]?[a-z]*\d{0,8}|[A-Z]*\d{0,8}"  # momentum001, BTC20261127
    r"|\d+[A-Za-z]{0,3}|\d{8}T\d{0,9}Z?"  # 30min, 20261124T143000Z
)
_CAPITALS = re.compile(r"[a-z0-9][A-Z]")
_CODE = re.compile(r"\d{4,12}|\d{3}[ \-]\d{3}")


def is_placeholder(value: str) -> bool:
    """Whether it says that there is a secret, or that there is none, or where it lies."""
    if len(value) > 100:
        return False
    words = value.strip(" .,:!?()'\"\\").split()
    if not words:
        return True
    if words[0].lower() in _STATES and len(words) <= 4 and "".join(words).isalpha():
        return True
    return len(words) == 1 and _PLACEHOLDER.fullmatch(value.strip()) is not None


def is_symbol_or_count(value: str) -> bool:
    """Whether it is what a trader calls token or code: a market symbol, an amount, an address of a
    contract."""
    return len(value) <= 60 and _SYMBOL.fullmatch(value.strip()) is not None


def is_code(value: str) -> bool:
    """Whether it could be a PIN, or a code that a phone shows."""
    return _CODE.fullmatch(value.strip()) is not None


def looks_random(value: str, least: int = 16) -> bool:
    """Whether nobody would have written it by hand: long, without words, dates and symbols.

    >>> looks_random("volume_20d_avg_close_001"), looks_random("QZ04M9X1QF7L2D8S5AB")
    (False, True)
    """
    if not least <= len(value) <= 4000 or not _ALPHABET.fullmatch(value):
        return False
    if _SYMBOL.fullmatch(value):
        return False
    return any(map(_is_random_part, _SEPARATORS.split(value)))


def _is_random_part(part: str) -> bool:
    if len(part) < 8 or _PLAIN_PART.fullmatch(part):
        return False
    if any(map(str.isdigit, part)):
        return True
    return len(part) >= 20 and len(_CAPITALS.findall(part)) >= len(part) / 6
