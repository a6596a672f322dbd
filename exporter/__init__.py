"""quant-exporter: runs scheduled tasks and exposes Prometheus metrics about them."""

__version__ = "0.1.0"
