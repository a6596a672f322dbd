"""Alpaca's trading API: https://docs.alpaca.markets/reference/getaccount-1 and its neighbours
`account/portfolio/history`, `account/activities` and `positions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from exporter.accounts.account_requests import AccountRequests, field, rows
from exporter.accounts.reading import AccountReading, Said, those_readable, unless_it_fails
from exporter.sources.base import SourceError
from exporter.util.clock import FUTURE_TOLERANCE_SECONDS

URL = "https://api.alpaca.markets"
ENDPOINTS = ("account", "history", "activities", "positions")
_FLOWS = ("CSD", "CSW", "JNLC", "ACATC")
"""Cash deposited, withdrawn, moved between accounts, and moved here from another broker."""
_PAGE = 100
_MOST_PAGES = 50
_BACK = timedelta(days=7)
_AGAIN = timedelta(hours=1)
"""Fills of so long before the newest are asked for again: each counts once by its id."""
_REMEMBERED = 500


class Alpaca:
    """One account; its history fills a curve that is new."""

    def __init__(self, requests: AccountRequests, key: str, secret: str) -> None:
        self.name, self._requests = requests.name, requests
        self._headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}

    async def read(self, memory: Mapping[str, Any]) -> AccountReading:
        """Equity, new fills, all positions; deposits since the last look are the point's flow."""
        now = self._requests.clock.now()
        known = [str(one) for one in memory.get("flows", ())]
        since = datetime.fromtimestamp(float(memory.get("at", now)), UTC) - _BACK
        paid = await self._activities(_FLOWS, since)
        filled = memory.get("filled")
        newest = datetime.fromtimestamp(float(filled), UTC) - _AGAIN if filled else since
        history = [] if memory else await self._history()
        account = await self._ask("account", "/v2/account")
        equity = field(account, "equity", "the account")
        flows = {str(one["id"]): one for one in paid if one["activity_type"] in _FLOWS}
        new = [one for flow, one in flows.items() if memory and flow not in known]
        flow = sum((Decimal(str(field(one, "net_amount", "a flow"))) for one in new), Decimal(0))
        left_out: list[str] = []
        fills = await unless_it_fails(self._activities(("FILL",), max(since, newest)), left_out)
        filled_here = (one for one in fills or () if one["activity_type"] == "FILL")
        found = [*those_readable(filled_here, _fill, left_out)]
        # One from the future, by our clock, is asked for again.
        latest = now + FUTURE_TOLERANCE_SECONDS
        moments = [at for one in found if (at := _moment(one)) <= latest]
        positions = await unless_it_fails(self._positions(), left_out)
        return AccountReading(
            [
                *history,
                {
                    "equity": str(equity),
                    "flow": str(flow),
                    "timestamp": now,
                    "currency": account.get("currency"),
                },
            ],
            found,
            positions,
            left_out=left_out,
            memory={
                "at": now,
                "filled": max(moments, default=filled),
                "flows": [*known, *(flow for flow in flows if flow not in known)][-_REMEMBERED:],
            },
        )

    async def _activities(self, types: Sequence[str], since: datetime) -> list[Mapping[str, Any]]:
        """The oldest first. What is beyond the last page comes with the next look."""
        found: list[Mapping[str, Any]] = []
        parameters = {
            "activity_types": ",".join(types),
            "after": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "direction": "asc",
            "page_size": str(_PAGE),
        }
        for _ in range(_MOST_PAGES):
            page = rows(
                await self._ask("activities", "/v2/account/activities", parameters),
                "the list of activities",
            )
            for one in page:
                field(one, "id", "an activity")
                field(one, "activity_type", "an activity")
            found += page
            if len(page) < _PAGE:
                break
            parameters["page_token"] = str(page[-1]["id"])
        return found

    async def _positions(self) -> list[Said]:
        data = await self._ask("positions", "/v2/positions")
        return [_position(one) for one in rows(data, "the list of positions")]

    async def _history(self) -> list[Said]:
        """A year of daily values, with the deposits in them."""
        parameters = {
            "period": "1A", "timeframe": "1D", "cashflow_types": ",".join(_FLOWS),
        }  # fmt: skip
        data = await self._ask("history", "/v2/account/portfolio/history", parameters)
        times, values = (
            field(data, "timestamp", "the history"),
            field(data, "equity", "the history"),
        )
        if not isinstance(times, list) or not isinstance(values, list) or len(times) != len(values):
            raise SourceError("malformed", "the history's timestamp and equity differ in length")
        cash = data.get("cashflow")
        columns = (
            [c for c in cash.values() if isinstance(c, list)] if isinstance(cash, dict) else []
        )
        found: list[Said] = []
        for n, (at, value) in enumerate(zip(times, values, strict=True)):
            if value is None or (not found and not value):
                continue  # before it was funded
            moved = sum((Decimal(str(c[n] or 0)) for c in columns if n < len(c)), Decimal(0))
            flow = moved if found else Decimal(0)
            found.append({"equity": str(value), "flow": str(flow), "timestamp": float(at)})
        return found[:-1]  # the last one is today's, which the account says better

    async def _ask(
        self, endpoint: str, path: str, parameters: Mapping[str, str] | None = None
    ) -> Any:
        return await self._requests.ask(endpoint, path, parameters, headers=self._headers)

    def count(self, error: SourceError) -> None:
        """Count an answer that cannot be used."""
        self._requests.count("account", error)

    async def close(self) -> None:
        """End all connections."""
        await self._requests.close()


def _fill(one: Mapping[str, Any]) -> Said:
    fill = {
        "id": str(one["id"]),
        "symbol": field(one, "symbol", "a fill"),
        "side": "buy" if field(one, "side", "a fill") == "buy" else "sell",  # sell_short, too
        "price": str(field(one, "price", "a fill")),
        "quantity": str(field(one, "qty", "a fill")),
        "timestamp": field(one, "transaction_time", "a fill"),
        "order": str(one.get("order_id") or ""),
    }
    _moment(fill)
    return fill


def _moment(fill: Said) -> float:
    """Unix seconds of a fill."""
    try:
        return datetime.fromisoformat(str(fill["timestamp"])).timestamp()
    except ValueError:
        text = f"transaction_time of a fill is {fill['timestamp']!r}"
        raise SourceError("malformed", text) from None


def _position(one: Mapping[str, Any]) -> Said:
    quantity = abs(Decimal(str(field(one, "qty", "a position"))))
    short = one.get("side") == "short"
    return {
        "symbol": field(one, "symbol", "a position"),
        "quantity": str(-quantity if short else quantity),
        "price": None if one.get("current_price") is None else str(one["current_price"]),
    }
