"""``quant-exporter init``: a starting folder, the user's own to edit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from exporter.cli.check import checked, print_notices
from exporter.cli.with_config import complain
from exporter.config import ConfigError
from exporter.util.own_command import own_command
from exporter.util.shipped import shipped

_PLACES = {
    "sample": "",
    "prometheus/prometheus.yml": "prometheus/prometheus.yml",
    "prometheus/rules": "prometheus/rules",
    "prometheus/packs": "prometheus/packs",
    "alerting": "alerting",
    "grafana/dashboards": "grafana/dashboards",
    "grafana/provisioning": "grafana/provisioning",
}
"""What is copied where, seen from the folder."""
_CONTENTS = (
    ("exporter.yml", "what runs, when, and on which data"),
    ("strategies/", "your own code; paper.py is a strategy on simulated prices"),
    ("prometheus/", "configuration and alert rules of Prometheus"),
    ("alerting/", "configuration of Alertmanager: who hears of what"),
    ("grafana/", "dashboards, to provision or to import"),
)


def init(*, folder: Path) -> int:
    """Write what is not there yet; never overwrite."""
    folder = folder.resolve()
    written, kept = set(), []
    try:
        for source, name in _files():
            target = folder / name
            if _write(source, target):
                written.add(Path(name).parts[0])
            elif target.read_bytes() != source.read_bytes():
                kept.append(name)
    except FileExistsError as error:
        complain(f"{error.filename} is a file, and a folder is needed there: name another")
        return 1
    except OSError as error:
        complain(f"cannot write {error.filename or folder}: {error.strerror}")
        return 1
    print(f"In {folder}:")
    for name, text in _CONTENTS:
        new = "new" if name.rstrip("/") in written else "there already"
        print(f"  {name:14}{new:15}{text}")
    if kept:
        print("Left as they are, though this version's differ: " + ", ".join(kept))
    with contextlib.suppress(ConfigError):  # an older file: `check` says what is wrong with it
        print_notices("", checked(folder / "exporter.yml").notices)
    print(_next_steps(folder))
    return 0


def _files() -> Iterator[tuple[Path, str]]:
    for here, there in _PLACES.items():
        place = shipped(here)
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                yield file, str(Path(there, file.relative_to(place)))


def _write(source: Path, target: Path) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as file:
            file.write(source.read_bytes())
    except FileExistsError:
        return False
    return True


def _next_steps(folder: Path) -> str:
    command = own_command()
    steps = [] if folder == Path.cwd() else [f"cd {folder}"]
    steps += [f"{command} check", f"{command} run"]
    return "Next:\n" + "".join(f"  {step}\n" for step in steps).rstrip()
