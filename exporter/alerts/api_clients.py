"""The only clients of Alertmanager's v2 API and Prometheus' v1 API.

Whatever a server answers, the caller gets what it asked for or a :class:`ServerError`: an HTML page
of a proxy, `null`, or JSON of another shape is as good as no answer.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

import aiohttp
import yaml

from exporter.alerts.alertmanager_objects import ActiveAlert, Labels, Silence, parse_time
from exporter.redaction.mask import Mask
from exporter.redaction.secret_shape import MASKED
from exporter.redaction.truncate import truncate_at_word
from exporter.util.clock import iso

TIMEOUT_SECONDS = 10.0
HISTORY_TIMEOUT_SECONDS = 150.0
"""Prometheus itself gives up a query after 2 minutes."""
MOST_MASKED = 1_000
"""Alerts with a secret in a label that are remembered."""


class CountedChannel(NamedTuple):
    """Whose deliveries are counted together; `receiver` is '' where that is not known."""

    integration: str
    receiver: str


Attempts = dict[CountedChannel, tuple[float, float]]
"""Of each channel, delivery attempts that succeeded, and that failed."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ServerError(Exception):
    """Alertmanager or Prometheus gave no usable answer; the text says which one and why."""


_MISSHAPEN = (KeyError, TypeError, AttributeError, ValueError, IndexError, yaml.YAMLError)


def _checked(call: Callable[_P, Awaitable[_T]]) -> Callable[_P, Awaitable[_T]]:
    """An answer of another shape than its caller expects is a :class:`ServerError`."""

    @functools.wraps(call)
    async def asked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await call(*args, **kwargs)
        except _MISSHAPEN as error:
            client = args[0]
            raise ServerError(
                f"{client} gave an answer that it should not give to {call.__name__}: {error!r}"
            ) from error

    return asked


class _Client:
    def __init__(
        self, session: aiohttp.ClientSession, url: Callable[[], str], mask: Mask | None = None
    ) -> None:
        self._session, self._url, self._mask = session, url, mask or Mask()

    @property
    def url(self) -> str:
        """Its address now; a reload may change it."""
        return self._url()

    def __str__(self) -> str:
        return self.url

    async def _ask(
        self, method: str, path: str, timeout_seconds: float | None = None, **what: Any
    ) -> Any:
        url = f"{self.url}{path}"
        timeout = aiohttp.ClientTimeout(total=timeout_seconds or TIMEOUT_SECONDS)
        try:
            async with self._session.request(method, url, timeout=timeout, **what) as answer:
                text = await answer.text(errors="replace")
                if answer.status >= 300:
                    raise ServerError(
                        f"{url} answered {answer.status}: {truncate_at_word(text, 200)}"
                    )
                is_json = answer.content_type == "application/json"
                return await answer.json() if is_json else text
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, LookupError) as error:
            raise ServerError(f"cannot reach {url}: {_why(error)}") from error


def _why(error: Exception) -> str:
    """In a few words: aiohttp repeats the address, and adds its own view of it."""
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        if cause.errno is not None and cause.errno > 0:
            return os.strerror(cause.errno)
        return cause.strerror or str(cause)
    return str(error) or type(error).__name__


class PrometheusClient(_Client):
    """Every call raises :class:`ServerError`."""

    @_checked
    async def alerts(self) -> list[dict[str, str]]:
        """Labels of all alerts, pending ones included, without secrets."""
        answer = await self._ask("GET", "/api/v1/alerts")
        found = [_labels(alert["labels"]) for alert in _list(answer["data"]["alerts"])]
        return [self._mask.mapping(labels) for labels in found]

    @_checked
    async def query_range(
        self, query: str, start: float, end: float, step: float
    ) -> list[dict[str, Any]]:
        """A matrix: ``{"metric": labels, "values": [[time, text], …]}``."""
        form = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        answer = await self._ask("POST", "/api/v1/query_range", HISTORY_TIMEOUT_SECONDS, data=form)
        return [
            {"metric": _labels(series["metric"]), "values": _list(series["values"])}
            for series in _list(answer["data"]["result"])
        ]

    @_checked
    async def rule_names(self) -> set[str]:
        """The names of all alerting rules that it has loaded."""
        answer = await self._ask("GET", "/api/v1/rules", params={"type": "alert"})
        groups = _list(answer["data"]["groups"])
        return {str(rule["name"]) for group in groups for rule in _list(group["rules"])}

    @_checked
    async def alertmanagers(self) -> list[str]:
        """Where it sends alerts."""
        answer = await self._ask("GET", "/api/v1/alertmanagers")
        return [str(one["url"]) for one in _list(answer["data"]["activeAlertmanagers"])]

    @_checked
    async def instant(self, query: str) -> list[dict[str, str]]:
        """The labels of what a query gives now."""
        answer = await self._ask("POST", "/api/v1/query", data={"query": query})
        return [_labels(series["metric"]) for series in _list(answer["data"]["result"])]


class AlertmanagerClient(_Client):
    """Every call raises :class:`ServerError`."""

    def __init__(
        self, session: aiohttp.ClientSession, url: Callable[[], str], mask: Mask | None = None
    ) -> None:
        super().__init__(session, url, mask)
        self._as_sent: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        """Labels that were masked, to those that Alertmanager has."""

    @_checked
    async def alerts(self, timeout_seconds: float | None = None) -> list[ActiveAlert]:
        """All of them, silenced and inhibited ones included, without secrets."""
        return [
            ActiveAlert(
                self._masked(_labels(alert["labels"])),
                self._mask.mapping(_labels(alert["annotations"])),
                _time_text(alert["startsAt"]),
                str(alert["fingerprint"]),
                silenced=bool(alert["status"]["silencedBy"]),
                inhibited=bool(alert["status"]["inhibitedBy"]),
            )
            for alert in _list(await self._ask("GET", "/api/v2/alerts", timeout_seconds))
        ]

    def _masked(self, labels: dict[str, str]) -> dict[str, str]:
        masked = self._mask.mapping(labels)
        if masked != labels:
            self._as_sent[tuple(sorted(masked.items()))] = labels
            while len(self._as_sent) > MOST_MASKED:
                del self._as_sent[next(iter(self._as_sent))]
        return masked

    def _matcher(self, found: Mapping[str, Any]) -> dict[str, Any]:
        name, value, is_regex = str(found["name"]), str(found["value"]), bool(found["isRegex"])
        return {
            "name": name,
            "value": value if is_regex else self._mask.mapping({name: value})[name],
            "isRegex": is_regex,
            "isEqual": bool(found.get("isEqual", True)),
        }

    def _unmasked(self, labels: Labels) -> Labels:
        """As Alertmanager knows them: it is addressed by labels."""
        if not any(MASKED in value for value in labels.values()):
            return labels
        for masked, as_sent in self._as_sent.items():
            if labels.items() <= dict(masked).items():
                return {name: as_sent[name] for name in labels}
        return labels

    @_checked
    async def silences(self) -> list[Silence]:
        """Active ones."""
        return [
            Silence(
                str(silence["id"]),
                tuple(self._matcher(matcher) for matcher in _list(silence["matchers"])),
                parse_time(silence["endsAt"]),
                str(silence["createdBy"]),
                str(silence["comment"]),
            )
            for silence in _list(await self._ask("GET", "/api/v2/silences"))
            if silence["status"]["state"] == "active"
        ]

    @_checked
    async def ended_silences(self) -> set[str]:
        """Ids of those that ran out or that somebody ended, which it lists for days."""
        silences = _list(await self._ask("GET", "/api/v2/silences"))
        return {str(one["id"]) for one in silences if one["status"]["state"] == "expired"}

    @_checked
    async def create_silence(
        self,
        labels: Labels,
        *,
        start: float,
        end: float,
        by: str,
        comment: str,
        replaces: str | None = None,
    ) -> str:
        """Create one, or give `replaces` a new end; returns its id."""
        body = {
            "matchers": [
                {"name": n, "value": v, "isRegex": False, "isEqual": True}
                for n, v in sorted(self._unmasked(labels).items())
            ],
            "startsAt": iso(start),
            "endsAt": iso(end),
            "createdBy": by,
            "comment": comment,
            **({"id": replaces} if replaces else {}),
        }
        answer = await self._ask("POST", "/api/v2/silences", json=body)
        return str(answer["silenceID"])

    async def expire_silence(self, silence: str) -> None:
        """End it now."""
        await self._ask("DELETE", f"/api/v2/silence/{silence}")

    async def post_resolved(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Report these as resolved once more: `labels`, `annotations`, `starts_at`
        and `ends_at`, which is past."""
        body = [
            {
                "labels": self._unmasked(alert["labels"]),
                "annotations": alert["annotations"],
                "startsAt": alert["starts_at"],
                "endsAt": alert["ends_at"],
            }
            for alert in alerts
        ]
        await self._ask("POST", "/api/v2/alerts", json=body)

    @_checked
    async def delivery_attempts(self) -> dict[str, tuple[float, float]]:
        """By integration, Alertmanager's own count of delivery attempts: that succeeded, and that
        failed."""
        found: dict[str, tuple[float, float]] = {}
        for channel, (well, bad) in (await self.attempts_by_channel()).items():
            known = found.get(channel.integration, (0.0, 0.0))
            found[channel.integration] = (known[0] + well, known[1] + bad)
        return found

    @_checked
    async def attempts_by_channel(self) -> Attempts:
        """The same by integration and, where Alertmanager counts by them, receiver."""
        page = str(await self._ask("GET", "/metrics"))
        total, failed = (_by_channel(page, f"requests{one}_total") for one in ("", "_failed"))
        return {c: (total[c] - failed.get(c, 0.0), failed.get(c, 0.0)) for c in total}

    @_checked
    async def receivers(self) -> dict[str, list[str]]:
        """By integration, the receivers that use it as a channel, as configured now. A webhook is
        one where it is all that a receiver has besides the post to the journal."""
        answer = await self._ask("GET", "/api/v2/status")
        config = await asyncio.to_thread(yaml.safe_load, answer["config"]["original"])
        found: dict[str, list[str]] = {}
        for receiver in _list(config["receivers"]):
            keys = {
                k.removesuffix("_configs") for k in map(str, receiver) if k.endswith("_configs")
            }
            if keys == {"webhook"} and len(_list(receiver["webhook_configs"])) < 2:
                keys = set()
            for integration in sorted(keys - {"webhook"} or keys):
                found.setdefault(integration, []).append(str(receiver["name"]))
        return found

    @_checked
    async def route(self) -> dict[str, Any]:
        """The tree of routes, as configured now."""
        answer = await self._ask("GET", "/api/v2/status")
        config = await asyncio.to_thread(yaml.safe_load, answer["config"]["original"])
        return {str(key): value for key, value in config["route"].items()}

    @_checked
    async def integrations(self) -> dict[str, tuple[str, ...]]:
        """By receiver, in the order of the file, the integrations that it uses."""
        answer = await self._ask("GET", "/api/v2/status")
        config = await asyncio.to_thread(yaml.safe_load, answer["config"]["original"])
        return {
            str(receiver["name"]): tuple(
                str(key).removesuffix("_configs") for key in receiver if key.endswith("_configs")
            )
            for receiver in _list(config["receivers"])
        }

    async def post_alert(
        self, labels: Labels, annotations: Labels, *, start: float, end: float
    ) -> None:
        """Have it fire from `start` to `end`."""
        body = [
            {
                "labels": dict(labels),
                "annotations": dict(annotations),
                "startsAt": iso(start),
                "endsAt": iso(end),
            }
        ]
        await self._ask("POST", "/api/v2/alerts", json=body)

    @_checked
    async def receivers_of(self, labels: Labels) -> list[str]:
        """The receivers to which the routes send the firing alert with these labels."""
        for alert in _list(await self._ask("GET", "/api/v2/alerts")):
            if _labels(alert["labels"]) == dict(labels):
                return [str(receiver["name"]) for receiver in _list(alert["receivers"])]
        return []


def _by_channel(page: str, metric: str) -> dict[CountedChannel, float]:
    counts: dict[CountedChannel, float] = {}
    pattern = rf"^alertmanager_notification_{metric}\{{([^}}]*)\}} (\S+)"
    for labels, value in re.findall(pattern, page, re.MULTILINE):
        of = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
        channel = CountedChannel(of["integration"], of.get("receiver_name", ""))
        counts[channel] = counts.get(channel, 0.0) + float(value)
    return counts


def _list(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise TypeError(f"expected a list, found {truncate_at_word(repr(found), 100)}")
    return found


def _labels(found: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in found.items()}


def _time_text(found: Any) -> str:
    parse_time(found)
    return str(found)
