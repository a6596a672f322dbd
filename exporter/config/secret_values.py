"""Reading a secret from where the config says it is: a variable, a file, systemd's credentials."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class SecretMissingError(Exception):
    """A secret is not where the config says; the message says where, and what to do."""


def read_secret(
    place: str, variable: str | None, file: Path | None, environ: Mapping[str, str]
) -> str:
    """The secret without surrounding whitespace.

    `place` is where the config names it, up to ``_env`` or ``_file``: ``sources.tickdb.api_key``.
    A variable that is not set falls back to ``$CREDENTIALS_DIRECTORY/VARIABLE``, where systemd's
    LoadCredential= puts it. Raises :class:`SecretMissingError`.
    """
    if file is not None:
        return _content(file, f"{place}_file")
    text = environ.get(variable or "", "").strip()
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if text or not variable:
        return text
    if folder and (credential := Path(folder) / variable).is_file():
        return _content(credential, f"{place}_env")
    raise SecretMissingError(
        f"{place}_env: {variable} is not set; export {variable}=… before starting, or give it to "
        f"the unit with LoadCredential={variable}:FILE"
    )


def _content(file: Path, place: str) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
        problem = None if text else f"{file} is empty; put the secret there"
    except OSError as error:
        problem = f"cannot read {file}: {error.strerror}"
    except UnicodeDecodeError:
        problem = f"cannot read {file}: it is not UTF-8 text"
    if problem:
        raise SecretMissingError(f"{place}: {problem}")
    return text
