"""The process that sends one message: its order on stdin, what came of it on stdout, both JSON.

A process of its own, because apprise is synchronous, loads two hundred services (1 s, 40 MB), and
says no more than whether it worked: what a server answered is seen where requests sends, which is
replaced here and nowhere else. A server that hangs is ended with the process. Addresses come by
stdin, so that no list of processes shows them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from exporter.config.channels import Email
from exporter.messages import smtp
from exporter.messages.body import Style, body
from exporter.messages.message import ChannelMessage
from exporter.redaction.truncate import truncate_at_word
from exporter.util.backoff import retry_after_seconds

CONNECT_SECONDS, READ_SECONDS = 10.0, 20.0
ORPHAN_SECONDS = 90
"""Longer than the exporter waits: should it be gone, the process ends by itself."""
_TRANSIENT = frozenset((408, 425, 429))
_TITLE_MARKUP = re.compile(r"[*`\[\]]")
_FIXED_PITCH: dict[str, Style] = {
    "Slack": "slack", "Discord": "markdown", "Telegram": "markdown", "Mattermost": "markdown",
}  # fmt: skip
_JSON_KEYS = "%3Amessage=text&%3Atitle=&%3Aversion=&%3Atype=&%3Aattachments="
"""apprise's JSON message made into ``{"text": …}``: the keys of its own payload renamed or left
out."""


@dataclass(frozen=True)
class Sent:
    """What became of a message. `transient`: it may be accepted later."""

    ok: bool
    problem: str = ""
    transient: bool = False
    retry_after: float | None = None


@dataclass
class Wire:
    """What the servers answered to one message, in order; and the last thing apprise warned of."""

    statuses: list[int] = field(default_factory=list)
    text: str = ""
    retry_after: float | None = None
    unreachable: str = ""
    warning: str = ""

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look at everything that this process sends meanwhile."""
        import requests
        from requests.adapters import HTTPAdapter

        send = HTTPAdapter.send

        def watched(adapter: HTTPAdapter, *args: Any, **kwargs: Any) -> requests.Response:
            try:
                answer = send(adapter, *args, **kwargs)
                page = answer.text[:2_000]
            except requests.RequestException as error:
                self.unreachable = _reason(error)
                raise
            if answer.ok and page.lstrip().lower().startswith(("<!doctype", "<html")):
                answer.status_code = 502  # a login or maintenance page, whatever its status says
                page = "a web page in place of an answer"
            self.statuses.append(answer.status_code)
            if not answer.ok or answer.status_code >= 300:
                self.text = " ".join(page.split())
                asked = retry_after_seconds(answer.headers, time.time())
                self.retry_after = asked or _retry_after_in(page)
            return answer

        HTTPAdapter.send = watched  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            HTTPAdapter.send = send  # type: ignore[method-assign]

    def outcome(self, service: str) -> Sent:
        """Of a message that apprise did not get through."""
        if self.unreachable:
            return Sent(False, f"{service} cannot be reached: {self.unreachable}", transient=True)
        if self.statuses:
            status = self.statuses[-1]
            transient = status in _TRANSIENT or status >= 500
            text = f"{service} answered {status}: {truncate_at_word(self.text, 200)}"
            return Sent(False, text.removesuffix(": "), transient, self.retry_after)
        return Sent(False, f"{service}: {self.warning or 'apprise did not say why'}")


def _retry_after_in(text: str) -> float | None:
    """Telegram and Discord say it in the answer:
    https://core.telegram.org/bots/api#responseparameters."""
    try:
        answer = json.loads(text)
        found = answer.get("retry_after", (answer.get("parameters") or {}).get("retry_after"))
        return float(found) if found is not None and 0 < float(found) < 1e6 else None
    except (ValueError, TypeError, AttributeError):
        return None


def _reason(error: BaseException) -> str:
    """The kind of error and the system's text, without the address in it."""
    looked: list[BaseException] = []
    ahead: list[object] = [error]
    while ahead:
        one = ahead.pop(0)
        if not isinstance(one, BaseException) or one in looked:
            continue
        looked.append(one)
        if text := getattr(one, "verify_message", None) or getattr(one, "strerror", None):
            return f"{type(error).__name__}: {text}"
        ahead += [getattr(one, "reason", None), *one.args, one.__cause__, one.__context__]
    return type(error).__name__


class _Warnings(logging.Handler):
    def __init__(self, wire: Wire) -> None:
        super().__init__(logging.WARNING)
        self._wire = wire

    def emit(self, record: logging.LogRecord) -> None:
        self._wire.warning = truncate_at_word(record.getMessage(), 200)


def by_address(message: ChannelMessage, address: str) -> Sent:
    """Through apprise: an address of its own, that of a service which it knows, or any webhook that
    takes what Slack's take."""
    import apprise

    wire = Wire()
    logger = logging.getLogger("apprise")
    logger.handlers, logger.propagate = [_Warnings(wire)], False
    asset = apprise.AppriseAsset(
        app_id="quant-exporter", app_desc="", app_url="", image_url_mask="", image_url_logo="",
        storage_mode="memory", async_mode=False, http_redirects=False,
    )  # fmt: skip
    service = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    plain_webhook = service is None and address.startswith(("http://", "https://"))
    if plain_webhook:
        service = apprise.Apprise.instantiate(_as_json(address), asset=asset)
    if service is None:
        return Sent(False, "has an invalid address: see docs/messages.md for how to write it")
    service.socket_connect_timeout, service.socket_read_timeout = CONNECT_SECONDS, READ_SECONDS
    name = urlsplit(address).hostname or "" if plain_webhook else str(service.service_name)
    style: Style = "webhook" if plain_webhook else _style(service)
    title = truncate_at_word(message.title, int(service.title_maxlen or 250))
    if style not in ("html", "text"):
        title = _TITLE_MARKUP.sub("", title)  # services make it bold, each in its way
    text = body(message, style, int(service.body_maxlen) - len(title) - 100)
    if plain_webhook:
        text = f"*{title}*\n{text}" if text else title
    queue = apprise.Apprise(asset=asset)
    queue.add(service)
    with tempfile.TemporaryDirectory() as folder:
        drawn = None
        if service.attachment_support and not plain_webhook:
            drawn = _picture(message, Path(folder))
        for picture in (drawn, None) if drawn else (None,):
            wire.statuses.clear()
            with wire.watching():
                sent = queue.notify(
                    body=text or title, title=title if text else "",
                    body_format=style if style in ("html", "text") else "markdown",
                    attach=str(picture) if picture else None,
                )  # fmt: skip
            # A service may refuse the picture of a text that it has accepted.
            if sent or (picture and wire.statuses and wire.statuses[0] < 300):
                return Sent(True)
            if wire.outcome(name).transient:
                break
    return wire.outcome(name)


def _as_json(address: str) -> str:
    """A webhook's address as that of apprise's JSON service."""
    parts = urlsplit(address)
    query = "&".join(
        f"-{quote(name)}={value}"
        for name, _, value in (pair.partition("=") for pair in parts.query.split("&") if pair)
    )
    scheme = "jsons" if parts.scheme == "https" else "json"
    return f"{scheme}://{parts.netloc}{parts.path}?{query}{'&' if query else ''}{_JSON_KEYS}"


def _style(service: Any) -> Style:
    """Tables in a fixed pitch where it is known how the service reads them, else plain lines."""
    formats = service.notify_format
    names = {one.value for one in (formats if isinstance(formats, tuple) else (formats,))}
    if known := _FIXED_PITCH.get(str(service.service_name)):
        return known
    return "text" if "text" in names else "html" if "html" in names else "markdown"


def _picture(message: ChannelMessage, folder: Path) -> Path | None:
    from exporter.messages.picture import png

    drawn = png(message.charts) if message.charts else None
    if drawn is None:
        return None
    path = folder / "report.png"
    path.write_bytes(drawn)
    return path


def by_mail(message: ChannelMessage, email: Email, password: str | None) -> Sent:
    """By SMTP itself rather than through apprise, which sends each recipient a mail of its own and
    does not say what the server answered: a retry would reach some of them twice."""
    from exporter.messages.picture import png

    mail = EmailMessage()
    mail["Subject"] = " ".join(message.title.split())[:150]
    mail["From"], mail["To"] = email.sender, ", ".join(email.to)
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(domain=email.sender.rpartition("@")[2])
    mail.set_content(body(message, "text", 100_000) or message.title)
    page = body(message, "html", 400_000)
    mail.add_alternative(f'<html lang="en"><body>{page}</body></html>', subtype="html")
    if message.charts and (drawn := png(message.charts)):
        mail.add_attachment(drawn, maintype="image", subtype="png", filename="report.png")
    try:
        smtp.deliver(mail, email, password, READ_SECONDS)
    except smtp.MailError as error:
        return Sent(False, f"{email.smtp} {error}", error.transient)
    return Sent(True)


def main() -> int:
    """Read the order, carry it out, print what came of it."""
    signal.alarm(ORPHAN_SECONDS)
    # This machine itself is never asked through a proxy, as everywhere in the exporter.
    kept = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    os.environ["no_proxy"] = ",".join(filter(None, (kept, "localhost,127.0.0.1,::1")))
    order = json.load(sys.stdin)
    answers, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115, PTH123 - apprise prints
    message = ChannelMessage.from_json(order["message"])
    if order["email"]:
        sent = by_mail(message, Email.model_validate(order["email"]), order["password"])
    else:
        sent = by_address(message, order["address"])
    json.dump(sent.__dict__, answers)
    answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
