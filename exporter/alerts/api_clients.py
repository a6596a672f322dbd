"""What we ask of Alertmanager's v2 API and Prometheus' v1 API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp

from exporter.redaction.truncate import truncate_at_word
from exporter.util.clock import iso

TIMEOUT = aiohttp.ClientTimeout(total=10)
HISTORY_TIMEOUT = aiohttp.ClientTimeout(total=150)
"""Prometheus itself gives up a query after 2 minutes."""
Labels = Mapping[str, str]


class ServerError(Exception):
    """Alertmanager or Prometheus did not answer as it should; the text says who and how."""


@dataclass(frozen=True)
class Silence:
    """One that is in force now."""

    id: str
    matchers: tuple[dict[str, Any], ...]
    ends_at: float
    by: str
    comment: str

    def covers(self, labels: Labels) -> bool:
        """Whether an alert with these labels is silenced by it."""
        return all(_matches(matcher, labels) for matcher in self.matchers)


def _matches(matcher: Mapping[str, Any], labels: Labels) -> bool:
    value, wanted = labels.get(matcher["name"], ""), matcher["value"]
    same = bool(re.fullmatch(wanted, value)) if matcher["isRegex"] else value == wanted
    return same is bool(matcher.get("isEqual", True))


def moment(text: str) -> float:
    """RFC 3339 as Alertmanager writes it, to Unix seconds. Raises :class:`ValueError`."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()


def _muted(status: Mapping[str, Any]) -> str:
    if status.get("silencedBy"):
        return "silenced"
    return "muted by another alert" if status.get("inhibitedBy") else ""


class Servers:
    """Both of them, over one session. Every call raises :class:`ServerError`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        alertmanager_url: Callable[[], str],
        prometheus_url: Callable[[], str],
    ) -> None:
        self._session = session
        self._alertmanager, self._prometheus = alertmanager_url, prometheus_url

    @property
    def alertmanager(self) -> str:
        """Its address now; a reload may change it."""
        return self._alertmanager()

    @property
    def prometheus(self) -> str:
        """Its address now."""
        return self._prometheus()

    async def _ask(
        self, method: str, url: str, timeout: aiohttp.ClientTimeout = TIMEOUT, **what: Any
    ) -> Any:
        try:
            async with self._session.request(method, url, timeout=timeout, **what) as answer:
                text = await answer.text()
                if answer.status >= 300:
                    raise ServerError(
                        f"{url} answered {answer.status}: {truncate_at_word(text, 200)}"
                    )
                kind = answer.content_type
                return await answer.json() if kind == "application/json" else text
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ServerError(f"{url} cannot be asked: {error or type(error).__name__}") from error

    async def firing(self) -> list[dict[str, str]]:
        """Labels of all alerts that Prometheus holds, pending ones included."""
        answer = await self._ask("GET", f"{self.prometheus}/api/v1/alerts")
        return [alert["labels"] for alert in answer["data"]["alerts"]]

    async def alerts(self) -> list[dict[str, str]]:
        """Labels of all alerts that Alertmanager holds, silenced and inhibited ones included."""
        return [alert["labels"] for alert in await self.held()]

    async def held(self) -> list[dict[str, Any]]:
        """The same with annotations, start, fingerprint, and what mutes it if anything does."""
        found = await self._ask("GET", f"{self.alertmanager}/api/v2/alerts")
        return [
            {
                "labels": alert["labels"],
                "annotations": alert["annotations"],
                "starts_at": alert["startsAt"],
                "fingerprint": alert["fingerprint"],
                "muted": _muted(alert["status"]),
            }
            for alert in found
        ]

    async def silences(self) -> list[Silence]:
        """Those in force."""
        found = await self._ask("GET", f"{self.alertmanager}/api/v2/silences")
        return [
            Silence(
                silence["id"],
                tuple(silence["matchers"]),
                moment(silence["endsAt"]),
                silence["createdBy"],
                silence["comment"],
            )
            for silence in found
            if silence["status"]["state"] == "active"
        ]

    async def silence(
        self,
        labels: Labels,
        *,
        start: float,
        end: float,
        by: str,
        comment: str,
        replaces: str | None = None,
    ) -> str:
        """Make one, or give `replaces` a new end; its id."""
        body = {
            "matchers": [
                {"name": n, "value": v, "isRegex": False, "isEqual": True}
                for n, v in sorted(labels.items())
            ],
            "startsAt": iso(start),
            "endsAt": iso(end),
            "createdBy": by,
            "comment": comment,
            **({"id": replaces} if replaces else {}),
        }
        answer = await self._ask("POST", f"{self.alertmanager}/api/v2/silences", json=body)
        return str(answer["silenceID"])

    async def end_silence(self, silence: str) -> None:
        """Now."""
        await self._ask("DELETE", f"{self.alertmanager}/api/v2/silence/{silence}")

    async def say_resolved(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Tell Alertmanager once more that these are over: `labels`, `annotations`, `starts_at`
        and `ends_at`, which is past."""
        body = [
            {
                "labels": alert["labels"],
                "annotations": alert["annotations"],
                "startsAt": alert["starts_at"],
                "endsAt": alert["ends_at"],
            }
            for alert in alerts
        ]
        await self._ask("POST", f"{self.alertmanager}/api/v2/alerts", json=body)

    async def failed_attempts(self) -> dict[str, float]:
        """By integration, Alertmanager's own count of deliveries that failed."""
        page = await self._ask("GET", f"{self.alertmanager}/metrics")
        counts: dict[str, float] = {}
        metric = "alertmanager_notification_requests_failed_total"
        pattern = metric + r'\{[^}]*integration="(\w+)"[^}]*\} (\S+)'
        for name, value in re.findall(pattern, str(page)):
            counts[name] = counts.get(name, 0.0) + float(value)
        return counts

    async def query_range(
        self, query: str, start: float, end: float, step: float
    ) -> list[dict[str, Any]]:
        """Prometheus' matrix: ``{"metric": labels, "values": [[time, text], …]}``."""
        form = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        url = f"{self.prometheus}/api/v1/query_range"
        answer = await self._ask("POST", url, HISTORY_TIMEOUT, data=form)
        return list(answer["data"]["result"])
