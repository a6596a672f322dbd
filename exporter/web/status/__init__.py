"""The status page at ``/`` and the pages linked from it, for users without Grafana."""

from exporter.web.status.page import render, routes
from exporter.web.status.view import StatusView

__all__ = ["StatusView", "render", "routes"]
