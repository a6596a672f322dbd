"""The HTTP surface: metrics, health, the API and the status page."""
