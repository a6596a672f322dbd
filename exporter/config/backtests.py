"""The section on backtests: which strategies, on what history, with which limits."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from exporter.config.entry_points import target_of
from exporter.config.market_data import checked_symbols
from exporter.config.types import NAME, Exchange, Interval, Model
from exporter.util.units import Duration, Size, parse_ratio

ParameterSet = dict[str, Any]
"""What a strategy's function gets by keyword."""
MOST_SETS = 10_000
"""Parameter sets of one strategy."""


def _ratio_or_zero(value: Any) -> float:
    return 0.0 if value == 0 else parse_ratio(value)


RatioOrZero = Annotated[float, BeforeValidator(_ratio_or_zero)]


class BacktestedStrategy(Model):
    """One strategy: a function, and what it is tried on."""

    run: str
    symbols: tuple[str, ...] = Field(min_length=1)
    interval: Interval
    exchange: Exchange
    source: str | None = None
    days: int | None = Field(None, ge=1, le=20_000)
    params: Mapping[str, Any] = {}
    """Those that it runs with; the metrics are of them."""
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]] = ()
    """What else is tried: values to combine, or a list of sets."""
    capital: float = Field(10_000.0, gt=0)
    costs: RatioOrZero = 0.0005
    slippage: RatioOrZero = 0.0002
    walk_forward: int = Field(1, ge=1, le=50)
    """Parts of the time; the best set of each is tried on the next. 1: there is none."""

    @field_validator("run")
    @classmethod
    def _run_names_a_function(cls, run: str) -> str:
        return target_of(run)

    @field_validator("symbols")
    @classmethod
    def _symbols_are_symbols(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return checked_symbols(symbols)

    @model_validator(mode="after")
    def _names_are_keywords(self) -> BacktestedStrategy:
        sets = self.grid if isinstance(self.grid, Sequence) else [self.grid]
        for name in itertools.chain(self.params, *sets):
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise ValueError(f"invalid parameter {name!r}: write the name of an argument")
        count = sum(1 for _ in itertools.islice(self.parameter_sets(), MOST_SETS + 1))
        if count > MOST_SETS:
            raise ValueError(f"the grid has more than {MOST_SETS:,} sets: name fewer values")
        return self

    def parameter_sets(
        self, others: Mapping[str, Sequence[Any]] | None = None
    ) -> Iterator[ParameterSet]:
        """The configured set first, then each other one once; `others` replaces the grid."""
        grid = self.grid if others is None else others
        made: Iterator[Mapping[str, Any]] = (
            iter(grid) if isinstance(grid, Sequence) else _combined(grid)
        )
        seen: list[ParameterSet] = []
        seen_texts: set[str] = set()
        for one in itertools.chain([{}], made):
            whole = {**self.params, **one}
            text = repr(sorted(whole.items()))
            if text not in seen_texts:
                seen_texts.add(text)
                seen.append(whole)
                yield whole


def _combined(grid: Mapping[str, Sequence[Any]]) -> Iterator[Mapping[str, Any]]:
    names = list(grid)
    for values in itertools.product(*grid.values()):
        yield dict(zip(names, values, strict=True))


class TlsFiles(Model):
    """Files in PEM, as Dask wants them."""

    ca: Path
    cert: Path
    key: Path


def _named(strategies: Mapping[str, BacktestedStrategy]) -> Mapping[str, BacktestedStrategy]:
    for name in strategies:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"invalid name {name!r}: use a-z, 0-9 and _, a letter first, at most 63 characters"
            )
    return strategies


class Backtests(Model):
    """All backtests, and how they are computed."""

    strategies: Annotated[Mapping[str, BacktestedStrategy], AfterValidator(_named)] = {}
    days: int = Field(90, ge=1, le=20_000)
    folder: Path | None = None
    """Where history, results and reports are kept; None: next to the state file."""
    workers: int | None = Field(None, ge=1, le=256)
    """Processes; None: as many as the machine has cores."""
    timeout: Duration = 60.0
    """Of one unit."""
    memory: Size = 500_000_000
    """Of one unit."""
    executor: Literal["local", "dask"] = "local"
    scheduler: str | None = None
    """Of the Dask cluster."""
    tls: TlsFiles | None = None
    """For a scheduler at tls://."""

    @model_validator(mode="after")
    def _scheduler_goes_with_dask(self) -> Backtests:
        if self.executor == "dask" and not self.scheduler:
            raise ValueError("`executor: dask` needs `scheduler`, such as tcp://10.0.0.5:8786")
        if self.scheduler:
            _check_scheduler(self.scheduler, self.tls)
        return self

    def on_cluster(self, scheduler: str) -> Backtests:
        """The same, computed on another cluster. Raises :class:`ValueError` on an address that is
        none."""
        _check_scheduler(scheduler, self.tls)
        return self.model_copy(update={"executor": "dask", "scheduler": scheduler})


def _check_scheduler(scheduler: str, tls: TlsFiles | None) -> None:
    if not re.fullmatch(r"(?:tcp|tls)://[^\s/@]+:\d{1,5}", scheduler):
        raise ValueError(
            f"invalid scheduler {scheduler!r}: write tcp://host:8786 or tls://host:8786"
        )
    if scheduler.startswith("tls:") != (tls is not None):
        raise ValueError("a scheduler at tls:// needs `tls: {ca, cert, key}`, and no other does")
