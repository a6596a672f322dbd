"""What the machine needs to know of a release, told and checked by the release's own code."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import prometheus_file
from places import LOGS, RELEASES, STATE, UNIT, USER, ProblemError
from shell import as_service, attempt, credentials, tail

_HIDDEN = ("/home/", "/root/", "/tmp/", "/var/tmp/", "/run/user/")  # noqa: S108  not used, refused
_ABOUT = """
import json, sys
from collections.abc import Mapping
from pathlib import Path
from exporter import config

def leaves(value, place=""):
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from leaves(one, f"{place}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from leaves(one, place)
    else:
        yield place, value

from exporter.state import schema
c = config.load(Path(sys.argv[1]))
named = sorted({(p, str(v), isinstance(v, Path)) for p, v in leaves(c.model_dump())})
print(json.dumps({
    "listen": list(c.address), "state": str(c.state), "logs": str(c.logs.directory),
    "simulated": sorted(n for n, s in c.sources.items() if s.type == "simulated"),
    "public_url": str(c.public_url), "timezone": c.timezone,
    "paths": [(p, v) for p, v, is_path in named if is_path],
    "secrets": [(p, v) for p, v, _ in named if p.endswith("_env") and v != "None"],
    "tasks": sorted(c.tasks), "schema": len(schema.MIGRATIONS),
    "uninterruptible": sorted(n for n, t in c.tasks.items() if not t.may_be_interrupted),
    "punctual": sorted(
        n for n, t in c.tasks.items()
        if not t.catches_up and t.kind not in ("external", "service")
    ),
    "programs": {
        "memory": c.programs.memory, "processes": c.programs.processes,
        "write": [str(p) for p in c.programs.write],
    },
}))
"""


@dataclass(frozen=True)
class About:
    """What the machine needs to know of a release, told by the release's own code."""

    listen: tuple[str, int]
    state: str
    logs: str
    simulated: list[str]
    tasks: list[str]
    schema: int
    uninterruptible: list[str]
    punctual: list[str] = field(default_factory=list)
    """Tasks whose slots are lost when the exporter is down for them."""
    programs: dict[str, Any] = field(default_factory=dict)
    """Limits of the user's own programs: memory, processes, write."""
    public_url: str = ""
    timezone: str = ""
    paths: list[list[str]] = field(default_factory=list)
    """Every file or folder that the config names, after its place there."""
    secrets: list[list[str]] = field(default_factory=list)
    """Every secret that it names (`…_env`), after its place."""

    @classmethod
    def of(cls, known: dict[str, Any]) -> About:
        """From what was written down, also by an older or a newer version of this tool."""
        names = {f.name for f in fields(cls)}
        told = {name: value for name, value in known.items() if name in names}
        return cls(**{**told, "listen": tuple(known["listen"])})

    @property
    def url(self) -> str:
        """Where the exporter answers."""
        host, port = self.listen
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104


def about_of(folder: Path) -> About:
    """Ask a release about itself. Raises :class:`ProblemError` when it cannot run here as it is:
    its own check, Prometheus' and Alertmanager's, and what the machine's limits would forbid."""
    config = folder / "exporter.yml"
    # Where a secret is missing, `_need_secrets` says how to store it on this machine.
    checked = as_service(
        folder / "venv/bin/quant-exporter", "check", "--secrets-elsewhere", "--config", config
    )
    if checked.returncode:
        raise ProblemError(f"the new version refuses its configuration:\n{tail(checked)}")
    told = as_service(folder / "venv/bin/python", "-c", _ABOUT, config)
    if told.returncode:
        raise ProblemError(f"the new version cannot be asked about itself:\n{tail(told)}")
    known = json.loads(told.stdout.splitlines()[-1])
    about = About.of(known)
    _must_be_within_reach(folder, about)
    _need_secrets(about)
    _other_configs(folder, about)
    return about


def _must_be_within_reach(folder: Path, about: About) -> None:
    for key, path in (("state", about.state), ("logs", about.logs)):
        resolved = str(Path(path).resolve())
        if not resolved.startswith((f"{STATE}/", str(LOGS))):
            raise ProblemError(
                f"exporter.yml: {key}: {path} cannot be written on the VPS; write a path below "
                f"var/, which lies in {STATE} there"
            )
    for place, path in about.paths:
        whole = os.path.normpath(path)
        if whole.startswith(_HIDDEN):
            raise ProblemError(
                f"exporter.yml: {place}: {path} is hidden from the exporter on the VPS, as all of "
                f"{', '.join(_HIDDEN)} is; put it below var/ ({STATE} there) or in /srv"
            )
        if whole.startswith(f"{RELEASES}/") and not whole.startswith(f"{folder}/"):
            raise ProblemError(
                f"exporter.yml: {place}: {path} lies outside the project, and only the project is "
                "deployed; move it into the project, or name its whole path on the VPS"
            )
    if missing := [path for path in about.programs.get("write", []) if not Path(path).is_dir()]:
        raise ProblemError(
            f"exporter.yml: programs.write: {missing[0]} is no folder on the VPS; make it there "
            f"first, and let the user {USER} write in it"
        )


def _need_secrets(about: About) -> None:
    """What the unit gets by a credential, or by the user's own drop-in."""
    there = {credential.name for credential in credentials()}
    given = attempt("systemctl", "show", UNIT, "--property=Environment", "--value").stdout
    there |= {word.partition("=")[0] for word in given.split()}
    if missing := [(place, name) for place, name in about.secrets if name not in there]:
        place, name = missing[0]
        raise ProblemError(
            f"exporter.yml: {place}: {name} is not on this machine yet; store it first: make "
            f"secret HOST=… NAME={name}"
        )


def _other_configs(folder: Path, about: About) -> None:
    """Prometheus' and Alertmanager's own checks of the files that come with the release."""
    prometheus_file.write_copy(folder)
    for program, arguments, file in (
        ("promtool", ["check", "config"], folder / "prometheus" / prometheus_file.name()),
        ("amtool", ["check-config"], folder / "alerting/alertmanager.yml"),
    ):
        if file.exists() and shutil.which(program):
            result = attempt(program, *arguments, file)
            if result.returncode:
                raise ProblemError(f"{program} refuses {file.name}:\n{tail(result)}")
    targets = folder / "prometheus/prometheus.yml"
    if targets.exists() and f":{about.listen[1]}" not in targets.read_text():
        raise ProblemError(
            f"exporter.yml: listen: the exporter would listen on port {about.listen[1]}, where "
            f"prometheus/{targets.name} does not look; write the same port there (and in "
            "/etc/nginx/sites-available/quant on the VPS)"
        )
