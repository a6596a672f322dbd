"""Secrets that names announce, in a text: ``api_key=…``, ``--token …``, ``<Password>…``.

One pass from left to right: each name is looked at once, no further than a bounded stretch unless
what follows is masked, and what is masked is not looked at again. So the time grows with the text's
length and not with its square.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from exporter.redaction.secret_names import NAME, Announces, announced_by, is_plural, kind_of
from exporter.redaction.secret_shape import Span
from exporter.redaction.value_checks import looks_random

LONGEST_UNSURE = 512
"""Characters of a value by which is decided whether it is a secret."""
_LONGEST_LEAD = 64
"""Characters before a name that may belong to it, or show what it is."""

LONGEST_ID = 18
"""Digits: a longer number is neither an order's nor an account's."""

_WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
_Judged = dict[Announces | Literal["list"], int]
"""Up to where no secret of a kind stands, as a value before has shown: in ``key=key=key=…`` each
value is the end of the one before."""
_SURE = (Announces.ALWAYS, Announces.USUALLY)


def named_values(text: str, lowered: str) -> Iterator[Span]:
    """Where the values of secret names are in `text`; `lowered` is the same in lower case."""
    at = 0
    judged: _Judged = {}
    while name := NAME.search(lowered, at):
        at = name.end()
        kind = kind_of(text, name)
        if kind is not None and (found := _value(text, name, kind, judged)) is not None:
            yield found
            # "token: X-API-Key: …": what was masked may be the name of the next one.
            at = max(at, found[0] if is_name(text, found) else found[1])


def _value(text: str, name: re.Match[str], kind: Announces, judged: _Judged) -> Span | None:
    """Where the secret is that this name announces; None when there is none."""
    start, end = name.span()
    before = text[max(0, start - _LONGEST_LEAD) : start]
    rest = before.rstrip(_WORD)
    first = before[len(rest) :]  # the part of the name before what was found
    if sign := _SIGN.match(text, end):
        if kind is not Announces.ALWAYS and name[0] != "code" and _in_query(rest, first):
            kind = Announces.USUALLY
        return _after_sign(text, name[0], kind, sign.end(), judged)
    if first.startswith("-") and (found := _accepted(_OPTION, text, end, kind, judged)):
        return found
    if text.startswith(">", end) and _OPENS_TAG.search(before):
        return _accepted(_ELEMENT, text, end, kind, judged)
    return _in_prose(text, name[0], kind, end)


def _after_sign(text: str, name: str, kind: Announces, at: int, judged: _Judged) -> Span | None:
    if text.startswith(("[", "(", "{"), at):
        return _in_brackets(text, kind, at + 1, judged)
    if is_plural(name):
        return None
    if quote := _QUOTE.match(text, at):
        return _accepted(_QUOTED[quote[1]], text, quote.end(), kind, judged)
    return _accepted(_BARE, text, at, kind, judged)


def _in_brackets(text: str, kind: Announces, at: int, judged: _Judged) -> Span | None:
    """All of a list or mapping, unless each of its items is harmless."""
    if kind is Announces.LOGIN:
        secret = text[at - 1] != "{"
    elif kind in _SURE and at >= judged.get("list", 0):
        begun = _INSIDE.match(text, at, at + LONGEST_UNSURE)
        secret = begun is not None and any(map(kind.is_secret, _ITEMS.findall(begun[0])))
        if begun is not None and not secret:
            judged["list"] = min(begun.end(), at + LONGEST_UNSURE // 2)
    else:
        return None
    whole = _INSIDE.match(text, at) if secret else None
    return whole.span() if whole else None


def _in_prose(text: str, name: str, kind: Announces, at: int) -> Span | None:
    """``password is x1…``, ``token x1… expired``, ``token for kraken = x1…``, ``PIN 1234``."""
    if kind is Announces.DIGITS:
        found = _CODE_IN_PROSE.match(text, at)
    elif kind is Announces.RANDOM:
        found = _HEX_KEY.match(text, at) or _long_key(text, at)
    else:
        found = _in_sentence(text, name, kind, at) if kind in _SURE else None
    if found is not None:
        return found.span("value")
    if kind not in (*_SURE, Announces.RANDOM) or is_plural(name):
        return None
    owned = _OWNED.match(text, at)
    if owned is None or not kind.is_secret(owned["value"]):
        return None
    plain_word = owned["value"].isalpha() and owned["value"].islower()
    return owned.span("value") if owned["quote"] or not plain_word else None


def _in_sentence(text: str, name: str, kind: Announces, at: int) -> re.Match[str] | None:
    if name.startswith(("pass", "mnemonic")) and (quoted := _QUOTED_IN_PROSE.match(text, at)):
        return quoted if kind.is_secret(quoted["value"]) else None
    if name.startswith("pass") and (short := _SHORT_IN_PROSE.match(text, at)):
        return short if Announces.MIXED.is_secret(short["value"]) else None
    word = _IN_PROSE.match(text, at)
    if word is None or not _is_no_word(word["value"], "key" in name):
        return None
    return word if kind.is_secret(word["value"]) else None


def _long_key(text: str, at: int) -> re.Match[str] | None:
    found = _LONG_KEY.match(text, at)
    kinds = (str.islower, str.isupper, str.isdigit)
    return found if found and all(any(map(kind, found["value"])) for kind in kinds) else None


def _is_no_word(value: str, even_a_number: bool) -> bool:
    if value.isdigit():
        return even_a_number or len(value) >= LONGEST_ID
    if not _PATH_SIGNS.isdisjoint(value):
        return looks_random(value)
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _accepted(
    pattern: re.Pattern[str], text: str, at: int, kind: Announces, judged: _Judged
) -> Span | None:
    """Where the value lies that `pattern` finds at this place, when it is a secret."""
    if at < judged.get(kind, 0):
        return None
    begun = pattern.match(text, at, at + LONGEST_UNSURE)
    if begun is None or not kind.is_secret(begun["value"]):
        if begun is not None and kind not in _SURE:
            judged[kind] = min(begun.end(), at + LONGEST_UNSURE // 2)
        return None
    whole = pattern.match(text, at)
    return whole.span("value") if whole else None


def is_name(text: str, found: Span) -> bool:
    """Whether what was found is itself the name of a secret, whose value follows it."""
    value = text[slice(*found)]
    name = re.split(r"[:=]", value, maxsplit=1)[0]
    if announced_by(name) is None:
        return False
    return name != value or _SIGN.match(text, found[1]) is not None


def _in_query(rest: str, first: str) -> bool:
    """Whether the name is one of an address' parameters, also of one that is percent-encoded, or
    written as JSON."""
    return (
        rest.endswith(("?", "&", "&amp;"))
        or (rest.endswith("%") and first[:2].lower() in ("3f", "26"))
        or (rest.endswith("\\") and first[:5].lower() == "u0026")
    )


# The sign between, also of a tuple, of JSON in a string, percent-encoded, of an assignment to an
# item (environ["API_KEY"] = "…"), in front of a block of YAML; or of an entry that has its name
# apart: {"name": "api_key", "value": "…"}, <add key="api_key" value="…"/>.
_SIGN = re.compile(
    r"(?:\\*[\"']\s*,\s*\\*[\"']value\\*[\"']\s*:|\\*[\"']\s+value\s*=|[:=]\\*[\"']\s*,"
    r"|\\*[\"']\]\s*=(?!=)"
    r"|(?:\\*[\"']|%22)?\s*(?:=>|->|:=|=|:|\u2192|%3d|%3a|\\+u003[da]|(?<=[\"']),))\s*"
    r"(?:[|>][+\-]?\s*\n\s+)?",
    re.IGNORECASE,
)
_SCHEME = r"(?:(?:bearer|basic|token|digest|geniekey|apikey)\s+)?"
_QUOTE = re.compile(r"(?:[bru]{1,2}|secret(?:str)?\()?\\*([\"'])", re.IGNORECASE)
_QUOTED = {
    quote: re.compile(
        rf"(?P<value>{_SCHEME}(?:[^\\{quote}\r\n]|\\(?!\\{{0,20}}{quote}).)+)", re.IGNORECASE
    )
    for quote in "\"'"
}
# A comma or bracket in the middle of a value without quotes belongs to it. No group is repeated
# possessively: Python before 3.11.5 does not go back when its last turn fails
# (https://github.com/python/cpython/issues/106052).
_BARE = re.compile(
    rf"(?P<value>{_SCHEME}"
    r"(?:[^\s&,;\"'<>\])}\\]+|[,;\])}](?=[^\s&,;\"'<>\])}\\]))+)",
    re.IGNORECASE,
)
_INSIDE = re.compile(r"[^\])}]+")
_ITEMS = re.compile(r"[^\s,;:=\"'\\\[({]+")
_OPTION = re.compile(r"\s+[\"']?(?![-\s])(?P<value>[^\s\"'<>\\]+)")
_OPENS_TAG = re.compile(r"<(?:\w+:)?[\w-]*\Z")
_ELEMENT = re.compile(r">(?P<value>[^<]+)")
_IN_PROSE = re.compile(r"(?: is| was| to)?\W{1,4}(?P<value>[\w\-+/]{12,512}={0,2})(?![\w\-=])")
_SHORT_IN_PROSE = re.compile(r" (?:is|was)(?::|=)?\s{1,3}(?P<value>[^\s\"'<>\\,;]{6,200})")
_LONG_KEY = re.compile(r"(?: is| was| to)?\W{1,4}(?P<value>[\w\-+/]{40,512}={0,2})(?![\w\-=])")
_PATH_SIGNS = frozenset("+/")
_HEX_KEY = re.compile(r"\W{1,4}(?P<value>(?:0x)?[0-9a-fA-F]{64})(?![0-9a-fA-F])")
_QUOTED_IN_PROSE = re.compile(r"\s+(?P<quote>[\"'])(?P<value>[^\"'\r\n]{4,200})(?P=quote)")
_CODE_IN_PROSE = re.compile(r"(?: is| was|:)?\W{1,3}(?P<value>\d{4,10})(?![\w.\-])")
_OWNED = re.compile(
    r"\s+(?:for|of|to|from|at|on)(?:\s+[\"']?[\w@.:/\-]{1,60}[\"']?){1,3}?\s*(?::|=>?|->|\sis\s)\s*"
    r"(?:[bru]{1,2}(?=[\"']))?(?P<quote>[\"']?)(?P<value>[^\s\"'<>\\,;]{1,512})"
)
