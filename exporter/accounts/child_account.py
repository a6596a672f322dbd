"""An account that code in a process of its own asks: a callable, a database, or ccxt.

The process is started for each look and killed when it takes too long.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from exporter.accounts.reading import AccountReading
from exporter.config import AccountSettings
from exporter.metrics import Metrics
from exporter.sources.api_key import Key
from exporter.sources.base import SourceError
from exporter.sources.retry import Received, Requests
from exporter.util.child_process import ask_child
from exporter.util.clock import Clock

ENDPOINTS = ("read",)
_PARTS = ("equity", "fills", "positions")


class ChildAccount:
    """`order` is what the child gets, secrets included; they stay out of every text."""

    def __init__(
        self,
        name: str,
        settings: AccountSettings,
        order: Mapping[str, Any],
        metrics: Metrics,
        clock: Clock,
        *,
        secrets: Iterable[str],
        environment: Mapping[str, str],
    ) -> None:
        self.name, self._timeout = name, settings.timeout
        self._order, self._environment = json.dumps(order).encode(), environment
        self._key = Key("", *(text for text in secrets if text))
        self._requests = Requests(name, settings, metrics, clock, endpoints=ENDPOINTS)

    async def read(self, memory: Mapping[str, Any]) -> AccountReading:
        """All that the code says; what is known already is left out by its time or id."""
        said = await self._requests.send(
            "read", self._ask, lambda data, _: data, what="read", urgent=False
        )
        return AccountReading(said.get("equity", ()), said.get("fills", ()), said.get("positions"))

    async def _ask(self, _: contextlib.AsyncExitStack) -> Received:
        with self._requests.timed("read"):
            answer = await self._answer()
        if failed := answer.get("failed"):
            text = self._key.redact(failed["text"])
            raise SourceError(failed["reason"], text, retryable=bool(failed["retryable"]))
        said = answer["reading"]
        for part in _PARTS:
            rows = said.get(part, [])
            if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
                raise SourceError("malformed", f"{part} must be a list of mappings")
        return Received(said)

    async def _answer(self) -> dict[str, Any]:
        try:
            status, out, last = await ask_child(
                "exporter.accounts.account_child", self._order, self._timeout, self._environment
            )
        except TimeoutError:
            text = f"no answer within {self._timeout:g} s; its process was ended"
            raise SourceError("timeout", text, retryable=True) from None
        except OSError as error:
            text = f"no process can be started: {error.strerror}"
            raise SourceError("api", text, retryable=True) from None
        try:
            answer: dict[str, Any] = json.loads(out)
        except ValueError:
            text = f"its process exited with {status}: {self._key.redact(last)}"
            raise SourceError("api", text, retryable=True) from None
        return answer

    def count(self, error: SourceError) -> None:
        """Count an answer that cannot be used."""
        self._requests.count("read", error)

    async def close(self) -> None:
        """End all waiting."""
        await self._requests.close()
