"""A followed file for tests, and as much of the state as a follower needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from exporter.config import Followed
from exporter.logs.tail.follow import Follower
from exporter.metrics import Metrics

PATTERNS = {"failed": r"Request failed|Timeout", "numbers": r"^\d+ .*end$"}


class Kept:
    """As much of the state as a follower needs."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def kept(self, kind: str) -> Mapping[str, Any]:
        return json.loads(json.dumps(self.values))

    async def keep_many(self, values: Any) -> None:
        self.values.update({name: value for _, name, value in values})

    async def forget(self, kind: str, name: str) -> None:
        self.values.pop(name, None)


class Bot:
    """A follower of one file."""

    def __init__(self, path: Path, state: Kept, **config: Any) -> None:
        self.registry = CollectorRegistry()
        self.follower = Follower(state, Metrics(self.registry))
        self.follower.apply({"bot": Followed(path=path, **({"patterns": PATTERNS} | config))})

    def value(self) -> float | None:
        """Lines as the metrics have them."""
        return self.registry.get_sample_value("quant_log_followed_lines_total", {"file": "bot"})

    async def counts(self) -> tuple[float | None, float | None]:
        """Lines and failures up to now."""
        await self.follower.step()
        value = self.registry.get_sample_value
        return (
            value("quant_log_followed_lines_total", {"file": "bot"}),
            value("quant_log_matches_total", {"file": "bot", "pattern": "failed"}),
        )


def add(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
