"""An outbox that only remembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from exporter.messages.message import ChannelMessage


@dataclass
class Posted:
    """The messages that were posted: to which channels, about what."""

    messages: list[tuple[ChannelMessage, Sequence[str], str]] = field(default_factory=list)

    async def post(
        self, message: ChannelMessage, to: Sequence[str], *, source: str = "", key: str = ""
    ) -> int:
        """Remember it."""
        self.messages.append((message, tuple(to), key))
        return len(to)
