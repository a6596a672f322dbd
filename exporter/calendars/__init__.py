"""When an exchange trades, and which bars that makes."""
