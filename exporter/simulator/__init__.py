"""A TickDB-speaking server with made-up prices and faults on command, for trying and testing."""
