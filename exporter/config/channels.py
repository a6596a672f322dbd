"""The section on messages: the channels to which reports, digests and `notify` go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from exporter.config.types import Model, Variable


class Email(Model):
    """A mail server and who gets mail through it."""

    smtp: str
    sender: str
    to: tuple[str, ...] = Field(min_length=1)
    user: str | None = None
    password_env: Variable | None = None
    password_file: Path | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"

    @field_validator("smtp")
    @classmethod
    def _smtp_is_a_server(cls, smtp: str) -> str:
        host, _, port = smtp.rpartition(":")
        if not (host and port.isdigit() and int(port) < 65536):
            raise ValueError(f"invalid server {smtp!r}: write it as smtp.example.com:587")
        return smtp

    @field_validator("sender", "to")
    @classmethod
    def _addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for address in (value,) if isinstance(value, str) else value:
            if not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", address):
                raise ValueError(f"invalid mail address {address!r}: write me@example.com")
        return value

    @model_validator(mode="after")
    def _password_has_a_place(self) -> Email:
        places = bool(self.password_env) + bool(self.password_file)
        if places != bool(self.user):
            raise ValueError(
                "give `user` with one of `password_env` and `password_file`, or none of the three"
            )
        return self


class Channel(Model):
    """One place where messages go. Its address is a secret; a mail server is not."""

    url_env: Variable | None = None
    url_file: Path | None = None
    email: Email | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Channel:
        if sum(map(bool, (self.url_env, self.url_file, self.email))) != 1:
            raise ValueError(
                "a channel needs exactly one of `url_env: VARIABLE`, `url_file: FILE` and `email:`"
            )
        return self
