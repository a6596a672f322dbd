"""Alerts after Prometheus and Alertmanager decided: journal, acknowledgement, replay."""
