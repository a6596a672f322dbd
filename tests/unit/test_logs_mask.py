"""No secret reaches a log, whatever shape it comes in."""

from __future__ import annotations

import json
import logging
import string
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exporter.logs.mask import MASKED, Mask
from exporter.logs.records import JsonLines, Readable
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
]


def logged(mask: Mask, message: str, *args: object, **extra: object) -> str:
    """The line and what the terminal shows, as a record with these would be written."""
    record = logging.LogRecord("lib", logging.ERROR, "f", 1, message, args, None)
    record.__dict__.update(extra)
    made = JsonLines(mask, ManualClock()).make(record)
    json.loads(made.line.content)
    return made.line.content.decode() + Readable(None, "plain").text(made.data)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40)
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
    made = JsonLines(mask, ManualClock()).make(record)
    assert token not in made.line.content.decode()
    data = json.loads(made.line.content)
    assert data["error_message"] == f"failed with {MASKED}"
    assert "cannot connect to https://h/?api_key=***" in data["stack"]


@given(text=st.text(max_size=300))
def test_masking_twice_changes_nothing_more(text: str) -> None:
    """And never raises, whatever the text."""
    mask = Mask()
    once = mask.text(text)
    assert mask.text(once) == once


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
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


def test_short_values_are_not_masked_everywhere() -> None:
    """A secret of five letters would make every log unreadable; its shapes are still masked."""
    mask = Mask()
    mask.add("abc")
    assert mask.text("abc api_key=abc") == "abc api_key=***"
