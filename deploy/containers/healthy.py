"""Exits 0 while the exporter of this container is ready: its health check.

A file, because some engines part the words of a command at every space. No shell, no curl, no proxy
of the environment.
"""

from __future__ import annotations

import http.client
import sys

PORT = 10077


def ready(port: int = PORT) -> bool:
    """Whether it answers 200. Raises :class:`OSError` when it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    connection.request("GET", "/-/ready")
    return connection.getresponse().status == http.client.OK


if __name__ == "__main__":
    sys.exit(0 if ready() else 1)
