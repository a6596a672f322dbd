"""The file read and checked, every mistake in one go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from exporter.calendars.loader import EXCHANGES
from exporter.config import yaml12 as yaml_file
from exporter.config.config_errors import ConfigError, Mistake, validate
from exporter.config.entry_points import find_problem
from exporter.config.exchanges import OwnExchange
from exporter.config.market_data import Feed, SourceSettings
from exporter.config.model import Config
from exporter.config.task_keys import Strategy, Task
from exporter.config.types import EXCHANGE_NAME, NAME, Model

_SECTIONS: Mapping[str, type[Model]] = {
    "exchanges": OwnExchange,
    "sources": SourceSettings,
    "feeds": Feed,
    "tasks": Task,
    "strategies": Strategy,
}


def load(path: Path) -> Config:
    """Read and check a config file; relative paths in it are relative to the file's folder.

    Raises :class:`ConfigError` with every mistake in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(str(path), [Mistake("", f"cannot be read: {what}")]) from error
    data, doubled = yaml_file.load(text)
    mistakes = [Mistake(*d) for d in doubled]
    if data is None and not mistakes:
        data = {}
    if not isinstance(data, dict):
        problem = [Mistake("", "the file must contain keys such as `tasks:` and `feeds:`")]
        raise ConfigError(str(path), mistakes or problem)
    config, found = _read(data, path.parent.resolve())
    mistakes += found
    if mistakes or config is None:
        raise ConfigError(str(path), mistakes)
    return config


def load_what_is_right(path: Path) -> tuple[Config, ConfigError | None]:
    """For commands that talk to a running exporter while its file is being corrected: the config
    without the entries that are wrong, and what is wrong with them.

    Raises :class:`ConfigError` when nothing can be read, or a key that leads to the exporter is
    wrong.
    """
    try:
        return load(path), None
    except ConfigError as error:
        wrong = error
    if any(mistake.place.partition(".")[0] in _LEAD_TO_THE_EXPORTER for mistake in wrong.mistakes):
        raise wrong
    try:
        data, _ = yaml_file.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise wrong from None
    while isinstance(data, dict):
        config, mistakes = _read(data, path.parent.resolve())
        if config is not None:
            return config, wrong
        left = sum(map(_size, data.values()))
        for mistake in mistakes:
            section, _, rest = mistake.place.partition(".")
            name = rest.partition(".")[0]
            if section in _SECTIONS and name in (data.get(section) or ()):
                del data[section][name]
            else:
                data.pop(section, None)
        if sum(map(_size, data.values())) == left:
            break
    raise wrong


_LEAD_TO_THE_EXPORTER = frozenset(("listen", "state", "timezone", "logs"))


def _size(entries: Any) -> int:
    return 1 + (len(entries) if isinstance(entries, dict) else 0)


def _read(data: dict[str, Any], folder: Path) -> tuple[Config | None, list[Mistake]]:
    mistakes: list[Mistake] = []
    top_keys = dict(data)
    named: dict[str, dict[str, Any]] = {}
    for section, model in _SECTIONS.items():
        entries = top_keys.pop(section, None) or {}
        if not isinstance(entries, dict):
            mistakes.append(Mistake(section, "expected names, each with its own keys"))
            entries = {}
        named[section] = {}
        for name, body in entries.items():
            place = f"{section}.{name}"
            if problem := _problem_of_name(section, name):
                mistakes.append(Mistake(place, problem))
            entry, found = validate(model, body, place, named["exchanges"])
            mistakes += found
            # A broken entry is still known by name, so that what refers to it is not a mistake too.
            named[section][str(name)] = entry
    top, found = validate(Config, top_keys, "", named["exchanges"])
    mistakes += found
    good: dict[str, Any] = {s: {n: e for n, e in m.items() if e} for s, m in named.items()}
    code = _code(top, data, folder)
    mistakes += _unknown_names(named, data)
    mistakes += _cross_check(good, code)
    mistakes.sort(key=lambda m: m.place.split(".")[0] in _SECTIONS)
    if mistakes or not isinstance(top, Config):
        return None, mistakes
    return _anchored(top.model_copy(update=good), folder), []


def _problem_of_name(section: str, name: Any) -> str | None:
    if section != "exchanges":
        if isinstance(name, str) and NAME.fullmatch(name):
            return None
        return "invalid name: use a-z, 0-9 and _, a letter first, at most 63 characters"
    if not isinstance(name, str) or not EXCHANGE_NAME.fullmatch(name):
        return "invalid name: use A-Z, 0-9 and _, a letter first, 2 to 16 characters"
    if name in EXCHANGES:
        return f"{name} has a calendar: change it in `calendar_overrides:`, or use another name"
    return None


_REFERENCES = (
    ("feeds", "source", "sources"), ("tasks", "source", "sources"),
    ("tasks", "strategy", "strategies"),
)  # fmt: skip
"""Section, key, and the section that has what the key names."""


def _unknown_names(named: dict[str, dict[str, Any]], data: dict[str, Any]) -> Iterator[Mistake]:
    """Also in entries that have other mistakes, to report all at once."""
    for section, key, target in _REFERENCES:
        known = ", ".join(named[target])
        cure = f"write one of {known}" if known else f"add it to `{target}:`, which is empty"
        for name in named[section]:
            body = data[section].get(name)
            given = body.get(key) if isinstance(body, dict) else None
            if isinstance(given, str) and given and given not in named[target]:
                yield Mistake(f"{section}.{name}.{key}", f"unknown {key} {given!r}: {cure}")


def _code(top: Model | None, data: dict[str, Any], folder: Path) -> list[Path] | None:
    """The folders with the user's modules; None when the file does not say them rightly."""
    if isinstance(top, Config):
        return [folder / path for path in top.code]
    # Another key at the top is wrong; that is no reason to find no module.
    given = data.get("code", [])
    if isinstance(given, list) and all(isinstance(path, str) for path in given):
        return [folder / path for path in given]
    return None


def _cross_check(good: dict[str, dict[str, Any]], code: list[Path] | None) -> list[Mistake]:
    """What must exist outside the file."""
    mistakes: list[Mistake] = []
    if code is None:
        return mistakes
    for folder in code:
        if not folder.is_dir():
            mistakes.append(Mistake("code", f"no folder {folder}: create it or correct the path"))
    for name, task in good["tasks"].items():
        if task.run and (problem := find_problem(task.run, code)):
            mistakes.append(Mistake(f"tasks.{name}.run", problem))
    return mistakes


def _anchored(config: Config, folder: Path) -> Config:
    """Relative paths made absolute, from the folder of the file."""

    def under(path: Path | None) -> Path | None:
        return None if path is None else folder / path.expanduser()

    return config.model_copy(
        update={
            "state": under(config.state),
            "code": tuple(folder / p for p in config.code),
            "logs": config.logs.model_copy(
                update={
                    "directory": under(config.logs.directory),
                    "follow": {
                        name: followed.model_copy(update={"path": under(followed.path)})
                        for name, followed in config.logs.follow.items()
                    },
                }
            ),
            "digest": config.digest.model_copy(
                update={
                    "slack": config.digest.slack
                    and config.digest.slack.model_copy(
                        update={"url_file": under(config.digest.slack.url_file)}
                    ),
                    "email": config.digest.email
                    and config.digest.email.model_copy(
                        update={"password_file": under(config.digest.email.password_file)}
                    ),
                }
            ),
            "sources": {
                n: s.model_copy(update={"api_key_file": under(s.api_key_file)})
                for n, s in config.sources.items()
            },
            "strategies": {
                n: s.model_copy(update={"equity_file": under(s.equity_file)})
                for n, s in config.strategies.items()
            },
        }
    )
