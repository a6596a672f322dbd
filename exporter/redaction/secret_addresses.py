"""Secrets in addresses: user and password, webhooks, keys in the path."""

from __future__ import annotations

import re
from collections.abc import Iterator

from exporter.redaction.secret_shape import Shape, Span, shape
from exporter.redaction.value_checks import looks_random

_SCHEME = re.compile(r"(?<=[a-z0-9+.\-]):{1,2}(?://|\\+/\\+/)", re.IGNORECASE)
_WORD = re.compile(r"[^\s\"'<>]*")
_PATH_BEGINS = re.compile(r"[/?#\\]")
_PORT = re.compile(r"[^/?#\\:]*:\d+(?=[/?#\\])")
_AT_HOST = re.compile(
    r"@(?:(?:tcp|unix)\(|[a-z][\w.\-]{0,200}:\d{2,5}(?!\d)|[\d.]{7,15}:\d{2,5}(?!\d))"
)
_USER = re.compile(r"[\w.\-]{1,64}")
_SLASH = r"\\*(?:/|%2f)"


def _logins(text: str) -> Iterator[Span]:
    """User and password before the host; the password may have any sign, also ``@``, ``/``, ``#``
    and ``?``, which should be percent-encoded there and often are not."""
    found = list(_SCHEME.finditer(text))
    word_end = 0
    for number, scheme in enumerate(found):
        start = scheme.end()
        if start >= word_end:
            word_end = _WORD.match(text, start).end()  # type: ignore[union-attr]
        end = word_end
        if number + 1 < len(found):
            end = min(end, found[number + 1].start())
        at = text.find("@", start, end)
        if at < 0:
            continue
        # A path, unless a password has begun before it: after a colon that does not start a port.
        path = _PATH_BEGINS.search(text, start, at)
        if path and (text.find(":", start, path.start()) < 0 or _PORT.match(text, start, at)):
            continue
        if ":" in text[start : min(at, start + 2000)]:
            last = text.rfind("@", at, end)
            at = at if "=" in text[at:last] else last
        if at > start:
            yield start, at


def _logins_without_scheme(text: str) -> Iterator[Span]:
    """``user:password@tcp(host:3306)/db``, ``user:password@host:5432``."""
    for at in _AT_HOST.finditer(text):
        before = re.split(r"[\s\"'=(),]", text[max(0, at.start() - 200) : at.start()])[-1]
        user, colon, password = before.partition(":")
        if colon and _USER.fullmatch(user) and len(password) >= 6 and not password.startswith("/"):
            yield at.start() - len(password), at.start()


def _keys_as_path(text: str) -> Iterator[Span]:
    """The first piece of a path, where it is a key."""
    for found in _FIRST_PIECE.finditer(text):
        if looks_random(found["value"], 32):
            yield found.span("value")


_FIRST_PIECE = re.compile(
    r"(?:https?|wss?):(?://|\\+/\\+/)[\w.\-]{1,200}(?::\d{1,5})?\\*/(?:(?:rpc|wss?|eth|bsc|evm|v\d|mainnet)\\*/){0,3}"
    r"(?P<value>[\w\-]{32,200})(?=[/?#\"'\s\\,)]|\Z)",
    re.IGNORECASE,
)


_NODES = (
    r"infura\.io|alchemy\.com|quiknode\.pro|ankr\.com|blastapi\.io|getblock\.(?:io|us|asia)"
    r"|nodereal\.(?:io|cc)|p2pify\.com|chainstack\.com|drpc\.(?:org|live)|tenderly\.co|rpcpool\.com"
    r"|unifra\.io|onfinality\.io|pokt\.network|grove\.city|validationcloud\.io|allthatnode\.com"
    r"|chainbase\.online|blockpi\.network|zan\.top|helius-rpc\.com|nownodes\.io|moralis-nodes\.com"
    r"|dwellir\.com|syndica\.io|shyft\.to|alchemyapi\.io"
)
"""Whose addresses have the key in the path."""

_CHANNELS = (
    "discord", "slack", "tgram", "pover", "pbul", "pball", "prowl", "gotifys", "gotify", "msteams",
    "twilio", "vonage", "pagerduty", "opsgenie", "ifttt", "sendgrid", "mailgun", "matrixs", "join",
    "rocket", "mmosts", "mmost", "signals", "signal", "whatsapp", "simplepush", "spush", "techulus",
    "wxpusher", "workflows", "zulip", "webexteams", "wxteams", "guilded", "bark", "barks", "feishu",
    "lark", "dingtalk", "wecombot", "line", "pushsafers", "psafers", "pushdeer", "schan",
)  # fmt: skip
"""Of apprise's addresses, which name a channel and hold its keys."""

ADDRESSES = (
    shape(
        "a channel's address",
        tuple(f"{channel}://" for channel in _CHANNELS),
        rf"(?P<keep>(?<![\w.+\-])(?:{'|'.join(_CHANNELS)})://)(?=[^\s\"'<>]{{0,300}}\d)"
        r"[^\s\"'<>\\]{12,}",
    ),
    Shape("a password in an address", ("@",), _logins),
    Shape("a password in an address", ("@",), _logins_without_scheme),
    shape(
        "a password in an address",
        "%40",
        r"(?P<keep>(?<=[a-z0-9+.\-])%3a%2f%2f)[^\s/?#\"'<>&@]{1,300}?(?=%40)",
    ),
    shape(
        "a key in an address",
        "infura alchemy quiknode ankr blastapi getblock nodereal p2pify chainstack drpc tenderly"
        " rpcpool unifra onfinality pokt.network grove.city validationcloud allthatnode chainbase"
        " blockpi zan.top helius nownodes moralis dwellir syndica shyft",
        rf"(?P<keep>(?:{_NODES}){_SLASH}(?:[a-z][a-z0-9_\-]{{0,30}}{_SLASH}){{0,4}})"
        r"(?=[\w\-]{0,200}\d)[\w\-]{16,}",
    ),
    # Clients log host and path apart: "… url: /v3/0123…".
    shape(
        "a key in an address",
        ("url: /v", "get /v", "post /v"),
        r"(?P<keep>(?:\burl: |\bget |\bpost )/v[1-3]/)(?=[\w\-]{0,200}\d)[\w\-]{32,}+(?![\w.])",
    ),
    Shape(
        "a key in an address",
        (
            "wss:",
            "rpc",
            "node",
            "mainnet",
            "testnet",
            "solana",
            "polygon",
            "arbitrum",
            "optimism",
            "avalanche",
            "bsc-",
            "eth-",
            "base-",
        ),
        _keys_as_path,
    ),
    # Interactive Brokers' Flex service: the token is the query's t.
    shape("a key in an address", "?t= &t= u0026t=", r"(?P<keep>[?&]t=)\d{18,}"),
    shape("a key in an address", "flex", r"(?P<keep>flex\w{0,30}[^\s\"'<>]{0,100}?[?&]t=)\d{8,}"),
    shape(
        "a Slack webhook",
        "hooks.slack",
        r"(?P<keep>hooks\.slack(?:-gov)?\.com(?::\d+)?"
        rf"{_SLASH}(?:services|workflows|triggers){_SLASH})[^\s\"'<>)\]}}]+",
    ),
    # Clients log host and path apart: "POST /services/T…/B…/… HTTP/1.1" 404.
    shape(
        "a Slack webhook",
        "services",
        rf"(?P<keep>\bservices{_SLASH})"
        rf"(?-i:T[0-9A-Z]{{6,40}}){_SLASH}(?-i:B[0-9A-Z]{{6,40}}){_SLASH}[^\s\"'<>)\]}}]+",
    ),
    shape(
        "a Discord webhook",
        "webhooks",
        rf"(?P<keep>\bapi{_SLASH}(?:v\d+{_SLASH})?webhooks{_SLASH}\d{{10,30}}{_SLASH})"
        r"[^\s\"'<>)\]}?]+",
    ),
    shape(
        "a Discord webhook",
        "webhooks",
        rf"(?P<keep>discord(?:app)?\.com{_SLASH}api{_SLASH}(?:v\d+{_SLASH})?webhooks{_SLASH})"
        r"[^\s\"'<>)\]}?]+",
    ),
    # Binance's stream of the user's account.
    shape("a key in an address", "/ws/", r"(?P<keep>/ws/)(?=\w*\d)\w{60,}"),
    # Feishu and Lark, Mattermost, n8n, and whoever else calls it so; what is alive at Kuma's.
    shape(
        "a webhook",
        "hook heartbeat/ api/push/",
        rf"(?P<keep>\b(?:(?:web)?hooks?|heartbeat|api{_SLASH}push){_SLASH})"
        r"(?=[\w\-/]{0,60}\d)[\w\-/]{16,}+",
    ),
    # Of an address that is one long id, a client logs this: "GET /0123…-… HTTP/1.1".
    shape(
        "a webhook",
        "http/1",
        r"(?P<keep>\b(?:get|post|head) /)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
    ),
    shape(
        "a webhook",
        "office.com hooks.zapier ntfy.sh hc-ping healthchecks deadmanssnitch nosnch"
        " events.pagerduty maker.ifttt pushcut.io ftqq.com api.day.app make.com cronitor.link",
        rf"(?P<keep>(?:webhook\.office\.com|office\.com{_SLASH}webhook|hooks\.zapier\.com|ntfy\.sh"
        rf"|hc-ping\.com|healthchecks\.io{_SLASH}ping|deadmanssnitch\.com|nosnch\.in"
        rf"|events\.pagerduty\.com{_SLASH}integration|api\.pushcut\.io|maker\.ifttt\.com|s(?:ct)?(?:api)?\.ftqq\.com"
        rf"|api\.day\.app|hook(?:\.\w{{1,20}})?\.make\.com|cronitor\.link{_SLASH}p){_SLASH})"
        r"[^\s\"'<>)\]}]+",
    ),
    shape(
        "a Telegram bot token",
        "api.telegram",
        rf"(?P<keep>api\.telegram\.org{_SLASH}(?:file{_SLASH})?bot)[^\s/\"'<>\\]+",
    ),
    shape("a Telegram bot token", ":aa", r"(?<!\d)\d{8,10}:AA[\w-]{30,}"),
)
