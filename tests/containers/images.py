"""Images that take the place of those of docker-compose.yml where none can be fetched.

Each has the folders, owners, user and entrypoint of the official Dockerfile, because that is what
an engine copies into an empty volume. Prometheus and Alertmanager are Debian's own programs, of the
newer generation where it is there; Loki, Alloy and Grafana are small stand-ins. An image of the
same name that somebody else put into the engine is used as it is.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.compose import ROOT, SERVICES
from tests.containers.engine import Engine, NoEngineError
from tests.deploy import debian_tree
from tests.generations import NEWER, OLDER

_PACKAGES = "python3-venv,wget,ca-certificates,tzdata"
_STAND_INS = Path(__file__).parent / "stand_ins"
_SERVER = """
COPY programs/{program} /bin/{name}
COPY share /usr/share/prometheus
RUN mkdir -p /etc/{name} /{name} \\
 && echo 'not: the settings' > /etc/{name}/{name}.yml \\
 && chown -R 65534:65534 /etc/{name} /{name}
WORKDIR /{name}
USER 65534
EXPOSE {port}
VOLUME ["/{name}"]
ENTRYPOINT ["/bin/{name}"]
"""
_LOKI = """
COPY programs/loki.py /usr/bin/loki
RUN mkdir -p /etc/loki /loki/rules /loki/rules-temp && chown -R 10001:10001 /etc/loki /loki
USER 10001
EXPOSE 3100
ENTRYPOINT ["/usr/bin/loki"]
"""
_ALLOY = """
COPY programs/alloy.py /bin/alloy
RUN mkdir -p /var/lib/alloy/data && chown -R 473:473 /var/lib/alloy && chmod -R 770 /var/lib/alloy
ENTRYPOINT ["/bin/alloy"]
"""
_GRAFANA = """
COPY programs/grafana.py /run.sh
RUN mkdir -p /var/lib/grafana && chown 472:0 /var/lib/grafana && chmod 777 /var/lib/grafana
USER 472
EXPOSE 3000
ENTRYPOINT ["/run.sh"]
"""
_PYTHON = """
COPY wheels /wheels
RUN printf '[global]\\nno-index = true\\nfind-links = /wheels\\n' > /etc/pip.conf
"""


@dataclass(frozen=True)
class Recipe:
    """What takes the place of an official image."""

    text: str
    program: Path | None = None

    @property
    def stamp(self) -> str:
        """A label of what was made of it, so that nothing is made twice."""
        content = self.program.read_bytes() if self.program else b""
        return hashlib.sha256(self.text.encode() + content).hexdigest()


@contextmanager
def where_missing(engine: Engine, folder: Path) -> Iterator[set[str]]:
    """Names of the images that had to be made; the engine of somebody else loses them again."""
    missing = {name: one for name, one in _recipes().items() if not _here(engine, name, one)}
    if missing and (why := debian_tree.why_not()):
        names = ", ".join(missing)
        raise NoEngineError(f"{names} cannot be fetched, and not be made either: {why}")
    base = f"quant-test-debian:{debian_tree.tree(_PACKAGES).name}" if missing else ""
    try:
        if missing:
            _make(engine, folder, base, missing)
        yield set(missing)
    finally:
        engine.docker("image", "prune", "--force", check=False)
        if missing and not engine.started:
            ours = [SERVICES["exporter"]["image"], base]
            engine.docker("image", "rm", "--force", *missing, *ours, check=False)


def _recipes() -> dict[str, Recipe]:
    """How to make the images of docker-compose.yml; of ours, the one that it starts from."""
    servers = NEWER if not NEWER.missing else OLDER
    python = re.search(r"^FROM (\S+) AS", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert python
    lock = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
    recipes = {python[1]: Recipe(f"{_PYTHON}# with the wheels of the lock file {lock}\n")}
    for name, port in (("prometheus", 9090), ("alertmanager", 9093)):
        program = {"alertmanager": "prometheus-alertmanager"}.get(name, name)
        path = shutil.which(servers.program(program))
        if path is None:
            raise NoEngineError(servers.why)
        text = _SERVER.format(name=name, program=Path(path).name, port=port)
        recipes[SERVICES[name]["image"]] = Recipe(text, Path(path))
    for name, text in (("loki", _LOKI), ("alloy", _ALLOY), ("grafana", _GRAFANA)):
        recipes[SERVICES[name]["image"]] = Recipe(text, _STAND_INS / f"{name}.py")
    return recipes


def _here(engine: Engine, image: str, recipe: Recipe) -> bool:
    """Whether it is there, made of this recipe or by somebody else, or can be fetched."""
    asked = ("image", "inspect", "--format", "{{.Config.Labels.stamp}}", image)
    found = engine.run("docker", *asked, check=False)
    if found.returncode == 0:
        return found.stdout.strip() in {recipe.stamp, "<no value>"}
    # An engine that the tests started has no way out.
    return (
        not engine.started
        and not engine.run("docker", "pull", "--quiet", image, check=False).returncode
    )


def _make(engine: Engine, folder: Path, base: str, recipes: dict[str, Recipe]) -> None:
    tree = debian_tree.tree(_PACKAGES)
    if engine.run("docker", "image", "inspect", base, check=False).returncode:
        packed = folder / "debian.tar"
        subprocess.run(["tar", "--create", "--file", packed, "--directory", tree, "."], check=True)
        engine.docker("import", "--change=ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin", packed, base)
        packed.unlink()
    (python,) = tree.glob("usr/bin/python3.[0-9]*[0-9]")
    wheels = debian_tree.wheels(ROOT / "requirements.lock", python.name.removeprefix("python"))
    for image, recipe in recipes.items():
        context = folder / recipe.stamp
        (context / "programs").mkdir(parents=True)
        # Debian's Alertmanager has its default templates in a folder.
        (context / "share").mkdir()
        if (templates := Path("/usr/share/prometheus/alertmanager")).is_dir():
            shutil.copytree(templates, context / "share/alertmanager")
        if recipe.program:
            shutil.copy2(recipe.program, context / "programs" / recipe.program.name)
        else:
            shutil.copytree(wheels, context / "wheels")
        (context / "Dockerfile").write_text(f"FROM {base}\n{recipe.text}")
        label = f"stamp={recipe.stamp}"
        engine.docker("build", "--quiet", "--tag", image, "--label", label, context)
        shutil.rmtree(context)
