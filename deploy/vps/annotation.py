"""A mark on Grafana's time line for each deploy and rollback."""

from __future__ import annotations

import base64
import json
import time
import urllib.request

from places import CREDENTIALS, GRAFANA_PASSWORD
from shell import is_active, say

_STARTS_SECONDS = 20.0
"""It was restarted with the release, and takes that long to listen."""


def annotate(text: str) -> None:
    """A mark on Grafana's time line; never a reason to fail."""
    token = CREDENTIALS / "GRAFANA_TOKEN"
    if token.exists():
        login = f"Bearer {token.read_text().strip()}"
    elif GRAFANA_PASSWORD.exists():
        both = f"admin:{GRAFANA_PASSWORD.read_text().strip()}"
        login = f"Basic {base64.b64encode(both.encode()).decode()}"
    else:
        return
    asked = urllib.request.Request(
        "http://127.0.0.1:3000/api/annotations",
        data=json.dumps({"text": text, "tags": ["deploy", "quant-exporter"]}).encode(),
        headers={"Content-Type": "application/json", "Authorization": login},
    )
    until = time.monotonic() + _STARTS_SECONDS
    while True:
        try:
            with urllib.request.urlopen(asked, timeout=5):
                return
        except OSError as error:
            refused = isinstance(getattr(error, "reason", None), ConnectionRefusedError)
            if not (refused and is_active("grafana-server.service")) or time.monotonic() > until:
                say(f"Grafana took no annotation: {error}")
                return
        time.sleep(0.5)
