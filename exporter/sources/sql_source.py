"""``type: sql``: bars from a table or a query, asked in a process of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from exporter.config.secret_values import read_secret
from exporter.config.source_settings import SqlSettings
from exporter.sources.python_source import HelperReader, Redact
from exporter.util.helper_process import HelperProcess

log = logging.getLogger(__name__)


def read_sql_secrets(name: str, settings: SqlSettings, environ: Mapping[str, str]) -> list[str]:
    """The database's address where it is a secret, and its password; "" for what there is not.
    Raises :class:`~exporter.config.secret_values.SecretMissingError`."""
    place = f"sources.{name}"
    found = []
    for key in ("url", "password"):
        variable, file = getattr(settings, f"{key}_env"), getattr(settings, f"{key}_file")
        given = variable or file
        found.append(read_secret(f"{place}.{key}", variable, file, environ) if given else "")
    return found


def sql_reader(
    name: str,
    settings: SqlSettings,
    *,
    address: str,
    password: str,
    environment: Mapping[str, str],
    redact: Redact,
) -> HelperReader:
    """The reader of source `name`."""

    def printed(line: str) -> None:
        log.info("%s: %s", name, redact(line), extra={"event": "source_printed", "source": name})

    setup = {
        "engine": settings.engine,
        "place": str(settings.file) if settings.file else address or settings.url,
        "password": password,
        "table": settings.table or "bars",
        "query": settings.query or "",
        "fields": {key: str(value) for key, value in settings.fields.items()},
        "timeout": settings.timeout,
    }
    helper = HelperProcess("exporter.sources.sql_rows:SqlRows", setup, environment, printed)
    return HelperReader(helper, settings.timeout, settings.batch, redact)
