"""`quant-exporter grafana-cloud`: rules and routes for who lets Grafana Cloud do the alerting."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from exporter.alerts.cloud_files import (
    GROUP_RULES,
    CloudAlertmanager,
    CloudError,
    CloudRules,
    cloud_alertmanager,
    cloud_rules,
)
from exporter.cli.with_config import complain
from exporter.util import atomic
from exporter.util.shipped import shipped

_NAMESPACE = "quant-exporter"


def grafana_cloud(path: Path, *, folder: Path, packs: list[str], exporter: str) -> int:
    """Write the files for mimirtool into `folder`; the secrets come from the environment."""
    try:
        rules = _rules(path, packs)
        alertmanager, templates = _alertmanager(path, exporter)
    except (OSError, ValueError, yaml.YAMLError, CloudError) as error:
        complain(error)
        return 2
    if alertmanager.missing:
        names = ", ".join(alertmanager.missing)
        complain(
            f"set {names} in the environment: the secrets that Alertmanager reads from files here\n"
            "(a channel that you do not have: take it out of alerting/alertmanager.yml, or use a "
            "recipe of docs/alerts.md)"
        )
        return 2
    try:
        _write(folder, rules, alertmanager.content, templates)
    except OSError as error:
        complain(f"cannot write {error.filename or folder}: {error.strerror}")
        return 1
    _summarize(folder, rules, alertmanager)
    return 0


def _own_or_shipped(path: Path, name: str) -> Path:
    own = path.parent / name
    return own if own.exists() else shipped(name)


def _read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise CloudError(f"{path}: this file has no settings in it")
    return content


def _rules(path: Path, packs: list[str]) -> list[CloudRules]:
    files = sorted(_own_or_shipped(path, "prometheus/rules").glob("*.yml"))
    files += [_own_or_shipped(path, f"prometheus/packs/{pack}.yml") for pack in packs]
    if not files:
        raise CloudError("there is no file in prometheus/rules")
    return [cloud_rules(f"{_NAMESPACE}-{file.stem}", _read(file)) for file in files]


def _alertmanager(path: Path, exporter: str) -> tuple[CloudAlertmanager, list[Path]]:
    file = _own_or_shipped(path, "alerting/alertmanager.yml")
    templates = sorted((file.parent / "templates").glob("*.tmpl"))
    names = [template.name for template in templates]
    return cloud_alertmanager(_read(file), os.environ, names, exporter=exporter), templates


class _Dumper(yaml.SafeDumper):
    """Texts of several lines stay readable."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _write(
    folder: Path, rules: list[CloudRules], alertmanager: dict[str, Any], templates: list[Path]
) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    atomic.write(folder / ".gitignore", "*\n")  # secrets are in it
    contents = {f"{each.namespace}.yaml": each.content() for each in rules}
    for name, content in (*contents.items(), ("alertmanager.yaml", alertmanager)):
        text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        atomic.write(folder / name, text)
    for template in templates:
        atomic.write(folder / template.name, template.read_text(encoding="utf-8"))


def _summarize(folder: Path, rules: list[CloudRules], alertmanager: CloudAlertmanager) -> None:
    groups = sum(len(each.groups) for each in rules)
    print(f"{folder}: {sum(each.count for each in rules)} rules in {groups} groups ", end="")
    print(f"(at most {GROUP_RULES} each), {len(alertmanager.content['receivers'])} receivers")
    if left_out := [name for each in rules for name in each.left_out]:
        print(f"left out, since Grafana Cloud runs these servers itself: {', '.join(left_out)}")
    if alertmanager.removed:
        names = ", ".join(alertmanager.removed)
        print(
            f"left out of {names}: the posts to the exporter's journal, which Grafana Cloud cannot "
            "reach (--exporter https://… if it can)"
        )
    print("alertmanager.yaml has secrets in it. Load both with mimirtool:")
    print(f"  mimirtool rules load {folder}/{_NAMESPACE}-*.yaml")
    print(f"  mimirtool alertmanager load {folder}/alertmanager.yaml {folder}/*.tmpl")
