#!/usr/bin/python3
"""In Loki's place: keeps what is pushed, gives all of it back, and says whether it is ready."""

import http.client
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = 3100
KEPT = Path("/loki/streams.jsonl")


class Handler(BaseHTTPRequestHandler):
    """Three paths of Loki's API."""

    def do_GET(self) -> None:
        if self.path == "/ready":
            self.answer("ready")
        else:
            kept = KEPT.read_text() if KEPT.exists() else ""
            result = [json.loads(line) for line in kept.splitlines()]
            self.answer(json.dumps({"data": {"result": result}}))

    def do_POST(self) -> None:
        pushed = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with KEPT.open("a") as kept:
            kept.writelines(json.dumps(stream) + "\n" for stream in pushed["streams"])
        self.answer("")

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


def main() -> int:
    if "-health" in sys.argv:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=4)
        connection.request("GET", "/ready")
        return connection.getresponse().status != 200
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
