"""Clock, local times, units, NaN, JSON, files: what every room may use."""
