"""Grafana dashboards as Python. ``make dashboards`` writes them to ``grafana/dashboards``."""
