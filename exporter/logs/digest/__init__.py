"""The day's logs, summed up."""
