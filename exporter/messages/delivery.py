"""Sends a digest to the channels that the user chose. Addresses and passwords are read when they
are needed and appear in no message, exception or log line.

Transient errors (a channel is busy, unreachable, or answers with a server error) are retried a few
times within the same run; others are reported at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

import aiohttp

from exporter import config as configuration
from exporter.config.secret_values import SecretMissingError, read_secret
from exporter.logs.digest.facts import LogDigest
from exporter.logs.digest.render import chat, markdown, page
from exporter.logs.digest.sections import headline
from exporter.messages import smtp as mail
from exporter.redaction.truncate import truncate_at_word
from exporter.util.backoff import backoff_pause, retry_after_seconds
from exporter.util.proxy import proxy_for

TIMEOUT_SECONDS = 30.0
PAUSES_SECONDS = (2.0, 10.0, 40.0)
"""Between one attempt and the next."""
LONGEST_PAUSE = 60.0
"""However long a channel asks us to wait."""

log = logging.getLogger(__name__)


class NotSentError(Exception):
    """A channel did not accept the digest; the message says which, why, and what to do.

    `transient`: whether it may accept it later; `retry_after`: seconds it asked us to wait.
    """

    def __init__(
        self, text: str, *, transient: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(text)
        self.transient, self.retry_after = transient, retry_after


async def send(
    digest: LogDigest,
    settings: configuration.DigestSettings,
    environ: Mapping[str, str],
    *,
    done: Collection[str] = (),
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    rng: random.Random | None = None,
) -> dict[str, NotSentError | None]:
    """Send to every channel of ``settings.to`` that is not `done`, all at once; channel to what
    went wrong, or None."""

    chance = rng or random.Random()

    async def one(name: str) -> NotSentError | None:
        for pause in (*PAUSES_SECONDS, None):
            try:
                if name == "slack" and settings.slack is not None:
                    await _to_slack(digest, settings.slack, environ)
                elif settings.email is not None:
                    await _to_email(digest, settings.email, environ)
            except SecretMissingError as error:
                return NotSentError(str(error))
            except NotSentError as error:
                if pause is None or not error.transient:
                    return error
                wait = min(backoff_pause(pause, chance, error.retry_after), LONGEST_PAUSE)
                log.warning(
                    "%s; next attempt in %.0f s", error, wait,
                    extra={"event": "digest_retry", "channel": name},
                )  # fmt: skip
                await sleep(wait)
            else:
                return None
        raise AssertionError("the last attempt returns")

    names = [name for name in settings.to if name not in done]
    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


async def _to_slack(
    digest: LogDigest, slack: configuration.Slack, environ: Mapping[str, str]
) -> None:
    url = read_secret("digest.slack.url", slack.url_env, slack.url_file, environ)
    body = {"text": chat(digest), "unfurl_links": False, "unfurl_media": False}
    retry_after = None
    proxy = proxy_for(url, None, environ)
    try:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                url,
                json=body,
                allow_redirects=False,
                proxy=proxy.url if proxy else None,
                proxy_auth=aiohttp.BasicAuth(proxy.user, proxy.password)
                if proxy and proxy.user
                else None,
            ) as answer,
        ):
            if answer.status < 300:
                return
            said = truncate_at_word(await answer.text(errors="replace"), 200)
            problem = f"answered {answer.status}: {said}"
            transient = answer.status in (408, 429) or answer.status >= 500
            retry_after = retry_after_seconds(answer.headers, time.time())
    except aiohttp.InvalidURL:
        problem, transient = "has an invalid address: it must start with https://", False
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        problem, transient = f"cannot be reached: {type(error).__name__}", True  # no address in it
    problem = problem.replace(url, "***")
    raise NotSentError(
        f"digest.slack: the webhook {problem}", transient=transient, retry_after=retry_after
    )


async def _to_email(
    digest: LogDigest, email: configuration.Email, environ: Mapping[str, str]
) -> None:
    password = None
    if email.user:
        password = read_secret(
            "digest.email.password", email.password_env, email.password_file, environ
        )
    message = EmailMessage()
    message["Subject"] = " ".join(headline(digest).split())[:150]
    message["From"], message["To"] = email.sender, ", ".join(email.to)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=email.sender.rpartition("@")[2])
    message.set_content(markdown(digest))
    message.add_alternative(page(digest), subtype="html")
    try:
        await asyncio.to_thread(mail.deliver, message, email, password, TIMEOUT_SECONDS)
    except mail.MailError as error:
        problem = str(error).replace(password, "***") if password else str(error)
        raise NotSentError(
            f"digest.email: {email.smtp} {problem}", transient=error.transient
        ) from None
