"""HTTP: Alertmanager's webhook to the journal, acknowledging by API and by page, incidents, the
runbook."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from exporter.alerts.acks import AckReconciler, NoSuchAlertError
from exporter.alerts.api_clients import ServerError
from exporter.alerts.journal import Journal
from exporter.alerts.timeline import LIMIT, read_timeline
from exporter.state import State, StateError
from exporter.util import strict_json
from exporter.util.clock import Clock
from exporter.util.shipped import shipped
from exporter.util.units import format_duration, parse_duration
from exporter.web import alert_html
from exporter.web.form_token import COOKIE, given_token, remember

DEFAULT_FOR = "2h"
LONGEST = 7 * 86400.0
_OURS = ("token", "for", "comment", "by")


class AlertPages:
    """The handlers. The guard checks the token of writes below /api; /ack does it itself.
    `runbook_url` is where /runbook redirects to; None for our own."""

    def __init__(
        self,
        journal: Journal,
        acks: AckReconciler,
        state: State,
        clock: Clock,
        is_token: Callable[[str], bool],
        *,
        runbook_url: Callable[[], str | None],
    ) -> None:
        self._journal, self._acks, self._state = journal, acks, state
        self._clock, self._is_token = clock, is_token
        self._runbook_url = runbook_url

    def routes(self) -> list[web.RouteDef]:
        """For the server."""
        return [
            web.post("/api/v1/alerts", self.webhook),
            web.get("/api/v1/alerts", self.incidents),
            web.post("/api/v1/ack", self.acknowledge),
            web.get("/ack", self.ask),
            web.post("/ack", self.confirm),
            web.get("/runbook", self.runbook),
        ]

    async def webhook(self, request: web.Request) -> web.Response:
        """Alertmanager's webhook; ``?receiver=`` says for which channel it stands."""
        sent_for, accepted = "unknown", False
        try:
            body = strict_json.read(await request.text())
            sent_for = str(body.get("receiver", sent_for))
            count = await self._journal.record(
                (request.query.get("receiver") or sent_for)[:64], body
            )
            accepted = True
        except (ValueError, AttributeError) as error:
            return _error(400, str(error))
        finally:
            self._journal.answered(sent_for, accepted=accepted)
        return web.json_response({"ok": True, "alerts": count})

    async def incidents(self, request: web.Request) -> web.Response:
        """What fired since ``?since=24h``, the newest ``?limit=1000`` that started ``?until=``."""
        try:
            since = parse_duration(request.query.get("since", "24h"))
        except ValueError as error:
            return _error(400, str(error))
        try:
            until = float(request.query.get("until", "inf"))
            limit = int(request.query.get("limit", LIMIT))
            if math.isnan(until) or not 1 <= limit <= LIMIT:
                raise ValueError
        except ValueError:
            return _error(400, f"invalid `until` or `limit`: write Unix seconds, and 1 to {LIMIT}")
        try:
            found = await read_timeline(self._state, self._clock.now() - since, until, limit)
        except StateError as error:
            return _error(503, str(error))
        return web.json_response(
            {
                "alerts": [incident.as_json() for incident in found.incidents],
                "older": found.older,
                "unreadable": found.unreadable,
            }
        )

    async def acknowledge(self, request: web.Request) -> web.Response:
        """``{"labels": {...}, "for": "2h", "comment": "…", "by": "…"}``."""
        try:
            body = strict_json.read(await request.text())
            labels = {str(n): str(v) for n, v in body["labels"].items()}
            found, until = await self._acknowledge(labels, body)
        except (KeyError, AttributeError, TypeError):
            return _error(400, '`labels` is missing: {"alertname": "QuantTaskFailing"}')
        except ValueError as error:
            return _error(400, str(error))
        except NoSuchAlertError as error:
            return _error(404, str(error))
        except ServerError as error:
            return _error(503, str(error))
        return web.json_response({"ok": True, "acknowledged": found, "until": until})

    async def _acknowledge(
        self, labels: Mapping[str, str], what: Mapping[str, Any]
    ) -> tuple[list[dict[str, str]], float]:
        if not labels.get("alertname"):
            raise ValueError("`alertname` is missing: say which alert")
        seconds = parse_duration(what.get("for") or DEFAULT_FOR)
        if not 60 <= seconds <= LONGEST:
            raise ValueError(f"invalid `for`: write 1m to {format_duration(LONGEST)}")
        until = self._clock.now() + seconds
        by, comment = str(what.get("by") or "somebody")[:64], str(what.get("comment") or "")[:500]
        return await self._acks.acknowledge(labels, until, by, comment), until

    async def ask(self, request: web.Request) -> web.Response:
        """The page behind a message's link. It changes nothing: link previews fetch it too."""
        labels = {n: v for n, v in request.query.items() if n not in _OURS}
        known = self._is_token(request.cookies.get(COOKIE, ""))
        return alert_html.form("Acknowledge?", labels, self._notified(labels), known=known)

    def _notified(self, labels: Mapping[str, str]) -> list[str]:
        """The newest texts about alerts with these labels that still fire."""
        found = (a for _, a in self._journal.unresolved() if labels.items() <= a["labels"].items())
        return sorted({alert["annotations"].get("description", "") for alert in found} - {""})

    async def confirm(self, request: web.Request) -> web.Response:
        """Acknowledges."""
        try:
            given = {str(n): str(v) for n, v in (await request.post()).items()}
        except ValueError as error:
            return alert_html.refused(str(error), status=400)
        token = given_token(request, given)
        labels = {n: v for n, v in given.items() if n not in _OURS}
        if not self._is_token(token):
            texts = self._notified(labels)
            return alert_html.form("Wrong token", labels, texts, known=False, status=401)
        try:
            found, until = await self._acknowledge(labels, {**given, "by": "link"})
        except (ValueError, NoSuchAlertError, ServerError) as error:
            return alert_html.refused(str(error), status=409)
        answer = alert_html.done(found, until - self._clock.now())
        remember(request, answer, token, "/ack")
        return answer

    async def runbook(self, request: web.Request) -> web.Response:
        """docs/runbook.md with an anchor at each alert, or the user's own.

        Every message links here, so that one place knows where the runbook is. A browser keeps the
        fragment (`#quanttaskfailing`) over a redirect: RFC 9110, 10.2.2."""
        if url := self._runbook_url():
            raise web.HTTPFound(url)
        return alert_html.runbook(shipped("docs/runbook.md").read_text(encoding="utf-8"))


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
