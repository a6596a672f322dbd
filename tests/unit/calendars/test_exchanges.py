"""The constant list of exchanges follows the library."""

import exchange_calendars

from exporter.calendars.loader import EXCHANGES


def test_the_constant_holds_what_the_library_has_and_our_own_two() -> None:
    """A new library version that knows more or fewer exchanges is noticed."""
    names = set(exchange_calendars.get_calendar_names(include_aliases=True))
    assert names | {"FX", "24/7"} == EXCHANGES
