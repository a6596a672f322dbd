"""Asks each strategy's account on its schedule, and gives what it says to curve and ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from exporter.accounts.open_account import open_account
from exporter.accounts.reading import AccountReading, EquityAccount, Said
from exporter.config import AccountSettings, Config
from exporter.config.secret_values import SecretMissingError
from exporter.metrics import Metrics, Sample
from exporter.sources.base import SourceError
from exporter.state import State, StateError
from exporter.strategies.equity_point import EquityPoint, parse_point, parse_timestamp
from exporter.strategies.parse_fills import entry_of, parse_fill, parse_positions
from exporter.strategies.tracker import Strategies
from exporter.util.clock import FUTURE_TOLERANCE_SECONDS, Clock, iso

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
        """Poll the accounts that the config names, and no others."""
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
        """Stop polling."""
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
        left_out: list[str] = []
        try:
            account = self._account(name)
            reading = await account.read(self._memory(name))
            left_out += reading.left_out
            await self._take(name, account, reading, left_out)
        except SecretMissingError as error:
            problem = str(error)
        except (SourceError, StateError) as error:
            problem = f"the account cannot be read: {error}"
        except Exception as error:
            problem = f"the account cannot be read: internal error ({type(error).__name__})"
            log.exception("reading the account of %s failed", name,
                          extra={"event": "account_failed", "strategy": name})  # fmt: skip
        self._strategies.problems.note_account(name, problem, _summed_up(left_out))

    def _account(self, name: str) -> EquityAccount:
        if name not in self._accounts:
            self._accounts[name] = self._opens(name, self._config, self._metrics, self._clock)
        return self._accounts[name]

    def _memory(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._state.kept(KIND).get(name) or {}
        return found

    async def _take(
        self, name: str, account: EquityAccount, reading: AccountReading, left_out: list[str]
    ) -> None:
        """Keep what was said. Fills and positions that cannot be used are added to `left_out`: they
        must not hide the equity."""
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
        except (KeyError, ValueError) as error:
            wrong = SourceError("malformed", _text(error))
            account.count(wrong)
            raise wrong from None
        await self._add_fills(name, reading, zone, origin, left_out)
        await self._set_positions(name, reading, origin, left_out)
        newest, latest = self._strategies.curves[name].at, now + FUTURE_TOLERANCE_SECONDS
        fresh = sorted(
            ((point, entry) for (point, _), entry in zip(points, entries, strict=True)
             if not point.at <= newest and point.at <= latest),
            key=lambda one: one[0].at,
        )  # fmt: skip
        memory = [(KIND, name, dict(reading.memory))] if reading.memory else []
        for n, (point, entry) in enumerate(fresh, 1):
            with suppress(ValueError):  # another writer was quicker
                kept = memory if n == len(fresh) else []
                await self._strategies.post_equity(name, point, entry=entry, values=kept)
        if memory and not fresh:
            await self._state.write([], memory)
        self._check_times(account, points, latest, zone)

    def _check_times(
        self,
        account: EquityAccount,
        points: Sequence[tuple[EquityPoint, Said]],
        latest: float,
        zone: ZoneInfo,
    ) -> None:
        """Raises :class:`SourceError` for equity from the future: what is newest is not known."""
        ahead = [(point.at, said) for point, said in points if point.at > latest]
        if not ahead:
            return
        at, said = max(ahead, key=lambda one: one[0])
        text = f"its newest equity, of {said.get('timestamp')}, lies in the future ({iso(at)})"
        if parse_timestamp(said.get("timestamp"), ZoneInfo("UTC")) != at:
            text += f": times without an offset are read in {zone.key}; add +00:00 to those in UTC"
        wrong = SourceError("wrong_time", text)
        account.count(wrong)
        raise wrong

    async def _add_fills(
        self,
        name: str,
        reading: AccountReading,
        zone: ZoneInfo,
        origin: str,
        left_out: list[str],
    ) -> None:
        now, fills = self._clock.now(), []
        for said in reading.fills:
            try:
                fill = replace(parse_fill(said, zone, now), origin=origin)
                if fill.at > now + FUTURE_TOLERANCE_SECONDS:
                    raise ValueError(f"its time, {iso(fill.at)}, lies in the future")
                fills.append(fill)
            except (KeyError, ValueError) as error:
                left_out.append(f"a fill is left out: {_text(error)}")
        await self._strategies.holdings.add_fills(name, fills)

    async def _set_positions(
        self, name: str, reading: AccountReading, origin: str, left_out: list[str]
    ) -> None:
        if reading.positions is None:
            return
        at = self._clock.now() if reading.positions_at is None else reading.positions_at
        try:
            positions = parse_positions({"positions": list(reading.positions)})
            await self._strategies.holdings.set_positions(name, positions, at, origin)
        except (KeyError, ValueError) as error:
            left_out.append(f"the positions are not known: {_text(error)}")


def _text(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def _summed_up(left_out: Sequence[str]) -> str | None:
    """The first of them, and how many more there are."""
    if not left_out:
        return None
    more = f", and {len(left_out) - 1} more like it" if len(left_out) > 1 else ""
    return f"the equity is read, but {left_out[0]}{more}"
