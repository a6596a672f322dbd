"""Limits on metrics of one's own and on strategies: exposed, compared, and acted upon."""
