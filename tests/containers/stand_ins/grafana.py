#!/usr/bin/python3
"""In Grafana's place: reads its secret and files, writes its folder, and says that it is well."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Health(BaseHTTPRequestHandler):
    """The health check's page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"database": "ok"}')


if __name__ == "__main__":
    assert Path(os.environ["GF_SECURITY_ADMIN_PASSWORD__FILE"]).read_text()
    assert Path("/etc/grafana/grafana.ini").read_text()
    assert list(Path("/etc/grafana/quant-dashboards").glob("*.json"))
    (Path("/var/lib/grafana") / "grafana.db").touch()
    ThreadingHTTPServer(("", 3000), Health).serve_forever()
