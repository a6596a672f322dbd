"""`quant-exporter ack`: acknowledge what fires."""

from __future__ import annotations

import getpass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from exporter.cli import client
from exporter.cli.with_config import complain, with_config
from exporter.config import Config


def ack(path: Path, alert: str, pairs: list[str], *, duration: str, message: str) -> int:
    """Acknowledge what fires with that name and those labels."""
    labels: dict[str, str] = {"alertname": alert}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            complain(f"invalid label {pair!r}: write NAME=VALUE, for example task=rebalance")
            return 2
        labels[name] = value

    def ask(config: Config) -> int:
        body: dict[str, Any] = {
            "labels": labels, "for": duration, "comment": message, "by": getpass.getuser(),
        }  # fmt: skip
        answer = client.call(config, "POST", "/api/v1/ack", body)
        zone = ZoneInfo(config.timezone)
        end = datetime.fromtimestamp(answer["until"], zone)
        for found in answer["acknowledged"]:
            what = next((found[n] for n in ("strategy", "task", "feed") if n in found), "")
            print(f"{found['alertname']} {what}: acknowledged until {end:%a %H:%M %Z}")
        return 0

    return with_config(path, ask, tolerant=True)
