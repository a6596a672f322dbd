"""Clock, units, JSON: what every room may use."""
