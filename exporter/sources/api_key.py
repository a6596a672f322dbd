"""API keys: where they come from, and how they stay out of everything that people read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from exporter.config import Source

_SHOWN = 200


class KeyMissingError(Exception):
    """The key is not where the configuration says; the message says what to do."""


class Key:
    """An API key that does not show itself in logs, reprs or exception texts."""

    __slots__ = ("__forms", "__text")

    def __init__(self, text: str) -> None:
        self.__text = text
        forms = sorted({text, quote(text, safe="")}, key=len, reverse=True)
        self.__forms = re.compile("|".join(map(re.escape, forms)), re.IGNORECASE)

    def reveal(self) -> str:
        """The key itself, for the request's header alone."""
        return self.__text

    def redact(self, text: object) -> str:
        """`text` fit for people: without the key, one printable line of 200 characters at most."""
        # The key goes first: cutting or cleaning before could leave a piece of it standing.
        clean = self.__forms.sub("[key]", str(text))
        clean = "".join(c if c.isprintable() else " " for c in clean)
        clean = self.__forms.sub("[key]", " ".join(clean.split()))
        return clean if len(clean) <= _SHOWN else clean[: _SHOWN - 1] + "…"

    def __repr__(self) -> str:
        return "Key([key])"

    def __reduce__(self) -> str:
        raise TypeError("a key is never written anywhere")


def read_key(name: str, source: Source, environ: Mapping[str, str]) -> Key:
    """The key of source `name`: from its environment variable, systemd's credentials, or its file.

    An unset ``api_key_env: NAME`` falls back to ``$CREDENTIALS_DIRECTORY/NAME``.
    Raises :class:`KeyMissingError`.
    """
    if source.type == "simulated":
        return Key("simulated")
    place = f"sources.{name}"
    if source.api_key_file:
        text = _from_file(source.api_key_file, f"{place}.api_key_file")
        where = str(source.api_key_file)
    else:
        variable = source.api_key_env or ""
        where = f"the environment variable {variable}"
        text = environ.get(variable, "")
        folder = environ.get("CREDENTIALS_DIRECTORY")
        if not text.strip() and folder and (Path(folder) / variable).is_file():
            where = str(Path(folder) / variable)
            text = _from_file(Path(folder) / variable, f"{place}.api_key_env")
        if not text.strip():
            raise KeyMissingError(
                f"{place}.api_key_env: {variable} is not set; export {variable}=… before starting, "
                f"or give it to the unit with LoadCredential={variable}:FILE"
            )
    key = text.strip()
    if not key:
        raise KeyMissingError(f"{place}: {where} is empty; put the API key there")
    # A header takes no other characters, and a line break in it would forge a second header.
    if not re.fullmatch(r"[\x21-\x7e]{1,500}", key):
        raise KeyMissingError(
            f"{place}: {where} holds something else than a key: one line of letters, digits and "
            "signs, without spaces, is expected"
        )
    return Key(key)


def _from_file(path: Path, place: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        problem = error.strerror
    except UnicodeDecodeError:
        problem = "it is not UTF-8 text"
    raise KeyMissingError(f"{place}: {path} cannot be read: {problem}")
