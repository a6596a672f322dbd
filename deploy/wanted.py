"""``vps.yml``, next to ``exporter.yml``: what the VPS gets besides the basics. Read and checked on
the laptop, before anything is sent. It holds no secrets: those are stored by ``make secret``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from invoke.exceptions import Exit
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

FILE = "vps.yml"
_NAME = r"^[\w.@-]+$"


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


class Settings(_Section):
    """All of ``vps.yml``."""

    remote_write: RemoteWrite | None = None
    prometheus: Literal["here", "elsewhere"] = "here"
    tunnel: Annotated[str, AfterValidator(_public_key)] | None = None
    metrics_user: str | None = Field(None, pattern=_NAME)

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        if self.prometheus == "elsewhere" and self.remote_write:
            raise ValueError(
                "remote_write is for a Prometheus that runs here: write it where yours runs"
            )
        if self.prometheus == "here" and self.tunnel:
            raise ValueError("tunnel goes together with prometheus: elsewhere; add that")
        return self


def settings(file: Path) -> str:
    """The file as JSON, for the machine; without one nothing but the basics. Raises :class:`Exit`
    with each mistake in it."""
    try:
        body: Any = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        body = None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Exit(f"{file}: {error}", code=2) from error
    if body is not None and not isinstance(body, dict):
        raise Exit(f"{file}: expected keys with values: see docs/deploy.md", code=2)
    try:
        found = Settings.model_validate(body or {})
    except ValidationError as error:
        raise Exit("\n".join(_sentence(file, d) for d in error.errors()), code=2) from error
    return json.dumps(found.model_dump(exclude_none=True), indent=1, sort_keys=True) + "\n"


def _sentence(file: Path, detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    text = {"extra_forbidden": "unknown key", "missing": "missing"}.get(
        detail["type"], detail["msg"].removeprefix("Value error, ")
    )
    return f"{file}: {place}: {text}" if place else f"{file}: {text}"
