"""``vps.yml`` is checked on the laptop; what it asks for is in the file that Prometheus reads."""

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

import prometheus_file  # type: ignore[import-not-found]  # noqa: E402
import remote_write  # type: ignore[import-not-found]  # noqa: E402
import wanted  # type: ignore[import-not-found]  # noqa: E402
from places import PROMETHEUS_COPY, ProblemError  # type: ignore[import-not-found]  # noqa: E402

GIVEN = {"url": "https://prometheus.example.com/push", "username": 123456}


def mistakes(file: Path, text: str) -> list[str]:
    file.write_text(text)
    with pytest.raises(Exit) as refused:
        wanted.wanted(file)
    return str(refused.value.message).removeprefix(f"{file}: ").splitlines()


def test_mistakes_are_named_with_their_place(tmp_path: Path) -> None:
    """Nothing is sent; a key that is not known is one."""
    file = tmp_path / "vps.yml"
    assert mistakes(file, "- a\n") == ["expected keys with values: see docs/deploy.md"]
    assert mistakes(file, "remote_rite: {}\n") == ["remote_rite: unknown key"]
    assert mistakes(file, "remote_write: {username: 1}\n") == ["remote_write.url: missing"]
    assert mistakes(file, "remote_write: {username: 1, url: 'http://example.com'}\n") == [
        "remote_write.url: invalid address 'http://example.com': write https://…"
    ]
    assert mistakes(file, "tunnel: ssh-ed25519 AAAA me\n") == [
        "tunnel goes together with prometheus: elsewhere; add that"
    ]
    assert mistakes(file, "prometheus: elsewhere\ntunnel: 'x\n\n  y'\n") == [
        "tunnel: expected a public key: the line in a file like id_ed25519.pub"
    ]
    assert "line 1" in " ".join(mistakes(file, "remote_write: {"))


def test_no_file_asks_for_nothing(tmp_path: Path) -> None:
    """And an empty one neither."""
    nothing = {"prometheus": "here"}
    assert json.loads(wanted.wanted(tmp_path / "vps.yml").text) == nothing
    (tmp_path / "vps.yml").write_text("# later\n")
    assert json.loads(wanted.wanted(tmp_path / "vps.yml").text) == nothing


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release, on a machine that sends its series on."""
    section = tmp_path / "remote-write.yml"
    monkeypatch.setattr(prometheus_file, "SECTION", section)
    (tmp_path / "vps.yml").write_text(yaml.safe_dump({"remote_write": GIVEN}))
    asked = json.loads(wanted.wanted(tmp_path / "vps.yml").text)["remote_write"]
    section.write_text(remote_write._section(asked))
    folder = tmp_path / "release"
    (folder / "prometheus").mkdir(parents=True)
    shipped = (ROOT / "prometheus/prometheus.yml").read_text()
    (folder / "prometheus/prometheus.yml").write_text(shipped)
    return folder


def test_the_copy_is_the_release_s_file_and_one_section(release: Path) -> None:
    """Which keeps the same metrics as the containers do; it is written again when it differs."""
    prometheus_file.write_copy(release)
    copy = release / "prometheus" / PROMETHEUS_COPY
    made = yaml.safe_load(copy.read_text())
    [sent] = made.pop("remote_write")
    assert made == yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())
    assert sent["url"] == GIVEN["url"]
    assert sent["basic_auth"]["username"] == "123456"
    containers = yaml.safe_load((ROOT / "prometheus/remote-write.yml").read_text())
    assert (
        sent["write_relabel_configs"][:2] == containers["remote_write"][0]["write_relabel_configs"]
    )
    assert prometheus_file.copy_differs(release) is None
    assert prometheus_file.name() == PROMETHEUS_COPY
    copy.write_text("")
    prometheus_file.write_copy(release)
    assert "remote_write" in copy.read_text()
    prometheus_file.SECTION.unlink()
    assert prometheus_file.name() == "prometheus.yml"


@pytest.mark.parametrize(
    ("job", "name", "is_sent"),
    [
        ("quant-exporter", "quant_task_runs_total", True),
        ("quant-exporter-two", "positions", True),
        ("quant-exporter", "orders_total", True),
        ("quant-exporter", "quant_run_duration_seconds_bucket", False),
        ("quant-exporter", "ALERTS_FOR_STATE", False),
        ("prometheus", "up", True),
        ("prometheus", "prometheus_tsdb_head_series", False),
        ("", "ALERTS", True),
    ],
)
def test_metrics_of_one_s_own_are_sent_too(
    release: Path, job: str, name: str, is_sent: bool
) -> None:
    """From a VPS as from containers; the histograms of the exporter, and other jobs', are not."""
    section = yaml.safe_load(prometheus_file.SECTION.read_text())["remote_write"][0]
    drop, keep = section["write_relabel_configs"][:2]
    dropped = re.fullmatch(drop["regex"], name)
    assert (not dropped and bool(re.fullmatch(keep["regex"], f"{job};{name}"))) == is_sent


def test_two_sections_are_one_too_many(release: Path) -> None:
    """Prometheus would refuse the file; the sentence says which two."""
    with (release / "prometheus/prometheus.yml").open("a") as file:
        file.write("\nremote_write: []\n")
    with pytest.raises(ProblemError, match="has a remote_write of its own, and so has"):
        prometheus_file.write_copy(release)


def test_grafana_is_wanted_never_or_from_a_file(tmp_path: Path) -> None:
    """A source with its key by default; the same file has the same place on the machine."""
    file = tmp_path / "vps.yml"

    def asked(text: str) -> tuple[Any, str]:
        file.write_text(text)
        found = wanted.wanted(file)
        return json.loads(found.text).get("grafana"), "".join(p.there for p in found.packages)

    source, _ = asked("grafana: true\n")
    assert source["source"] == "https://apt.grafana.com"
    assert len(source["fingerprint"]) == 40
    assert asked("grafana: {source: 'https://mirror.example.com'}\n")[0]["key"] == source["key"]
    assert asked("grafana: false\n") == (False, "")
    assert asked("prometheus: here\n") == (None, "")
    (tmp_path / "g.deb").write_bytes(b"package")
    body, there = asked("grafana: {deb: g.deb}\n")
    assert body == {"deb": there}
    assert re.fullmatch(r"/var/lib/quant-deploy/grafana-[0-9a-f]{16}\.deb", there)
    assert asked("grafana: {deb: g.deb}\n")[1] == there
    assert mistakes(file, "grafana: {fingerprint: abc}\n") == [
        "grafana.fingerprint: String should match pattern '^([0-9A-Fa-f] ?){40}$'"
    ]
    assert mistakes(file, "grafana: {deb: none.deb}\n") == [
        f"grafana.deb: {tmp_path}/none.deb: No such file or directory"
    ]
    assert "choose one" in mistakes(file, "grafana: {deb: g.deb, source: 'https://x'}\n")[0]
