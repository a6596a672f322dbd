"""API keys: where they come from, and how they stay out of everything that people read."""

from __future__ import annotations

import re
from collections.abc import Mapping

from exporter.config import TickDBSettings
from exporter.config.secret_values import SecretMissingError, read_secret
from exporter.redaction.mask import Mask
from exporter.redaction.truncate import one_line

_SHOWN = 200


class Key:
    """An API key that does not show itself in logs, reprs or exception texts, and neither do the
    `others`, secrets of the same source."""

    __slots__ = ("__mask", "__text")

    def __init__(self, text: str, *others: str) -> None:
        self.__text = text
        self.__mask = Mask()
        for each in (text, *others):  # servers echo it in their own case
            self.__mask.add_all((each, each.lower(), each.upper()))

    def reveal(self) -> str:
        """The key itself, for the request's header alone."""
        return self.__text

    def redact(self, text: object) -> str:
        """`text` fit for people: masked, one printable line of 200 characters at most."""
        return one_line(str(text), _SHOWN, self.__mask.text)

    def __repr__(self) -> str:
        return "Key([key])"

    def __reduce__(self) -> str:
        raise TypeError("a key is never written anywhere")


def read_key(name: str, source: TickDBSettings, environ: Mapping[str, str]) -> Key:
    """The key of source `name`: from its environment variable, systemd's credentials, or its file.

    Raises :class:`~exporter.config.secret_values.SecretMissingError`.
    """
    if source.type == "simulated":
        return Key("simulated")
    place = f"sources.{name}.api_key"
    key = read_secret(place, source.api_key_env, source.api_key_file, environ)
    # A header takes no other characters, and a line break in it would forge a second header.
    if not re.fullmatch(r"[\x21-\x7e]{1,500}", key):
        where = f"{place}_env: {source.api_key_env}"
        if source.api_key_file:
            where = f"{place}_file: {source.api_key_file}"
        raise SecretMissingError(
            f"{where} does not hold an API key: expected one line of letters, digits and signs "
            "without spaces"
        )
    return Key(key)
