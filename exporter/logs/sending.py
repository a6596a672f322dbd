"""A digest sent to the channels that the user chose. Addresses and passwords are read when they
are needed and stand in no message, no exception and no log line."""

from __future__ import annotations

import asyncio
import contextlib
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

import aiohttp

from exporter import config as configuration
from exporter.logs.digest.facts import Digest
from exporter.logs.digest.render import chat, headline, markdown, page

TIMEOUT_SECONDS = 30.0


class NotSentError(Exception):
    """A channel did not take the digest; the message says which, why, and what to do."""


def read_secret(
    place: str, variable: str | None, file: Path | None, environ: Mapping[str, str]
) -> str:
    """A secret from a file, an environment variable, or systemd's credentials of that name.

    `place` is the key in the config, for the message. Raises :class:`NotSentError`.
    """
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if file is None and variable and not environ.get(variable) and folder:
        file = Path(folder) / variable
    if file is None:
        text, where = environ.get(variable or "", ""), f"the environment variable {variable}"
    else:
        where = str(file)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = error.strerror if isinstance(error, OSError) else "it is not text"
            raise NotSentError(f"{place}: {file} cannot be read: {problem}") from None
    if not text.strip():
        raise NotSentError(f"{place}: {where} is not set; put the secret there")
    return text.strip()


async def send(
    digest: Digest, settings: configuration.Digest, environ: Mapping[str, str]
) -> dict[str, NotSentError | None]:
    """Send to every channel of ``settings.to``; channel to what went wrong, or None."""
    results: dict[str, NotSentError | None] = {}
    for name in settings.to:
        try:
            if name == "slack" and settings.slack is not None:
                await _to_slack(digest, settings.slack, environ)
            elif settings.email is not None:
                await _to_email(digest, settings.email, environ)
        except NotSentError as error:
            results[name] = error
        else:
            results[name] = None
    return results


async def _to_slack(digest: Digest, slack: configuration.Slack, environ: Mapping[str, str]) -> None:
    url = read_secret("digest.slack", slack.url_env, slack.url_file, environ)
    body = {"text": chat(digest), "unfurl_links": False}
    problem = None
    try:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, json=body, allow_redirects=False) as answer,
        ):
            if answer.status >= 300:
                problem = f"answered {answer.status}: {(await answer.text())[:200]}"
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        problem = type(error).__name__  # its text may hold the address
    if problem:
        raise NotSentError(f"digest.slack: the webhook {problem.replace(url, '***')}")


async def _to_email(digest: Digest, email: configuration.Email, environ: Mapping[str, str]) -> None:
    password = None
    if email.user:
        password = read_secret("digest.email", email.password_env, email.password_file, environ)
    message = EmailMessage()
    message["Subject"] = headline(digest).replace("\n", " ")[:150]
    message["From"], message["To"] = email.sender, ", ".join(email.to)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=email.sender.rpartition("@")[2])
    message.set_content(markdown(digest))
    message.add_alternative(page(digest), subtype="html")
    problem = None
    try:
        await asyncio.to_thread(_deliver, message, email, password)
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        problem = f"{error.smtp_code} {text[:200]}"
    except (smtplib.SMTPException, OSError) as error:
        problem = f"{type(error).__name__}: {str(error)[:200]}"
    if problem:
        problem = problem.replace(password, "***") if password else problem
        raise NotSentError(f"digest.email: {email.smtp} did not take it: {problem}")


def _deliver(message: EmailMessage, email: configuration.Email, password: str | None) -> None:
    host, _, port = email.smtp.rpartition(":")
    host = host.strip("[]")
    if email.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            host, int(port), timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()
        )
    else:
        server = smtplib.SMTP(host, int(port), timeout=TIMEOUT_SECONDS)
    try:
        if email.security == "starttls":
            server.starttls(context=ssl.create_default_context())
        if email.user and password:
            server.login(email.user, password)
        server.send_message(message)
    finally:
        with contextlib.suppress(smtplib.SMTPException, OSError):
            server.quit()
