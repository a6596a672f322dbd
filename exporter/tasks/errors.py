"""Exceptions by which a task says more than "it failed"."""

from __future__ import annotations


class NoData(Exception):  # noqa: N818  a word of the outcome, not an error of the program
    """The source had nothing; the run ends as ``no_data`` and is retried."""


class StaleData(Exception):  # noqa: N818
    """What the source had is too old; the run ends as ``stale_data`` and is retried."""


class Permanent(Exception):  # noqa: N818
    """Trying again cannot help; the run ends as ``error`` at once."""
