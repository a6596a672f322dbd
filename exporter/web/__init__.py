"""HTTP: metrics, health, the API and the pages."""
