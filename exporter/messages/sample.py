"""The message that tries a channel out: it has of everything what a report has."""

from __future__ import annotations

from exporter.messages.message import ChannelMessage, Chart, MessageTable

TRIAL = ChannelMessage(
    "A trial message from quant-exporter",
    [
        "This channel works. Reports look like this:",
        MessageTable("", ("Symbol", "Close", "Move"), [("NVDA.US", "181.50", "+1.25%"),
                                               ("SPY.US", "612.30", "-0.40%")]),
    ],
    [Chart("A trial picture", {"NVDA.US": [0.0125], "SPY.US": [-0.004]})],
)  # fmt: skip
