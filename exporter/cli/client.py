"""How commands talk to the running exporter: small blocking HTTP calls with the write token."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from exporter.config import Config
from exporter.config.paths import token_path

TIMEOUT = 10.0


class NotRunningError(Exception):
    """Nobody answers at the configured address."""


class RequestRefusedError(Exception):
    """The exporter answered with an error; the message is its own."""

    def __init__(self, message: str, *, wrong_use: bool = False) -> None:
        super().__init__(message)
        self.wrong_use = wrong_use
        """What was asked makes no sense, as a name that is not there."""


def call(config: Config, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """The decoded JSON answer. Raises :class:`NotRunningError` or :class:`RequestRefusedError`."""
    host, port = config.address
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    request = urllib.request.Request(
        f"http://{host}:{port}{path}", method=method, headers={"Host": "localhost"}
    )
    if method != "GET":
        request.data = json.dumps(body or {}).encode()
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {_token(config)}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RequestRefusedError(_message(error), wrong_use=error.code in (400, 404)) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise NotRunningError(
                f"the exporter at {host}:{port} did not answer within {TIMEOUT:.0f} s; it hangs, "
                "or this machine has no time for it: look at the last lines of its log"
            ) from error
        raise NotRunningError(
            f"no exporter answers at {host}:{port} ({reason}); start it with `quant-exporter run`"
        ) from error


def _token(config: Config) -> str:
    path = token_path(config)
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise RequestRefusedError(
            f"the write token cannot be read: {path}: {error.strerror}"
        ) from error


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"HTTP {error.code}"
