"""Tell Alertmanager that systemd no longer restarts the exporter."""

from __future__ import annotations

import json
import time
import urllib.request
from datetime import UTC, datetime, timedelta

ALERTMANAGER = "http://127.0.0.1:9093/api/v2/alerts"


def alert(now: datetime) -> dict[str, object]:
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
            "runbook_url": "http://localhost:10077/runbook#quantexportergaveup",
        },
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(hours=1)).isoformat(),
    }


def main() -> None:
    """Send it, trying for half a minute."""
    body = json.dumps([alert(datetime.now(UTC))]).encode()
    asked = urllib.request.Request(
        ALERTMANAGER, data=body, headers={"Content-Type": "application/json"}
    )
    for last in (False, False, True):
        try:
            with urllib.request.urlopen(asked, timeout=10):
                return
        except OSError:
            if last:
                raise
            time.sleep(10)


if __name__ == "__main__":
    main()
