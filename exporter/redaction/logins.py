"""Secrets of headers, of command lines, and of the frames by which a connection logs in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from exporter.redaction.named_values import is_name
from exporter.redaction.secret_shape import BEGINS, Shape, Span, shape
from exporter.redaction.value_checks import is_placeholder, is_symbol_or_count

_FIELDS = r"op|action|event|method|type|cmd|command|req|request|channel|topic|e|msg_?type|reqtype"
_LOGIN = (
    r"(?:[\w./:]{0,20}[./:])?(?:auth[a-z_]{0,12}|login|logon|sign[_\-]?(?:in|on)?|subscribe_auth)"
)
LOGIN_FIELD = re.compile(rf"(?:{_FIELDS})\Z", re.IGNORECASE)
LOGIN_WORD = re.compile(rf"{_LOGIN}\Z", re.IGNORECASE)
_FRAME = re.compile(
    rf"(?:[\"'](?:{_FIELDS})\\*[\"']\s{{0,3}}:|\[)\s{{0,3}}\\*[\"'](?:{_LOGIN})\\*[\"']",
    re.IGNORECASE,
)
_STRING = re.compile(
    r"(?P<open>[:\[,({]\s{0,3}\\*[\"'])(?P<value>[^\"'\\\s]{6,4000}+)(?=\\*[\"'](?!\s*:))"
)
_BEFORE, _AFTER = 1000, 4000
"""Characters of a frame before and after the word that makes it a login."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ].*|\d{1,14}")


def is_login_value(value: str) -> bool:
    """Whether a string in a login frame is a key or a signature."""
    if (
        len(value) < 6
        or is_placeholder(value)
        or is_symbol_or_count(value)
        or _TIME.fullmatch(value)
    ):
        return False
    return any(map(str.isdigit, value)) or len(value) >= 16


def _frames(text: str) -> Iterator[Span]:
    """What stands in the frame by which a connection logs in."""
    done = 0
    for frame in _FRAME.finditer(text):
        if frame.start() < done:
            continue
        first = max(done, frame.start() - _BEFORE)
        start = max(first, text.rfind("\n", first, frame.start()))
        end = text.find("\n", frame.end(), frame.end() + _AFTER)
        done = min(len(text), frame.end() + _AFTER) if end < 0 else end
        for string in _STRING.finditer(text, start, done):
            if is_login_value(string["value"]):
                yield string.span("value")


_BEARER = re.compile(rf"{BEGINS}bearer\s+(?!bearer\s)(?P<value>[\w.~+/=\-]{{4,}})", re.IGNORECASE)
_BEARS_TOKEN = re.compile(r"[0-9_~+/=]|(?=.*[a-z][A-Z]).{16}|.{24}")
_BASIC = re.compile(
    rf"{BEGINS}(?:basic|auth\s(?P<smtp>plain|login|xoauth2))\s+"
    r"(?P<value>[\w+/]{4,}+={0,2})(?![:\w])",
    re.IGNORECASE,
)
_IN_BASE64 = re.compile(r"(?=.*[0-9=+/]|.*[a-z][A-Z]).{8,}")


def _bearers(text: str) -> Iterator[Span]:
    """What a header would have, without the header's name. Plain words are prose (bearer bonds,
    basic materials), and after the name of another secret comes that one's value."""
    for found in _BEARER.finditer(text):
        is_token = _BEARS_TOKEN.search(found["value"].rstrip("."))
        if is_token and not is_name(text, found.span("value")):
            yield found.span("value")


def _basic(text: str) -> Iterator[Span]:
    for found in _BASIC.finditer(text):
        is_login = found["smtp"] or _IN_BASE64.match(found["value"])
        if is_login and not is_name(text, found.span("value")):
            yield found.span("value")


LOGINS = (
    # Headers that hold several values: to the end of the line, or of the string they stand in.
    shape(
        "a header's secret",
        "authorization",
        rf"(?P<keep>{BEGINS}authorization\s*:\s*(?:digest|aws4[\w-]{{0,40}}|signature)\s)[^\r\n]+",
    ),
    shape(
        "a header's secret",
        "authorization cookie",
        rf"(?P<keep>{BEGINS}(?:(?:proxy-)?authorization|(?:set-)?cookie)\s*[:=]\s*)"
        r"(?!(?:required|missing|none|not|invalid|failed|denied|expired|is|was|has)\b)"
        r"[^\s\"'\\][^\r\n\"'\\]*",
    ),
    shape(
        "a password",
        "basicauth digestauth",
        r"(?P<keep>(?:basic|digest)auth\(\s*\\*[\"'][^\"'\r\n]{0,200}[\"']\s*,\s*\\*[\"'])"
        r"[^\"'\r\n\\]+",
    ),
    shape("a password", ("identified by",), r"(?P<keep>identified\s+by\s+[\"'])[^\"'\r\n]+"),
    # A line of .netrc.
    shape(
        "a password",
        "machine",
        r"(?P<keep>\bmachine\s+\S{1,200}\s+login\s+\S{1,200}\s+password\s+)\S+",
    ),
    # FIX logons: Password and NewPassword, between the fields' separators as programs show them.
    shape(
        "a password",
        "554= 925=",
        r"(?P<keep>(?:\A|[\x01|;^\s]|\\x01|\\u0001|<SOH>)(?:554|925)=)[^\x01|;^\s\\<]+",
    ),
    # JSON Web Tokens.
    shape("a signed token", "eyj", rf"{BEGINS}eyJ[\w\-]{{6,1000}}+\.[\w\-]{{4,}}(?:\.[\w\-]*)?"),
    # Headers without their name.
    Shape("a bearer token", ("bearer",), _bearers),
    Shape("a password", ("basic", "auth"), _basic),
    shape(
        "a signature",
        "sign: sign= sign' sign\"",
        r"(?P<keep>(?<![A-Za-z])(?-i:SIGN|Sign)[\"']?\s{0,2}[:=]\s{0,2}[\"']?)[0-9a-f]{32,}",
    ),
    shape(
        "a Discord token", "discord", rf"{BEGINS}[MNO][\w\-]{{23,28}}\.[\w\-]{{6,7}}\.[\w\-]{{27,}}"
    ),
    shape("a session's token", "cst", r"(?P<keep>(?-i:\bCST)[\"']?\s*[:=,]\s*[\"']?)[\w\-]{24,}"),
    Shape(
        "a login",
        (
            "auth",
            *(
                word + end
                for word in ("login", "logon", "sign", "signin", "signon", "sign_in")
                for end in "\"'\\"
            ),
        ),
        _frames,
    ),
    # Programs whose options do not say it: mysql -pX, curl -u me:X, sshpass -p X.
    shape(
        "a password",
        "curl wget httpie smbclient",
        r"(?P<keep>\b(?:curl|wget|httpie|smbclient)\b[^\r\n]{0,300}?\s(?:-u|--user|-U)[\s=]*[\"']?"
        r"[^\s:%\"'=]{1,200}[:%])(?!//)[^\s\"'<>]+",
    ),
    shape(
        "a password",
        "mysql mariadb mycli 7z",
        r"(?P<keep>\b(?:mysql\w{0,20}|mariadb[\w\-]{0,20}|mycli|7z[ar]?)\b[^\r\n]{0,300}?\s-p[\"']?)"
        r"(?!assword|rotocol|lugin|ort\b)[^\s\"'<>\\=\-][^\s\"'<>\\]*",
    ),
    shape(
        "a password",
        ("sshpass", "mongo", "mosquitto", "redis-cli", "ldap", "zip ", "openssl", "docker login"),
        r"(?P<keep>\b(?:sshpass\s+-p|mongo\w{0,10}\b[^\r\n]{0,300}?\s-p|redis-cli\b[^\r\n]{0,300}?\s-a"
        r"|ldap\w{1,10}\b[^\r\n]{0,300}?\s-w|(?-i:(?:un)?zip\b[^\r\n]{0,100}?\s-P)"
        r"|mosquitto_\w{1,10}\b[^\r\n]{0,300}?\s(?-i:-P)|openssl\b[^\r\n]{0,300}?(?:\spass:|\s-k\s)"
        r"|docker\s+login\b[^\r\n]{0,300}?\s-p)\s*[\"']?)[^\s\"'<>\\]+",
    ),
)
