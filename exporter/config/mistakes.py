"""What is wrong in the file, each with its dotted place and what would be right."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from exporter.config.values import Model


@dataclass(frozen=True)
class Mistake:
    """One thing wrong in the file: its dotted place (may be empty), what, and what to do."""

    place: str
    text: str

    def line(self, file: str) -> str:
        """As ``check`` prints it."""
        return f"{file}: {self.place}: {self.text}" if self.place else f"{file}: {self.text}"


class ConfigError(Exception):
    """The file cannot be used; ``mistakes`` says all that is wrong with it."""

    def __init__(self, file: str, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(m.line(file) for m in mistakes))
        self.file, self.mistakes = file, mistakes


_SAID_TOGETHER = {
    "run",
    "command",
    "external",
    "schedule",
    "exchange",
    "type",
    "url",
    "api_key_env",
}


def validate(model: type[Model], body: Any, place: str) -> tuple[Model | None, list[Mistake]]:
    if not isinstance(body, dict):
        return None, [Mistake(place, "must hold keys, as {key: value}; see exporter.yml's example")]
    try:
        return model.model_validate(body), []
    except ValidationError as error:
        details = error.errors()
    mistakes = [_mistake(model, place, detail) for detail in details]
    # What keys say about each other is checked only once each is right by itself: look again
    # without those that are wrong, unless one that matters to the others is among them.
    wrong = {str(detail["loc"][0]) for detail in details if detail["loc"]}
    if wrong and not wrong & _SAID_TOGETHER:
        try:
            model.model_validate({k: v for k, v in body.items() if str(k) not in wrong})
        except ValidationError as error:
            mistakes += [_mistake(model, place, d) for d in error.errors() if not d["loc"]]
    return None, mistakes


def _mistake(model: type[Model], place: str, detail: Any) -> Mistake:
    parts = [str(p) for p in detail["loc"] if p != "[key]"]
    where = ".".join([*([place] if place else []), *parts])
    match detail["type"]:
        case "extra_forbidden":
            text = f"unknown key; {_suggestion(str(parts[-1]), _keys_at(model, detail['loc']))}"
        case "missing":
            text = "is missing"
        case "value_error":
            text = str(detail["ctx"]["error"])
        case "literal_error":
            text = f"{detail['input']!r} is not known; write {detail['ctx']['expected']}"
        case _:
            text = f"{detail['msg'][0].lower()}{detail['msg'][1:]}, not {detail['input']!r}"
    return Mistake(where, text)


def _suggestion(key: str, known: set[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(sorted(known))}"


def _keys_at(model: type[Model], loc: tuple[Any, ...]) -> set[str]:
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        for candidate in (
            (field.annotation, *getattr(field.annotation, "__args__", ())) if field else ()
        ):
            if isinstance(candidate, type) and issubclass(candidate, Model):
                model = candidate
    return set(model.model_fields)
