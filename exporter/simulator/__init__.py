"""A simulated TickDB with made-up prices, and faults on command, for trials and tests."""
