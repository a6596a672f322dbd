"""Messages as the services get them, by their documented formats; and what their faults become."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.messages import sender
from exporter.messages.message import ChannelMessage, Chart, MessageTable
from exporter.messages.sender import Sent, by_address
from tests.unit.messages.services import (
    BOT_TOKEN,
    DISCORD,
    NTFY,
    SLACK,
    TELEGRAM,
    Services,
    nobody,
    services,
)

REPORT = ChannelMessage(
    "End of day, 2026-11-27 & more",
    [
        "P&L +1,234.50 USD; momentum_001 *fell* <!channel> @everyone",
        MessageTable(
            "Strategies", ("Strategy", "P&L"), [("momentum_001", "1,234.50"), ("carry", "-3.10")]
        ),
    ],
    [Chart("Moves of the day", {"NVDA.US": [0.0125], "SPY.US": [-0.004]})],
)
NO_PICTURE = ChannelMessage(REPORT.title, REPORT.parts)


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """One set of servers and certificates for all of this file."""
    with services(tmp_path_factory.mktemp("services")) as made:
        yield made


@pytest.fixture
def them(listening: Services, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The services, and this process led to them."""
    for name, value in listening.environ().items():
        monkeypatch.setenv(name, value)
    listening.asked, listening.answers = [], []
    listening.hang, listening.untrusted = 0.0, False
    return listening


def test_slack_gets_a_table_in_a_fixed_pitch_and_nobody_is_called_by_name(them: Services) -> None:
    """https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: text in mrkdwn, a
    picture cannot be attached."""
    assert by_address(REPORT, SLACK) == Sent(True)
    (asked,) = them.asked
    assert (asked.host, asked.path) == ("hooks.slack.com", SLACK.partition(".com")[2])
    (attached,) = asked.json["attachments"]
    assert attached["title"] == "End of day, 2026-11-27 &amp; more"
    assert (
        "```\nStrategy           P&amp;L\nmomentum_001  1,234.50\ncarry            -3.10\n```"
        in (attached["text"])
    )
    assert "momentum_001 _fell_" in attached["text"]  # as apprise reads one star
    assert "*Strategies*\n```" in attached["text"]
    assert "<!channel>" not in attached["text"]


def test_discord_gets_text_and_picture(them: Services) -> None:
    """https://docs.discord.com/developers/resources/webhook: content in Markdown of at most 2000
    characters, then the file."""
    assert by_address(REPORT, DISCORD) == Sent(True)
    text, picture = them.asked
    content = text.json["content"]
    assert content.startswith("End of day, 2026-11-27 & more")
    assert "momentum_001  1,234.50\ncarry            -3.10\n```" in content
    assert "@everyone" not in content
    assert b"\x89PNG" in picture.body
    assert picture.headers["Content-Type"].startswith("multipart/form-data")


def test_telegram_gets_text_or_a_picture_with_it(them: Services) -> None:
    """https://core.telegram.org/bots/api#sendmessage; a lone underscore is not half of a markup,
    which Telegram would refuse. A short text is the picture's caption."""
    assert by_address(NO_PICTURE, TELEGRAM) == Sent(True)
    (text,) = them.asked
    assert text.path == f"/bot{BOT_TOKEN}/sendMessage"
    assert text.json["chat_id"] == 12315544
    assert "momentum\\_001 \\*fell\\*" in text.json["text"]
    assert "```\nStrategy           P&L\n" in text.json["text"]
    assert by_address(REPORT, TELEGRAM) == Sent(True)
    picture = them.asked[1]
    assert picture.path.endswith("/sendPhoto")
    assert b"\x89PNG" in picture.body
    assert b"momentum_001  1,234.50" in picture.body


def test_a_message_whose_picture_is_refused_goes_without_it(them: Services) -> None:
    """Where both are one request."""
    them.answers = [(400, {}, '{"ok": false, "description": "Bad Request: IMAGE_PROCESS_FAILED"}')]
    assert by_address(REPORT, TELEGRAM) == Sent(True)
    assert [asked.path.rpartition("/")[2] for asked in them.asked] == ["sendPhoto", "sendMessage"]


def test_ntfy_gets_plain_lines(them: Services) -> None:
    """https://docs.ntfy.sh/publish: JSON with topic, title and message; on a phone's lock screen
    columns would not stand under each other."""
    assert by_address(NO_PICTURE, NTFY) == Sent(True)
    (asked,) = them.asked
    assert asked.json["topic"] == "my-secret-topic-8731"
    assert asked.json["title"] == "End of day, 2026-11-27 & more"
    assert asked.json["message"].endswith("Strategies\n• momentum_001  1,234.50\n• carry  -3.10")


def test_a_long_report_is_cut_to_what_the_service_takes(them: Services) -> None:
    """Rows first, and how many are left out; never in the middle of a fence."""
    rows = [(f"SYMBOL{n:03}.US", "100.00", "+1.00%") for n in range(60)]
    long = ChannelMessage("Scan", ["x " * 300, MessageTable("", ("Symbol", "Price", "Move"), rows)])
    assert by_address(long, DISCORD) == Sent(True)
    content = them.asked[0].json["content"]
    assert len(content) <= 2000
    assert content.count("```") == 2
    shown = content.count("SYMBOL")
    assert f"… and {60 - shown} more" in content


@pytest.mark.parametrize(
    ("answer", "problem", "transient", "after"),
    [
        ((429, {"Retry-After": "30"}, "rate_limited"), "answered 429: rate_limited", True, 30.0),
        ((503, {}, ""), "answered 503", True, None),
        ((404, {}, "no_service"), "answered 404: no_service", False, None),
        ((302, {"Location": "https://ntfy.sh/"}, ""), "answered 302", False, None),
        ((200, {}, "<!DOCTYPE html><html>log in"), "answered 502: a web page", True, None),
    ],
)  # fmt: skip
def test_what_slack_answers_is_said(
    them: Services, answer: tuple[int, dict[str, str], str], problem: str, transient: bool,
    after: float | None,
) -> None:  # fmt: skip
    """And whether it may be different later. A redirect is not followed."""
    them.answers = [answer]
    sent = by_address(NO_PICTURE, SLACK)
    assert not sent.ok
    assert sent.problem.startswith(f"Slack {problem}")
    assert (sent.transient, sent.retry_after) == (transient, after)
    assert len(them.asked) == 1
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in sent.problem


def test_telegram_and_discord_say_in_the_answer_when_to_come_back(them: Services) -> None:
    """In `parameters` and at the top; not in a header."""
    for address, body in (
        (TELEGRAM, {"ok": False, "error_code": 429, "parameters": {"retry_after": 11}}),
        (DISCORD, {"message": "You are being rate limited.", "retry_after": 0.65}),
    ):
        them.answers = [(429, {}, json.dumps(body))] * 3
        sent = by_address(NO_PICTURE, address)
        assert sent.transient
        assert sent.retry_after in (11.0, 0.65)


def test_a_refused_picture_does_not_send_the_text_again(them: Services) -> None:
    """The text has arrived."""
    them.answers = [(200, {}, "{}"), (413, {}, "Request entity too large")]
    assert by_address(REPORT, DISCORD) == Sent(True)
    assert len(them.asked) == 2


def test_a_foreign_certificate_is_not_trusted(them: Services) -> None:
    """Said with the reason, without the address."""
    them.untrusted = True
    sent = by_address(NO_PICTURE, TELEGRAM)
    assert sent.transient
    assert "cannot be reached: SSLError: " in sent.problem
    assert "AAEhBOweik6ad9r" not in sent.problem
    assert them.asked == []


def test_a_server_that_hangs_is_left(them: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is not waited for for ever."""
    monkeypatch.setattr(sender, "READ_SECONDS", 0.1)
    them.hang = 2.0
    sent = by_address(NO_PICTURE, SLACK)
    assert sent == Sent(False, "Slack cannot be reached: ReadTimeout", transient=True)


def test_nobody_there_is_said(them: Services) -> None:
    """With what the system says."""
    sent = by_address(NO_PICTURE, f"http://{nobody()}/hooks/verysecret")
    assert sent.problem == "127.0.0.1 cannot be reached: ConnectionError: Connection refused"
    assert sent.transient


@pytest.mark.parametrize("address", ["verysecret", "slack://verysecret", "ftp://h/verysecret"])
def test_an_address_that_is_none_is_said_without_it(address: str) -> None:
    """Nothing is sent."""
    sent = by_address(NO_PICTURE, address)
    assert (sent.ok, sent.transient) == (False, False)
    assert sent.problem.startswith("has an invalid address")
    assert "verysecret" not in sent.problem


def test_apprise_logs_nothing_of_an_address(
    them: Services, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Neither to the logger's handlers nor to the terminal; nor does it leave files."""
    before = set(Path(os.environ.get("HOME", "/")).glob("*"))
    them.answers = [(500, {}, "no")] * 3
    by_address(NO_PICTURE, TELEGRAM)
    out, err = capfd.readouterr()
    assert "AAEhBOweik6ad9r" not in out + err
    assert set(Path(os.environ.get("HOME", "/")).glob("*")) == before
