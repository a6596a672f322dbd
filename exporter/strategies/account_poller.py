"""Asks each strategy's account on its schedule, and gives what it says to curve and ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from exporter.accounts.open_account import open_account
from exporter.accounts.reading import AccountReading, EquityAccount
from exporter.config import AccountSettings, Config
from exporter.config.secret_values import SecretMissingError
from exporter.metrics import Metrics, Sample
from exporter.sources.base import SourceError
from exporter.state import State, StateError
from exporter.strategies.equity_point import parse_point
from exporter.strategies.parse_fills import entry_of, parse_fill, parse_positions
from exporter.strategies.tracker import Strategies
from exporter.util.clock import Clock

log = logging.getLogger(__name__)

KIND = "account"
"""Kind in the state: what an account gets at its next look."""
Opens = Callable[[str, Config, Metrics, Clock], EquityAccount]


class AccountPoller:
    """One loop an account. What it brings is kept before its memory moves on, so that a kill in
    between repeats a look and loses nothing; ids make the repetition harmless."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        metrics: Metrics,
        strategies: Strategies,
        opens: Opens = open_account,
    ) -> None:
        self._state, self._clock, self._metrics = state, clock, metrics
        self._strategies, self._opens = strategies, opens
        self._config = Config()
        self._accounts: dict[str, EquityAccount] = {}
        self._loops: dict[str, tuple[AccountSettings, asyncio.Task[None]]] = {}
        metrics.add_reader(self._samples)

    def _samples(self) -> Iterator[Sample]:
        """The profit that an account says by itself, where it says one."""
        kept = self._state.kept(KIND)
        for name, strategy in self._config.strategies.items():
            said = (kept.get(name) or {}).get("profit") if strategy.equity else None
            if said is not None:
                yield "quant_strategy_account_profit", (name,), float(said)

    def use(self, config: Config) -> None:
        """Ask as this config says from the next look on."""
        self._config = config

    async def start(self, config: Config) -> None:
        """Ask what the config names, and nothing else any more."""
        self.use(config)
        wanted = {name: s.equity for name, s in config.strategies.items() if s.equity}
        for name, (settings, _) in list(self._loops.items()):
            if wanted.get(name) != settings:
                await self._end(name)
        for name, settings in wanted.items():
            if name not in self._loops:
                loop = asyncio.create_task(self._follow(name, settings), name=f"account of {name}")
                self._loops[name] = settings, loop

    async def stop(self) -> None:
        """Ask nothing any more."""
        for name in list(self._loops):
            await self._end(name)

    async def _end(self, name: str) -> None:
        _, loop = self._loops.pop(name)
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        if account := self._accounts.pop(name, None):
            await account.close()

    async def _follow(self, name: str, settings: AccountSettings) -> None:
        while True:
            await self.look(name)
            await asyncio.sleep(settings.every_seconds)

    async def look(self, name: str) -> None:
        """Ask once. Never raises: what went wrong is the strategy's problem, on the page and in the
        log, until a look succeeds."""
        problem: str | None = None
        try:
            account = self._account(name)
            await self._take(name, account, await account.read(self._memory(name)))
        except SecretMissingError as error:
            problem = str(error)
        except (SourceError, StateError) as error:
            problem = f"the account cannot be read: {error}"
        except Exception as error:
            problem = f"the account cannot be read: internal error ({type(error).__name__})"
            log.exception("reading the account of %s failed", name,
                          extra={"event": "account_failed", "strategy": name})  # fmt: skip
        self._strategies.problems.note_account(name, problem)

    def _account(self, name: str) -> EquityAccount:
        if name not in self._accounts:
            self._accounts[name] = self._opens(name, self._config, self._metrics, self._clock)
        return self._accounts[name]

    def _memory(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._state.kept(KIND).get(name) or {}
        return found

    async def _take(self, name: str, account: EquityAccount, reading: AccountReading) -> None:
        zone, now = ZoneInfo(self._config.timezone), self._clock.now()
        strategy = self._config.strategies[name]
        settings, currency = strategy.equity, strategy.currency
        origin = settings.kind if settings else ""
        try:
            points = [
                (parse_point(said, zone, default_at=now, currency=currency), said)
                for said in reading.equity
            ]
            entries = [replace(entry_of(point, said), origin=origin) for point, said in points]
            fills = [replace(parse_fill(said, zone, now), origin=origin) for said in reading.fills]
            positions = (
                None
                if reading.positions is None
                else parse_positions({"positions": list(reading.positions)})
            )
        except (KeyError, ValueError) as error:
            missing = isinstance(error, KeyError)
            text = f"{error.args[0]} is missing" if missing else str(error)
            wrong = SourceError("malformed", text)
            account.count(wrong)
            raise wrong from None
        await self._strategies.holdings.add_fills(name, fills)
        if positions is not None:
            at = now if reading.positions_at is None else reading.positions_at
            await self._strategies.holdings.set_positions(name, positions, at, origin)
        newest = self._strategies.curves[name].at
        fresh = sorted(
            ((point, entry) for (point, _), entry in zip(points, entries, strict=True)
             if not point.at <= newest),
            key=lambda one: one[0].at,
        )  # fmt: skip
        memory = [(KIND, name, dict(reading.memory))] if reading.memory else []
        for n, (point, entry) in enumerate(fresh, 1):
            with suppress(ValueError):  # another writer was quicker
                kept = memory if n == len(fresh) else []
                await self._strategies.post_equity(name, point, entry=entry, values=kept)
        if memory and not fresh:
            await self._state.write([], memory)
