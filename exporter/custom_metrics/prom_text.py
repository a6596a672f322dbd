"""A `.prom` file, in Prometheus' text format as node_exporter's textfile collector reads it.

https://github.com/prometheus/node_exporter#textfile-collector
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from exporter.custom_metrics.own_value import Kind, OwnValue, RefusedValueError

MOST_BYTES = 1_000_000
_KINDS: dict[str, Kind] = {
    "gauge": "gauge", "counter": "counter", "histogram": "histogram", "summary": "summary",
}  # fmt: skip


class PromTextError(ValueError):
    """The file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class PromSample:
    """One line of a file: the metric, and the sample's own name where it has another."""

    value: OwnValue
    sample: str
    help: str


def read_prom_file(path: Path) -> list[PromSample]:
    """Every sample of a file. Raises :class:`PromTextError` and :class:`OSError`; a file with one
    broken line counts as broken, for nobody knows what the others are worth."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise PromTextError(f"it is larger than {MOST_BYTES // 1_000_000} MB")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PromTextError("it is not UTF-8 text") from error
    if text and not text.endswith("\n"):
        raise PromTextError(
            "its last line has no newline: it is cut off, or being written; write another file "
            "and rename it"
        )
    found: list[PromSample] = []
    try:
        for family in text_string_to_metric_families(text.replace("\r\n", "\n")):
            kind = _KINDS.get(family.type, "unknown")
            for sample in family.samples:
                if sample.timestamp is not None:
                    raise PromTextError(
                        f"{sample.name} has a timestamp: remove it, the time is the file's"
                    )
                value = OwnValue.of(family.name, sample.value, sample.labels, kind=kind)
                name = sample.name.removesuffix("_total") if kind == "counter" else sample.name
                found.append(PromSample(value, name, family.documentation))
    except PromTextError:
        raise
    except RefusedValueError as error:
        raise PromTextError(str(error)) from error
    except (ValueError, IndexError, KeyError) as error:
        raise PromTextError(f"it is not in Prometheus' text format: {error}") from error
    return found
