"""Servers that speak as brokers document it, with faults on command. Each names its document."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any
from xml.sax.saxutils import quoteattr

from aiohttp import web
from aiohttp.test_utils import TestServer

HTML = "<html><body>Bad gateway</body></html>"


class StandIn:
    """One server on loopback. `faults` are taken one a request: a status, or a word."""

    def __init__(self) -> None:
        self.faults: deque[int | str | None] = deque()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._hanging = asyncio.Event()
        app = web.Application(middlewares=[self._faulty])
        for method, path, handler in self.routes():
            app.router.add_route(method, path, handler)
        self.server = TestServer(app)

    def routes(self) -> list[tuple[str, str, Callable[[web.Request], Awaitable[web.Response]]]]:
        raise NotImplementedError

    async def start(self) -> str:
        await self.server.start_server()
        return f"http://127.0.0.1:{self.server.port}"

    async def close(self) -> None:
        self._hanging.set()
        await self.server.close()

    @web.middleware
    async def _faulty(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.asked.append((request.path, dict(request.query)))
        fault = self.faults.popleft() if self.faults else None
        if fault == "hang":
            await self._hanging.wait()
        if fault == "html":
            return web.Response(text=HTML, content_type="text/html")
        if fault == "429":
            return web.json_response(
                {"message": "slow down"}, status=429, headers={"Retry-After": "7"}
            )
        if isinstance(fault, int):
            return web.json_response({"message": "no"}, status=fault)
        answer = await handler(request)
        if fault == "half" and isinstance(answer, web.Response) and answer.body:
            body = bytes(answer.body)  # type: ignore[arg-type]
            return web.Response(body=body[: len(body) // 2], content_type="application/json")
        return answer


class AlpacaServer(StandIn):
    """https://docs.alpaca.markets/reference/getaccount-1, …/getaccountportfoliohistory-1,
    …/getaccountactivities-2 and …/getallopenpositions, as of 2026."""

    key, secret = "PKTEST", "alpaca-secret"

    def __init__(self) -> None:
        super().__init__()
        self.account: dict[str, Any] = {
            "id": "904837e3-3b76-47ec-b432-046db621571b", "status": "ACTIVE", "currency": "USD",
            "cash": "4000.32", "equity": "103820.56", "last_equity": "103529.24",
        }  # fmt: skip
        self.activities: list[dict[str, Any]] = []
        self.positions: list[dict[str, Any]] = []
        self.history: dict[str, Any] = {
            "timestamp": [], "equity": [], "profit_loss": [], "timeframe": "1D",
        }  # fmt: skip

    def routes(self) -> Any:
        return [
            ("GET", "/v2/account", self._account),
            ("GET", "/v2/account/activities", self._activities),
            ("GET", "/v2/account/portfolio/history", self._history),
            ("GET", "/v2/positions", self._positions),
        ]

    def _check(self, request: web.Request) -> None:
        given = request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY")
        if given != (self.key, self.secret):
            raise web.HTTPForbidden(
                text='{"message": "forbidden."}', content_type="application/json"
            )

    async def _account(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response(self.account)

    async def _history(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response(self.history)

    async def _positions(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response(self.positions)

    async def _activities(self, request: web.Request) -> web.Response:
        self._check(request)
        size = int(request.query.get("page_size", 100))
        token = request.query.get("page_token")
        types = request.query["activity_types"].split(",")
        after = request.query["after"]
        found = [
            one
            for one in self.activities
            if one["activity_type"] in types and one.get("transaction_time", "Z") > after
        ]
        if token:
            ids = [one["id"] for one in found]
            found = found[ids.index(token) + 1 :]
        return web.json_response(found[:size])

    def fill(self, number: int, **more: Any) -> None:
        self.activities.append({
            "activity_type": "FILL", "id": f"20261124113406977::{number:08d}", "cum_qty": "1",
            "leaves_qty": "0", "price": "1.63", "qty": "1", "side": "buy", "symbol": "LPCN",
            "transaction_time": "2026-11-24T15:34:06.977Z", "type": "fill",
            "order_id": "904837e3-3b76-47ec-b432-046db621571b", **more,
        })  # fmt: skip

    def flow(self, number: int, amount: str, kind: str = "CSD") -> None:
        self.activities.append({
            "activity_type": kind, "id": f"20261124000000000::flow{number}", "date": "2026-11-24",
            "net_amount": amount, "status": "executed",
        })  # fmt: skip


class FreqtradeServer(StandIn):
    """https://www.freqtrade.io/en/stable/rest-api/, version 2026.x: token/login, balance, profit,
    status and trades."""

    user, password = "bot", "ft-password"

    def __init__(self) -> None:
        super().__init__()
        self.token, self.logins = "", 0
        self.balance: dict[str, Any] = {
            "currencies": [], "total": 1100.5, "total_bot": 1050.25, "symbol": "USD",
            "value": 1100.5, "value_bot": 1050.25, "stake": "USDT", "note": "Simulated balances",
            "starting_capital": 1000.0,
        }  # fmt: skip
        self.open: list[dict[str, Any]] = []
        self.closed: list[dict[str, Any]] = []

    def routes(self) -> Any:
        return [
            ("POST", "/api/v1/token/login", self._login),
            ("GET", "/api/v1/balance", self._of(lambda: self.balance)),
            (
                "GET",
                "/api/v1/profit",
                self._of(lambda: {"profit_all_coin": 50.25, "trade_count": 2}),
            ),
            ("GET", "/api/v1/status", self._of(lambda: self.open)),
            ("GET", "/api/v1/trades", self._trades),
        ]

    async def _login(self, request: web.Request) -> web.Response:
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {pair}":
            return web.json_response({"detail": "Unauthorized"}, status=401)
        self.logins += 1
        self.token = f"token-{self.logins}"
        return web.json_response({"access_token": self.token, "refresh_token": "r"})

    def _allowed(self, request: web.Request) -> bool:
        return bool(self.token) and request.headers.get("Authorization") == f"Bearer {self.token}"

    def _of(self, value: Callable[[], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            if not self._allowed(request):
                return web.json_response({"detail": "Unauthorized"}, status=401)
            return web.json_response(value())

        return handle

    async def _trades(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return web.json_response({"detail": "Unauthorized"}, status=401)
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        page = self.closed[offset : offset + limit]
        return web.json_response({
            "trades": page, "trades_count": len(page), "offset": offset,
            "total_trades": len(self.closed),
        })  # fmt: skip

    @staticmethod
    def trade(number: int, *sides: str, **more: Any) -> dict[str, Any]:
        orders = [
            {"order_id": f"{number}-{n}", "ft_order_side": side, "status": "closed",
             "filled": 0.5, "average": 2000.1 + n, "safe_price": 2000.1, "remaining": 0.0,
             "order_filled_timestamp": 1_763_990_000_000 + 60_000 * (2 * number + n)}
            for n, side in enumerate(sides)
        ]  # fmt: skip
        return {
            "trade_id": number, "pair": "ETH/USDT", "is_open": len(sides) == 1, "amount": 0.5,
            "is_short": False, "current_rate": 2010.5, "orders": orders, **more,
        }  # fmt: skip


class FlexServer(StandIn):
    """https://www.ibkrguides.com/clientportal/performanceandstatements/flex-web-service.htm and
    …/flex3error.htm, version 3: SendRequest, then GetStatement; errors come with status 200."""

    token, query = "123456789", "4711"

    def __init__(self) -> None:
        super().__init__()
        self.not_ready, self.error = 0, 0
        self.sections = ""

    def routes(self) -> Any:
        return [("GET", "/SendRequest", self._send), ("GET", "/GetStatement", self._get)]

    async def _send(self, request: web.Request) -> web.Response:
        if self.error:
            return _flex_error(self.error, "Something is wrong.")
        if request.query.get("t") != self.token:
            return _flex_error(1015, "Token is invalid.")
        if request.query.get("q") != self.query or request.query.get("v") != "3":
            return _flex_error(1014, "Query is invalid.")
        return _xml(
            "<FlexStatementResponse timestamp='24 November, 2026 10:37 AM EST'>"
            "<Status>Success</Status><ReferenceCode>9999</ReferenceCode><Url>"
            "https://gdcdyn.interactivebrokers.com/Universal/servlet/FlexStatementService.GetStatement"
            "</Url></FlexStatementResponse>".replace("FlexStatementService.", "")
        )

    async def _get(self, request: web.Request) -> web.Response:
        if request.query.get("t") != self.token or request.query.get("q") != "9999":
            return _flex_error(1017, "Reference code is invalid.")
        if self.not_ready:
            self.not_ready -= 1
            text = "Statement generation in progress. Please try again shortly."
            return _flex_error(1019, text, status="Warn")
        return _xml(
            '<FlexQueryResponse queryName="equity" type="AF"><FlexStatements count="1">'
            '<FlexStatement accountId="U1234567" fromDate="20261120" toDate="20261124" '
            f'period="LastWeek" whenGenerated="20261125;033000">{self.sections}'
            "</FlexStatement></FlexStatements></FlexQueryResponse>"
        )

    @staticmethod
    def element(tag: str, **attributes: str) -> str:
        pairs = " ".join(f"{name}={quoteattr(value)}" for name, value in attributes.items())
        return f"<{tag} {pairs}/>"


def _xml(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/xml")


def _flex_error(code: int, text: str, status: str = "Fail") -> web.Response:
    return _xml(
        f"<FlexStatementResponse timestamp='24 November, 2026'><Status>{status}</Status>"
        f"<ErrorCode>{code}</ErrorCode><ErrorMessage>{text}</ErrorMessage></FlexStatementResponse>"
    )
