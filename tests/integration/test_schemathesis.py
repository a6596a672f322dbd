"""Schemathesis asks the running exporter for everything in docs/openapi.yaml, by its rules and
against them: no 5xx, and only statuses, types, headers and bodies that are described."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.integration.processes import Exporter, free_port
from tests.openapi import Contract

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
alertmanager_url: http://127.0.0.1:{alertmanager}
prometheus_url: http://127.0.0.1:{alertmanager}
tasks:
  sync: {{external: true, schedule: "every 1h"}}
  trade: {{command: ["true"], schedule: "close", exchange: MINE}}
exchanges:
  MINE: {{timezone: UTC, days: mon-sun, hours: 00:00-23:59}}
strategies:
  momentum: {{max_drawdown: {{warning: 5%, critical: 10%}}}}
"""
SETTINGS = """\
[generation]
deterministic = true
max-examples = 6

[phases.stateful]
enabled = false
{rules}
"""
BEYOND_A_SCHEMA = {
    "/api/v1/pause": "a pause ends in the future, within ten years",
    "/api/v1/ack": "an acknowledgement lasts 1m to 7d",
    "/api/v1/strategies/{name}/equity": "no timestamp lies in the future",
    "/api/v1/strategies/{name}/fills": "no timestamp lies in the future",
    "/api/v1/strategies/{name}/positions": "no timestamp lies in the future",
    "/api/v1/metrics": "no timestamp lies in the future",
    "/api/v1/tasks/{name}/start": "when it started lies in the last 30 days",
    "/api/v1/tasks/{name}/success": "when it ended lies in the last 30 days",
    "/api/v1/tasks/{name}/fail": "when it ended lies in the last 30 days",
    "/tasks/{name}": "a pause needs its time",
    "/ack": "the form needs an alertname that fires",
    "/-/reload": "a new config may be wrong",
}
"""Where a body that the document allows may be refused with 400 all the same, and why."""


class _NothingFires(BaseHTTPRequestHandler):
    """Stands in for Alertmanager."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


@contextmanager
def alertmanager() -> Iterator[int]:
    """Its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _NothingFires)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def described(token: str) -> str:
    """The document, with names that the exporter knows, so that more than 404 is answered."""
    document = Contract().document
    named = document["components"]["parameters"]
    named["task"]["schema"] = {"enum": ["sync", "trade"]}
    named["strategy"]["schema"] = {"enum": ["momentum"]}
    for path in ("/ack", "/tasks/{name}"):
        form = document["paths"][path]["post"]["requestBody"]["content"]
        (schema,) = (media["schema"] for media in form.values())
        schema["properties"]["token"] = {"const": token}
        schema["required"] = [*schema.get("required", []), "token"]
    return json.dumps(document)


def test_server_and_document_agree(tmp_path: Path) -> None:
    """Whatever Schemathesis makes of the document; the same requests in every run."""
    port = free_port()
    with alertmanager() as nothing_fires:
        (tmp_path / "exporter.yml").write_text(CONFIG.format(port=port, alertmanager=nothing_fires))
        rules = "".join(
            f"\n[[operations]]\ninclude-path = {json.dumps(path)}\n"
            "checks.positive_data_acceptance.enabled = false\n"
            for path in BEYOND_A_SCHEMA
        )
        (tmp_path / "schemathesis.toml").write_text(SETTINGS.format(rules=rules))
        with Exporter(tmp_path / "exporter.yml") as exporter:
            exporter.wait_ready(port)
            (tmp_path / "openapi.json").write_text(described(exporter.token))
            ran = subprocess.run(
                [
                    Path(sys.executable).with_name("st"), "run", "openapi.json", "--no-color",
                    "--url", exporter.url, "--header", f"Authorization: Bearer {exporter.token}",
                ],
                cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
            )  # fmt: skip
        assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
        assert f"Tested: {sum(1 for _ in Contract().operations())}" in ran.stdout
        assert "Traceback" not in exporter.output()
