"""Logs: written, watched, summed up and asked."""
