"""Durations, sizes and ratios as people write them in ``exporter.yml``.

All parsers raise :class:`ValueError` saying what was expected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_LONGEST_DAYS = 3653
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def parse_duration(text: Any) -> float:
    """``90s``, ``5m``, ``1h30m``, ``2d`` to seconds."""
    if isinstance(text, str):
        compact = text.replace(" ", "")
        parts = _DURATION_PART.findall(compact)
        if parts and "".join(number + unit for number, unit in parts) == compact:
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
            if math.isfinite(seconds):
                return seconds
    raise ValueError(f"invalid duration {text!r}: write 90s, 5m, 1h30m or 7d")


def format_duration(seconds: float) -> str:
    """Seconds to ``2d 3h``, ``1h 30m``, ``5m``, ``12s``: the two largest parts, for people."""
    sign, rest = ("-", -seconds) if seconds < 0 else ("", seconds)
    if rest < 10 and rest != int(rest):
        return f"{sign}{rest:.1f}s"
    rest = round(rest)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return sign + (" ".join(parts[:2]) or "0s")


def parse_size(text: Any) -> int:
    """``50MB`` to bytes (powers of ten)."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    if isinstance(text, str):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?B?)", text.strip(), re.IGNORECASE)
        if found:
            unit = found[2].upper()
            unit += "B" if unit in ("K", "M", "G") else ""
            return int(float(found[1]) * _BYTES[unit])
    raise ValueError(f"invalid size {text!r}: write 500KB, 50MB or 2GB")


def format_size(size: float) -> str:
    """Bytes to ``512 B``, ``50 MB``, ``1.5 GB`` (powers of ten), for people."""
    for unit, value in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        # Not 1000 MB for what rounds to 1 GB.
        if size >= 0.9995 * value:
            return f"{size / value:.3g} {unit}"
    return f"{size:.0f} B"


def parse_ratio(text: Any) -> float:
    """``5%`` or ``0.05`` to 0.05."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        ratio = float(text)
    else:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", str(text).strip())
        if not found:
            raise ValueError(f"invalid share {text!r}: write 5% or 0.05")
        ratio = float(found[1]) / (100 if found[2] else 1)
    if not 0 < ratio <= 1:
        raise ValueError(f"{text!r} is out of range: a share is above 0 and at most 100%")
    return ratio


def parse_amount(value: Any) -> float:
    """``10``, ``-0.5`` or ``3%`` to a finite number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    elif found := re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*(%?)", str(value).strip()):
        number = float(found[1]) / (100 if found[2] else 1)
    else:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"invalid number {value!r}: write 10, 0.5 or 3%")
    return number


FROM_FILE: Mapping[str, bool] = {"from_file": True}
"""Validation context of what a person wrote: a bare number is not a duration there."""


def _seconds(value: Any, info: ValidationInfo) -> float:
    if isinstance(value, float) and not (info.context or {}).get("from_file"):
        return value  # what our own models hold
    seconds = parse_duration(value)
    if seconds > _LONGEST_DAYS * 86400:
        raise ValueError(f"{value!r} is longer than ten years: write a shorter one, such as 7d")
    return seconds


def _positive_duration(value: Any, info: ValidationInfo) -> float:
    seconds = _seconds(value, info)
    if seconds <= 0:
        raise ValueError(f"{value!r} is not positive: write a duration such as 5m")
    return seconds


def _any_duration(value: Any, info: ValidationInfo) -> float:
    return 0.0 if value == 0 else _seconds(value, info)


Duration = Annotated[float, BeforeValidator(_positive_duration), PlainSerializer(format_duration)]
"""Seconds, more than zero."""
DurationOrZero = Annotated[float, BeforeValidator(_any_duration), PlainSerializer(format_duration)]
"""Seconds, zero or more."""
Amount = Annotated[float, BeforeValidator(parse_amount)]
"""Any finite number."""
Size = Annotated[int, BeforeValidator(parse_size)]
"""Bytes."""
Ratio = Annotated[float, BeforeValidator(parse_ratio)]
"""A share, above 0 to 1."""
