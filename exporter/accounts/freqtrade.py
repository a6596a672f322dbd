"""freqtrade's REST API, version 1: https://www.freqtrade.io/en/stable/rest-api/ (token/login,
balance, status, trades)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from exporter.accounts.account_requests import AccountRequests, field, rows
from exporter.accounts.reading import AccountReading, Said, unless_it_fails
from exporter.sources.base import SourceError

ENDPOINTS = ("login", "balance", "status", "trades", "profit")
_PAGE = 500
_MOST_PAGES = 40


class Freqtrade:
    """One bot. A token is asked for with user and password, and again when it has ended."""

    def __init__(self, requests: AccountRequests, user: str, password: str) -> None:
        self.name, self._requests = requests.name, requests
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._login, self._token = {"Authorization": f"Basic {pair}"}, ""

    async def read(self, memory: Mapping[str, Any]) -> AccountReading:
        """The bot's balance in its stake currency, orders that were filled, open trades."""
        now = self._requests.clock.now()
        balance = await self._ask("balance")
        total = balance.get("total_bot") if isinstance(balance, Mapping) else None
        equity = field(balance, "total", "the balance") if total is None else total
        left_out: list[str] = []
        profit = await unless_it_fails(self._profit(), left_out)
        trades = await unless_it_fails(self._open(), left_out)
        seen = int(memory.get("trades", 0))
        closed, count = await unless_it_fails(
            self._closed(max(0, seen - _PAGE // 2)), left_out
        ) or ([], seen)
        fills: dict[str, Said] = {}
        for trade in (*closed, *(trades or ())):
            try:
                fills |= {fill["id"]: fill for fill in _fills(trade)}
            except SourceError as error:
                left_out.append(f"the fills of a trade are left out: {error}")
        return AccountReading(
            [{"equity": str(equity), "timestamp": now, "currency": balance.get("stake")}],
            sorted(fills.values(), key=lambda fill: float(fill["timestamp"])),
            None if trades is None else _positions(trades),
            memory={"trades": count, "profit": profit},
            left_out=left_out,
        )

    async def _profit(self) -> float | None:
        return _profit(await self._ask("profit"))

    async def _open(self) -> list[Mapping[str, Any]]:
        trades = rows(await self._ask("status"), "the list of open trades")
        _positions(trades)
        return trades

    async def _closed(self, offset: int) -> tuple[list[Mapping[str, Any]], int]:
        """Trades from `offset` on, and how many there are."""
        found: list[Mapping[str, Any]] = []
        for _ in range(_MOST_PAGES):
            parameters = {"limit": str(_PAGE), "offset": str(offset), "order_by_id": "true"}
            data = await self._ask("trades", parameters)
            page = rows(field(data, "trades", "the list of trades"), "the list of trades")
            found += page
            offset += len(page)
            if len(page) < _PAGE:
                break
        return found, offset

    async def _ask(self, endpoint: str, parameters: Mapping[str, str] | None = None) -> Any:
        if not self._token:
            await self._log_in()
        try:
            return await self._get(endpoint, parameters)
        except SourceError as error:
            if error.reason != "auth":
                raise
        await self._log_in()  # it lasts fifteen minutes
        return await self._get(endpoint, parameters)

    async def _get(self, endpoint: str, parameters: Mapping[str, str] | None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        return await self._requests.ask(
            endpoint, f"/api/v1/{endpoint}", parameters, headers=headers
        )

    async def _log_in(self) -> None:
        self._token = ""
        answer = await self._requests.ask(
            "login", "/api/v1/token/login", headers=self._login, method="POST"
        )
        self._token = str(field(answer, "access_token", "the login's answer"))

    def count(self, error: SourceError) -> None:
        """Count an answer that cannot be used."""
        self._requests.count("balance", error)

    async def close(self) -> None:
        """End all connections."""
        await self._requests.close()


def _profit(said: Any) -> float | None:
    """Of all trades since the bot's database began, in its stake currency."""
    value = said.get("profit_all_coin") if isinstance(said, Mapping) else None
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SourceError("malformed", f"profit_all_coin is {value!r}") from None


def _fills(trade: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    orders = trade.get("orders") or ()
    for order in rows(orders if isinstance(orders, list) else None, "the orders of a trade"):
        filled, at = order.get("filled"), order.get("order_filled_timestamp")
        price = order.get("average") or order.get("safe_price")
        if not filled or not at or not price:
            continue  # waits, or was cancelled
        yield {
            "id": f"{field(trade, 'trade_id', 'a trade')}:{field(order, 'order_id', 'an order')}",
            "symbol": field(trade, "pair", "a trade"),
            "side": field(order, "ft_order_side", "an order"),
            "price": str(price),
            "quantity": str(filled),
            "timestamp": float(at) / 1000,
            "order": str(order["order_id"]),
        }


def _positions(trades: list[Mapping[str, Any]]) -> list[Said]:
    """A pair may have several open trades."""
    quantities: dict[str, Decimal] = {}
    prices: dict[str, Any] = {}
    for trade in trades:
        pair = str(field(trade, "pair", "a trade"))
        amount = Decimal(str(field(trade, "amount", "a trade")))
        quantities[pair] = quantities.get(pair, Decimal(0)) + (
            -amount if trade.get("is_short") else amount
        )
        prices[pair] = trade.get("current_rate")
    return [
        {"symbol": pair, "quantity": str(quantity),
         "price": None if prices[pair] is None else str(prices[pair])}
        for pair, quantity in quantities.items()
    ]  # fmt: skip
