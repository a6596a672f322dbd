"""Exchange sessions."""

from __future__ import annotations

EXCHANGES: frozenset[str] = frozenset({"XNYS", "FX", "24/7"})
