"""One mail handed over to an SMTP server."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from email.message import EmailMessage

from exporter.config.channels import Email
from exporter.redaction.truncate import truncate_at_word

_SAID_CHARS = 200


class MailError(Exception):
    """The server did not accept the mail; the text says what it answered. `transient`: whether it
    may accept it later."""

    def __init__(self, text: str, *, transient: bool) -> None:
        super().__init__(text)
        self.transient = transient


def deliver(
    message: EmailMessage, email: Email, password: str | None, timeout_seconds: float
) -> None:
    """Blocks. Raises :class:`MailError`."""
    try:
        refused = _deliver(message, email, password, timeout_seconds)
    except smtplib.SMTPRecipientsRefused as error:
        raise _refused(error.recipients, everybody=True) from None
    except smtplib.SMTPResponseException as error:
        text = f"answered {error.smtp_code}: {_text(error.smtp_error)}"
        raise MailError(text, transient=400 <= error.smtp_code < 500) from None
    except smtplib.SMTPNotSupportedError as error:
        raise MailError(
            f"does not support it: {error} Set `security: tls`, or `none` on this machine",
            transient=False,
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise MailError(
            f"has an invalid certificate: {error.verify_message}", transient=False
        ) from None
    except (smtplib.SMTPException, OSError) as error:
        said = truncate_at_word(str(error), _SAID_CHARS)
        text = f"cannot be reached: {type(error).__name__}: {said}"
        raise MailError(text, transient=True) from None
    if refused:
        raise _refused(refused, everybody=False)


def _deliver(
    message: EmailMessage, email: Email, password: str | None, timeout: float
) -> dict[str, tuple[int, bytes]]:
    host, _, port = email.smtp.rpartition(":")
    host = host.strip("[]")
    if email.security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            host, int(port), timeout=timeout, context=ssl.create_default_context()
        )
    else:
        server = smtplib.SMTP(host, int(port), timeout=timeout)
    try:
        if email.security == "starttls":
            server.starttls(context=ssl.create_default_context())
        if email.user and password:
            server.login(email.user, password)
        return server.send_message(message)
    finally:
        with contextlib.suppress(smtplib.SMTPException, OSError):
            server.quit()


def _refused(recipients: dict[str, tuple[int, bytes]], *, everybody: bool) -> MailError:
    """Where some accepted it, nothing is sent again: they would get it twice."""
    each = ", ".join(f"{who} ({code} {_text(said)})" for who, (code, said) in recipients.items())
    later = everybody and all(400 <= code < 500 for code, _ in recipients.values())
    return MailError(f"rejected {each}", transient=later)


def _text(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return truncate_at_word(" ".join(text.split()), _SAID_CHARS)
