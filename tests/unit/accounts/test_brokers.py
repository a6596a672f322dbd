"""Accounts of brokers against servers that speak their documented formats, and their faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporter.accounts.alpaca import Alpaca
from exporter.accounts.freqtrade import Freqtrade
from exporter.accounts.ib_flex import IbFlex
from exporter.accounts.open_account import open_account
from exporter.config import AccountSettings, Config, Strategy
from exporter.metrics import Metrics
from exporter.state import State, ledger
from exporter.strategies.account_poller import AccountPoller
from exporter.strategies.tracker import Strategies
from tests.unit.accounts.brokers import AlpacaServer, FlexServer, FreqtradeServer, StandIn
from tests.unit.clocks import ManualClock

SECRETS = {
    "A_KEY": AlpacaServer.key, "A_SECRET": AlpacaServer.secret, "F_USER": FreqtradeServer.user,
    "F_PASSWORD": FreqtradeServer.password, "IB_TOKEN": FlexServer.token,
}  # fmt: skip
KEYS: dict[str, dict[str, Any]] = {
    "alpaca": {"key_env": "A_KEY", "secret_env": "A_SECRET"},
    "freqtrade": {"key_env": "F_USER", "secret_env": "F_PASSWORD"},
    "ib_flex": {"key_env": "IB_TOKEN", "query": FlexServer.query},
}
SERVERS: dict[str, Callable[[], StandIn]] = {
    "alpaca": AlpacaServer, "freqtrade": FreqtradeServer, "ib_flex": FlexServer,
}  # fmt: skip


class Desk:
    """A strategy whose equity comes from one of the servers, over restarts."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind, self.clock = kind, ManualClock()
        self.slept: list[float] = []
        self.clock.advance(1_795_600_000.0 - self.clock.now())
        self.server: Any = SERVERS[kind]()
        self.path = folder / "state.db"

    async def start(self) -> None:
        self.url = await self.server.start()
        await self.restart()

    async def restart(self, **more: Any) -> None:
        self.state = State.open(self.path, self.clock)
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        given = {"from": self.kind, "url": self.url, "read_timeout": 0.3, "retries": 1} | more
        settings = AccountSettings(**given | KEYS[self.kind])
        self.config = Config(timezone="UTC", strategies={"m": Strategy(equity=settings)})
        self.strategies = Strategies(self.state, self.clock, metrics)
        self.strategies.apply(self.config)
        self.account: Any = open_account("m", self.config, metrics, self.clock, SECRETS)
        requests = self.account._requests
        for part in (requests, requests._requests, requests._requests._budget):
            part.sleep = part._sleep = self._sleep
        self.poller = AccountPoller(
            self.state, self.clock, metrics, self.strategies, lambda *_: self.account
        )
        self.poller.use(self.config)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def stop(self) -> None:
        await self.account.close()
        await self.state.close()

    async def look(self, seconds: float = 60.0) -> str | None:
        self.clock.advance(seconds)
        await self.poller.look("m")
        return self.strategies.problems.get("m")

    def count(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(name, {"source": "m.equity", **labels})
        return found or 0.0

    @property
    def curve(self) -> Any:
        return self.strategies.curves["m"]

    def fills(self) -> list[Any]:
        return [row.fill for row in ledger.fills(self.path)]

    def held(self) -> dict[str, str]:
        found = self.strategies.holdings.positions("m", self.kind)
        assert found
        return {symbol: f"{quantity:f}" for symbol, quantity in found.quantities().items()}


@pytest.fixture
async def desk(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    found = Desk(tmp_path, request.param)
    await found.start()
    yield found
    await found.stop()
    await found.server.close()


def of(*kinds: str) -> Any:
    return pytest.mark.parametrize("desk", kinds, indirect=True)


@of("alpaca")
async def test_alpaca_s_equity_flows_fills_and_positions(desk: Desk) -> None:
    """A deposit is no profit, a page that is full has another, a short position is negative."""
    server = desk.server
    for number in range(230):
        server.fill(number, side="sell_short" if number == 5 else "buy")
    server.flow(1, "5000")  # before the first look: it made the equity
    server.positions = [
        {"symbol": "AAPL", "qty": "10.5", "side": "long", "current_price": "181.5"},
        {"symbol": "TSLA", "qty": "-2", "side": "short", "current_price": "400"},
    ]
    assert await desk.look() is None
    assert desk.curve.equity == 103820.56
    assert desk.held() == {"AAPL": "10.5", "TSLA": "-2"}
    fills = desk.fills()
    assert len(fills) == 230
    assert [f.side for f in fills].count("sell") == 1
    assert (str(fills[0].price), fills[0].origin) == ("1.63", "alpaca")
    server.account["equity"] = "113820.56"
    server.flow(2, "10000")
    for _ in range(2):
        assert await desk.look() is None
        assert desk.curve.peak == pytest.approx(113820.56)
        assert desk.curve.drawdown == 0
    server.account["equity"] = "56910.28"
    assert await desk.look() is None
    assert desk.curve.drawdown == pytest.approx(0.5)
    assert len(desk.fills()) == 230
    assert desk.count("quant_fetch_requests_total", endpoint="account") == 4


@of("alpaca")
async def test_more_fills_than_one_look_asks_for_come_with_the_next_ones(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a deposit among thousands of fills is no profit."""
    monkeypatch.setattr("exporter.accounts.alpaca._MOST_PAGES", 2)
    assert await desk.look() is None
    for number in range(450):
        day, second = 18 + number // 100, number % 60
        desk.server.fill(number, transaction_time=f"2026-11-{day}T15:34:{second:02d}.977Z")
    desk.server.flow(1, "10000")
    desk.server.account["equity"] = "113820.56"
    for _ in range(5):
        assert await desk.look() is None
        assert desk.curve.drawdown == 0
    assert desk.curve.peak == pytest.approx(113820.56)
    assert len(desk.fills()) == 450


@of("alpaca")
async def test_a_new_curve_gets_alpaca_s_history(desk: Desk) -> None:
    """With its peak, once, and with the deposits in it taken out; nulls and zeros are before it."""
    day = 86400
    start = int(desk.clock.now()) // day * day - 6 * day
    desk.server.history |= {
        "timestamp": [start + n * day for n in range(6)],
        "equity": [None, 0, 1000.0, 3000.0, 2400.0, 2300.0],
        "cashflow": {"CSD": [0, 0, 1000, 2000, 0, 0], "CSW": [0, 0, 0, 0, 0, 0]},
    }
    desk.server.account["equity"] = "2400"
    assert await desk.look() is None
    assert desk.curve.drawdown == pytest.approx(0.2)
    asked = [path for path, _ in desk.server.asked]
    await desk.stop()
    await desk.restart()
    desk.server.flow(1, "0")
    assert await desk.look() is None
    assert desk.curve.drawdown == pytest.approx(0.2)
    assert [path for path, _ in desk.server.asked].count("/v2/account/portfolio/history") == 1
    assert "/v2/account/portfolio/history" in asked


@of("alpaca")
async def test_a_deposit_that_a_kill_hides_counts_once(desk: Desk) -> None:
    """Equity and what is known of flows are kept together: whatever was not, is asked again."""
    await desk.look()
    desk.server.flow(1, "10000")
    desk.server.account["equity"] = "113820.56"
    real, desk.state.write = desk.state.write, None  # type: ignore[method-assign, assignment]
    assert "internal error" in str(await desk.look())
    desk.state.write = real  # type: ignore[method-assign]
    await desk.stop()
    await desk.restart()
    assert await desk.look() is None
    assert (desk.curve.drawdown, desk.curve.peak) == (0, pytest.approx(113820.56))


@of("alpaca")
async def test_alpaca_s_fills_and_positions_may_fail_and_the_equity_is_read(desk: Desk) -> None:
    """A fill of another form is left out, and one from the future comes again later."""
    server = desk.server
    assert await desk.look() is None
    server.account["equity"] = "90000"
    server.fill(1, transaction_time="2026-11-25T05:00:00.5Z")
    server.fill(2, price=None)
    later = datetime.fromtimestamp(desk.clock.now() + 7200, UTC)
    server.fill(3, transaction_time=f"{later:%Y-%m-%dT%H:%M:%S}Z")
    server.faults.extend([None, None, None, 400])
    problem = str(await desk.look())
    assert "the equity is read, but a fill is left out: a fill has no `price`" in problem
    assert "and 2 more like it" in problem
    assert (desk.curve.equity, len(desk.fills())) == (90000, 1)
    del server.activities[1]
    assert await desk.look(7200.0) is None
    assert len(desk.fills()) == 2


@of("freqtrade")
async def test_freqtrade_s_lists_may_fail_and_the_equity_is_read(desk: Desk) -> None:
    """What it holds is then not known, which is not nothing."""
    desk.server.open = [FreqtradeServer.trade(700, "buy")]
    assert await desk.look() is None
    held = desk.held()
    desk.server.open = [FreqtradeServer.trade(701, "buy", pair=None)]
    assert "the equity is read, but a trade has no `pair`" in str(await desk.look())
    assert (desk.held(), desk.strategies.problems.is_unread("m")) == (held, False)


@of("ib_flex")
async def test_one_trade_of_another_form_does_not_hide_a_statement(desk: Desk) -> None:
    element = FlexServer.element
    desk.server.sections = (
        element("EquitySummaryByReportDateInBase", reportDate="20251124", total="5")
        + element("Trade", symbol="AAPL", tradeID="1", dateTime="20251124;100000", buySell="BUY",
                  quantity="1")
        + element("Trade", symbol="TSLA", tradeID="2", dateTime="20251124;100000", buySell="SELL",
                  quantity="-3", tradePrice="400")
    )  # fmt: skip
    assert "a fill is left out: <Trade> has no `tradePrice`" in str(await desk.look())
    assert (desk.curve.equity, [fill.symbol for fill in desk.fills()]) == (5, ["TSLA"])


@of("freqtrade")
async def test_freqtrade_s_balance_orders_and_open_trades(desk: Desk) -> None:
    """Orders of open and closed trades, each once; its token is renewed when it has ended."""
    server, trade = desk.server, FreqtradeServer.trade
    server.closed = [trade(n, "buy", "sell") for n in range(600)]
    waits = [{"order_id": "x", "filled": None}]
    server.open = [
        trade(700, "buy"), trade(701, "buy", amount=0.25, is_short=True),
        trade(702, "buy", pair="BTC/USDT", orders=waits),
    ]  # fmt: skip
    assert await desk.look() is None
    assert desk.curve.equity == 1050.25
    said = desk.registry.get_sample_value("quant_strategy_account_profit", {"strategy": "m"})
    assert said == 50.25
    assert desk.held() == {"BTC/USDT": "0.5", "ETH/USDT": "0.25"}
    assert len(desk.fills()) == 1202
    assert str(desk.fills()[0].price) == "2000.1"
    server.token = "another"  # it was restarted, or fifteen minutes passed
    server.closed.append(trade(700, "buy", "sell"))
    server.open = []
    assert await desk.look() is None
    assert server.logins == 2
    assert len(desk.fills()) == 1203
    assert desk.held() == {}
    assert [query["offset"] for path, query in server.asked if path.endswith("trades")][-1] == "350"


@of("ib_flex")
async def test_a_flex_statement_is_waited_for_and_read(desk: Desk) -> None:
    """Error 1019 comes with status 200; a deposit is the flow of the next report."""
    server, element = desk.server, FlexServer.element
    server.not_ready = 3
    days = {"20261120": "100000.10", "20261123": "109000.10", "20261124": "98100.09"}
    server.sections = (
        "<EquitySummaryInBase>"
        + "".join(
            element("EquitySummaryByReportDateInBase", reportDate=day, total=total, cash="1")
            for day, total in days.items()
        )
        + "</EquitySummaryInBase><CashTransactions>"
        + element("CashTransaction", type="Deposits/Withdrawals", dateTime="20261121",
                  amount="10000", fxRateToBase="1")
        + element("CashTransaction", type="Dividends", dateTime="20261123", amount="5")
        + "</CashTransactions><Trades>"
        + element("Trade", symbol="AAPL", ibExecID="0001.01", dateTime="20261124;093001",
                  buySell="BUY", quantity="10", tradePrice="181.50", ibCommission="-0.35",
                  currency="USD", ibOrderID="77", levelOfDetail="EXECUTION")
        + element("Trade", symbol="TSLA", tradeID="2", dateTime="20261124;100000", buySell="SELL",
                  quantity="-3", tradePrice="400")
        + element("Trade", symbol="AAPL", levelOfDetail="ORDER")
        + "</Trades><OpenPositions>"
        + element("OpenPosition", symbol="AAPL", position="10", markPrice="182",
                  levelOfDetail="SUMMARY")
        + element("OpenPosition", symbol="AAPL", position="10", levelOfDetail="LOT")
        + "</OpenPositions>"
    )  # fmt: skip
    assert await desk.look() is None
    assert desk.slept == [2.0, 5.0, 10.0]
    assert desk.curve.equity == 98100.09
    # 109000.10 after 10000 came in: 99000.10 of 100000.10, then 98100.09 of 109000.10.
    unit = (99000.10 / 100000.10) * (98100.09 / 109000.10)
    assert desk.curve.drawdown == pytest.approx(1 - unit)
    first, second = sorted(desk.fills(), key=lambda fill: fill.at)
    assert (str(first.price), str(first.fee), first.id, first.order) == (
        "181.50", "0.35", "0001.01", "77")  # fmt: skip
    assert (second.side, str(second.quantity), second.id) == ("sell", "3", "2")
    assert first.at == datetime(2026, 11, 24, 14, 30, 1, tzinfo=UTC).timestamp()
    assert desk.held() == {"AAPL": "10"}
    server.sections = "<EquitySummaryInBase>" + element(
        "EquitySummaryByReportDateInBase", reportDate="20261125", total="108100.09"
    ) + "</EquitySummaryInBase><CashTransactions>" + element(
        "CashTransaction", type="Deposits/Withdrawals", dateTime="20261125;120000", amount="10000"
    ) + "</CashTransactions>"  # fmt: skip
    before = desk.curve.drawdown
    assert await desk.look(366 * 86400.0) is None
    assert desk.curve.drawdown == pytest.approx(before)
    assert len(desk.fills()) == 2


@pytest.mark.parametrize(
    ("code", "reason", "tries"),
    [
        (1012, "auth", 1),
        (1015, "auth", 1),
        (1014, "api", 1),
        (1001, "api", 2),
        (1018, "rate_limit", 2),
    ],
)
@of("ib_flex")
async def test_errors_of_flex_come_with_status_200(
    desk: Desk, code: int, reason: str, tries: int
) -> None:
    """What may pass is tried again, a token that has ended is not."""
    desk.server.error = code
    problem = await desk.look()
    assert f"error {code}: Something is wrong." in str(problem)
    assert desk.count("quant_fetch_failures_total", endpoint="order", reason=reason) == tries
    assert SECRETS["IB_TOKEN"] not in str(problem)


@of("ib_flex")
async def test_a_statement_that_is_never_ready_is_a_failure(desk: Desk) -> None:
    desk.server.not_ready = 100
    assert "error 1019" in str(await desk.look())


@pytest.mark.parametrize(
    ("fault", "reason", "tries", "said"),
    [
        (403, "auth", 1, "HTTP 403"),
        (404, "http", 1, "HTTP 404"),
        ("429", "rate_limit", 2, "HTTP 429"),
        (500, "http", 2, "HTTP 500"),
        ("html", "malformed", 2, "cannot be read"),
        ("half", "malformed", 2, "cannot be read"),
        ("hang", "timeout", 2, "no complete answer"),
    ],
)
@of("alpaca", "freqtrade", "ib_flex")
async def test_a_fault_is_counted_said_and_healed(
    desk: Desk, fault: int | str, reason: str, tries: int, said: str
) -> None:
    """As those of sources are; the curve keeps what it has, and the next look is as before."""
    if desk.kind == "ib_flex":
        desk.server.sections = FlexServer.element(
            "EquitySummaryByReportDateInBase", reportDate="20251124", total="5"
        )
    if desk.kind == "freqtrade":
        await desk.account._log_in()
    desk.server.faults.extend([fault] * tries)
    if (desk.kind, fault) == ("freqtrade", 403):  # it logs in again, and that does not help
        desk.server.faults.extend([None, 403])
    problem = str(await desk.look())
    assert said in problem
    endpoint = {"alpaca": "activities", "freqtrade": "balance", "ib_flex": "order"}[desk.kind]
    failed = desk.count("quant_fetch_failures_total", endpoint=endpoint, reason=reason)
    assert failed == tries + (desk.kind == "freqtrade" and fault == 403)
    assert desk.count("quant_fetch_retries_total", endpoint=endpoint) == tries - 1
    for secret in SECRETS.values():
        assert secret not in problem or secret == "bot"
    assert await desk.look(400.0) is None
    assert desk.curve.equity > 0


@of("alpaca")
async def test_alpaca_that_renames_a_field_is_said_by_its_name(desk: Desk) -> None:
    del desk.server.account["equity"]
    assert "the account has no `equity`" in str(await desk.look())
    desk.server.account["equity"] = "many"
    assert "equity must be a number, not 'many'" in str(await desk.look())
    assert desk.count("quant_fetch_failures_total", endpoint="account", reason="malformed") >= 1


@of("freqtrade")
async def test_a_wrong_password_is_said_and_not_shown(desk: Desk) -> None:
    desk.server.password = "changed"
    problem = str(await desk.look())
    assert "HTTP 401" in problem
    assert FreqtradeServer.password not in problem
    assert desk.server.logins == 0


@of("ib_flex")
async def test_a_query_without_the_section_says_what_to_add(desk: Desk) -> None:
    desk.server.sections = FlexServer.element("EquitySummaryByReportDateInBase", total="1")
    assert "has no `reportDate`: add it to the Flex query" in str(await desk.look())
    desk.server.sections = ""
    assert "has no Net Asset Value" in str(await desk.look())


def test_accounts_are_what_they_are_opened_as() -> None:
    metrics, clock = Metrics(CollectorRegistry()), ManualClock()
    for kind, cls in (("alpaca", Alpaca), ("freqtrade", Freqtrade), ("ib_flex", IbFlex)):
        settings = AccountSettings(**{"from": kind, "url": "http://127.0.0.1:9", **KEYS[kind]})
        config = Config(strategies={"m": Strategy(equity=settings)})
        assert isinstance(open_account("m", config, metrics, clock, SECRETS), cls)
