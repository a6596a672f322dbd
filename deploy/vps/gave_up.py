"""Tell Alertmanager that systemd no longer restarts the exporter, and that it is well again."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from datetime import datetime, timedelta, timezone

ALERTMANAGER = "http://127.0.0.1:9093/api/v2/alerts"


def _now() -> datetime:
    return datetime.now(timezone.utc)  # noqa: UP017


def alert(now: datetime, lasting: timedelta = timedelta(hours=1)) -> dict[str, object]:
    """The alert, as Alertmanager's API takes it; it ends itself after an hour: by
    then QuantExporterDown speaks."""
    return {
        "labels": {
            "alertname": "QuantExporterGaveUp",
            "severity": "critical",
            "job": "quant-exporter",
        },
        "annotations": {
            "summary": "The exporter keeps failing and systemd no longer restarts it.",
            "description": "Five starts within ten minutes failed. No task runs. See `journalctl "
            "-u quant-exporter`, then roll back or `systemctl reset-failed quant-exporter && "
            "systemctl start quant-exporter`.",
            # The exporter's own copy cannot be read while it is down.
            "runbook_url": "https://github.com/quant-exporter/quant-exporter/blob/main/docs/"
            "runbook.md#quantexportergaveup",
        },
        "startsAt": now.isoformat(),
        "endsAt": (now + lasting).isoformat(),
    }


def main() -> None:
    """Send it, trying for half a minute."""
    for last in (False, False, True):
        try:
            _send(alert(_now()))
        except OSError:
            if last:
                raise
            time.sleep(10)
        else:
            return


def take_back() -> None:
    """End the alert, if there is one: the exporter runs again."""
    with contextlib.suppress(OSError, ValueError):
        with urllib.request.urlopen(ALERTMANAGER, timeout=5) as answer:
            told = json.load(answer)
        if any(one["labels"].get("alertname") == "QuantExporterGaveUp" for one in told):
            _send(alert(_now(), timedelta(0)))


def _send(one: dict[str, object]) -> None:
    asked = urllib.request.Request(
        ALERTMANAGER, json.dumps([one]).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=10):
        pass


if __name__ == "__main__":
    main()
