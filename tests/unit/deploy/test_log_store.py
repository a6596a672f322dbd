"""Loki and Alloy on a VPS: what ``vps.yml`` may say, and the containers' files at their places."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from invoke.exceptions import Exit

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "deploy/vps"))
sys.path.append(str(ROOT / "deploy"))

import log_store  # type: ignore[import-not-found]  # noqa: E402
import settings  # type: ignore[import-not-found]  # noqa: E402
import wanted  # type: ignore[import-not-found]  # noqa: E402


def asked(folder: Path, text: str) -> Any:
    (folder / "vps.yml").write_text(text)
    return json.loads(wanted.wanted(folder / "vps.yml").text)


def test_logs_have_the_source_that_grafana_has(tmp_path: Path) -> None:
    """Apt takes one key for one address."""
    default = asked(tmp_path, "logs: loki\n")["logs"]
    assert default["source"] == "https://apt.grafana.com"
    assert "logs" not in asked(tmp_path, "logs: journald\n")
    both = asked(tmp_path, "grafana: {source: 'https://mirror.example.com'}\nlogs: loki\n")
    assert both["logs"] == both["grafana"]
    assert both["logs"]["source"] == "https://mirror.example.com"


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("logs: syslog", "logs: write loki, journald, or where Loki's packages come from"),
        ("logs: {loki: a.deb}", "logs: loki and alloy go together: give both packages"),
        ("logs: {loki: a.deb, alloy: b.deb, source: 'https://x'}",
         "logs: packages as files and a package source are two ways: choose one"),
        ("logs: {loki: a.deb, alloy: b.deb}", "logs.loki: {here}/a.deb: No such file or directory"),
        ("grafana: true\nlogs: {source: 'https://x'}",
         "grafana and logs come from one package source: write the same in both"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, text: str, mistake: str) -> None:
    """Before anything is sent."""
    with pytest.raises(Exit) as refused:
        asked(tmp_path, text)
    assert refused.value.message == f"{tmp_path}/vps.yml: {mistake.format(here=tmp_path)}"


def test_each_package_has_its_own_place(tmp_path: Path) -> None:
    """Named by what is in it; what is sent is what the machine looks for."""
    for name in ("g", "l", "a"):
        (tmp_path / f"{name}.deb").write_bytes(name.encode())
    (tmp_path / "vps.yml").write_text("grafana: {deb: g.deb}\nlogs: {loki: l.deb, alloy: a.deb}\n")
    found = wanted.wanted(tmp_path / "vps.yml")
    body = json.loads(found.text)
    assert [p.file.name for p in found.packages] == ["g.deb", "l.deb", "a.deb"]
    assert body["grafana"] == {"deb": found.packages[0].there}
    assert body["logs"] == {"loki": found.packages[1].there, "alloy": found.packages[2].there}
    assert len({p.there for p in found.packages}) == 3


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """What is written on the machine, by its name."""
    tool = tmp_path / "tool"
    tool.mkdir()
    (tool / "files").symlink_to(ROOT / "deploy/files")
    (tool / "loki").symlink_to(ROOT / "logging/loki")
    monkeypatch.setattr(log_store, "TOOL", tool)
    things = log_store.log_things(settings.Settings(logs={"source": "https://x"}))
    return {str(t.path): t.text for t in things if hasattr(t, "text")}


def test_the_containers_settings_serve_with_the_places_of_the_machine(
    files: dict[str, str],
) -> None:
    """All that Loki keeps is below the folder that its unit may write; both talk on loopback."""
    config = yaml.safe_load(files["/etc/loki/quant.yml"])
    shared = yaml.safe_load((ROOT / "logging/loki/loki.yml").read_text())
    assert config["limits_config"] == shared["limits_config"]
    paths = [p for p in _texts(config) if p.startswith("/")]
    assert len(paths) == 5
    assert all(path.startswith("/var/lib/loki") for path in paths)
    exporter = files["/etc/alloy/quant/exporter.alloy"]
    assert 'url = "http://127.0.0.1:3100/loki/api/v1/push"' in exporter
    assert '"/var/log/quant-exporter/exporter-????-??-??.jsonl"' in exporter
    assert 'loki.write "loki"' in exporter
    assert "max_backoff_retries = 0" in exporter  # zero is without end, not never
    journal = files["/etc/alloy/quant/journal.alloy"]
    assert "loki.write.loki.receiver" in journal
    # Alloy overwrites a `job` among the labels of a journal by the name of the component.
    assert re.search(r'rule \{\s+target_label = "job"\s+replacement  = "journal"', journal)
    for name in ("loki", "alloy"):
        unit = files[f"/etc/systemd/system/{name}.service.d/quant.conf"]
        assert "-addr=127.0.0.1:" in unit or "http-listen-address=127.0.0.1 " in unit
        assert "\nMemoryMax=" in unit


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [str(value)]
