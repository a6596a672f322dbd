"""Whether what arrived is what the real services accept. Each check returns what is wrong.

Slack: https://api.slack.com/messaging/webhooks and .../reference/messaging/attachments.
PagerDuty: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/.
"""

from __future__ import annotations

import json
import re
from typing import Any

SLACK_CHARS = 40_000
SLACK_TEXT_CHARS = 3_000
PAGERDUTY_BYTES = 512 * 1024
PAGERDUTY_SEVERITIES = ("critical", "error", "warning", "info")


def slack_problems(body: Any) -> list[str]:
    """A Slack incoming webhook's payload."""
    if not isinstance(body, dict):
        return ["the payload is not a JSON object"]
    found = []
    if len(json.dumps(body)) > SLACK_CHARS:
        found.append("msg_too_long")
    attachments = body.get("attachments", [])
    if not body.get("text") and not body.get("blocks") and not attachments:
        found.append("no_text: neither text, blocks nor attachments")
    if not isinstance(attachments, list) or len(attachments) > 100:
        return [*found, "invalid_attachments"]
    for part in attachments:
        if not isinstance(part, dict) or not (part.get("fallback") or part.get("text")):
            found.append("an attachment without fallback and text")
            continue
        if len(part.get("text") or "") > SLACK_TEXT_CHARS:
            found.append(f"a text of more than {SLACK_TEXT_CHARS} characters is cut")
        color = part.get("color", "good")
        if not re.fullmatch(r"good|warning|danger|#[0-9a-fA-F]{6}", color):
            found.append(f"color {color!r}")
        found += [
            f"field {field!r}"
            for field in part.get("fields") or []
            if not (isinstance(field, dict) and field.get("title") and field.get("value"))
        ]
        links = [part["title_link"]] if part.get("title_link") else []
        links += [action.get("url", "") for action in part.get("actions") or []]
        found += [f"link {link!r}" for link in links if not re.match(r"https?://\S+$", link)]
    return found


def slack_title(body: Any) -> str:
    """What the phone shows."""
    parts = body.get("attachments") or [{}]
    return str(body.get("text") or parts[0].get("title") or parts[0].get("fallback") or "")


def pagerduty_problems(body: Any) -> list[str]:
    """An event of PagerDuty's Events API v2."""
    if not isinstance(body, dict):
        return ["the event is not a JSON object"]
    found = []
    if len(json.dumps(body).encode()) > PAGERDUTY_BYTES:
        found.append("the event is larger than 512 KB")
    if not re.fullmatch(r"[0-9a-zA-Z]{32}", str(body.get("routing_key", ""))):
        found.append("routing_key must have 32 letters and digits")
    action = body.get("event_action")
    if action not in ("trigger", "acknowledge", "resolve"):
        return [*found, f"event_action {action!r}"]
    key = body.get("dedup_key")
    if (action != "trigger" and not key) or len(str(key or "")) > 255:
        found.append("dedup_key is missing or longer than 255")
    if action == "trigger":
        payload = body.get("payload")
        if not isinstance(payload, dict):
            return [*found, "payload is missing"]
        if not 0 < len(str(payload.get("summary") or "")) <= 1024:
            found.append("summary is empty or longer than 1024")
        if not payload.get("source"):
            found.append("source is empty")
        if payload.get("severity") not in PAGERDUTY_SEVERITIES:
            found.append(f"severity {payload.get('severity')!r}")
        found += _details_problems(payload.get("custom_details", {}))
        for link in body.get("links") or []:
            if not re.match(r"https?://\S+$", str(link.get("href", ""))):
                found.append(f"link {link.get('href')!r}")
    return found


def _details_problems(details: Any) -> list[str]:
    if not isinstance(details, dict):
        return ["custom_details is not an object"]
    # Alertmanager reads each as YAML from 0.28 on, so that a sentence may become a table.
    return [
        f"custom_details.{name} is not a text"
        for name, value in details.items()
        if isinstance(value, dict | list)
    ]


def mail_problems(headers: dict[str, str], text: str) -> list[str]:
    """A mail as somebody should get it."""
    found = [f"{name} is missing" for name in ("From", "To", "Subject") if not headers.get(name)]
    if not text.strip():
        found.append("the text is empty")
    return found
