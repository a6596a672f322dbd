"""/metrics: rendered in a thread, so that a scrape of 10 000 series does not block the loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from exporter.web.kept_gzip import KeptGzip
from exporter.web.kept_text import KeptText


class Exposition:
    """Serves one registry by content negotiation: Prometheus text, OpenMetrics, gzip."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._text = KeptText(registry)
        self._gzip = {False: KeptGzip(), True: KeptGzip()}
        # One thread: scrapes wait for each other instead of competing with the loop for the GIL.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrape")

    async def handle(self, request: web.Request) -> web.Response:
        """``GET /metrics``, with optional ``name[]`` filters."""
        zipped = _accepts_gzip(request.headers.get("Accept-Encoding", ""))
        names = frozenset(request.query.getall("name[]", []))
        accept = request.headers.get("Accept", "")
        body, content_type = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._render, accept, zipped, names
        )
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    def _render(self, accept: str, zipped: bool, names: frozenset[str]) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        in_openmetrics = content_type.startswith("application/openmetrics-text")
        if names or "escaping=dots" in content_type or "escaping=values" in content_type:
            registry = self._registry.restricted_registry(names) if names else self._registry
            parts: list[bytes] = [encode(registry)]
            return (KeptGzip().pack(parts) if zipped else parts[0]), content_type
        parts = self._text.parts(encode, in_openmetrics)
        body = self._gzip[in_openmetrics].pack(parts) if zipped else b"".join(parts)
        return body, content_type

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _accepts_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header names gzip and does not rule it out with ``q=0``."""
    for part in accepted.lower().split(","):
        name, _, weight = part.replace(" ", "").partition(";q=")
        if name == "gzip":
            return weight.strip("0.") != "" or weight == ""
    return False
