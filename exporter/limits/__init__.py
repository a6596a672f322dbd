"""Limits on users' own metrics and on strategies: exposed, compared, and acted on."""
