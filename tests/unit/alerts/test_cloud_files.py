"""What ``grafana-cloud`` writes: files that Mimir accepts, with no secret in a file elsewhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from exporter.alerts.cloud_files import CloudError, cloud_alertmanager, cloud_rules
from exporter.cli.grafana_cloud import grafana_cloud
from exporter.util.shipped import shipped
from tests.generations import Generation, each_generation

SECRETS = {
    "QUANT_SLACK_URL": "https://hooks.slack.com/services/T0/B0/x",
    "QUANT_PAGERDUTY_KEY": "0123456789abcdef",
    "QUANT_SMTP_PASSWORD": "a: b # c",
    "QUANT_EXPORTER_TOKEN": "4711",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def _write(tmp_path: Path, exporter: str = "", packs: tuple[str, ...] = ("logs",)) -> Path:
    folder = tmp_path / "cloud"
    config = tmp_path / "exporter.yml"
    assert grafana_cloud(config, folder=folder, packs=list(packs), exporter=exporter) == 0
    return folder


@each_generation
@pytest.mark.usefixtures("environment")
def test_the_shipped_files_become_files_that_both_servers_accept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], generation: Generation
) -> None:
    folder = _write(tmp_path)
    alertmanager = (folder / "alertmanager.yaml").read_text()
    assert "_file" not in alertmanager
    assert "localhost" not in alertmanager
    done = subprocess.run(
        [generation.program("amtool"), "check-config", folder / "alertmanager.yaml"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names = set()
    for file in sorted(folder.glob("quant-exporter-*.yaml")):
        content = yaml.safe_load(file.read_text())
        assert content.pop("namespace") == file.stem
        names |= {rule["alert"] for group in content["groups"] for rule in group["rules"]}
        plain = tmp_path / "plain.yml"
        plain.write_text(yaml.safe_dump(content))
        done = subprocess.run(
            [generation.program("promtool"), "check", "rules", plain],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    shipped_names = {
        rule["alert"]
        for file in [
            *shipped("prometheus/rules").glob("*.yml"),
            shipped("prometheus/packs/logs.yml"),
        ]
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    }
    assert shipped_names - names == {"QuantNotificationsFailing", "QuantRuleFailing"}
    said = capsys.readouterr().out
    assert f"{len(names)} rules in 3 groups" in said
    assert "QuantNotificationsFailing, QuantRuleFailing" in said
    assert not any(secret in said for secret in SECRETS.values())


@pytest.mark.usefixtures("environment")
def test_files_with_secrets_are_their_owners_alone_and_never_committed(tmp_path: Path) -> None:
    folder = _write(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.glob("*.yaml")} == {0o600}
    assert (folder / ".gitignore").read_text() == "*\n"


@pytest.mark.usefixtures("environment")
def test_an_exporter_with_a_public_address_hears_of_notifications(tmp_path: Path) -> None:
    folder = _write(tmp_path, "https://quant.example.com/")
    receivers = yaml.safe_load((folder / "alertmanager.yaml").read_text())["receivers"]
    (post,) = next(each for each in receivers if each["name"] == "slack")["webhook_configs"]
    assert post["url"] == "https://quant.example.com/api/v1/alerts?receiver=slack"
    assert post["http_config"] == {"authorization": {"credentials": "4711"}}


def test_a_secret_that_is_not_set_is_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "cloud"
    assert grafana_cloud(tmp_path / "exporter.yml", folder=folder, packs=[], exporter="") == 2
    said = capsys.readouterr().err
    assert "QUANT_SLACK_URL, QUANT_SMTP_PASSWORD, QUANT_PAGERDUTY_KEY" in said
    assert "QUANT_EXPORTER_TOKEN" not in said, "no post to the exporter is left"
    assert not folder.exists()


@pytest.mark.usefixtures("environment")
def test_ones_own_files_are_used_where_there_are_some(tmp_path: Path) -> None:
    own = tmp_path / "alerting"
    own.mkdir()
    receiver = {"name": "me", "email_configs": [{"to": "me@example.com", "smarthost": "h:25"}]}
    own.joinpath("alertmanager.yml").write_text(
        yaml.safe_dump({"route": {"receiver": "me"}, "receivers": [receiver]})
    )
    written = yaml.safe_load((_write(tmp_path) / "alertmanager.yaml").read_text())
    assert written == {"route": {"receiver": "me"}, "receivers": [receiver], "templates": []}


def test_a_pack_that_does_not_exist_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cloud"
    assert grafana_cloud(tmp_path / "exporter.yml", folder=folder, packs=["no"], exporter="") == 2
    assert "packs/no.yml" in capsys.readouterr().err


@pytest.mark.usefixtures("environment")
def test_a_folder_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cloud").touch()
    folder = tmp_path / "cloud"
    assert grafana_cloud(tmp_path / "exporter.yml", folder=folder, packs=[], exporter="") == 1
    assert f"cannot write {folder}" in capsys.readouterr().err


def test_groups_stay_within_what_mimir_accepts() -> None:
    rules = [{"alert": f"A{number}", "expr": "quant_x > 0"} for number in range(45)]
    made = cloud_rules("own", {"groups": [{"name": "many", "interval": "1m", "rules": rules}]})
    assert [(g["name"], len(g["rules"])) for g in made.groups] == [
        ("many", 20), ("many-2", 20), ("many-3", 5)
    ]  # fmt: skip
    assert {group["interval"] for group in made.groups} == {"1m"}


def test_a_certificate_in_a_file_is_an_error_that_says_where() -> None:
    content = {
        "receivers": [
            {"name": "x", "webhook_configs": [{"http_config": {"tls_config": {"ca_file": "/x"}}}]}
        ]
    }
    with pytest.raises(CloudError, match=r"receivers\[0\]\.webhook_configs\[0\]\..*ca_file"):
        cloud_alertmanager(content, {}, [])
