"""`make up`: what it says is missing, and what it makes. The engine is a stand-in."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from exporter.config.model import Config
from tests.compose import COMPOSE, ROOT

WORKS = """#!/bin/sh
echo "$* profiles=$COMPOSE_PROFILES zone=$QUANT_TIMEZONE" >>"$LOG"
"""


class Machine:
    """A copy of what `make up` reads, and a PATH with the usual tools and an engine of ours."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin, self.log = folder / "checkout", folder / "bin", folder / "asked"
        self.bin.mkdir()
        for name in ("tools/up", "sample", "prometheus", "alerting"):
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
        shutil.copytree(self.root / "sample", self.root, dirs_exist_ok=True)
        for name in ("bash", "cp", "env", "dirname", "mkdir", "chmod", "tr", "head", "grep", "cat",
                     "find", "sort", "xargs", "sha256sum", "cut", "sh", "sed"):  # fmt: skip
            (self.bin / name).symlink_to(shutil.which(name) or name)

    def engine(self, script: str) -> None:
        (self.bin / "docker").write_text(script)
        (self.bin / "docker").chmod(0o755)

    def up(self, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / "tools/up")], capture_output=True, text=True, check=False,
            env={"PATH": str(self.bin), "LOG": str(self.log), **more},
        )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With no engine yet."""
    return Machine(tmp_path)


def test_no_engine(machine: Machine) -> None:
    """One sentence, what to install, and what works without."""
    done = machine.up()
    assert done.returncode == 1
    assert done.stderr.startswith("No container engine is here: install Docker Engine")
    assert "make stack" in done.stderr
    assert not (machine.root / "secrets").exists()


def test_engine_that_does_not_answer(machine: Machine) -> None:
    """Installed, but not started, or not ours to use."""
    machine.engine("#!/bin/sh\necho Cannot connect >&2; exit 1\n")
    done = machine.up()
    assert done.returncode == 1
    assert "its engine does not answer you: start it" in done.stderr
    assert done.stderr.count("\n") == 1


def test_engine_without_compose(machine: Machine) -> None:
    """The plugin is a package of its own."""
    machine.engine('#!/bin/sh\n[ "$1" != compose ]\n')
    done = machine.up()
    assert done.returncode == 1
    assert "docker has no compose plugin: install it" in done.stderr


def test_secrets_are_made_and_what_is_missing_is_said(machine: Machine) -> None:
    """Nothing stops for want of a secret; the folder is closed, its files are readable."""
    machine.engine(WORKS)
    done = machine.up()
    assert done.returncode == 0, done.stderr
    folder = machine.root / "secrets"
    assert {path.name for path in folder.iterdir()} == set(COMPOSE["secrets"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    for name in ("exporter_token", "grafana_admin_password"):
        assert len((folder / name).read_text()) == 40
    assert "tickdb_key" not in done.stdout, "the simulated feed needs none"
    assert "compose up --detach --build --wait" in machine.log.read_text()
    assert "zone=America/New_York" in machine.log.read_text()


@pytest.mark.parametrize(
    "line",
    [
        "timezone: Asia/Hong_Kong",
        "timezone: 'Asia/Hong_Kong'  # home",
        'timezone : "Asia/Hong_Kong"',
    ],
)
def test_messages_get_the_zone_of_the_config(machine: Machine, line: str) -> None:
    """However it is quoted; a config without one has the exporter's default."""
    machine.engine(WORKS)
    machine.up()
    config = machine.root / "exporter.yml"
    rest = [one for one in config.read_text().splitlines() if not one.startswith("timezone:")]
    config.write_text("\n".join([line, *rest]))
    assert machine.up().returncode == 0
    assert "zone=Asia/Hong_Kong\n" in machine.log.read_text()


def test_messages_have_the_default_zone_without_one() -> None:
    """What Compose uses when nobody says otherwise is what the exporter uses."""
    zone = COMPOSE["services"]["alertmanager"]["environment"]["TZ"]
    assert zone == f"${{QUANT_TIMEZONE:-{Config.model_fields['timezone'].default}}}"


def test_the_last_words_say_which_channels_reach_nobody(machine: Machine) -> None:
    """What stands above scrolls away while containers start. A channel that a recipe replaced, or
    that has its secret, is not missed."""
    machine.engine(WORKS)
    assert machine.up().stdout.endswith(
        "WARNING: alerts do not reach you everywhere (docs/containers.md):\n"
        "secrets/slack_url is empty: nothing is sent to Slack.\n"
        "secrets/pagerduty_key is empty: nobody is paged.\n"
        "secrets/smtp_password is empty: no mail is sent.\n"
    )
    (machine.root / "secrets/slack_url").write_text("https://hooks.example/x")
    config = machine.root / "alerting/alertmanager.yml"
    text = config.read_text().replace("smtp_auth_password_file:", "# smtp_auth_password_file:")
    config.write_text(text)
    assert machine.up().stdout.endswith(
        "(docs/containers.md):\nsecrets/pagerduty_key is empty: nobody is paged.\n"
    )
    (machine.root / "secrets/pagerduty_key").write_text("k")
    assert "WARNING" not in machine.up().stdout


def test_without_a_config_of_ones_own_the_sample_becomes_it(machine: Machine) -> None:
    """Docker would make folders of files that are missing; what is there is left alone."""
    machine.engine(WORKS)
    (machine.root / "exporter.yml").unlink()
    mine = machine.root / "strategies/mine.py"
    mine.write_text("")
    assert machine.up().returncode == 0
    sample = (ROOT / "sample/exporter.yml").read_text()
    assert (machine.root / "exporter.yml").read_text() == sample
    assert mine.exists()


def test_a_second_time_changes_no_secret(machine: Machine) -> None:
    """Made passwords stay, and so does what the user put there."""
    machine.engine(WORKS)
    machine.up()
    (machine.root / "secrets/slack_url").write_text("https://hooks.example/x")
    kept = {p.name: p.read_text() for p in (machine.root / "secrets").iterdir()}
    done = machine.up()
    assert {p.name: p.read_text() for p in (machine.root / "secrets").iterdir()} == kept
    assert "slack_url" not in done.stdout


def test_a_key_that_the_config_needs_is_asked_for(machine: Machine) -> None:
    """Only when exporter.yml names its file."""
    machine.engine(WORKS)
    config = machine.root / "exporter.yml"
    config.write_text(config.read_text() + "\n# \nx: {api_key_file: /run/secrets/tickdb_key}\n")
    assert "secrets/tickdb_key is empty" in machine.up().stdout


def test_addresses_that_do_not_fit_containers_are_said(machine: Machine) -> None:
    """Loopback within a container is reached by nobody outside it."""
    machine.engine(WORKS)
    assert "take it out" not in machine.up().stdout
    config = machine.root / "exporter.yml"
    config.write_text("listen: 127.0.0.1:10077\n" + config.read_text())
    assert "exporter.yml says listen: and that does not fit containers" in machine.up().stdout


def test_profiles_are_passed_on(machine: Machine) -> None:
    """PROFILES=logs,remote-write."""
    machine.engine(WORKS)
    done = machine.up(PROFILES="logs,remote-write")
    assert "profiles=logs,remote-write" in machine.log.read_text()
    assert "secrets/remote_write_password is empty" in done.stdout


def test_files_that_containers_cannot_read_are_said(machine: Machine) -> None:
    """A strict umask at the checkout would make every service fail with a riddle."""
    machine.engine(WORKS)
    (machine.root / "exporter.yml").chmod(0o600)
    done = machine.up()
    assert done.returncode == 1
    assert "cannot read exporter.yml: chmod -R go+rX" in done.stderr


@pytest.mark.parametrize("name", ["exporter.yml", "secrets/slack_url"])
def test_a_folder_in_place_of_a_file_is_said(machine: Machine, name: str) -> None:
    """Compose makes one of what it mounts and does not find, and then mounts that."""
    machine.engine(WORKS)
    (machine.root / name).unlink(missing_ok=True)
    (machine.root / name).mkdir(parents=True)
    done = machine.up()
    assert done.returncode == 1
    assert f"{name} is a folder and has to be a file. If it is empty, Docker made it" in done.stderr
    (machine.root / name).rmdir()
    assert machine.up().returncode == 0


ENDED = """#!/bin/sh
case "$*" in
  *--wait*) exit 1;;
  *"--status created"*) echo c3;;
  "compose ps --all --quiet") echo a1; echo b2; echo c3;;
  inspect*a1) echo 0 settings;;
  inspect*b2) echo unhealthy exporter;;
  inspect*c3) echo healthy grafana;;
  "logs --tail 4 b2") echo "exporter.yml: feeds.x.source: no source 'y'";;
  logs*) echo nobody asked;;
esac
"""


def test_what_is_not_healthy_is_quoted(machine: Machine) -> None:
    """Without what ended well, or runs."""
    machine.engine(ENDED)
    done = machine.up()
    assert "exporter: exporter.yml: feeds.x.source: no source 'y'" in done.stderr.splitlines()
    assert "nobody asked" not in done.stderr


def test_a_port_that_another_program_uses_is_said(machine: Machine) -> None:
    """Where the container of that port could not start."""
    machine.engine(ENDED)
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", 9093))
        except OSError:
            pytest.skip("a program of this machine uses the port of Alertmanager")
        other.listen()
        assert "Port 9093, for alertmanager, is in use by another program" in machine.up().stderr


def test_failure_says_where_to_look(machine: Machine) -> None:
    """Compose's own words are followed by what to ask next."""
    machine.engine('#!/bin/sh\ncase "$*" in *--wait*) exit 1;; esac\n')
    done = machine.up()
    assert done.returncode == 1
    assert "docker compose logs NAME" in done.stderr
