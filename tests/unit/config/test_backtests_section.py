"""A cluster that the command line names is checked as one in the file is."""

from __future__ import annotations

import pytest

from exporter.config.backtests import Backtests


@pytest.mark.parametrize(
    ("scheduler", "error"),
    [
        ("nonsense", "write tcp://host:8786"),
        ("tcp://host", "write tcp://host:8786"),
        ("tcp://user:secret@host:1", "write tcp://host:8786"),
        ("tls://host:8786", "needs `tls: {ca, cert, key}`"),
    ],
)
def test_an_address_that_is_none_is_refused_at_once(scheduler: str, error: str) -> None:
    """Before anything connects, which would wait for half a minute."""
    with pytest.raises(ValueError, match=error):
        Backtests().on_cluster(scheduler)


def test_a_cluster_for_one_run() -> None:
    """It replaces the local processes."""
    settings = Backtests(days=5).on_cluster("tcp://10.0.0.5:8786")
    assert (settings.executor, settings.scheduler, settings.days) == (
        "dask", "tcp://10.0.0.5:8786", 5,
    )  # fmt: skip
