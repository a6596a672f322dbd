"""Images that take the place of those of docker-compose.yml where none can be fetched.

Each is made of Debian's own programs, with the folders, owners and user of the official Dockerfile,
because that is what an engine copies into an empty volume.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.compose import ROOT, SERVICES
from tests.deploy import debian_tree

_SERVERS = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"}
"""Service to Debian's program."""
_PACKAGES = "python3-venv,wget,ca-certificates,prometheus,prometheus-alertmanager"
_BASE = "quant-test-debian"
_PYTHON = f"""
FROM {_BASE}
COPY wheels /wheels
RUN printf '[global]\\nno-index = true\\nfind-links = /wheels\\n' > /etc/pip.conf
"""
_SERVER = f"""
FROM {_BASE}
RUN mkdir -p /etc/{{name}} /{{name}} \\
 && echo 'not: the settings' > /etc/{{name}}/{{name}}.yml \\
 && chown -R 65534:65534 /etc/{{name}} /{{name}}
WORKDIR /{{name}}
USER 65534
VOLUME ["/{{name}}"]
ENTRYPOINT ["/usr/bin/{{program}}"]
"""
_GRAFANA = f"""
FROM {_BASE}
RUN mkdir -p /var/lib/grafana /srv/api \\
 && echo ok > /srv/api/health \\
 && chown 472:0 /var/lib/grafana
WORKDIR /srv
USER 472
ENTRYPOINT ["python3", "-m", "http.server", "3000"]
"""


@contextmanager
def where_missing(folder: Path) -> Iterator[list[str]]:
    """The images that had to be made; they are gone afterwards. Skips where that cannot be done."""
    recipes = _recipes()
    made = [image for image in recipes if not _here(image)]
    if made and (why := debian_tree.why_not()):
        pytest.skip(f"{', '.join(made)} cannot be fetched, and not be made either: {why}")
    try:
        if made:
            _make(folder, {image: recipes[image] for image in made})
        yield made
    finally:
        if made:
            ours = [SERVICES["exporter"]["image"], _BASE]
            _docker("image", "rm", "--force", *made, *ours, check=False)


def _recipes() -> dict[str, str]:
    """Image to Dockerfile, for all that `make up` starts without a profile."""
    python = re.search(r"^FROM (\S+) AS", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert python
    servers = {
        SERVICES[name]["image"]: _SERVER.format(name=name, program=program)
        for name, program in _SERVERS.items()
    }
    return {python[1]: _PYTHON, SERVICES["grafana"]["image"]: _GRAFANA, **servers}


def _here(image: str) -> bool:
    """On this machine, or fetched to it now."""
    return any(
        _docker(*verb, image, check=False).returncode == 0
        for verb in (("image", "inspect"), ("pull", "--quiet"))
    )


def _make(folder: Path, recipes: dict[str, str]) -> None:
    folder.mkdir()
    packed = folder / "debian.tar"
    tree = debian_tree.tree(_PACKAGES)
    subprocess.run(["tar", "--create", "--file", packed, "--directory", tree, "."], check=True)
    _docker("import", "--change=ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin", packed, _BASE)
    packed.unlink()
    (tree_python,) = tree.glob("usr/bin/python3.[0-9]*[0-9]")
    version = tree_python.name.removeprefix("python")
    shutil.copytree(debian_tree.wheels(ROOT / "requirements.lock", version), folder / "wheels")
    for image, recipe in recipes.items():
        file = folder / "Dockerfile"
        file.write_text(recipe)
        _docker("build", "--quiet", "--tag", image, "--file", file, folder)


def _docker(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=600
    )
    assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done
