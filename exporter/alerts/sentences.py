"""What the journal writes, as one sentence for the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exporter.util.clock import iso

_NOT_SHOWN = ("alertname", "severity", "job", "instance")


def sentence(kind: str, fields: Mapping[str, Any]) -> str:
    """One entry of the journal; what is not there is left out."""
    name, says = _alert(fields.get("labels", {})), _says(fields)
    by = f" by {fields['by']}" if fields.get("by") else ""
    match kind:
        case "notification":
            text = f"{fields.get('receiver')} was notified: {name} is {fields.get('status')}{says}"
        case "fired":
            muted = f", but nobody is notified: {fields['muted']}" if fields.get("muted") else ""
            text = f"{name} is firing{muted}{says}"
        case "over":
            text = f"{name} is over"
        case "acknowledged":
            text = f"{name} was acknowledged{by}{_until(fields)}{_comment(fields)}"
        case "ack_cleared":
            text = f"the acknowledgement of {name} ended, because the alert is over"
        case "ack_ended":
            text = f"the acknowledgement of {name} ended"
        case "silenced":
            text = f"{_matched(fields)} was silenced{by}{_until(fields)}{_comment(fields)}"
        case "silence_ended":
            text = f"the silence of {_matched(fields)} ended"
        case "delivered" | "failed":
            done = "succeeded" if kind == "delivered" else "failed"
            attempts = float(fields.get("attempts", 0))
            word = "attempt" if attempts == 1 else "attempts"
            text = f"{attempts:g} delivery {word} to {fields.get('integration')} {done}"
        case "unconfigured":
            names = ", ".join(map(str, fields.get("receivers", ())))
            text = f"{names} cannot be notified: Alertmanager has no channel for it"
        case _:
            text = f"{kind.replace('_', ' ')} {name}"
    return text


def _alert(labels: Mapping[str, Any]) -> str:
    severity = labels.get("severity")
    about = " ".join(f"{n}={v}" for n, v in sorted(labels.items()) if n not in _NOT_SHOWN)
    parts = [str(labels.get("alertname", "")), about, f"({severity})" if severity else ""]
    return " ".join(part for part in parts if part)


def _says(fields: Mapping[str, Any]) -> str:
    notes = fields.get("annotations", {})
    text = " ".join(str(notes.get("description") or notes.get("summary") or "").split())
    return f": {text}" if text else ""


def _matched(fields: Mapping[str, Any]) -> str:
    signs = {(True, False): "=", (False, False): "!=", (True, True): "=~", (False, True): "!~"}
    return " ".join(
        f"{m['name']}{signs[m['isEqual'], m['isRegex']]}{m['value']}"
        for m in fields.get("matchers", ())
    )


def _until(fields: Mapping[str, Any]) -> str:
    until = fields.get("until")
    return f" until {iso(until)}" if isinstance(until, int | float) else ""


def _comment(fields: Mapping[str, Any]) -> str:
    return f": {fields['comment']}" if fields.get("comment") else ""
