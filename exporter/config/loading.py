"""The file read and checked, every mistake in one go."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from exporter.calendars.loader import EXCHANGES
from exporter.config import dependencies, references, yaml12
from exporter.config.anchored_paths import anchored
from exporter.config.channels import Channel
from exporter.config.config_errors import ConfigError, Mistake, validate
from exporter.config.exchanges import OwnExchange
from exporter.config.limit_keys import LimitSettings
from exporter.config.limit_references import limit_mistakes
from exporter.config.market_data import Feed
from exporter.config.model import Config
from exporter.config.own_metrics import OwnMetric
from exporter.config.portfolio_settings import portfolio_mistakes
from exporter.config.source_fit import unfit_sources
from exporter.config.source_settings import PythonSettings, SourceSettings, source_model
from exporter.config.task_keys import Strategy, Task
from exporter.config.types import EXCHANGE_NAME, NAME, Model
from exporter.util.metric_names import problem_of_metric_name

_MOST_BYTES = 1_000_000
"""A config of 200 tasks and 500 symbols has a twentieth of it."""
_SECTIONS: Mapping[str, type[Model]] = {
    "exchanges": OwnExchange,
    "sources": SourceSettings,
    "messages": Channel,
    "feeds": Feed,
    "tasks": Task,
    "strategies": Strategy,
    "metrics": OwnMetric,
    "limits": LimitSettings,
}


def load(path: Path) -> Config:
    """Read and check a config file; relative paths in it are relative to the file's folder.

    Raises :class:`ConfigError` with every mistake in it.
    """
    data, doubled = yaml12.load(_text(path))
    mistakes = [Mistake(*d) for d in doubled]
    if data is None and not mistakes:
        data = {}
    if not isinstance(data, dict):
        problem = [Mistake("", "the file must contain keys such as `tasks:` and `feeds:`")]
        raise ConfigError(str(path), mistakes or problem)
    config, found = _read(data, path.parent.resolve(), {mistake.place for mistake in mistakes})
    mistakes += found
    if mistakes or config is None:
        raise ConfigError(str(path), mistakes)
    return config


def _text(path: Path) -> str:
    """Raises :class:`ConfigError`."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) <= _MOST_BYTES:
            return content.decode("utf-8")
        what = f"larger than {_MOST_BYTES // 1_000_000} MB: name a config, not another file"
        error: Exception | None = None
    except FileNotFoundError as found:
        what = "there is no such file: `quant-exporter init` writes one, `--config` names another"
        error = found
    except IsADirectoryError as found:
        what, error = f"a folder: name the file in it, {path / 'exporter.yml'}", found
    except OSError as found:
        what, error = f"cannot be read: {found.strerror}", found
    except UnicodeDecodeError as found:
        line = content[: found.start].count(b"\n") + 1
        what, error = f"cannot be read: not UTF-8 text in line {line}: save it as UTF-8", found
    raise ConfigError(str(path), [Mistake("", what)]) from error


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
        data, _ = yaml12.load(_text(path))
    except ConfigError:
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


def _read(
    data: dict[str, Any], folder: Path, doubled: Collection[str] = ()
) -> tuple[Config | None, list[Mistake]]:
    top_keys = dict(data)
    named: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    known = [*Config.model_fields, *_SECTIONS]
    misplaced = references.not_indented(data, _SECTIONS, known)
    unsure = {
        *references.unsure(data, known, doubled),
        *misplaced.values(),
        *(s for s in _SECTIONS if not isinstance(data.get(s) or {}, dict)),
    }
    exchanges = references.AnyName() if "exchanges" in unsure else named["exchanges"]
    mistakes = _read_entries(top_keys, named, exchanges)
    top, found = validate(Config, top_keys, "", exchanges)
    mistakes += [
        replace(one, text=f"indent it, so that it is in `{misplaced[one.place]}:` above")
        if one.place in misplaced
        else one
        for one in found
    ]
    good: dict[str, Any] = {s: {n: e for n, e in m.items() if e} for s, m in named.items()}
    mistakes += references.unknown_names(named, data, unsure)
    mistakes += [*dependencies.circles(good["tasks"]), *dependencies.after_services(good["tasks"])]
    good["tasks"] = dependencies.with_inherited_severity(good["tasks"])
    backtests = top.backtests.strategies.items() if isinstance(top, Config) else ()
    tested = {"backtests": dict(backtests)} if isinstance(top, Config) else {}
    mistakes += limit_mistakes({**named, **tested}, unsure)
    portfolio = top.portfolio if isinstance(top, Config) else None
    mistakes += portfolio_mistakes(portfolio, named, unsure)
    if "sources" not in unsure:
        mistakes += references.unknown_backtest_sources(backtests, named["sources"])
    code = _code(top, data, folder, unsure)
    elsewhere = [(f"backtests.strategies.{name}.run", one.run) for name, one in backtests]
    elsewhere += [
        (f"sources.{name}.run", one.run)
        for name, one in good["sources"].items()
        if isinstance(one, PythonSettings)
    ]
    mistakes += references.missing_code(good["tasks"], elsewhere, code)
    mistakes += unfit_sources(good["feeds"], good["sources"])
    mistakes.sort(key=lambda m: m.place.split(".")[0] in _SECTIONS)
    if mistakes or not isinstance(top, Config):
        return None, mistakes
    return anchored(top.model_copy(update=good), folder), []


def _read_entries(
    data: dict[str, Any],
    named: Mapping[str, dict[str, Any]],
    exchanges: Collection[str],
) -> list[Mistake]:
    """Move the entries of all sections from `data` to `named`, checked; None for those that are
    wrong."""
    mistakes: list[Mistake] = []
    for section, model in _SECTIONS.items():
        entries = data.pop(section, None) or {}
        if not isinstance(entries, dict):
            mistakes.append(Mistake(section, "expected names, each with its own keys"))
            entries = {}
        for name, body in entries.items():
            place = f"{section}.{name}"
            if problem := _problem_of_name(section, name):
                mistakes.append(Mistake(place, problem))
            kind = source_model(body) if section == "sources" else model
            entry, found = validate(kind, body, place, exchanges)
            mistakes += found
            # A broken entry is still known by name, so that what refers to it is not a mistake too.
            named[section][str(name)] = entry
    return mistakes


def _problem_of_name(section: str, name: Any) -> str | None:
    if section == "metrics" and (problem := problem_of_metric_name(name)):
        return problem
    if section != "exchanges":
        if isinstance(name, str) and NAME.fullmatch(name):
            return None
        return "invalid name: use a-z, 0-9 and _, a letter first, at most 63 characters"
    if not isinstance(name, str) or not EXCHANGE_NAME.fullmatch(name):
        return "invalid name: use A-Z, 0-9 and _, a letter first, 2 to 16 characters"
    if name in EXCHANGES:
        return f"{name} has a calendar: change it in `calendar_overrides:`, or use another name"
    return None


def _code(
    top: Model | None, data: dict[str, Any], folder: Path, unsure: Collection[str]
) -> list[Path] | None:
    """The folders with the user's modules; None when the file does not say them rightly."""
    if "code" in unsure:
        return None
    if isinstance(top, Config):
        return [folder / path for path in top.code]
    # Another key at the top is wrong; that is no reason to find no module.
    given = data.get("code", [])
    if isinstance(given, list) and all(isinstance(path, str) for path in given):
        return [folder / path for path in given]
    return None
