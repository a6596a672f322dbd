"""What a limit did, as kept in state: from before it is done until it is undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["claimed", "running", "done", "failed"]
KIND = "limit_action"
"""Kind in the state and in the journal."""
HELD_UNTIL = 4_102_444_800.0
"""2100-01-01: what a limit paused has no end of its own."""


@dataclass(frozen=True)
class ActionRecord:
    """One action. Its pause is in force with the claim, in one transaction; its run may start once,
    under `run_id`."""

    limit: str
    strategy: str
    at: float
    why: str
    """In words: the value and the limit."""
    pause: tuple[str, ...] = ()
    run: str = ""
    run_id: str = ""
    to: tuple[str, ...] = ()
    wait: float = 0.0
    status: Status = "claimed"
    error: str = ""
    before: Mapping[str, float] = field(default_factory=dict)
    """Ends of pauses by hand that were in force already."""
    resumed_at: float | None = None
    told: bool = False
    """Whether the message is on its way."""

    @property
    def name(self) -> str:
        """By which it is kept."""
        return f"{self.limit}|{self.strategy}"

    @property
    def title(self) -> str:
        """The limit, and the strategy that it is of."""
        return f"{self.limit} ({self.strategy})" if self.strategy else self.limit

    @property
    def holds(self) -> bool:
        """Whether nobody has undone it."""
        return self.resumed_at is None

    @property
    def under_way(self) -> bool:
        """Whether its run has yet to start or to end."""
        return self.holds and self.status in ("claimed", "running")

    def to_json(self) -> dict[str, Any]:
        """For the state."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ActionRecord:
        """The reverse; raises TypeError for a row of another version."""
        lists = {key: tuple(data.get(key) or ()) for key in ("pause", "to")}
        return cls(**{**data, **lists})
