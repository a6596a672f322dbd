"""The sections on users' own metrics: what programs may set, and a folder of text files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from exporter.config.types import Model, Severity
from exporter.util.metric_names import problem_of_label_name
from exporter.util.units import Duration


class OwnMetric(Model):
    """A metric that users' tasks and programs set."""

    help: str = Field("", max_length=300)
    type: Literal["gauge", "counter"] = "gauge"
    labels: tuple[str, ...] = ()
    max_series: int = Field(200, ge=1, le=2000)
    """Sets of label values; what comes beyond them is refused."""
    max_age: Duration | None = None
    """A value that is older is alerted."""
    severity: Severity = "warning"
    """Of that alert."""

    @field_validator("labels")
    @classmethod
    def _labels_are_labels(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        for label in labels:
            if problem := problem_of_label_name(label):
                raise ValueError(problem)
            if labels.count(label) > 1:
                raise ValueError(f"{label} is listed twice: keep one")
        return labels


class TextfileSettings(Model):
    """A folder of `.prom` files, as node_exporter's textfile collector reads them."""

    folder: Path
    max_age: Duration | None = None
    """A file that has not been written for so long is reported as stale."""
