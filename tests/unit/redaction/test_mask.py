"""No secret reaches a log, whatever shape it comes in."""

from __future__ import annotations

import base64
import json
import logging
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientResponseError, InvalidURL, RequestInfo
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from exporter.config import Config
from exporter.logs.formatters import JsonLines, Readable
from exporter.redaction import secret_patterns as shapes
from exporter.redaction.known_secrets import _parts, known_secrets
from exporter.redaction.mask import Mask
from exporter.redaction.named_values import named_values
from exporter.redaction.secret_shape import MASKED, without
from tests.unit.clocks import ManualClock

WORD = string.ascii_letters + string.digits
TOKENS = st.text(WORD + "-_", min_size=16, max_size=40).filter(
    lambda t: any(c.isdigit() for c in t) and t[0].isalnum() and t[-1].isalnum()
)
ANYTHING = st.text(min_size=6, max_size=60).filter(lambda t: len(t.strip()) >= 6)
AROUND = st.text(st.characters(codec="utf-8"), max_size=40)

SHAPES = [
    "https://api.tickdb.ai/v1/x?api_key={}",
    "https://api.tickdb.ai/v1/x?symbols=A.US&api_key={}&limit=5",
    "wss://stream.example/v1/realtime?apikey={}",
    "https://h/x?token={}#part",
    "https://h/x?a=b&sig={}",
    "Authorization: Bearer {}",
    "authorization: Basic {}",
    "bearer {}",
    "X-API-Key: {}",
    "x-api-key={}",
    "{{'X-API-Key': '{}', 'Accept': '*/*'}}",
    '{{"api_key": "{}"}}',
    '{{\\"api_key\\": \\"{}\\"}}',
    "<CIMultiDict('Authorization': 'Bearer {}')>",
    "[('X-API-Key', '{}')]",
    "[(b'x-api-key', b'{}')]",
    "password={}",
    "password = '{}'",
    "SMTP_PASSWORD: {}",
    "TICKDB_API_KEY={}",
    "client_secret: {},",
    "routing_key: {}",
    '{{"routing_key":"{}","event_action":"trigger"}}',
    "PagerDuty key {}",
    "https://hooks.slack.com/services/T0001/B0001/{}",
    "https://discord.com/api/webhooks/123456789/{}",
    "https://discordapp.com/api/v10/webhooks/1/{}?wait=true",
    "https://api.telegram.org/bot123456:{}/sendMessage",
    "https://hc-ping.com/{}",
    "https://user:{}@broker.example/v2",
    "postgresql://trader:{}@localhost:5432/db",
    "https://{}@host/path",
    "eyJhbGciOiJIUzI1NiJ9.{}.x",
    "xoxb-{}",
    "ghp_{}",
    "Cookie: {}",
    "Cookie: theme=dark; sid={}; lang=en",
    "Authorization: AWS4-HMAC-SHA256 Credential=x/y, SignedHeaders=host, Signature={}",
    'authorization: Digest username="me", response="{}"',
    "APCA-API-SECRET-KEY: {}",
    "APCA-API-KEY-ID: {}",
    "my_bot --api-key {} --live",
    "curl --token '{}' https://h/",
    "password=ab,{}",
    "next=https%3A%2F%2Fh%2Fx%3Fapi_key%3D{}",
    "https%3A%2F%2Fme%3A{}%40broker.example%2F",
    "https:\\/\\/hooks.slack.com\\/services\\/T1\\/B1\\/{}",
    "https://h/x?a=b\\u0026key={}",
    "api_key\\u003d{}",
    "glpat-{}",
    "AIzaSyA-0123456789abcdef-{}",
    "SG.0123456789abcdefgh.{}",
    'https://hooks.slack.com:443 "POST /services/T024BE7LD/B024BE7LD/{} HTTP/1.1" 404 None',
    "POST /api/webhooks/1234567890123/{}",
    "https://outlook.office.com/webhook/{}",
    "https://hooks.zapier.com/hooks/catch/1/{}/",
    "https://ntfy.sh/{}",
    'api.telegram.org:443 "POST /bot123456789:AA0123456789abcdef0123456789-{}/sendMessage',
    "https://api.opsgenie.com/v2/alerts?genieKey={}",
    "https://h/login?user=me&pass={}",
    "+ curl -s -u me:{} https://h/",
    "requests.get(url, auth=('me', '{}'))",
    "{{'auth': ('me', '{}'), 'timeout': 3}}",
    "<Password>{}</Password>",
    "password := '{}'",
    "api_key -> {}",
    "passcode={}",
    '{{"name": "X-Api-Key", "value": "{}"}}',
    "[{{'key': 'api_key', 'value': '{}'}}]",
    '{{\\"name\\": \\"password\\", \\"value\\": \\"{}\\"}}',
    "https://open.feishu.cn/open-apis/bot/v2/hook/1f9d-0123456789abcdef-{}",
    "POST /hooks/0123456789abcdefghij012345{}",
    "https://sctapi.ftqq.com/{}.send",
    "https://api.day.app/{}/title",
    '{{"listenKey":"{}"}}',
    "privkey={}",
    "seed phrase: {}",
    "b'GET / HTTP/1.1\\r\\nHost: x\\r\\nCookie: sid={}\\r\\n'",
    "b'GET / HTTP/1.1\\r\\nAuthorization: {}\\r\\n'",
    "'x\\nAuthorization: ApiKey {}'",
    'b\'x\\r\\nAuthorization: Digest username="me", response="{}"\\r\\n\'',
    '"x\\nCookie: sid={}"',
    "apikey1={}",
    "API_KEY_2={}",
    "api_key_prod: {}",
    "TOKEN_A={}",
    "{{'password1': '{}'}}",
    "secret_v2={}",
    "['password:', '{}']",
    "api_key = u'{}'",
    "api_key=SecretStr('{}')",
    "%7B%22password%22%3A%22{}%22%7D",
    "api%5Fkey={}",
    "Passwort: {}",
    "app_key={}",
    "jwt={}",
    "CST: 0123456789abcdef01234567{}",
    "whsec_{}",
    "https://hook.eu1.make.com/{}",
    "https://n8n.example/webhook/0{}",
    "https://uptime.betterstack.com/api/v1/heartbeat/0{}",
    "https://cronitor.link/p/{}/job",
]


def logged(mask: Mask, message: str, *args: object, **extra: object) -> str:
    """The line and what the terminal shows, as a record with these would be written."""
    record = logging.LogRecord("lib", logging.ERROR, "f", 1, message, args, None)
    record.__dict__.update(extra)
    line = JsonLines(mask, ManualClock()).make(record)
    return line.content.decode() + Readable(None, "plain").text(json.loads(line.content))


@pytest.mark.parametrize(
    "name",
    ["BINANCE_API_KEYS", "BINANCE_APISECRET", "ALPACA_KEY_ID", "TRADER_CREDS", "TOKEN2", "MY_DSN"],
)
def test_a_variable_whose_name_tells_is_known(name: str) -> None:
    """Also when it has several, or is written in one word."""
    assert list(known_secrets(Config(), {name: "value-of-it"})) == ["value-of-it"]


@pytest.mark.parametrize("name", ["KEY_FILE", "MONKEY", "PWD", "HOST_ID", "COMPASS", "TOKEN_PATH"])
def test_another_variable_is_no_secret(name: str) -> None:
    """Nor one that says where a secret is."""
    assert not list(known_secrets(Config(), {name: "value-of-it"}))


def test_the_password_in_any_variables_address_is_known() -> None:
    """``DATABASE_URL``: its name does not tell."""
    mask = Mask()
    address = f"postgresql://me:{'pa%2Fss99'}@db/trades"
    mask.add_all(known_secrets(Config(), {"DATABASE_URL": address}))
    assert mask.text("me:pa/ss99@db and pa%2Fss99 of trades") == "me:***@db and *** of trades"


@given(secret=ANYTHING.map(str.strip), before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_a_known_secret_is_found_within_base64(secret: str, before: bytes, after: bytes) -> None:
    """Wherever in the coded text it begins; its middle is not left."""
    mask = Mask()
    mask.add(secret)
    middle = base64.b64encode(before + secret.encode() + after).decode()
    start = (8 * len(before) + 5) // 6
    end = 8 * (len(before) + len(secret.encode())) // 6
    assert middle[start:end] not in mask.text(f"x {middle}")


@pytest.mark.parametrize(
    ("fields", "secret"),
    [
        ({"password": 48151623}, "48151623"),
        ({"auth": "me-and-mine"}, "me-and-mine"),
        ({"pass": "open"}, "open"),
        ({"api_key_2": "letters"}, "letters"),
        ({"row": ["password:", "letters"]}, "letters"),
    ],
)
def test_a_field_that_tells_is_masked(fields: dict[str, Any], secret: str) -> None:
    """Whatever stands in it."""
    assert secret not in logged(Mask(), "sent", **fields)


@pytest.mark.parametrize("before", ["mnemonic: ", "seed_phrase='", '{"mnemonic": "'])
def test_a_wallets_words_are_masked(before: str) -> None:
    """All twelve of them."""
    words = "legal winner thank year wave sausage worth useful legal winner thank yellow"
    line = logged(Mask(), before + words)
    assert "winner" not in line and "yellow" not in line


def test_a_field_that_has_its_name_apart_is_masked() -> None:
    """As headers and environments are listed; other entries stay."""
    entries = [{"name": "X-API-Key", "value": "x" * 9}, {"key": "limit", "value": "five"}]
    line = logged(Mask(), "sent", headers=entries)
    assert "xxx" not in line and "five" in line


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=15)
@example(token="0" * 16, before="BEARER")
@given(token=TOKENS, before=AROUND)
def test_a_shape_is_masked_wherever_it_stands(shape: str, token: str, before: str) -> None:
    """In the message, as an argument, in an extra field, inside a list inside a mapping."""
    assume(token not in before)
    text = f"{before} {shape.format(token)}"
    mask = Mask()
    assert token not in mask.text(text)
    assert MASKED in mask.text(text)
    assert token not in logged(mask, "%s", text)
    assert token not in logged(mask, "m", note=text)
    assert token not in logged(mask, "m", note={"a": [text]})


@given(secret=ANYTHING, before=AROUND, after=AROUND)
def test_a_known_value_is_masked_in_every_writing(secret: str, before: str, after: str) -> None:
    """Plain, quoted for an address, as Python or JSON writes it, in any field."""
    mask = Mask()
    mask.add(secret)
    secret = secret.strip()
    for written in (secret, quote(secret, safe=""), repr(secret)[1:-1], json.dumps(secret)[1:-1]):
        assert written not in mask.text(f"{before}{written}{after}").replace(MASKED, "")
    lines = logged(mask, "%s", f"{before}{secret}{after}", note=[{secret: secret}])
    record = json.loads(lines.split("\n")[0])  # not splitlines: it takes more than newlines
    assert record["note"] == [{MASKED: MASKED}] or secret in MASKED
    assert secret not in record["message"].replace(MASKED, "")


WAYS: list[Callable[[str], str]] = [
    lambda c: c,
    lambda c: "".join(f"%{b:02X}" for b in c.encode()),
    lambda c: "".join(f"%{b:02x}" for b in c.encode()),
    lambda c: "".join(f"%25{b:02X}" for b in c.encode()),
    lambda c: json.dumps(c)[1:-1] if ord(c) > 126 else f"\\u{ord(c):04x}",
    lambda c: "".join(f"\\x{b:02x}" for b in c.encode()),
    lambda c: f"&#x{ord(c):X};",
    lambda c: f"&#{ord(c)};",
    lambda c: f"\\{c}" if c in "/\"'\\" else c,
]


@settings(max_examples=60)
@given(
    secret=ANYTHING.filter(lambda s: s.strip() not in MASKED),
    ways=st.lists(st.sampled_from(WAYS), min_size=60, max_size=60),
    before=st.text(WORD + " ", max_size=10),
)
def test_a_known_value_is_masked_in_every_mixture_of_writings(
    secret: str, ways: list[Callable[[str], str]], before: str
) -> None:
    """Some characters as they are, some percent-encoded, some as JSON, Python or HTML escapes."""
    mask = Mask()
    mask.add(secret)
    written = "".join(way(c) for way, c in zip(ways, secret.strip(), strict=False))
    assert written not in mask.text(f"{before}{written} end").replace(MASKED, "")
    line = json.dumps({"m": written}, ensure_ascii=False).encode("utf-8", "replace")
    assert mask.suspects(line)


@settings(max_examples=30)
@given(secret=TOKENS, place=st.integers(0, 40_000), name=st.sampled_from(["message", "note"]))
def test_where_a_long_text_is_cut_no_half_secret_is_left(
    secret: str, place: int, name: str
) -> None:
    """Whether the value is known or has a shape, and in nested values too."""
    known = Mask()
    known.add(secret)
    filled = ". " * 20_000
    for mask, text in ((known, secret), (Mask(), f"?api_key={secret}&")):
        long = filled[:place] + text + filled
        line = (
            logged(mask, "%s", long) if name == "message" else logged(mask, "m", note=[{1: long}])
        )
        assert not any(secret[:n] in line for n in range(8, len(secret) + 1))


@given(
    secret=TOKENS,
    name=st.sampled_from(
        [
            "password",
            "X-API-Key",
            "api_keys",
            "Authorization",
            "webhook_url",
            "clientSecret",
            "token",
        ]
    ),
)
def test_what_a_telling_name_announces_is_masked_however_it_is_nested(
    secret: str, name: str
) -> None:
    """As mapping, list, pair, command line, tuple of bytes, and as the text of all that."""
    found: list[Any] = [
        {name: secret}, {name: [secret, secret]}, {name: {"value": {"is": secret}}},
        [(name, secret)], [[name, secret]], [f"--{name}", secret, "--live"],
        {"headers": {name: secret}},
        [(name.encode(), secret.encode())], {"body": json.dumps({name: secret})},
        {"body": json.dumps(json.dumps({name: secret}))},
    ]  # fmt: skip
    for value in found:
        assert secret not in logged(Mask(), "m", note=value), value
        if name != "api_keys":  # in text, "tokens: 12" is a count
            assert secret not in logged(Mask(), "%s", str(value)), value


class Client:
    """As libraries have them: what it shows of itself depends on who asks."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __str__(self) -> str:
        return f"<Client {self.key}>"


@given(secret=TOKENS)
def test_what_libraries_log_is_masked(secret: str) -> None:
    """Objects, bytes, requests and their errors, as aiohttp, urllib3 and smtplib log them."""
    mask = Mask()
    mask.add_all(_parts(f"https://hooks.slack.com/services/T1/B1/{secret}"))
    mask.add(secret)
    url = URL(f"https://h.example/v1?api_key={secret}")
    info = RequestInfo(url, "GET", CIMultiDictProxy(CIMultiDict({"X-API-Key": secret})), url)
    assert secret not in logged(mask, "%r", ClientResponseError(info, (), status=401))
    assert secret not in logged(mask, '%s "POST %s HTTP/1.1" 200', "h", f"/services/T1/B1/{secret}")
    assert secret not in logged(mask, "m", client=Client(secret), raw=secret.encode())
    assert secret not in logged(mask, "%s %s", Client(secret), secret.encode())
    login = base64.b64encode(f"\0me\0{secret}".encode()).decode()
    assert login not in logged(Mask(), "send: %r", f"AUTH PLAIN {login}\r\n")
    for value in (InvalidURL(f"https://u:{secret}@h"), KeyError(secret), (secret, {secret})):
        assert secret not in logged(mask, "failed: %r", value)


def test_the_process_knows_its_secrets(tmp_path: Path) -> None:
    """What the config names, systemd's credentials, and variables whose names tell."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "smtp").write_text("from-systemd\n")
    (tmp_path / "slack").write_text("https://hooks.slack.com/services/T1/B1/xyz-slack\n")
    (tmp_path / "key.pem").write_text(
        "-----BEGIN X-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END X-----\n"
    )
    config = Config.model_validate(
        {
            "sources": {
                "a": {"type": "tickdb", "url": "https://h", "api_key_env": "ODDLY_NAMED"},
                "b": {"type": "tickdb", "url": "https://h", "api_key_file": tmp_path / "key.pem"},
                "c": {"type": "tickdb", "url": "https://h", "api_key_file": tmp_path / "none"},
            },
            "digest": {
                "to": ["slack"],
                "slack": {"url_file": tmp_path / "slack"},
                "email": {"smtp": "h:25", "sender": "a@b.c", "to": ["a@b.c"]},
            },
        }
    )
    environ = {
        "ODDLY_NAMED": "named-by-config", "BROKER_API_KEY": "by-its-name", "HOME": "/home/me",
        "API_KEY_FILE": "/run/secret-place", "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
        "PWD": "/srv/project", "DATABASE_DSN": "postgresql://me:" + "dsn-password" + "@h/db",
    }  # fmt: skip
    known = set(known_secrets(config, environ))
    assert {
        "named-by-config", "by-its-name", "from-systemd", "MIIEvQIBADANBgkqhkiG9w0",
        "/services/T1/B1/xyz-slack", "dsn-password",
    } <= known  # fmt: skip
    assert not known & {"/home/me", "/run/secret-place", "/srv/project"}
    mask = Mask()
    mask.add_all(known)
    assert mask.text("POST /services/T1/B1/xyz-slack 404") == "POST *** 404"


@given(token=st.text(WORD, min_size=16).filter(lambda t: not t.isdigit() and not t.isalpha()))
def test_a_key_in_prose_is_masked(token: str) -> None:
    """Nobody writes a sign between, but nothing else looks like that."""
    for text in (
        "password is {}", "Login failed with password '{}'", "the token {} has expired",
        "integration key is {}", "secret \"{}\" is unknown",
    ):  # fmt: skip
        assert token not in Mask().text(text.format(token))
    assert token not in logged(Mask(), "m", auth=("me", token))
    assert token not in logged(Mask(), "m", auth=str(("me", token)))


@given(token=TOKENS)
def test_the_text_of_an_exception_is_masked(token: str) -> None:
    """Its own, its cause's, and the line of code in its stack."""
    mask = Mask()
    mask.add(token)
    try:
        try:
            raise OSError(f"cannot connect to https://h/?api_key={token}")
        except OSError as error:
            raise RuntimeError(f"failed with {token}") from error
    except RuntimeError as error:
        record = logging.LogRecord(
            "lib", logging.ERROR, "f", 1, "it failed", (), (type(error), error, error.__traceback__)
        )
    line = JsonLines(mask, ManualClock()).make(record)
    assert token not in line.content.decode()
    data = json.loads(line.content)
    assert data["error_message"] == f"failed with {MASKED}"
    assert "cannot connect to https://h/?api_key=***" in data["stack"]


def test_a_private_key_is_masked_through_all_its_lines() -> None:
    """Also one whose end was cut off."""
    key = "-----BEGIN {0} KEY{1}-----\nMIIEvQIBADANBgkqhkiG9w0\nAAAAB3NzaC1yc2E=\n"
    for kind in ("RSA PRIVATE", "PRIVATE", "ENCRYPTED PRIVATE"):
        whole = key.format(kind, "") + f"-----END {kind} KEY-----"
        assert Mask().text(f"read:\n{whole}\nwell") == f"read:\n{MASKED}\nwell"
        assert Mask().text(key.format(kind, "")) == MASKED
    assert Mask().text(key.format("PGP PRIVATE", " BLOCK")) == MASKED
    public = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"
    assert Mask().text(public) == public


@given(text=st.text(max_size=300))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    """And never raises, whatever the text."""
    mask = Mask()
    once = mask.text(text)
    assert mask.text(once) == once


PIECES = [
    *shapes._SIGNS, "key", "api", "session", "private", "-", "_", " ", "=", ":", "'", '"', "\\",
    "/", "https://", "hooks.slack.com/services/", "discord.com/api/", "api.telegram.org/bot",
    "%3a%2f%2f", "?", "&", "[", "{", ",", "\n", "plain ", "12345678", "0123456789abcdef", "AbC123+",
    "hunter2",
]  # fmt: skip
ALSO = {"s": "\u017f", "k": "\u212a", "i": "\u0131"}
TELLING = st.lists(
    st.sampled_from(PIECES)
    | st.sampled_from(PIECES).map(str.upper)
    | st.sampled_from(PIECES).map(lambda piece: "".join(ALSO.get(c, c) for c in piece))
    | st.text(max_size=3),
    max_size=9,
).map("".join)


@settings(max_examples=300)
@given(text=TELLING)
def test_looking_for_signs_first_changes_nothing(text: str) -> None:
    """Every pattern that would find something is tried, in whatever case its words are written."""
    masked = shapes.masked(text)
    tried = masked
    for shape in shapes._SHAPES:
        tried = without(tried, shape.find(tried))
    assert without(tried, named_values(tried, shapes._lowered(tried))) == masked
    assert shapes.masked(masked) == masked


@settings(max_examples=150)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | TELLING,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TELLING, inner, max_size=3),
        max_leaves=8,
    )
)
def test_the_quick_look_never_misses_what_masking_would_change(value: object) -> None:
    """Lines that are not suspected are exactly those that masking leaves alone."""
    mask = Mask()
    mask.add("hunter2")
    line = json.dumps({"x": value}, ensure_ascii=False).encode("utf-8", "replace")
    data = json.loads(line)
    if mask.value(data) != data:
        assert mask.suspects(line)


@pytest.mark.parametrize(
    "text",
    [
        "[1001] Invalid or expired token",
        "the primary key is missing",
        "bearer authentication is required",
        "basic settings are fine",
        "http://localhost:9090/graph?g0.expr=up",
        "http://127.0.0.1:10077/-/ready answered 200",
        "run 4f1d2c3b4a5968778695a4b3c2d1e0f9 of pre_market_scan ended well after 1.2 s",
        "AAPL.US: 3 bars, monkey business, keyboard: yes",
        "mail to me@example.com was sent",
        "ratio 0.5 sketch sk-1",
        "50% up, 3 sessions and 2 tokens were used; cookies are off",
        "AAPL.US closed at 181.25 (code 0, signal: buy, sigma=2.5)",
        "session: XNYS opens at 09:30, key_check ended well",
        "GET /services/Trading/Bot/status 200; 12 services are up",
        "the password has expired; a token was refreshed 20 times; a secret ingredient",
        "token budget: none",
        "auth: 3 failures (reason auth), curl -s http://localhost:10077/-/healthy failed",
        "XHKG -> XNYS, momentum_001 -> flat, AAPL.US key level 181.25 broken",
        "order 8f3b2a1c-11aa-4f6e-9f3e-000000000001 filled: BUY 100 NVDA.US @ 912.50 on IBKR",
        "backtest of momentum_001@1d: sharpe=1.32, return=0.18; see https://h.example/r/2026-11-24",
        "docker run -u 1000:1000 image",
        "2026-11-24T14:30:00Z NVDA.US bid=181.2 ask=181.3 spread_ratio=0.0005 stale_seconds=7200",
    ],
)
def test_ordinary_words_stay_readable(text: str) -> None:
    """A mask that hides everything helps nobody."""
    assert Mask().text(text) == text


def test_names_that_tell_hide_their_value_and_small_numbers_stay() -> None:
    """Fields of a record are judged by their name; a count of tokens is no token."""
    mask = Mask()
    assert mask.value({"api_key": "abc", "tokens": 12, "token": 12, "password": "x"}) == {
        "api_key": MASKED, "tokens": 12, "token": 12, "password": MASKED,
    }  # fmt: skip


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "text", ["key hunter2-and-more.", "key hunter2%2Dand-more.", "key hunter2\\u002dand-more."]
)
def test_the_longest_secret_is_masked_first(text: str, order: int) -> None:
    """One that is part of another would leave the rest of it, however either is written."""
    mask = Mask()
    mask.add_all(["hunter2", "hunter2-and-more"][::order])
    assert mask.text(text) == f"key {MASKED}."


def test_short_values_are_not_masked_everywhere() -> None:
    """A secret of five letters would make every log unreadable; its shapes are still masked."""
    mask = Mask()
    mask.add("abc")
    assert mask.text("abc api_key=abc") == "abc api_key=***"


def test_text_that_is_no_unicode_is_masked_too() -> None:
    """Names of files may be any bytes, which Python shows as lone surrogates."""
    assert Mask().text("\udcff.csv password=hunter2secret") == "\udcff.csv password=***"


@pytest.mark.parametrize("name", ["ſecret", "toKen".replace("K", "\u212a"), "COOKıE"])
def test_letters_that_are_taken_for_others_hide_nothing(name: str) -> None:
    """What the patterns take for s, k and i, whatever the case, the quick look does, too."""
    mask = Mask()
    line = json.dumps({"message": f"{name}=abcdef123456"}, ensure_ascii=False).encode()
    assert mask.suspects(line)
    assert "abcdef123456" not in mask.text(f"{name}=abcdef123456")
