"""What ``check --online`` asks: whether each source answers, and knows the symbols of its feeds;
and whether what fires in Prometheus reaches anybody by Alertmanager."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry

from exporter.accounts.open_account import open_account
from exporter.alerts.api_clients import AlertmanagerClient, PrometheusClient
from exporter.alerts.delivery_path import alertmanager_gaps, prometheus_gaps
from exporter.alerts.replay.rules import read_rules
from exporter.config import Config, Mistake
from exporter.config.paths import cache_folder
from exporter.config.secret_values import SecretMissingError
from exporter.metrics import Metrics
from exporter.sources.base import SourceError
from exporter.sources.registry import Supply, SupplyError
from exporter.util.clock import Clock
from exporter.util.shipped import shipped

_UNKNOWN_SYMBOL = 2002


async def ask_servers(config: Config, folder: Path, clock: Clock) -> list[Mistake]:
    """Why nobody would hear of an alert. `folder` is that of the config, whose rules Prometheus
    should have; where it has none, the shipped ones."""
    rules = folder / "prometheus/rules"
    if not rules.is_dir():
        rules = shipped("prometheus/rules")
    try:
        wanted = [rule.name for rule in read_rules(sorted(rules.glob("*.yml")))]
    except (OSError, ValueError) as error:
        return [Mistake("prometheus_url", f"the rules next to the config are not read: {error}")]
    async with aiohttp.ClientSession() as session:
        prometheus = PrometheusClient(session, lambda: config.prometheus_url)
        alertmanager = AlertmanagerClient(session, lambda: config.alertmanager_url)
        found = [
            ("prometheus_url", await prometheus_gaps(prometheus, wanted)),
            ("alertmanager_url", await alertmanager_gaps(alertmanager, clock.now())),
        ]
    return [Mistake(place, text) for place, texts in found for text in texts]


async def ask_sources(config: Config, clock: Clock) -> tuple[list[Mistake], list[Mistake]]:
    """Symbols that a source does not know, and sources without a usable answer."""
    unknown: list[Mistake] = []
    failed: list[Mistake] = []
    with tempfile.TemporaryDirectory() as scratch:
        if not cache_folder(config).is_dir():  # nothing is left behind
            config = config.model_copy(update={"state": Path(scratch, "state.db")})
        supply = Supply(config, Metrics(CollectorRegistry()), clock)
        try:
            await supply.reconcile(config)
            for name, feed in config.feeds.items():
                for source in filter(None, (feed.source, feed.fallback)):
                    if config.sources[source].type == "push":
                        continue  # nobody has asked it for anything
                    answer = await supply.sources[source].latest(feed.symbols, feed.interval)
                    unknown += _unknown(name, source, answer.bad)
                    failed += _failed(name, source, answer.bad)
        except SupplyError as error:
            failed.append(Mistake("", str(error)))
        finally:
            await supply.close()
        failed += await _accounts(config, clock)
    return unknown, failed


async def _accounts(config: Config, clock: Clock) -> list[Mistake]:
    """Accounts that do not say a strategy's equity. Nothing of what they say is kept."""
    failed: list[Mistake] = []
    for name, strategy in config.strategies.items():
        if strategy.equity is None:
            continue
        place = f"strategies.{name}.equity"
        try:
            account = open_account(name, config, Metrics(CollectorRegistry()), clock)
        except SecretMissingError:
            continue  # reported by check itself
        try:
            reading = await account.read({})
            if not reading.equity:
                failed.append(Mistake(place, "the account says no equity"))
        except SourceError as error:
            failed.append(Mistake(place, f"the account cannot be read: {error}"))
        finally:
            await account.close()
    return failed


def _unknown(feed: str, source: str, bad: dict[str, SourceError]) -> Iterator[Mistake]:
    for symbol, error in bad.items():
        if error.code == _UNKNOWN_SYMBOL:
            yield Mistake(
                f"feeds.{feed}.symbols", f"{source} does not know {symbol}: correct or remove it"
            )


def _failed(feed: str, source: str, bad: dict[str, SourceError]) -> Iterator[Mistake]:
    texts: dict[str, list[str]] = {}
    for symbol, error in bad.items():
        if error.code != _UNKNOWN_SYMBOL:
            texts.setdefault(error.about(symbol), []).append(symbol)
    for text, symbols in texts.items():
        others = f" and {len(symbols) - 1} more" if len(symbols) > 1 else ""
        yield Mistake(f"feeds.{feed}", f"no bars of {symbols[0]}{others} from {source}: {text}")
