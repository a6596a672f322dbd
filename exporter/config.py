"""``exporter.yml`` to frozen models. Every mistake is found in one go, each with its dotted place.

The models hold seconds, bytes and ratios as numbers; :mod:`exporter.units` says how people write
them. :func:`load` raises :class:`ConfigError`, which carries all mistakes.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from exporter import bars, timetable, yaml_file
from exporter.calendars import EXCHANGES
from exporter.callables import find_problem
from exporter.units import Duration, DurationOrZero, Ratio, Size

Severity = Literal["critical", "warning", "info"]
Interval = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "1d", "1w", "1M"]

INTERVAL_SECONDS: Mapping[str, float] = bars.INTERVAL_SECONDS
"""Nominal length of each interval (a month counts 30 days)."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-^=/]{0,31}")


def _zone(name: str) -> str:
    timetable.zone(name)
    return name


def _exchange(name: str) -> str:
    if name not in EXCHANGES:
        raise ValueError(
            f"{name!r} is no exchange known here; write a MIC such as XNYS, XLON, XHKG, XSHG, "
            "or FX, or 24/7"
        )
    return name


def _url(text: str) -> str:
    AnyHttpUrl(text)
    if re.match(r"\w+://[^/]*@", text):
        raise ValueError(
            "a user or password stands in the address; secrets come from …_env or …_file"
        )
    return text.rstrip("/")


def _schedule(text: Any) -> Any:
    timetable.parse(text)
    return text


Zone = Annotated[str, AfterValidator(_zone)]
Exchange = Annotated[str, AfterValidator(_exchange)]
Url = Annotated[str, AfterValidator(_url)]
Schedule = Annotated[str, BeforeValidator(_schedule)]


class Model(BaseModel):
    """Frozen, and a key that is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Model):
    """Where market data comes from."""

    type: Literal["tickdb", "simulated"]
    url: Url | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    requests_per_minute: int = Field(60, ge=1, le=100_000)
    connect_timeout: Duration = 3.05
    read_timeout: Duration = 15.0
    retries: int = Field(3, ge=0, le=10)
    seed: int = 1

    @model_validator(mode="after")
    def _tickdb_is_complete(self) -> Source:
        if self.type == "tickdb":
            if not self.url:
                raise ValueError(
                    "a tickdb source needs `url`, for example https://api.tickdb.ai/v1"
                )
            if bool(self.api_key_env) == bool(self.api_key_file):
                raise ValueError("name the key's place: either `api_key_env` or `api_key_file`")
        return self


class Feed(Model):
    """The symbols of one source at one interval that must stay fresh."""

    source: str
    symbols: tuple[str, ...] = Field(min_length=1)
    interval: Interval
    exchange: Exchange
    poll: Duration | None = None
    delay: DurationOrZero = 90.0
    severity: Severity = "critical"
    max_overdue: Mapping[Severity, Duration] = {}
    max_spread: Mapping[Severity, Ratio] = {}

    @field_validator("symbols")
    @classmethod
    def _symbols_are_symbols(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if not _SYMBOL.fullmatch(symbol):
                raise ValueError(
                    f"{symbol!r} is no symbol; write it as the source does: AAPL.US, 700.HK, EURUSD"
                )
        twice = sorted({s for s in symbols if symbols.count(s) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is listed twice; keep one")
        return symbols

    @property
    def poll_seconds(self) -> float:
        """How often the source is asked, in seconds; the interval unless said otherwise."""
        return self.poll or INTERVAL_SECONDS[self.interval]


class Task(Model):
    """Something that runs on a schedule: a Python callable, a command, or an external program."""

    run: str | None = None
    command: tuple[str, ...] | None = None
    external: bool = False
    schedule: Schedule
    exchange: Exchange | None = None
    source: str | None = None
    grace: DurationOrZero = 300.0
    timeout: Duration = 300.0
    retries: int = Field(0, ge=0, le=20)
    backoff: Duration = 5.0
    max_runtime: Duration | None = None
    severity: Severity = "warning"
    alert_after: int = Field(1, ge=1, le=1000)
    catch_up: bool | None = None
    rerun_after_crash: bool = False
    idempotent: bool = False
    announce: bool = False
    interruptible: bool | None = None
    params: Mapping[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _severity_of_the_scan(cls, data: Any) -> Any:
        # The contract's one exception to "warning unless said otherwise".
        if isinstance(data, dict) and data.get("run") == "exporter.tasks:pre_market_scan":
            return {"severity": "critical", **data}
        return data

    @field_validator("run")
    @classmethod
    def _run_names_a_function(cls, run: str | None) -> str | None:
        if run is not None and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", run):
            raise ValueError(
                f"{run!r} names no function; write module:function, as my_signals:compute"
            )
        return run

    @model_validator(mode="after")
    def _one_way_to_run(self) -> Task:
        ways = [w for w in ("run", "command", "external") if getattr(self, w)]
        if len(ways) != 1:
            raise ValueError(
                "say how it runs with exactly one of `run: module:function`, `command: [program]` "
                f"and `external: true`; here {' and '.join(ways) or 'none'} is given"
            )
        if self.external and self.retries:
            raise ValueError("`retries` means nothing for an external task: it runs elsewhere")
        if timetable.needs_exchange(self.timetable) and not self.exchange:
            raise ValueError(f"`schedule: {self.schedule}` needs `exchange`, for example XNYS")
        return self

    @property
    def timetable(self) -> timetable.Timetable:
        """The parsed schedule."""
        return timetable.parse(self.schedule)

    @property
    def kind(self) -> Literal["run", "command", "external"]:
        """Which of the three ways it runs."""
        return "run" if self.run else "command" if self.command else "external"

    @property
    def max_runtime_seconds(self) -> float:
        """All attempts of one run together, in seconds: (1 + retries) x timeout + back-off."""
        backoff = sum(backoff_cap(self.backoff, n) for n in range(self.retries))
        return self.max_runtime or (1 + self.retries) * self.timeout + backoff

    @property
    def may_be_interrupted(self) -> bool:
        """Whether an orderly stop may end a run of it: commands are waited for, unless said."""
        return self.kind != "command" if self.interruptible is None else self.interruptible

    @property
    def catches_up(self) -> bool:
        """Whether a slot that was missed while nothing ran is started late, within `grace`."""
        return self.kind == "run" if self.catch_up is None else self.catch_up


def backoff_cap(base: float, retry: int) -> float:
    """Longest pause before retry number `retry` (from 0), in seconds: doubling, 300 at most."""
    return float(min(base * 2**retry, 300.0))


class Strategy(Model):
    """A named thing with an equity curve, in one currency."""

    equity_file: Path | None = None
    currency: str = Field("USD", pattern=r"^[A-Z]{3,5}$")
    severity: Severity = "warning"
    max_age: Duration | None = None
    max_drawdown: Mapping[Severity, Ratio] = {}


class Overrides(Model):
    """What the shipped calendar of one exchange does not know. Times are the exchange's own."""

    closed: tuple[date, ...] = ()
    early_close: Mapping[date, str] = {}
    late_open: Mapping[date, str] = {}

    @field_validator("early_close", "late_open")
    @classmethod
    def _times(cls, times: Mapping[date, str]) -> Mapping[date, str]:
        for text in times.values():
            if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
                raise ValueError(f'{text!r} is no time of day; write "13:00"')
        return times


class Followed(Model):
    """A log file of another program, counted as it grows."""

    path: Path
    format: Literal["text", "json"] = "text"
    patterns: Mapping[str, str] = {}

    @field_validator("patterns")
    @classmethod
    def _patterns_are_patterns(cls, patterns: Mapping[str, str]) -> Mapping[str, str]:
        for name, pattern in patterns.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r}: a name has lower-case letters, digits and _")
            try:
                re.compile(pattern.encode())
            except re.error as error:
                raise ValueError(
                    f"{name}: {pattern!r} is no regular expression: {error}"
                ) from error
        return patterns


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

    url_env: str | None = None
    url_file: Path | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Slack:
        if bool(self.url_env) == bool(self.url_file):
            raise ValueError("name the address's place: either `url_env` or `url_file`")
        return self


class Email(Model):
    """A mail server and who gets mail through it."""

    smtp: str
    sender: str
    to: tuple[str, ...] = Field(min_length=1)
    user: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"

    @field_validator("smtp")
    @classmethod
    def _smtp_is_a_server(cls, smtp: str) -> str:
        host, _, port = smtp.rpartition(":")
        if not (host and port.isdigit() and int(port) < 65536):
            raise ValueError(f"{smtp!r} is no server; write host:port, as smtp.example.com:587")
        return smtp

    @field_validator("sender", "to")
    @classmethod
    def _addresses(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for address in (value,) if isinstance(value, str) else value:
            if not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+", address):
                raise ValueError(f"{address!r} is no mail address; write me@example.com")
        return value

    @model_validator(mode="after")
    def _password_has_a_place(self) -> Email:
        places = bool(self.password_env) + bool(self.password_file)
        if places != bool(self.user):
            raise ValueError(
                "`user` goes with its password's place: either `password_env` or `password_file`"
            )
        return self


class Digest(Model):
    """Where the nightly digest goes, beside the reports folder."""

    to: tuple[Literal["slack", "email"], ...] = ()
    quiet: bool = True
    slack: Slack | None = None
    email: Email | None = None

    @model_validator(mode="after")
    def _channels_are_set_up(self) -> Digest:
        for name in self.to:
            if getattr(self, name) is None:
                raise ValueError(f"`to` names {name}, so `{name}:` must say how")
        return self


class Alerts(Model):
    """What messages need to know. Who hears of what is Alertmanager's business, not ours."""

    learning_until: date | None = None
    dashboards_url: Url = "http://localhost:3000"
    runbook_url: Url | None = None


class Programs(Model):
    """Limits of the user's own programs on a VPS, where systemd holds them (deploy/)."""

    memory: Size = 2_000_000_000
    processes: int = Field(512, ge=16, le=32_768)
    write: tuple[Path, ...] = ()

    @field_validator("write")
    @classmethod
    def _write_is_absolute(cls, write: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in write:
            if not path.is_absolute() or not re.fullmatch(r"[\w./-]+", str(path)):
                raise ValueError(
                    f"{str(path)!r} is no folder to write in; write it from / on, without spaces"
                )
        return write


def _here(variable: str, usual: str) -> Any:
    """A default that depends on where the exporter runs: in a container the environment names it.
    What the file says wins."""
    return Field(default_factory=lambda: os.environ.get(variable, usual), validate_default=True)


def _hosts_here() -> tuple[str, ...]:
    return tuple(os.environ.get("QUANT_ALLOWED_HOSTS", "").replace(",", " ").split())


class Config(Model):
    """The whole of ``exporter.yml``."""

    listen: str = _here("QUANT_LISTEN", "127.0.0.1:10077")
    public_url: Url = _here("QUANT_PUBLIC_URL", "http://localhost:10077")
    timezone: Zone = "America/New_York"
    state: Path = Path("var/state.db")
    code: tuple[Path, ...] = ()
    allowed_hosts: tuple[str, ...] = Field(default_factory=_hosts_here)
    stop_timeout: Duration = 30.0
    prometheus_url: Url = _here("QUANT_PROMETHEUS_URL", "http://localhost:9090")
    alertmanager_url: Url = _here("QUANT_ALERTMANAGER_URL", "http://localhost:9093")
    sources: Mapping[str, Source] = {}
    feeds: Mapping[str, Feed] = {}
    tasks: Mapping[str, Task] = {}
    strategies: Mapping[str, Strategy] = {}
    calendar_overrides: Mapping[Exchange, Overrides] = {}
    logs: Logs = Logs()
    alerts: Alerts = Alerts()
    digest: Digest = Digest()
    programs: Programs = Programs()

    @field_validator("listen")
    @classmethod
    def _listen_is_an_address(cls, listen: str) -> str:
        host, colon, port = listen.rpartition(":")
        if not (host and colon and port.isdigit() and int(port) < 65536):
            raise ValueError(f"{listen!r} is no address; write host:port, as 127.0.0.1:10077")
        return listen

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on; port 0 takes a free one."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def exchanges(self) -> list[str]:
        """Every exchange that a feed or a task names, sorted."""
        named = [f.exchange for f in self.feeds.values()]
        named += [t.exchange for t in self.tasks.values() if t.exchange]
        return sorted(set(named))


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


_SECTIONS: Mapping[str, type[Model]] = {
    "sources": Source,
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
        what = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(str(path), [Mistake("", f"cannot be read: {what}")]) from error
    data, doubled = yaml_file.load(text)
    mistakes = [Mistake(*d) for d in doubled]
    if data is None and not mistakes:
        data = {}
    if not isinstance(data, dict):
        problem = [Mistake("", "the file must hold keys such as `tasks:` and `feeds:`")]
        raise ConfigError(str(path), mistakes or problem)
    config, found = _read(data, path.parent.resolve())
    mistakes += found
    if mistakes or config is None:
        raise ConfigError(str(path), mistakes)
    return config


def _read(data: dict[str, Any], folder: Path) -> tuple[Config | None, list[Mistake]]:
    mistakes: list[Mistake] = []
    whole = dict(data)
    named: dict[str, dict[str, Any]] = {}
    for section, model in _SECTIONS.items():
        entries = whole.pop(section, None) or {}
        if not isinstance(entries, dict):
            mistakes.append(Mistake(section, "must hold names, each with its own keys"))
            entries = {}
        named[section] = {}
        for name, body in entries.items():
            place = f"{section}.{name}"
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                mistakes.append(
                    Mistake(place, "a name has lower-case letters, digits and _, letter first")
                )
            entry, found = _validate(model, body, place)
            mistakes += found
            # A broken entry stays known by name, so that what refers to it is not blamed too.
            named[section][str(name)] = entry
    top, found = _validate(Config, whole, "")
    mistakes += found
    good: dict[str, Any] = {s: {n: e for n, e in m.items() if e} for s, m in named.items()}
    code = [folder / p for p in (top.code if isinstance(top, Config) else ())]
    mistakes += _cross_check(good, named, code)
    mistakes.sort(key=lambda m: m.place.split(".")[0] in _SECTIONS)
    if mistakes or not isinstance(top, Config):
        return None, mistakes
    return _anchored(top.model_copy(update=good), folder), []


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


def _validate(model: type[Model], body: Any, place: str) -> tuple[Model | None, list[Mistake]]:
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


def _cross_check(
    good: dict[str, dict[str, Any]], named: dict[str, dict[str, Any]], code: list[Path]
) -> list[Mistake]:
    """What one entry says about another."""
    mistakes = []
    for section in ("feeds", "tasks"):
        for name, entry in good[section].items():
            if entry.source and entry.source not in named["sources"]:
                known = ", ".join(named["sources"]) or "none is configured"
                mistakes.append(
                    Mistake(
                        f"{section}.{name}.source", f"{entry.source!r} is no source; known: {known}"
                    )
                )
    for folder in code:
        if not folder.is_dir():
            mistakes.append(
                Mistake("code", f"{folder} is no folder; create it or correct the path")
            )
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
