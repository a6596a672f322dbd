"""``type: python``: bars from a callable of the user, which runs in a process of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exporter.config.entry_points import find_parameters
from exporter.config.secret_values import read_secret
from exporter.config.source_settings import HttpSettings, PythonSettings
from exporter.metrics import FETCH_REASONS
from exporter.sources.base import SourceError
from exporter.sources.rate_limiter import RATE_PAUSE_SECONDS
from exporter.sources.rows_source import Query
from exporter.sources.transport import LARGE_BYTES
from exporter.util.helper_process import CallFailedError, HelperDiedError, HelperProcess

log = logging.getLogger(__name__)

_BY_CLASS = (
    ("RateLimit", "rate_limit"), ("TooManyRequests", "rate_limit"),
    ("DDoSProtection", "rate_limit"), ("Authentication", "auth"),
    ("PermissionDenied", "auth"), ("Timeout", "timeout"),
    ("Connect", "connect"), ("gaierror", "connect"), ("JSONDecodeError", "malformed"),
)  # fmt: skip
"""What is in the name of an exception's class, or of a base of it, and the reason that it means:
libraries have their own exceptions, and all call these alike."""
_FINAL = ("auth",)
_LARGE_ROWS = LARGE_BYTES // 100
Redact = Callable[[object], str]


def read_named_secrets(
    name: str, settings: PythonSettings | HttpSettings, environ: Mapping[str, str]
) -> dict[str, str]:
    """The secrets that `secrets` names. Raises
    :class:`~exporter.config.secret_values.SecretMissingError`."""
    place = f"sources.{name}.secrets"
    return {variable: read_secret(place, variable, None, environ) for variable in settings.secrets}


class HelperReader:
    """Rows from code in a helper process: a :class:`~.rows_source.RowReader`."""

    def __init__(self, helper: HelperProcess, timeout: float, batch: int, redact: Redact) -> None:
        self.batch = batch
        self._helper, self._timeout, self._redact = helper, timeout, redact

    async def rows(self, query: Query) -> tuple[Mapping[str, Any], bool]:
        """What the code brings. Raises :class:`SourceError`."""
        try:
            found = await self._helper.call(asdict(query), self._timeout)
        except TimeoutError:
            text = f"no answer within {self._timeout:g} s; its process was ended"
            raise SourceError("timeout", text, retryable=True) from None
        except HelperDiedError as error:
            raise SourceError("error", self._redact(error), retryable=True) from None
        except CallFailedError as error:
            raise self._failure(error) from None
        except OSError as error:
            text = f"no process can be started: {error.strerror}"
            raise SourceError("error", text, retryable=True) from None
        return found, sum(map(len, found.values())) > _LARGE_ROWS

    def _failure(self, error: CallFailedError) -> SourceError:
        reason = error.reason if error.reason in FETCH_REASONS else _reason_of(error.classes)
        retryable = not error.programming and reason not in _FINAL
        after = error.retry_after
        if reason == "rate_limit" and after is None:
            after = RATE_PAUSE_SECONDS
        ours = error.reason is not None and error.classes and "SourceError" not in error.classes
        text = error.text if ours else str(error)
        return SourceError(
            reason, self._redact(text),
            retryable=retryable if error.retryable is None else error.retryable,
            retry_after=after,
        )  # fmt: skip

    async def close(self) -> None:
        """End the process."""
        await self._helper.close()


def _reason_of(classes: Sequence[str]) -> str:
    found = (reason for part, reason in _BY_CLASS if any(part in name for name in classes))
    return next(found, "error")


def python_reader(
    name: str,
    settings: PythonSettings,
    code: Sequence[Path],
    environment: Mapping[str, str],
    redact: Redact,
) -> HelperReader:
    """The reader of source `name`. `environment` holds the secrets that the callable gets."""

    def printed(line: str) -> None:
        log.info("%s: %s", name, redact(line), extra={"event": "source_printed", "source": name})

    folders = [str(folder) for folder in code]
    setup = {"run": settings.run, "code": folders, "params": dict(settings.params)}
    helper = HelperProcess("exporter.sources.python_rows:PythonRows", setup, environment, printed)
    # What takes one `symbol` is called once for each.
    alone = "symbol" in find_parameters(settings.run, code)
    return HelperReader(helper, settings.timeout, 1 if alone else settings.batch, redact)
