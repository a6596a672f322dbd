"""The rules that docker-compose.yml and the Dockerfile follow, one small test a rule."""

from __future__ import annotations

import asyncio
import configparser
import json
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.compose import (
    COMPOSE,
    LASTING,
    ROOT,
    SERVICES,
    bytes_of,
    mounted_files,
    mounts,
    secret_names,
)
from tests.scripts import load_script

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
each_lasting = pytest.mark.parametrize("service", LASTING.values(), ids=LASTING)
DOCKERFILE = (ROOT / "Dockerfile").read_text()
GB = 2**30


def test_file_is_what_the_specification_says() -> None:
    """Every key is known to compose; the schema comes with the checker."""
    checker = "check_jsonschema"
    done = subprocess.run(
        [sys.executable, "-m", checker, "--builtin-schema", "vendor.compose-spec",
         str(ROOT / "docker-compose.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_four_start_without_a_profile() -> None:
    """Exporter, Prometheus, Alertmanager and Grafana; the rest is asked for."""
    plain = {name for name, service in SERVICES.items() if not service.get("profiles")}
    assert plain - {"settings", "state"} == {"exporter", "prometheus", "alertmanager", "grafana"}
    profiles = {p for service in SERVICES.values() for p in service.get("profiles", ())}
    assert profiles == {"logs", "remote-write"}


@each_service
def test_ports_are_on_loopback_alone(service: dict[str, Any]) -> None:
    """Nobody on the network reaches what has no login."""
    for port in service.get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@each_service
def test_image_has_a_version(service: dict[str, Any]) -> None:
    """`latest`, or a major version alone, is another program tomorrow."""
    name, _, tag = service["image"].partition(":")
    assert name
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag)


def test_our_image_has_the_version_of_the_project() -> None:
    """What runs says what it is."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert SERVICES["exporter"]["image"] == f"quant-exporter:{version}"


def test_prometheus_is_one_version() -> None:
    """The one that stores and the one that sends."""
    assert SERVICES["prometheus"]["image"] == SERVICES["remote-write"]["image"]


def test_docs_of_alerting_speak_of_the_pinned_alertmanager() -> None:
    """A recipe that needs a newer one than 0.25 can be judged by it."""
    version = SERVICES["alertmanager"]["image"].rpartition(":v")[2]
    assert f"Alertmanager {version}" in (ROOT / "docs/alerts.md").read_text()


@each_lasting
def test_service_comes_back_by_itself(service: dict[str, Any]) -> None:
    """After a crash and after a reboot, but not after `make down`."""
    assert service["restart"] == "unless-stopped"


@each_lasting
def test_service_has_a_health_check(service: dict[str, Any]) -> None:
    """`up --wait` and those who start later rely on it."""
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "start_period", "retries"} <= set(check)
    # Each start waits for the first check, and the newest engines alone know `start_interval`.
    assert check["interval"] == "5s"


@each_service
def test_service_may_do_little(service: dict[str, Any]) -> None:
    """No capability, no new privilege, nothing written but volumes and /tmp, bounded processes."""
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] <= 512
    assert all(tmpfs.startswith("/tmp:size=") for tmpfs in service["tmpfs"])


@each_service
def test_logs_of_containers_are_bounded(service: dict[str, Any]) -> None:
    """An engine keeps them for ever unless it is told."""
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


def test_limits_fit_a_machine_of_4_gb() -> None:
    """All together, profiles included; each also has a share of the processor."""
    assert sum(bytes_of(service["mem_limit"]) for service in SERVICES.values()) <= 4 * GB
    assert all(0 < service["cpus"] <= 2 for service in SERVICES.values())


@each_service
def test_no_secret_is_in_the_environment(service: dict[str, Any]) -> None:
    """`docker inspect` shows it. Names of files that hold one are no secret."""
    for name, value in service.get("environment", {}).items():
        words = re.search(r"KEY|TOKEN|SECRET|PASSWORD|_URL_FILE", name)
        assert not words or (name.endswith("__FILE") and value.startswith("/run/secrets/"))
    assert "env_file" not in service


def test_every_secret_is_a_file_and_used() -> None:
    """`make up` makes them in secrets/, which git and the image never see."""
    assert all(s == {"file": f"./secrets/{n}"} for n, s in COMPOSE["secrets"].items())
    used = set().union(*(secret_names(service) for service in SERVICES.values()))
    assert used == set(COMPOSE["secrets"])
    assert "/secrets/" in (ROOT / ".gitignore").read_text().split()
    script = (ROOT / "tools/up").read_text()
    assert all(name in script for name in COMPOSE["secrets"])


def test_every_volume_is_used() -> None:
    """What must survive lies in named volumes."""
    every = [mount for service in SERVICES.values() for mount in mounts(service)]
    used = {mount.source for mount in every if not mount.is_file}
    assert used == set(COMPOSE["volumes"])


@pytest.mark.parametrize(("service", "here", "there"), mounted_files())
def test_mounted_file_exists(service: str, here: str, there: str) -> None:
    """Docker makes a folder of a missing one; `make up` makes a config from the sample."""
    assert (ROOT / here).exists() or (ROOT / "sample" / here).exists()
    assert there.startswith("/")


@each_service
def test_mounted_files_are_read_only(service: dict[str, Any]) -> None:
    """A container changes nothing in the checkout."""
    assert all(mount.read_only for mount in mounts(service) if mount.is_file)


@each_service
def test_a_reader_never_fills_a_shared_volume(service: dict[str, Any]) -> None:
    """Otherwise its image's files, and their owner, are there before the writer starts."""
    assert not [m for m in mounts(service) if m.read_only and not m.is_file and m.copies]


def test_nothing_that_alerts_waits_for_the_exporter() -> None:
    """An exporter that does not start is what Prometheus has to notice."""
    for name in ("prometheus", "alertmanager"):
        assert "exporter" not in SERVICES[name]["depends_on"]


def test_up_waits_for_all_health_checks_at_once() -> None:
    """A container that waited for another's check would start seconds later; each can wait for the
    other itself. What must have ended before is what writes their files and looks at the state."""
    ends = "service_completed_successfully"
    waited = {
        (other, condition["condition"])
        for service in SERVICES.values()
        for other, condition in service.get("depends_on", {}).items()
    }
    assert {condition for _, condition in waited} == {"service_started", ends}
    assert {other for other, condition in waited if condition == ends} == {"settings", "state"}


def test_our_image_is_built_once() -> None:
    """Two services that build the same image get two, and each `up` starts one of them again."""
    assert [name for name, service in SERVICES.items() if "build" in service] == ["exporter"]


def test_prometheus_keeps_a_bounded_history() -> None:
    """By time and by size."""
    flags = [flag.partition("=")[0] for flag in SERVICES["prometheus"]["command"]]
    assert {"--storage.tsdb.retention.time", "--storage.tsdb.retention.size"} <= set(flags)


def test_an_address_that_others_reach_closes_grafana() -> None:
    """Open to look at on loopback, as a viewer; a password by secret for the rest. Grafana takes no
    notice of a variable that is empty."""
    given = SERVICES["grafana"]["environment"]
    assert given["GF_AUTH_ANONYMOUS_ENABLED"] == "${GRAFANA_ANONYMOUS:-${GRAFANA_URL:+false}}"
    assert given["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert given["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_admin_password"
    file = configparser.ConfigParser()
    file.read(ROOT / "grafana/grafana.ini")
    assert file.getboolean("auth.anonymous", "enabled") is True
    home = given["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].rpartition("/")[2]
    assert (ROOT / "grafana/dashboards" / home).is_file()


def test_image_runs_as_nobody_in_particular() -> None:
    """A user of its own, by number, in the last stage."""
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10077:10077$", last, re.MULTILINE)
    (check,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", last, re.MULTILINE)
    assert ["CMD", *json.loads(check)] == SERVICES["exporter"]["healthcheck"]["test"]


@each_lasting
def test_words_of_a_health_check_have_no_spaces_but_for_a_shell(service: dict[str, Any]) -> None:
    """Podman, asked as Docker, parts them there: a program in `-c` arrives in pieces."""
    test = service["healthcheck"]["test"]
    assert "bash" in test or not [word for word in test if " " in word]


async def test_health_check_of_the_image_knows_ready_from_not_yet() -> None:
    """By the status alone."""
    healthy = load_script("deploy/containers/healthy.py")
    status = 503

    async def ready(request: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/-/ready", ready)
    async with TestServer(app) as server:
        assert await asyncio.to_thread(healthy.ready, server.port) is False
        status = 200
        assert await asyncio.to_thread(healthy.ready, server.port) is True
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(healthy.ready, server.port)


def test_image_installs_what_the_lock_says() -> None:
    """Hashes are required, the project itself brings nothing more."""
    installs = re.findall(r"pip install ([^\\\n]+)", DOCKERFILE)
    assert [words.strip() for words in installs] == [
        "--require-hashes --requirement requirements.lock",
        "--no-deps --no-build-isolation .",
    ]


def test_engine_is_sent_what_the_image_needs_and_no_more() -> None:
    """.dockerignore lets in exactly what is copied."""
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    assert sorted(let_in) == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)
