"""The pages at ``/`` and behind it, for those without Grafana."""

from exporter.web.status.page import render, routes
from exporter.web.status.view import StatusView

__all__ = ["StatusView", "render", "routes"]
