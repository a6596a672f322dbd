"""What the processes of one attempt may use."""

from __future__ import annotations

from pydantic import Field, field_validator

from exporter.config.types import Model
from exporter.util.units import Duration, Size, format_size

_LEAST_BYTES = 1_000_000


class ProcessLimits(Model):
    """Limits of one attempt; None: it has none. All but `open_files` hold for its processes
    together."""

    cpu: Duration | None = None
    memory: Size | None = None
    processes: int | None = Field(None, ge=1, le=32_768)
    open_files: int | None = Field(None, ge=16, le=1_048_576)
    """Of each process."""
    output: Size | None = None

    @property
    def given(self) -> dict[str, float]:
        """Those that are set, in seconds, bytes and numbers."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: float(value) for name, value in values.items() if value is not None}

    @field_validator("memory", "output")
    @classmethod
    def _is_no_slip(cls, size: int | None) -> int | None:
        if size is not None and size < _LEAST_BYTES:
            raise ValueError(
                f"{format_size(size)} is too small: write {format_size(_LEAST_BYTES)} or more, "
                "such as 512MB"
            )
        return size
