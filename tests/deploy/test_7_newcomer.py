"""A newcomer's way from a bare machine to the first page: the command lines of docs/deploy.md as
they are written there. On Debian 13, which is what most rent; the soak tests do it on this
machine's own release as well."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.debian_tree import NoVpsError, codename, why_not
from tests.deploy.network import VPS
from tests.deploy.site import PASSWORD, Site
from tests.deploy.test_4_machine import browse
from tests.deploy.vps import Laptop, Vps

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]
PROJECT = Path(__file__).resolve().parents[2]
_ROOM_BYTES = 3_000_000_000
"""For a machine with a release of the exporter on it."""
_TYPED = "value-from-a-password-manager"


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for one more machine: /tmp may be in memory, and small."""
    if shutil.disk_usage(tmp_path).free > _ROOM_BYTES:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.mark.parametrize("release", ["trixie", pytest.param("", marks=pytest.mark.soak)])
def test_from_a_bare_machine_to_the_first_page(
    release: str, roomy: Path, record_property: Callable[[str, object], None]
) -> None:
    """With the commands that the docs have and no others. How long it took is told in the end."""
    if reason := why_not():
        pytest.skip(reason)
    if release == codename():
        pytest.skip("the other tests here run on this release")
    try:
        vps = Vps(roomy / "vps", PROJECT / "requirements.lock", release)
    except NoVpsError as error:
        pytest.skip(str(error))
    try:
        laptop = Laptop(roomy / "laptop", PROJECT, vps)
        vps.boot()
        laptop.wait_for_boot()
        began = time.monotonic()
        _follow(laptop)
        site = Site.__new__(Site)  # only to ask the page
        site.vps, site.laptop = vps, laptop
        assert browse(site, "/", password=None)[0] == 401
        status, _, page = browse(site, "/")
        seconds = time.monotonic() - began
        assert status == 200
        assert "<title>" in page
        system = laptop.ssh("sed -n 's/^PRETTY_NAME=//p' /etc/os-release; python3 --version")
        record_property("measured", f"bare machine to first page: {seconds:.0f} s, {system!r}")
        assert "nothing to do" in _make(laptop, "make provision HOST=vps")
        assert laptop.ssh("systemctl --failed --no-legend") == ""
        assert "firing" in _make(laptop, "make status HOST=vps")
    finally:
        vps.close()


def commands() -> list[str]:
    """What a reader types on the laptop, in order; the text behind `#` is for the reader."""
    text = (PROJECT / "docs/deploy.md").read_text()
    section = text.partition("## From nothing to the first page")[2].partition("\n## ")[0]
    lines = "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL)).splitlines()
    return [line.partition("  #")[0].strip() for line in lines]


def _follow(laptop: Laptop) -> None:
    """Type them all. What only a person has is put in their place: passwords, and a config."""
    there = laptop.repository / ".venv"
    (there / "bin").mkdir(parents=True)
    for name in ("fab", "quant-exporter"):
        (there / "bin" / name).symlink_to(Path(sys.executable).with_name(name))
    for stamp in (".runtime", ".dev"):  # it is installed: that was the first thing they did
        (there / stamp).touch()
    typed = commands()
    assert [c.split()[1] for c in typed if c.startswith("make")] == [
        "provision", "provision", "secret", "password", "deploy",
    ]  # fmt: skip
    for command in typed:
        if command.startswith("make deploy"):
            _write_config(laptop)
            command += ' ARGS="--allow-simulated --watch=1"'
        said = _make(laptop, re.sub(r"^(op|pass) [^|]+\|", f"printf %s {_TYPED} |", command))
        if "--dry-run" in command:
            assert "would create user quant" in said


def _write_config(laptop: Laptop) -> None:
    """As the fourth step says: `make run` writes one, the reader sets the address and commits."""
    subprocess.run(
        [".venv/bin/quant-exporter", "init", "."], cwd=laptop.repository, check=True,
        capture_output=True,
    )  # fmt: skip
    file = laptop.repository / "exporter.yml"
    text = re.sub(r"(?m)^#? ?public_url:.*\n", "", file.read_text())
    file.write_text(f"public_url: https://{VPS}\n{text}")
    laptop.commit("my config")


def _make(laptop: Laptop, command: str) -> str:
    """A command line, in a shell; what it said. It must succeed."""
    asked = {"make password": PASSWORD, "make secret": _TYPED}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=laptop.repository, env=laptop.environment,
        input=next((text for words, text in asked.items() if command.startswith(words)), ""),
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    print(f"$ {command}\n{done.stdout}{done.stderr}", flush=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
