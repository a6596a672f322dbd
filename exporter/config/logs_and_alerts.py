"""The sections on what is written and sent: logs, the digest, links in alerts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import field_validator, model_validator

from exporter.config.channels import Email
from exporter.config.types import NAME, Model, Severity, Url, Variable, here
from exporter.util.linear_regex import PatternError, compile_linear
from exporter.util.units import Duration, Ratio, Size

DASHBOARDS_VARIABLE = "QUANT_DASHBOARDS_URL"


class Followed(Model):
    """A log file of another program, counted as it grows."""

    path: Path
    format: Literal["text", "json"] = "text"
    message_key: str | None = None
    patterns: Mapping[str, str] = {}
    max_failure_ratio: Mapping[Severity, Ratio] = {}

    @field_validator("path")
    @classmethod
    def _folders_are_folders(cls, path: Path) -> Path:
        if re.search(r"[*?]", str(path.parent)):
            raise ValueError(f"invalid path {str(path)!r}: only the file name may have wildcards")
        return path

    @field_validator("patterns")
    @classmethod
    def _patterns_are_patterns(cls, patterns: Mapping[str, str]) -> Mapping[str, str]:
        for name, pattern in patterns.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"invalid name {name!r}: use lower-case letters, digits and _")
            try:
                compile_linear(pattern)
            except PatternError as error:
                raise ValueError(
                    f"{name}: invalid regular expression {pattern!r}: {error}"
                ) from error
        return patterns

    @model_validator(mode="after")
    def _only_json_has_keys(self) -> Followed:
        if self.message_key is not None and self.format != "json":
            raise ValueError("`message_key` is for JSON: add `format: json`, or remove it")
        if self.message_key is not None and not self.message_key.strip():
            raise ValueError("`message_key` is empty: name the field that has the message")
        return self

    @model_validator(mode="after")
    def _a_ratio_has_two_sides(self) -> Followed:
        if self.max_failure_ratio and not {"fetch_failed", "fetch_ok"} <= set(self.patterns):
            raise ValueError(
                "`max_failure_ratio` needs the patterns fetch_failed and fetch_ok: add both"
            )
        return self


class Logs(Model):
    """Where and how logs are written, and which files of others are followed."""

    directory: Path = Path("var/log")
    level: Literal["debug", "info", "warning", "error"] = "info"
    rotate_at: Size = 50_000_000
    keep: Duration = 7 * 86400.0
    errors_rotate_at: Size = 20_000_000
    errors_keep: Duration = 30 * 86400.0
    max_total: Size = 2_000_000_000
    follow: Mapping[str, Followed] = {}


class Slack(Model):
    """A Slack incoming webhook. Its address is a secret."""

    url_env: Variable | None = None
    url_file: Path | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Slack:
        if bool(self.url_env) == bool(self.url_file):
            raise ValueError("the address needs exactly one of `url_env` and `url_file`")
        return self


class DigestSettings(Model):
    """What the nightly digest says. Its task's `report_to` says where it goes; the keys that did
    so before (`to`, `slack`, `email`) work one release longer."""

    to: tuple[Literal["slack", "email"], ...] = ()
    quiet: bool = True
    slack: Slack | None = None
    email: Email | None = None

    @model_validator(mode="after")
    def _channels_are_set_up(self) -> DigestSettings:
        for name in self.to:
            if getattr(self, name) is None:
                raise ValueError(f"`to` names {name}, but `{name}:` is missing: add it")
        return self


class Alerts(Model):
    """What messages need to know. Who is notified is decided by Alertmanager."""

    learning_until: date | None = None
    dashboards_url: Url = here(DASHBOARDS_VARIABLE, "http://localhost:3000")
    runbook_url: Url | None = None
    check_every: Duration = 15.0
    """How often acknowledgements are compared with Alertmanager and Prometheus."""
    silence: Duration = 300.0
    """How long the silence of an acknowledgement lasts without renewal, should the exporter die."""
    settle: Duration = 60.0
    """How long an alert must be gone before it counts as resolved: servers restart and forget."""

    @property
    def dashboards_are_named(self) -> bool:
        """Whether the address of Grafana was configured rather than assumed."""
        return "dashboards_url" in self.model_fields_set or DASHBOARDS_VARIABLE in os.environ
