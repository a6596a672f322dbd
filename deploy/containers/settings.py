"""Files of Prometheus and Alertmanager for containers.

``settings.py PROMETHEUS ALERTING SECRETS MADE``, four folders: the last is written.

Rules, routes and templates stay what the shipped files say; names of machines and places of secrets
change. A channel whose secret is empty is left out, so that everything starts with no secret at
all: its alerts go to the journal alone, and this says so.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

HOSTS = {
    "localhost:10077": "exporter:10077",
    "localhost:9093": "alertmanager:9093",
    "/etc/alertmanager/secrets/": "/run/secrets/",
}
PLACE = "/run/secrets/"
# What a channel that names no secret of its own takes from `global`.
SHARED = {"slack_configs": "slack_api_url_file", "email_configs": "smtp_auth_password_file"}
OWN = {
    "slack_configs": ("api_url", "api_url_file"),
    "email_configs": ("auth_password", "auth_password_file"),
}
NO_ADDRESS_YET = "your-check-uuid"


def moved(value: Any, hosts: dict[str, str]) -> Any:
    """The same with every name replaced, in whatever depth."""
    if isinstance(value, dict):
        return {key: moved(inner, hosts) for key, inner in value.items()}
    if isinstance(value, list):
        return [moved(inner, hosts) for inner in value]
    if isinstance(value, str):
        for name, other in hosts.items():
            value = value.replace(name, other)
    return value


def without_secretless(config: dict[str, Any], secrets: Path) -> list[str]:
    """Take out of `config` what cannot be sent; what was taken out, in sentences."""
    said = []
    shared = config.get("global") or {}
    for receiver in config.get("receivers", ()):
        for kind in [key for key in receiver if key.endswith("_configs")]:
            kept = []
            for channel in receiver[kind]:
                lacking = _lacking(kind, channel, shared, secrets)
                if lacking:
                    said.append(f"{receiver['name']}: {kind[:-8]} is left out, {lacking}")
                else:
                    kept.append(channel)
            receiver[kind] = kept
            if not kept:
                del receiver[kind]
    return said


def _lacking(
    kind: str, channel: dict[str, Any], shared: dict[str, Any], secrets: Path
) -> str | None:
    if NO_ADDRESS_YET in str(channel.get("url", "")):
        return "its address is only an example"
    files = _files(channel)
    if kind in SHARED and not any(key in channel for key in OWN[kind]):
        files += _files({SHARED[kind]: shared.get(SHARED[kind], "")})
    for name in files:
        path = secrets / name
        if not path.is_file() or not path.read_text().strip():
            return f"secrets/{name} is empty"
    return None


def _files(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [name for inner in value.values() for name in _files(inner)]
    if isinstance(value, list):
        return [name for inner in value for name in _files(inner)]
    return [value.removeprefix(PLACE)] if str(value).startswith(PLACE) else []


def make(prometheus: Path, alerting: Path, secrets: Path, made: Path) -> list[str]:
    """Write ``made/prometheus`` and ``made/alertmanager`` anew; what was left out, in sentences."""
    for source, name, leave in (
        (prometheus, "prometheus", ("tests",)),
        (alerting, "alertmanager", ("recipes",)),
    ):
        target = made / name
        target.mkdir(parents=True, exist_ok=True)
        for old in target.iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for entry in source.iterdir():
            if entry.is_dir() and entry.name not in leave:
                shutil.copytree(entry, target / entry.name, copy_function=shutil.copyfile)
    config = moved(yaml.safe_load((prometheus / "prometheus.yml").read_text()), HOSTS)
    _write(made / "prometheus/prometheus.yml", config)
    config = moved(yaml.safe_load((alerting / "alertmanager.yml").read_text()), HOSTS)
    said = without_secretless(config, secrets)
    _write(made / "alertmanager/alertmanager.yml", config)
    return said


def _write(path: Path, config: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(config, sort_keys=False))


if __name__ == "__main__":
    try:
        for sentence in make(*(Path(argument) for argument in sys.argv[1:5])):
            print(sentence)
    except PermissionError as error:
        sys.exit(
            f"cannot write {error.filename}: another image filled this volume first. Run: docker "
            "compose down; docker volume rm quant_prometheus-settings quant_alertmanager-settings; "
            "make up"
        )
