"""The mistakes in the file, each with its dotted place and what to write instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from exporter.config.phrases import likely, text
from exporter.config.types import OWN_EXCHANGES, Model
from exporter.util.units import FROM_FILE


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in the file: its dotted place (may be empty), what, and what to do."""

    place: str
    text: str
    excerpt: str = ""
    """The line of the file, with a mark below the character; where the place is a line."""

    def line(self, file: str) -> str:
        """As ``check`` prints it, with the line in question below."""
        text = f"{file}: {self.place}: {self.text}" if self.place else f"{file}: {self.text}"
        return f"{text}\n{self.excerpt}" if self.excerpt else text


class ConfigError(Exception):
    """The file cannot be used; ``mistakes`` lists everything that is wrong with it."""

    def __init__(self, file: str, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(m.line(file) for m in mistakes))
        self.file, self.mistakes = file, mistakes


_STAND_INS: Mapping[str, Any] = {
    "schedule": "00:00",
    "exchange": "24/7",
    "run": "module:function",
    "command": ["program"],
    "external": True,
    "max": {"warning": 1, "critical": 2},
    "min": {"warning": -1, "critical": -2},
    "type": "simulated",
    "url": "http://localhost",
    "api_key_env": "KEY",
    "api_key_file": "key",
    "url_env": "KEY",
    "url_file": "key",
    "email": {"smtp": "localhost:25", "sender": "me@example.com", "to": ["me@example.com"]},
}
"""What replaces a wrong value, so that the keys that depend on it can be checked too."""


def validate(
    model: type[Model], body: Any, place: str, exchanges: Collection[str] = ()
) -> tuple[Model | None, list[Mistake]]:
    """The model of one section's entry, or what is wrong with it. `exchanges` are known besides
    those that have a calendar."""
    context = {**FROM_FILE, OWN_EXCHANGES: exchanges}
    if not isinstance(body, dict):
        return None, [Mistake(place, "expected keys with values: see the example in exporter.yml")]
    try:
        return model.model_validate(body, context=context), []
    except ValidationError as error:
        details = error.errors()
    misspelt = {_meant(model, detail) for detail in details if detail["type"] == "extra_forbidden"}
    mistakes = [
        _mistake(model, place, detail)
        for detail in details
        if not (detail["type"] == "missing" and tuple(detail["loc"]) in misspelt)
    ]
    # Keys are compared with each other only when each is valid by itself: check again without
    # the invalid ones.
    wrong = {str(detail["loc"][0]) for detail in details if detail["loc"]}
    if wrong:
        rest = {key: value for key, value in body.items() if str(key) not in wrong}
        rest |= {key: value for key, value in _STAND_INS.items() if key in wrong}
        try:
            model.model_validate(rest, context=context)
        except ValidationError as error:
            mistakes += [_mistake(model, place, d) for d in error.errors() if not d["loc"]]
    return None, mistakes


def _mistake(model: type[Model], place: str, detail: Any) -> Mistake:
    # An index in a list is not a key: the list's key says what belongs there.
    keys = [str(part) for part in detail["loc"] if isinstance(part, str) and part != "[key]"]
    parts = [str(part) for part in detail["loc"] if part != "[key]"]
    where = ".".join([*([place] if place else []), *parts])
    return Mistake(where, text(detail, keys[-1] if keys else "", _keys_at(model, detail["loc"])))


def _meant(model: type[Model], detail: Any) -> tuple[Any, ...]:
    """Where the key is that an unknown one was probably meant to be: it is not missing as well."""
    *at, key = detail["loc"]
    return (*at, likely(str(key), _keys_at(model, detail["loc"])))


def _keys_at(model: type[Model], loc: tuple[Any, ...]) -> set[str]:
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        for candidate in (
            (field.annotation, *getattr(field.annotation, "__args__", ())) if field else ()
        ):
            if isinstance(candidate, type) and issubclass(candidate, Model):
                model = candidate
    return set(model.model_fields)
