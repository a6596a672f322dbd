"""Rules and Alertmanager's file in the form that Grafana Cloud (Mimir) accepts.

Its ruler takes groups under a namespace, its Alertmanager one file that reads no others: every
``…_file`` becomes the secret itself. Source: grafana.com/docs/mimir, "Mimirtool", "Alertmanager".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

GROUP_RULES = 20
"""The most rules of one group that Mimir accepts by default."""
JOURNAL = "/api/v1/alerts?receiver="
_METRIC = re.compile(r"\b(?:quant|prometheus|alertmanager|process|scrape)_\w+|\bup\b|\bALERTS\b")
_OF_SERVERS = ("prometheus_", "alertmanager_")
_HELPERS = frozenset({"up", "process_start_time_seconds", "quant_exporter_build_info"})
"""Rules about servers join on these; they say nothing of the servers."""


class CloudError(Exception):
    """The files cannot be translated; the message says why and what to do."""


@dataclass
class CloudRules:
    """One file for ``mimirtool rules load``."""

    namespace: str
    groups: list[dict[str, Any]]
    left_out: list[str] = field(default_factory=list)
    """Rules about the user's own Prometheus and Alertmanager, which the cloud runs itself."""

    @property
    def count(self) -> int:
        """How many rules are in it."""
        return sum(len(group["rules"]) for group in self.groups)

    def content(self) -> dict[str, Any]:
        """What is written."""
        return {"namespace": self.namespace, "groups": self.groups}


def cloud_rules(namespace: str, content: Mapping[str, Any]) -> CloudRules:
    """The groups of a rule file, without what cannot be known there."""
    made = CloudRules(namespace, [])
    for group in content.get("groups") or []:
        kept = []
        for rule in group.get("rules") or []:
            metrics = set(_METRIC.findall(str(rule.get("expr", ""))))
            of_servers = {name for name in metrics if name.startswith(_OF_SERVERS)}
            if of_servers and metrics - of_servers <= _HELPERS:
                made.left_out.append(str(rule.get("alert") or rule.get("record")))
            else:
                kept.append(rule)
        pieces = [kept[at : at + GROUP_RULES] for at in range(0, len(kept), GROUP_RULES)]
        for number, piece in enumerate(pieces):
            name = group["name"] if number == 0 else f"{group['name']}-{number + 1}"
            made.groups.append({**group, "name": name, "rules": piece})
    return made


@dataclass
class CloudAlertmanager:
    """One file for ``mimirtool alertmanager load``."""

    content: dict[str, Any]
    missing: list[str]
    """Environment variables that hold no secret."""
    removed: list[str]
    """Receivers whose posts to the exporter's journal were left out: the cloud cannot reach it."""


def variable_of(path: str) -> str:
    """The environment variable that stands for a secret's file: QUANT_SLACK_URL for slack_url."""
    return "QUANT_" + re.sub(r"\W+", "_", PurePath(path).stem).upper()


def cloud_alertmanager(
    content: Mapping[str, Any],
    environment: Mapping[str, str],
    templates: Sequence[str],
    *,
    exporter: str = "",
) -> CloudAlertmanager:
    """The file with its secrets in it.

    `templates` are the names of the templates that are loaded with it, without folders;
    `exporter` is the exporter's public address, to which its journal's posts then go; empty: it
    has none. Raises :class:`CloudError` for a file that cannot become a value.
    """
    made = CloudAlertmanager({}, [], [])
    whole = {**content, "receivers": [dict(each) for each in content.get("receivers") or []]}
    for receiver in whole["receivers"]:
        posts = receiver.get("webhook_configs")
        if not posts:
            continue
        if exporter:
            receiver["webhook_configs"] = [_moved(post, exporter) for post in posts]
            continue
        others = [post for post in posts if JOURNAL not in str(post.get("url", ""))]
        if len(others) < len(posts):
            made.removed.append(receiver["name"])
        receiver["webhook_configs"] = others
        if not others:
            del receiver["webhook_configs"]

    def secret(path: str) -> str:
        name = variable_of(path)
        value = environment.get(name, "").strip()
        if not value and name not in made.missing:
            made.missing.append(name)
        return value

    made.content = {**dict(_filled(whole, secret, "")), "templates": list(templates)}
    return made


def _moved(post: Mapping[str, Any], exporter: str) -> dict[str, Any]:
    _, found, receiver = str(post.get("url", "")).partition(JOURNAL)
    return {**post, "url": exporter.rstrip("/") + JOURNAL + receiver} if found else dict(post)


def _filled(
    value: Mapping[str, Any], secret: Callable[[str], str], where: str
) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        place = f"{where}.{key}".lstrip(".")
        if not key.endswith("_file"):
            yield key, _inside(inner, secret, place)
        elif key in ("ca_file", "cert_file", "key_file"):
            raise CloudError(f"{place}: Grafana Cloud reads no certificate from a file; remove it")
        else:
            yield key.removesuffix("_file"), secret(str(inner))


def _inside(value: Any, secret: Callable[[str], str], where: str) -> Any:
    if isinstance(value, Mapping):
        return dict(_filled(value, secret, where))
    if isinstance(value, list):
        return [_inside(each, secret, f"{where}[{n}]") for n, each in enumerate(value)]
    return value
