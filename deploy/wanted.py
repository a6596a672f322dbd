"""``vps.yml``, next to ``exporter.yml``: what the VPS gets besides the basics. Read and checked on
the laptop, before anything is sent. It holds no secrets: those are stored by ``make secret``."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from invoke.exceptions import Exit
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

FILE = "vps.yml"
_NAME = r"^[\w.@-]+$"
_FILES = (("grafana", "deb", "grafana"), ("logs", "loki", "loki"), ("logs", "alloy", "alloy"))
"""Keys that name a package as a file, and that package."""
KNOWN_PACKAGES = "/var/lib/quant-deploy/*-deb"
"""Files on the machine: each says which one a package was installed from."""


def _encrypted(url: str) -> str:
    if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise ValueError(f"invalid address {url!r}: write https://…")
    return url


def _public_key(text: str) -> str:
    if not re.fullmatch(r"(ssh|ecdsa|sk)-[\w@.-]+ [\w+/=]+( [\w@.+-]+)?", text.strip()):
        raise ValueError("expected a public key: the line in a file like id_ed25519.pub")
    return text.strip()


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


class RemoteWrite(_Section):
    """Where Prometheus sends its series, besides keeping them."""

    url: Annotated[str, AfterValidator(_encrypted)]
    username: str = Field(pattern=_NAME)
    origin: str | None = Field(None, pattern=r"^[\w.-]+$")
    max_series: int = Field(10_000, gt=0)


class _Source(_Section):
    """Where packages of Grafana Labs come from."""

    source: str = "https://apt.grafana.com"
    key: str = "https://apt.grafana.com/gpg.key"
    fingerprint: str = Field(
        "B53AE77BADB630A683046005963FA27710458545", pattern=r"^([0-9A-Fa-f] ?){40}$"
    )


_SOURCE = set(_Source.model_fields)


class Grafana(_Source):
    """Its package: from a source, or a file."""

    deb: Path | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Grafana:
        if self.deb and self.model_fields_set != {"deb"}:
            raise ValueError("deb: and a package source are two ways: choose one")
        return self


class Logs(_Source):
    """Loki's package and Alloy's: from a source, or a file each."""

    loki: Path | None = None
    alloy: Path | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Logs:
        if self.loki or self.alloy:
            if not (self.loki and self.alloy):
                raise ValueError("loki and alloy go together: give both packages")
            if self.model_fields_set != {"loki", "alloy"}:
                raise ValueError("packages as files and a package source are two ways: choose one")
        return self


def _place_of_logs(value: object) -> object:
    if value in ("loki", "journald"):
        return {} if value == "loki" else None
    if not isinstance(value, dict):
        raise ValueError("write loki, journald, or where Loki's packages come from")
    return value


def _wireguard_key(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=", text.strip()):
        raise ValueError("expected a public key of WireGuard: what `wg pubkey` prints")
    return text.strip()


def _two_hosts(text: str) -> str:
    network = IPv4Network(text)
    if network.prefixlen != 30 or not network.is_private:
        raise ValueError("expected a private network of two addresses, such as 10.107.77.0/30")
    return str(network)


class WireGuard(_Section):
    """The other machine, and the network of the two."""

    public_key: Annotated[str, AfterValidator(_wireguard_key)]
    port: int = Field(51820, gt=0, lt=65536)
    network: Annotated[str, AfterValidator(_two_hosts)] = "10.107.77.0/30"


class Settings(_Section):
    """All of ``vps.yml``."""

    remote_write: RemoteWrite | None = None
    prometheus: Literal["here", "elsewhere"] = "here"
    tunnel: Annotated[str, AfterValidator(_public_key)] | None = None
    wireguard: WireGuard | None = None
    metrics_user: str | None = Field(None, pattern=_NAME)
    metrics_token: bool = False
    grafana: Grafana | None = None
    logs: Annotated[Logs | None, BeforeValidator(_place_of_logs)] = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Settings:
        """Apt takes one key for one address."""
        boards, logs = self.grafana, self.logs
        if boards and logs and not boards.deb and not logs.loki:
            if not logs.model_fields_set:
                self.logs = Logs.model_construct(**boards.model_dump(include=_SOURCE))
            elif boards.model_dump(include=_SOURCE) != logs.model_dump(include=_SOURCE):
                raise ValueError(
                    "grafana and logs come from one package source: write the same in both"
                )
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.prometheus == "elsewhere" and self.remote_write:
            raise ValueError(
                "remote_write is for a Prometheus that runs here: write it where yours runs"
            )
        for name in ("tunnel", "wireguard"):
            if self.prometheus == "here" and getattr(self, name):
                raise ValueError(f"{name} goes together with prometheus: elsewhere; add that")
        if self.tunnel and self.wireguard:
            raise ValueError("tunnel and wireguard are two ways for the same: choose one")
        if self.metrics_user and self.metrics_token:
            raise ValueError("metrics_user and metrics_token are two ways: choose one")
        return self


@dataclass(frozen=True)
class Package:
    """One that is given as a file."""

    file: Path
    there: str
    """Where the machine finds it."""


@dataclass(frozen=True)
class Wanted:
    """What the machine is sent: JSON, and packages that are given as files."""

    text: str
    packages: list[Package]


def wanted(file: Path) -> Wanted:
    """What the file asks for; without one nothing but the basics. Raises :class:`Exit` with each
    mistake in it."""
    try:
        body: Any = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        body = None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Exit(f"{file}: {error}", code=2) from error
    if body is not None and not isinstance(body, dict):
        raise Exit(f"{file}: expected keys with values: see docs/deploy.md", code=2)
    body = dict(body or {})
    never = body.get("grafana") is False and body.pop("grafana") is False
    if body.get("grafana") is True:
        body["grafana"] = {}
    try:
        found = Settings.model_validate(body)
    except ValidationError as error:
        raise Exit("\n".join(_sentence(file, d) for d in error.errors()), code=2) from error
    body = found.model_dump(mode="json", exclude_none=True)
    if not found.metrics_token:
        del body["metrics_token"]
    if never:
        body["grafana"] = False
    packages = []
    for section, key, name in _FILES:
        if given := (body.get(section) or {}).get(key):
            packages.append(_package(file, f"{section}.{key}", given, name))
            kept = {k: v for k, v in body[section].items() if k not in _SOURCE}
            body[section] = kept | {key: packages[-1].there}
    return Wanted(json.dumps(body, indent=1, sort_keys=True) + "\n", packages)


def _package(file: Path, place: str, given: str, name: str) -> Package:
    deb = file.parent / Path(given).expanduser()
    try:
        with deb.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()[:16]
    except OSError as error:
        raise Exit(f"{file}: {place}: {deb}: {error.strerror}", code=2) from error
    return Package(deb, f"/var/lib/quant-deploy/{name}-{digest}.deb")


def _sentence(file: Path, detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    text = {"extra_forbidden": "unknown key", "missing": "missing"}.get(
        detail["type"], detail["msg"].removeprefix("Value error, ")
    )
    return f"{file}: {place}: {text}" if place else f"{file}: {text}"
