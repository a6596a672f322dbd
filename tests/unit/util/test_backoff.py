"""How long to wait before asking again."""

from __future__ import annotations

import random

import pytest

from exporter.util.backoff import backoff_cap, backoff_pause, retry_after_seconds, server_time

NOW = 1_445_412_480.0
"""Wed, 21 Oct 2015 07:28:00 GMT."""


def test_caps_double_up_to_the_longest() -> None:
    """Also for a retry number that no float could hold."""
    assert [backoff_cap(2.0, n, 30.0) for n in (0, 1, 2, 3, 4, 10_000)] == [2, 4, 8, 16, 30, 30]


def test_a_pause_is_half_the_cap_to_all_of_it_and_never_shorter_than_asked() -> None:
    """Two callers that failed together do not come back together."""
    rng = random.Random(1)
    pauses = [backoff_pause(8.0, rng) for _ in range(200)]
    assert all(4 <= pause <= 8 for pause in pauses)
    assert max(pauses) - min(pauses) > 3
    assert backoff_pause(8.0, rng, asked=60.0) == 60.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30"}, 30.0),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}, 30.0),
        (
            {
                "Retry-After": "Wed, 21 Oct 2015 07:26:30 GMT",
                "Date": "Wed, 21 Oct 2015 07:26:00 GMT",
            },
            30.0,
        ),
        ({"Retry-After": "Wed, 21 Oct 2015 07:27:00 GMT"}, None),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    """A date counts from the answer's own Date; nothing left to wait is nothing asked."""
    assert retry_after_seconds(headers, NOW) == seconds


def test_a_date_that_cannot_be_read_means_our_own_clock() -> None:
    """As when there is none."""
    assert server_time({"Date": "yesterday"}, NOW) == NOW
    assert server_time({"Date": "Wed, 21 Oct 2015 07:27:00 GMT"}, NOW) == NOW - 60
