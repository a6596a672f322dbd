"""``vps.yml``, next to ``exporter.yml``: what the VPS gets besides the basics. Read and checked on
the laptop, before anything is sent. It holds no secrets: those are stored by ``make secret``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import yaml
from invoke.exceptions import Exit
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

FILE = "vps.yml"


def _encrypted(url: str) -> str:
    if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise ValueError(f"invalid address {url!r}: write https://…")
    return url


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


class RemoteWrite(_Section):
    """Where Prometheus sends its series, besides keeping them."""

    url: Annotated[str, AfterValidator(_encrypted)]
    username: str = Field(pattern=r"^[\w.@-]+$")
    origin: str | None = Field(None, pattern=r"^[\w.-]+$")
    max_series: int = Field(10_000, gt=0)


class Settings(_Section):
    """All of ``vps.yml``."""

    remote_write: RemoteWrite | None = None


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
    return f"{file}: {place}: {text}"
