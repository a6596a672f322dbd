"""From a strategy's `equity:` to its account."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from exporter.accounts import alpaca, freqtrade, ib_flex
from exporter.accounts.account_requests import AccountRequests
from exporter.accounts.child_account import ChildAccount
from exporter.accounts.reading import EquityAccount
from exporter.config import AccountSettings, Config
from exporter.config.secret_values import read_secret
from exporter.metrics import Metrics
from exporter.util.clock import Clock

_ENDPOINTS = {
    "alpaca": alpaca.ENDPOINTS, "freqtrade": freqtrade.ENDPOINTS, "ib_flex": ib_flex.ENDPOINTS,
}  # fmt: skip
_URLS = {"alpaca": alpaca.URL, "ib_flex": ib_flex.URL}


def account_name(strategy: str) -> str:
    """What its requests count under, as `source`: no source can be called so."""
    return f"{strategy}.equity"


def read_account_secrets(
    strategy: str, settings: AccountSettings, environ: Mapping[str, str]
) -> dict[str, str]:
    """By the names `key` and `secret`, and those that `secrets` lists. Raises
    :class:`~exporter.config.secret_values.SecretMissingError`."""
    place = f"strategies.{strategy}.equity"
    found = {
        "key": read_secret(f"{place}.key", settings.key_env, settings.key_file, environ),
        "secret": read_secret(
            f"{place}.secret", settings.secret_env, settings.secret_file, environ
        ),
    }
    for name in settings.secrets:
        found[name] = read_secret(f"{place}.secrets", name, None, environ)
    return found


def open_account(
    strategy: str,
    config: Config,
    metrics: Metrics,
    clock: Clock,
    environ: Mapping[str, str] = os.environ,
) -> EquityAccount:
    """The account of a strategy that has one. Nothing is sent yet; call its `close` at the end.

    Raises :class:`~exporter.config.secret_values.SecretMissingError`.
    """
    settings = config.strategies[strategy].equity
    if settings is None:
        raise ValueError(f"strategies.{strategy} has no `equity`")
    name = account_name(strategy)
    secrets = read_account_secrets(strategy, settings, environ)
    if settings.kind not in _ENDPOINTS:
        order = _order(settings, config.strategies[strategy].currency, secrets)
        order["code"] = [str(folder) for folder in config.code]
        hidden = _hidden(config)
        own = {each: secrets[each] for each in settings.secrets}
        environment = {k: v for k, v in environ.items() if k not in hidden} | own
        return ChildAccount(
            name, settings, order, metrics, clock, secrets=secrets.values(), environment=environment
        )
    requests = AccountRequests(
        name, settings, metrics, clock, secrets=secrets.values(),
        url=settings.url or _URLS[settings.kind], endpoints=_ENDPOINTS[settings.kind],
    )  # fmt: skip
    if settings.kind == "alpaca":
        return alpaca.Alpaca(requests, secrets["key"], secrets["secret"])
    if settings.kind == "freqtrade":
        return freqtrade.Freqtrade(requests, secrets["key"], secrets["secret"])
    return ib_flex.IbFlex(requests, secrets["key"], settings.query or "")


def _order(settings: AccountSettings, currency: str, secrets: Mapping[str, str]) -> dict[str, Any]:
    order: dict[str, Any] = {"kind": settings.kind, "params": dict(settings.params)}
    if settings.kind == "python":
        return order | {"run": settings.run}
    if settings.kind == "ccxt":
        asked = {"exchange": settings.exchange, "currency": currency}
        return order | asked | {"ignore": list(settings.ignore), **secrets}
    queries = {
        "equity": settings.query, "fills": settings.fills, "positions": settings.positions,
    }  # fmt: skip
    return order | {
        "database": settings.database, "secret": secrets["secret"], "queries": queries,
        "timeout": settings.timeout,
    }  # fmt: skip


def _hidden(config: Config) -> set[str]:
    """Variables that the user's code must not see: secrets of other parts of the config."""
    found = {name for each in config.sources.values() for name in each.secret_variables()}
    for strategy in config.strategies.values():
        if strategy.equity:
            found |= {*strategy.equity.secret_variables()}
    return found
