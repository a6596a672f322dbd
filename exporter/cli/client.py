"""How commands talk to the running exporter: small blocking HTTP calls with the write token."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import Any

from exporter.config import Config
from exporter.config.paths import INSTANCE_HEADER, instance_id, token_path

TIMEOUT = 10.0


class NotRunningError(Exception):
    """Nobody answers at the configured address."""


class OtherExporterError(NotRunningError):
    """An exporter answers there, but it runs from another folder."""


class RequestRefusedError(Exception):
    """The exporter answered with an error; the message is its own."""

    def __init__(self, message: str, *, wrong_use: bool = False) -> None:
        super().__init__(message)
        self.wrong_use = wrong_use
        """The request makes no sense, for example an unknown name."""


def call(
    config: Config,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    timeout: float = TIMEOUT,
) -> Any:
    """The decoded JSON answer. Raises :class:`NotRunningError` or :class:`RequestRefusedError`."""
    where = config.local_url.removeprefix("http://")
    request = urllib.request.Request(
        f"http://{where}{path}", method=method, headers={"Host": "localhost"}
    )
    if method != "GET":
        request.data = json.dumps(body or {}).encode()
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {_token(config)}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            _must_be_ours(config, answer.headers)
            return json.load(answer)
    except urllib.error.HTTPError as error:
        _must_be_ours(config, error.headers)
        raise RequestRefusedError(_message(error), wrong_use=error.code in (400, 404)) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise NotRunningError(
                f"the exporter at {where} did not answer within {timeout:.0f} s: it hangs, or "
                "this machine is overloaded; see the last lines of its log"
            ) from error
        why = getattr(reason, "strerror", None) or reason
        raise NotRunningError(
            f"no exporter answers at {where} ({why}); start it with `quant-exporter run`"
        ) from error


def _must_be_ours(config: Config, headers: Message[str, str]) -> None:
    theirs = headers.get(INSTANCE_HEADER)
    if theirs is not None and theirs != instance_id(config):
        raise OtherExporterError(
            f"the exporter at {config.local_url} belongs to another folder: its state file is not "
            f"{config.state}. To run two, give each its own `listen:` address; if you moved the "
            "folder, stop that exporter and start it here"
        )


def _token(config: Config) -> str:
    path = token_path(config)
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise NotRunningError(
            f"no exporter has started from this folder yet, or its token was deleted: there is no "
            f"{path}; start it, or start it again, with `quant-exporter run`"
        ) from error
    except OSError as error:
        raise RequestRefusedError(
            f"the write token cannot be read: {path}: {error.strerror}"
        ) from error


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"HTTP {error.code}"
