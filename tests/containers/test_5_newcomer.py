"""Ten minutes of a newcomer: a bare Debian with an engine, and the command lines of the page."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compose import ROOT
from tests.containers.engine import PLUGINS, Engine
from tests.containers.stack import EXPORTER, PROJECT, Stack, until
from tests.deploy import debian_tree

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(900)]
PACKAGES = "git,make,ca-certificates"
"""What the page's first line installs, and what a provider's image has."""
ENTER = """
set -euo pipefail
lower=$1 scratch=$2 script=$3; shift 3
mkdir -p "$scratch"/{upper,work,root}
layers=lowerdir=$lower,upperdir=$scratch/upper,workdir=$scratch/work
mount -t overlay -o "$layers" debian "$scratch/root"
for place in /proc /dev "$@"; do
  if [ -d "$place" ]; then mkdir -p "$scratch/root$place"
  else mkdir -p "$scratch/root${place%/*}"; touch "$scratch/root$place"; fi
  mount --rbind "$place" "$scratch/root$place"
done
exec chroot "$scratch/root" bash -euo pipefail -c "$script"
"""
"""Goes into a Debian of which nothing is kept, with some places of this machine in it."""


def blocks() -> list[str]:
    """The indented commands of docs/containers.md."""
    text = (ROOT / "docs/containers.md").read_text()
    found = [b.replace("    ", "") for b in re.findall(r"(?:^    \S.*\n)+", text, re.MULTILINE)]
    return [block for block in found if re.match(r"sudo|git|make|docker", block)]


def test_the_page_works_from_its_first_line(
    docker: Engine, images: set[str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Start, look, copy, upgrade, stop: typed as the page has it, with nothing else installed."""
    assert images or docker
    if not docker.started:
        pytest.skip("the engine of this machine has other work, and a network of its own")
    home, source = tmp_path / "home", tmp_path / "source.git"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, source], check=True)
    for old in docker.docker("ps", "-aq", "--filter", f"name={PROJECT}").split():
        docker.docker("rm", "--force", old)
    docker_program = Path(shutil.which("docker") or "").resolve()
    tree = debian_tree.tree(PACKAGES)
    config = docker.environment["DOCKER_CONFIG"]
    places = [docker_program, config, PLUGINS, Path(config).parent, tmp_path]
    environment = {
        "PATH": f"{docker_program.parent}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home),
        **{name: docker.environment[name] for name in ("DOCKER_HOST", "DOCKER_CONFIG")},
    }  # fmt: skip

    def types(script: str, folder: Path) -> str:
        scratch = tmp_path / f"scratch-{time.monotonic_ns()}"
        done = subprocess.run(
            [*docker.inside, "unshare", "--mount", "bash", "-c", ENTER, "enter", tree, scratch,
             f"cd {folder}; {script}", *dict.fromkeys(map(str, places))],
            env=environment, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    start, *others = blocks()
    install, *rest = start.splitlines()
    assert set(install.removeprefix("sudo apt-get install -y ").split()) <= {*PACKAGES.split(",")}
    clone = re.compile(r"^git clone \S+(?=/quant-exporter$)", re.MULTILINE)
    began = time.monotonic()
    (tmp_path / "quant-exporter").symlink_to(source)
    try:
        types("; ".join(clone.sub(f"git clone {tmp_path}", line) for line in rest), home)
        record_property("measured", f"a newcomer's `make up`: {time.monotonic() - began:.0f} s")
        checkout, page = home / "quant-exporter", Stack(docker, home)
        assert "tasks" in page.get(EXPORTER).lower()
        for block in others:
            if "OLDER" not in block and "make" not in block:
                types(block, checkout)
        assert (checkout / "state.tar.gz").stat().st_size > 1000
        types("git pull; make up", checkout)
        until(lambda: page.get(f"{EXPORTER}/-/ready"))
        types("make down", checkout)
        assert not page.get(f"{EXPORTER}/-/ready")
    finally:
        docker.run("bash", "-c", "docker ps -aq --filter name=quant- | xargs -r docker rm -f")
        docker.run(
            "bash", "-c", "docker volume ls -q --filter name=quant_ | xargs -r docker volume rm"
        )


def test_every_command_of_the_page_is_one_that_is_typed() -> None:
    """A block that this test does not know is not passed over in silence."""
    assert [block.splitlines()[0] for block in blocks()] == [
        "sudo apt-get install -y git make",
        "git pull",
        "git checkout THE_OLDER_VERSION",
        "docker compose stop exporter",
        "docker compose stop exporter",
        "docker run --rm --user 0 --entrypoint chown --volume quant_exporter-state:/state "
        "quant-exporter:0.1.0 -R 10077:10077 /state",
    ]
