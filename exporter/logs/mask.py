"""Secrets taken out of what is logged.

Two ways: the values that the process knows (:meth:`Mask.add`, called where a secret is read) and
well-known shapes: key=value pairs and headers whose name says secret, passwords in addresses,
bearer and basic tokens, webhook addresses, tokens with a maker's prefix. A name is kept, its value
becomes ``***``. Rather one harmless word too many than one key too few.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASKED = "***"
SHORTEST_KNOWN = 6
"""Characters. A shorter one would punch holes into ordinary words: it is masked by shape only."""

_TELLING_NAME = (
    r"(?:[\w-]*(?:api|access|secret|private|routing|integration|service|signing|account)[_\- ]?key"
    r"|[\w-]*(?:password|passwd|passphrase|pwd|secret|token|credentials?|webhook(?:[_-]?url)?)"
    r"|(?:proxy-|x-)?authorization|x-auth[\w-]*|cookie|set-cookie)"
)
# A name, the sign between (also as a tuple or a JSON string in a string), and the value.
_PAIR = re.compile(
    rf"(?P<name>(?<![A-Za-z0-9]){_TELLING_NAME})"
    r"(?P<sign>(?:\\*[\"'])?\s*(?:=>|=|:|(?<=[\"']),)\s*(?:b?\\*(?P<quote>[\"']))?)"
    r"(?P<value>(?:(?:bearer|basic|token|digest|geniekey|apikey)\s+)?"
    r"(?(quote)(?:(?!(?P=quote))[^\\\r\n]|\\(?!\\*(?P=quote)).)+|[^\s&,;\"'<>\])}\\]+))",
    re.IGNORECASE,
)
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", MASKED),
        # Addresses: user and password before the host, also with a slash in the password.
        (r"(?P<keep>\b[a-z][a-z0-9+.\-]*://)"
         r"(?:[^\s/?#\"'<>]+|[^\s/@:\"'<>]*:(?!\d+[/?#])[^\s@\"'<>]+)@",
         rf"\g<keep>{MASKED}@"),
        (r"(?P<keep>[?&](?:key|sig|signature|auth|code|apikey)=)[^\s&#\"'<>\\]+",
         rf"\g<keep>{MASKED}"),
        (r"(?P<keep>hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)[^\s\"'<>\\)\]}]+",
         rf"\g<keep>{MASKED}"),
        (r"(?P<keep>discord(?:app)?\.com/api/(?:v\d+/)?webhooks/)[^\s\"'<>\\)\]}?]+",
         rf"\g<keep>{MASKED}"),
        (r"(?P<keep>(?:webhook\.office\.com|hc-ping\.com|healthchecks\.io/ping|deadmanssnitch\.com|nosnch\.in)/)"
         r"[^\s\"'<>\\)\]}]+", rf"\g<keep>{MASKED}"),
        (r"(?P<keep>api\.telegram\.org/(?:file/)?bot)[^\s/\"'<>\\]+", rf"\g<keep>{MASKED}"),
        # Headers without their name. Plain words after "bearer" are prose.
        (r"(?P<keep>\bbearer\s+)(?!(?:auth\w*|tokens?|is|was|are|not|required|missing|invalid|expired)\b)"
         r"[\w.~+/=\-]{4,}", rf"\g<keep>{MASKED}"),
        (r"(?P<keep>\bbasic\s+)(?=\S*[0-9A-Z=+/])(?-i:(?=\S*[0-9A-Z=+/]))[\w+/]{8,}={0,2}",
         rf"\g<keep>{MASKED}"),
        # Keys in prose: "routing key 0123…", "PagerDuty key: …".
        (r"(?P<keep>\b(?:routing|integration|pagerduty|api)[ _\-]key\W{1,4})"
         r"(?=[\w\-]*\d)[\w\-]{12,}",
         rf"\g<keep>{MASKED}"),
        # Tokens that say who made them: JWT, Slack, GitHub, Grafana, AWS, OpenAI-like.
        (r"\beyJ[\w\-]{6,}\.[\w\-]{4,}(?:\.[\w\-]*)?", MASKED),
        (r"\bxox[a-z]-[\w\-]{6,}|\bxapp-[\w\-]{6,}", MASKED),
        (r"\b(?:gh[pousr]_|github_pat_|glsa_|glc_|sk-|sk_live_|rk_live_)\w[\w\-]{12,}", MASKED),
        (r"(?-i:\bA(?:KIA|SIA)[0-9A-Z]{12,})", MASKED),
    )
)  # fmt: skip
_NAME_IS_SECRET = re.compile(rf"{_TELLING_NAME}\Z", re.IGNORECASE)
# One of these stands in every text that a shape above can match; looking for them is cheap.
_SIGNS = (
    "key", "token", "secret", "passw", "passphrase", "pwd", "auth", "credential", "webhook",
    "cookie", "bearer", "basic", "hooks.", "://", "sig", "code=", "telegram", "eyj", "xox", "xapp-",
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat", "glsa_", "glc_", "sk-", "k_live", "akia",
    "asia",
)  # fmt: skip
_SIGNS_IN_BYTES = tuple(sign.encode() for sign in _SIGNS)


class Mask:
    """Knows this process' secrets and the shapes of others. Safe to use from any thread."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()
        self._known_in_bytes: tuple[bytes, ...] = ()

    def add(self, secret: str) -> None:
        """Never let `secret` into a log from now on; values under 6 characters are passed over."""
        secret = secret.strip()
        if len(secret) < SHORTEST_KNOWN:
            return
        written = json.dumps(secret, ensure_ascii=False)[1:-1]
        forms = {
            secret,
            quote(secret, safe=""),
            quote(secret),
            quote_plus(secret),
            written,
            json.dumps(secret)[1:-1],
            json.dumps(written, ensure_ascii=False)[1:-1],
            repr(secret)[1:-1],
            repr(secret.encode("utf-8", "replace"))[2:-1],
            base64.b64encode(secret.encode("utf-8", "replace")).decode().rstrip("="),
        }
        # Longest first: a form may be part of another.
        self._forms = tuple(sorted({*self._forms, *forms}, key=lambda f: (-len(f), f)))
        in_bytes = {f.encode("utf-8", "replace") for f in self._forms}
        self._known_in_bytes = tuple(
            in_bytes
            | {
                json.dumps(f, ensure_ascii=False)[1:-1].encode("utf-8", "replace")
                for f in self._forms
            }
        )

    def suspects(self, line: bytes) -> bool:
        """Whether a serialised line may hold a secret: quick, and never wrongly False."""
        lowered = line.lower()
        return any(sign in lowered for sign in _SIGNS_IN_BYTES) or any(
            known in line for known in self._known_in_bytes
        )

    def text(self, text: str) -> str:
        """`text` with every secret in it replaced."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASKED)
        lowered = text.lower()
        if not any(sign in lowered for sign in _SIGNS):
            return text
        for pattern, replacement in _SHAPES:
            text = pattern.sub(replacement, text)
        return _PAIR.sub(rf"\g<name>\g<sign>{MASKED}", text)

    def value(self, value: Any) -> Any:
        """The same for JSON-like data: strings, keys, numbers, lists and mappings, at any depth."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {self.text(str(k)): self._entry(str(k), v) for k, v in value.items()}
            case list() | tuple():
                return [self.value(v) for v in value]
            case int() | float() if not isinstance(value, bool) and self._forms:
                text = str(value)
                return MASKED if any(form in text for form in self._forms) else value
            case _:
                return value

    def _entry(self, name: str, value: Any) -> Any:
        if isinstance(value, str | int | float) and value != "" and not isinstance(value, bool):
            # `token: 12` counts tokens; a secret in digits alone is long.
            short_number = not isinstance(value, str) and len(str(value)) < 12
            if _NAME_IS_SECRET.match(name) and not short_number:
                return MASKED
        return self.value(value)


Masking = Callable[[str], str]
"""What parts that write texts elsewhere (notes, reports) take: :meth:`Mask.text`."""
