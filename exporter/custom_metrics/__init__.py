"""Metrics of users' own: declared in exporter.yml or bounded, set by tasks and programs."""
