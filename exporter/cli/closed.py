"""``quant-exporter closed``."""

from __future__ import annotations

from pathlib import Path

from exporter.cli import client
from exporter.cli.with_config import with_config
from exporter.config import Config


def closed(path: Path, exchange: str, day: str, *, undo: bool = False) -> int:
    """Declare a trading day closed, or take that back."""

    def ask(config: Config) -> int:
        body = {"exchange": exchange, "date": day, "undo": undo}
        answer = client.call(config, "POST", "/api/v1/closed", body)
        name, date = answer["exchange"], answer["date"]
        if undo:
            print(f"{name}: {date} is again as the calendar has it")
            return 0
        print(f"{name}: {date} counts as closed from now on. To have it in the config too, add")
        print(f"calendar_overrides: {{{name}: {{closed: [{date}]}}}}")
        return 0

    return with_config(path, ask, tolerant=True)
