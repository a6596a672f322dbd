"""Which currency a curve is in, and what happens when the config names another one.

A curve in another currency knows no peak yet: the old one would be a loss, or a gain, that nobody
made. The former curve is kept, so that taking the change back continues it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from exporter.strategies.equity import EquityCurve
from exporter.util.clock import iso


@dataclass(frozen=True)
class CurveCurrency:
    """The currency of a curve, and the former one with what was known in it."""

    name: str
    former: str = ""
    former_curve: EquityCurve | None = None

    def change(self, curve: EquityCurve, name: str) -> tuple[CurveCurrency, EquityCurve]:
        """This and the curve, after a change to the currency `name`."""
        if name == self.former and self.former_curve is not None:
            # What came meanwhile was counted in the other currency.
            known = replace(self.former_curve, begun_after=curve.begin_again().begun_after)
            return CurveCurrency(name), self.former_curve if math.isnan(curve.at) else known
        if math.isnan(curve.at):
            return replace(self, name=name), curve
        return CurveCurrency(name, self.name, curve), curve.begin_again()

    def note(self, curve: EquityCurve) -> str | None:
        """What to say while no equity in a new currency has come."""
        if self.former_curve is None or not curve.has_begun_again:
            return None
        return (
            f"its currency was {self.former} and is {self.name} now: equity, peak and drawdown "
            f"begin again with the first equity after {iso(curve.begun_after)}"
        )

    def to_json(self) -> dict[str, Any]:
        """For the state file."""
        curve = self.former_curve
        return {"name": self.name, "former": self.former, "curve": curve and curve.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any] | None, default: str) -> CurveCurrency:
        """The reverse of :meth:`to_json`; `default` is the currency where none was kept."""
        data = data or {}
        curve = data.get("curve")
        return cls(
            str(data.get("name") or default),
            str(data.get("former") or ""),
            EquityCurve.from_json(curve) if curve else None,
        )
