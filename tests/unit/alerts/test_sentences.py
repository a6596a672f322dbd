"""What the log says of each entry of the alert journal."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.alerts.sentences import sentence

ALERT = {
    "labels": {"alertname": "QuantTaskFailing", "task": "rebalance", "severity": "critical",
               "job": "quant", "instance": "localhost:10077"},
    "annotations": {"summary": "Task failed", "description": "rebalance failed:\n  no broker"},
}  # fmt: skip
NAME = "QuantTaskFailing task=rebalance (critical)"
MATCHER = {"name": "task", "value": "rebalance", "isRegex": False, "isEqual": True}


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        ("notification", {**ALERT, "receiver": "slack", "status": "firing"},
         f"slack was notified: {NAME} is firing: rebalance failed: no broker"),
        ("notification", {"labels": ALERT["labels"], "receiver": "email", "status": "resolved"},
         f"email was notified: {NAME} is resolved"),
        ("fired", {**ALERT, "muted": ""}, f"{NAME} is firing: rebalance failed: no broker"),
        ("fired", {"labels": ALERT["labels"], "muted": "silenced"},
         f"{NAME} is firing, but nobody is notified: silenced"),
        ("over", ALERT, f"{NAME} is over"),
        ("acknowledged", {**ALERT, "by": "ann", "until": 0.0, "comment": "on it"},
         f"{NAME} was acknowledged by ann until 1970-01-01T00:00:00Z: on it"),
        ("ack_cleared", ALERT, f"the acknowledgement of {NAME} ended, because the alert is over"),
        ("ack_ended", ALERT, f"the acknowledgement of {NAME} ended"),
        ("silenced", {"matchers": [MATCHER, {**MATCHER, "isRegex": True, "isEqual": False}],
                      "by": "ann", "comment": ""},
         "task=rebalance task!~rebalance was silenced by ann"),
        ("silence_ended", {"matchers": [MATCHER]}, "the silence of task=rebalance ended"),
        ("delivered", {"integration": "slack", "attempts": 1.0},
         "1 delivery attempt to slack succeeded"),
        ("failed", {"integration": "slack", "attempts": 2.0},
         "2 delivery attempts to slack failed"),
    ],
)  # fmt: skip
def test_an_entry_of_the_journal_is_one_sentence(
    kind: str, fields: dict[str, Any], says: str
) -> None:
    """For whoever reads the terminal; programs have the fields."""
    assert sentence(kind, fields) == says
