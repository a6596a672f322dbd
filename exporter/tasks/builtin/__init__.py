"""The tasks that come with the exporter."""
