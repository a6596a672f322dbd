"""Digests on disk: ``digest-<day>.json``, ``.md`` and ``.html`` under the reports folder."""

from __future__ import annotations

import json
from pathlib import Path

from exporter.logs.digest.facts import LogDigest
from exporter.logs.digest.render import markdown, page
from exporter.util import atomic


def save(digest: LogDigest, reports: Path) -> Path:
    """Write all three, each whole or not at all; returns the Markdown's path. Raises OSError."""
    atomic.private_folder(reports)
    texts = {
        "json": json.dumps(digest.to_json(), indent=1, ensure_ascii=False) + "\n",
        "html": page(digest),
        "md": markdown(digest),
    }
    for suffix, text in texts.items():
        path = reports / f"digest-{digest.title.replace(' ', '-')}.{suffix}"
        atomic.write(path, text)
    return path


def load(path: Path) -> LogDigest | None:
    """A kept digest; None when it is not there or not one of this version."""
    try:
        return LogDigest.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def latest(reports: Path) -> LogDigest | None:
    """The newest day's digest that can be read, for the status page."""
    pattern = "digest-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].json"
    for path in sorted(reports.glob(pattern), reverse=True)[:7]:
        if (digest := load(path)) is not None:
            return digest
    return None
