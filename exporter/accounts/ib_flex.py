"""Interactive Brokers' Flex Web Service, version 3: a statement is ordered and then fetched.

https://www.ibkrguides.com/clientportal/performanceandstatements/flex-web-service.htm and
https://www.ibkrguides.com/clientportal/performanceandstatements/flex3error.htm. Errors come as XML
with status 200; 1019 says that the statement is not ready.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

from exporter.accounts.account_requests import AccountRequests
from exporter.accounts.reading import AccountReading, Said, those_readable
from exporter.sources.base import SourceError

URL = "https://ndcdyn.interactivebrokers.com/AccountManagement/FlexWebService"
ENDPOINTS = ("order", "statement")
_ZONE = ZoneInfo("America/New_York")
_NOT_READY = 1019
_RETRYABLE = frozenset((1001, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1018, 1019, 1021))
_AUTH = frozenset((1011, 1012, 1013, 1015, 1016))
_READY_PAUSES = (2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
_CLOSE = 16
_HEADERS = {"User-Agent": "quant-exporter"}


class IbFlex:
    """One Flex query with the sections *Net Asset Value in Base*, *Cash Transactions*, *Trades* and
    *Open Positions*; only the first is needed."""

    def __init__(self, requests: AccountRequests, token: str, query: str) -> None:
        self.name, self._requests = requests.name, requests
        self._token, self._query = token, query

    async def read(self, memory: Mapping[str, Any]) -> AccountReading:
        """A point a day of the statement, its trades, and what was held at its end."""
        statement = await self._statement()
        try:
            points = [*_points(statement, str(memory.get("day", "")))]
            if not points and statement.find(".//EquitySummaryByReportDateInBase") is None:
                raise ValueError("it has no Net Asset Value in Base: add it to the Flex query")
            memory = {"day": points[-1]["id"].removeprefix("flex-")} if points else memory
            left_out: list[str] = []
            fills = [*those_readable(_executions(statement), _fill, left_out)]
            return AccountReading(
                points, fills, _positions(statement), _end(statement), memory, left_out
            )
        except (ValueError, ArithmeticError) as error:
            wrong = SourceError("malformed", f"the statement cannot be read: {error}")
        self.count(wrong)
        raise wrong

    async def _statement(self) -> ElementTree.Element:
        ordered = await self._ask("order", "/SendRequest", self._query)
        reference = _text(ordered, "ReferenceCode")
        # Its host may differ, and the token is sent to the configured one alone.
        path = "/" + (urlsplit(_text(ordered, "Url")).path.rpartition("/")[2] or "GetStatement")
        for pause in _READY_PAUSES:
            try:
                return await self._ask("statement", path, reference)
            except SourceError as error:
                if error.code != _NOT_READY:
                    raise
            await self._requests.sleep(pause)
        return await self._ask("statement", path, reference)

    async def _ask(self, endpoint: str, path: str, query: str) -> ElementTree.Element:
        found: ElementTree.Element = await self._requests.ask(
            endpoint, path, {"t": self._token, "q": query, "v": "3"}, headers=_HEADERS,
            parse=_parse, check=_check,
        )  # fmt: skip
        return found

    def count(self, error: SourceError) -> None:
        """Count an answer that cannot be used."""
        self._requests.count("statement", error)

    async def close(self) -> None:
        """End all connections."""
        await self._requests.close()


def _parse(body: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(body)  # noqa: S314  expat bounds what entities expand to
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from None


def _check(root: ElementTree.Element) -> None:
    """Raises :class:`SourceError` for an answer that is an error."""
    if root.tag == "FlexQueryResponse":
        return
    if root.tag != "FlexStatementResponse":
        text = f"the answer is <{root.tag[:40]}> and cannot be read as a Flex response"
        raise SourceError("malformed", text, retryable=True)
    if _text(root, "Status") == "Success":
        return
    code = _text(root, "ErrorCode")
    number = int(code) if code.isdigit() else None
    reason = "auth" if number in _AUTH else "rate_limit" if number == 1018 else "api"
    # What is not ready is asked for again by the caller, which knows how long that takes.
    raise SourceError(
        reason, f"error {code or 'without a number'}: {_text(root, 'ErrorMessage')[:200]}",
        retryable=number in _RETRYABLE and number != _NOT_READY, code=number,
        retry_after=60.0 if number == 1018 else None,
    )  # fmt: skip


def _text(root: ElementTree.Element, tag: str) -> str:
    return (root.findtext(tag) or "").strip()


def _points(statement: ElementTree.Element, last: str) -> Iterator[Said]:
    """Each report date's total at 16:00 New York, with what was paid in or out since the date
    before; `last` is the newest date of the statement before, if there was one."""
    flows: dict[str, Decimal] = {}
    for one in statement.iter("CashTransaction"):
        if one.get("type") == "Deposits/Withdrawals" and one.get("levelOfDetail") != "SUMMARY":
            day = f"{_moment(_needed(one, 'dateTime')):%Y%m%d}"
            rate = Decimal(one.get("fxRateToBase") or 1)
            flows[day] = flows.get(day, Decimal(0)) + Decimal(_needed(one, "amount")) * rate
    totals: dict[datetime, Decimal] = {}
    currency: str | None = None
    for one in statement.iter("EquitySummaryByReportDateInBase"):
        date = _moment(_needed(one, "reportDate"))  # of several accounts the sum
        totals[date] = totals.get(date, Decimal(0)) + Decimal(_needed(one, "total"))
        said = one.get("currency") or currency
        if currency not in (None, said):
            raise ValueError(f"its accounts are in {currency} and {said}: write a query for each")
        currency = said
    previous = ""
    for date, total in sorted(totals.items()):
        if not previous and total == 0:
            continue  # before it was funded
        label = f"{date:%Y%m%d}"
        previous = previous or (last if last < label else "")
        # What came over a weekend belongs to the next report.
        due = [each for each in flows if previous < each <= label]
        flow = sum((flows[each] for each in due), Decimal(0)) if previous else Decimal(0)
        previous = label
        at = date.replace(hour=_CLOSE, tzinfo=_ZONE).timestamp()
        yield {
            "equity": str(total), "flow": str(flow), "timestamp": at, "id": f"flex-{label}",
            "currency": currency,
        }  # fmt: skip


def _end(statement: ElementTree.Element) -> float | None:
    """The close of its last day, as of which its positions are."""
    dates = [one.get("reportDate") for one in statement.iter("EquitySummaryByReportDateInBase")]
    days = [_moment(date) for date in dates if date]
    return max(days).replace(hour=_CLOSE, tzinfo=_ZONE).timestamp() if days else None


def _executions(statement: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for one in statement.iter("Trade"):
        if one.get("levelOfDetail") in (None, "", "EXECUTION"):
            yield one


def _fill(one: ElementTree.Element) -> Said:
    fee = one.get("ibCommission")
    return {
        "id": one.get("ibExecID") or _needed(one, "tradeID"),
        "symbol": _needed(one, "symbol"),
        "side": "buy" if _needed(one, "buySell").upper().startswith("BUY") else "sell",
        "price": _needed(one, "tradePrice"),
        "quantity": str(abs(Decimal(_needed(one, "quantity")))),
        "fee": str(-Decimal(fee)) if fee else None,
        "currency": one.get("currency") or "",
        "order": one.get("ibOrderID") or "",
        "timestamp": _moment(_needed(one, "dateTime")).replace(tzinfo=_ZONE).timestamp(),
    }


def _positions(statement: ElementTree.Element) -> list[Said] | None:
    """None when the query has no such section."""
    if statement.find(".//OpenPositions") is None:
        return None
    quantities: dict[str, Decimal] = {}
    prices: dict[str, str | None] = {}
    for one in statement.iter("OpenPosition"):
        if one.get("levelOfDetail") in (None, "", "SUMMARY"):
            symbol = _needed(one, "symbol")
            held = Decimal(_needed(one, "position"))
            quantities[symbol] = quantities.get(symbol, Decimal(0)) + held
            prices[symbol] = one.get("markPrice") or None
    return [
        {"symbol": symbol, "quantity": str(quantity), "price": prices[symbol]}
        for symbol, quantity in quantities.items()
    ]


def _needed(element: ElementTree.Element, name: str) -> str:
    value = element.get(name)
    if not value:
        raise ValueError(f"<{element.tag}> has no `{name}`: add it to the Flex query")
    return value


def _moment(text: str) -> datetime:
    """``20261124``, ``20261124;093001`` or with dashes and colons, as Flex is set up."""
    digits = "".join(c for c in text if c.isdigit())
    form = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(digits))
    if form is None:
        raise ValueError(f"{text!r} is not a time: set the query's date format to yyyyMMdd")
    return datetime.strptime(digits, form)  # noqa: DTZ007  the caller knows the zone
