"""Positions of a strategy against a broker's, in a real exporter: pushed and by file, and every
answer that a broker should not give. Also the total over currencies, by a rate that a feed has."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.processes import ROOT, Exporter, free_port, get, hurried, post, wait_for
from tests.unit.accounts.brokers import AlpacaServer

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
sources: {{fx: {{type: push}}}}
feeds:
  fx: {{source: fx, exchange: 24/7, interval: 1m, symbols: [EURUSD]}}
strategies:
  m:
    currency: EUR
    {held}
    equity:
      from: alpaca
      url: {url}
      key_env: A_KEY
      secret_env: A_SECRET
      every: 1s
      retries: 0
      read_timeout: 1s
      requests_per_minute: 6000
portfolio: {{currency: USD, rates: {{EUR: {{feed: fx, symbol: EURUSD}}}}, max_overdue: 1h}}
limits:
  reconciliation:
    of: position_difference
    max: {{warning: 0, critical: 5}}
    symbols: {{AAPL: AAPL.US, TSLA: TSLA.US, BRK.B: BRK-B.US}}
"""
LIMIT = '{limit="reconciliation",strategy="m"}'


class Broker:
    """Alpaca's format on loopback, in a thread."""

    def __init__(self) -> None:
        self.server = AlpacaServer()
        self.server.account["currency"] = "EUR"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(10)

    def hold(self, **quantities: str) -> None:
        """A negative quantity is short."""
        self.server.positions = [
            {
                "symbol": symbol.replace("_", "."), "current_price": "100", "qty": quantity,
                "side": "short" if quantity.startswith("-") else "long",
            }
            for symbol, quantity in quantities.items()
        ]  # fmt: skip

    def fail(self, fault: int | str) -> None:
        """Answer so for a long time."""
        self.server.faults.extend([fault] * 500)

    def heal(self) -> None:
        self.server.faults.clear()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    yield made
    made.close()


class Desk:
    """An exporter between both sides."""

    def __init__(self, folder: Path, broker: Broker, held: str = "") -> None:
        self.folder, self.port = folder, free_port()
        text = CONFIG.format(port=self.port, url=broker.url, held=held or "severity: warning")
        (folder / "exporter.yml").write_text(text)
        environment = {"A_KEY": AlpacaServer.key, "A_SECRET": AlpacaServer.secret}
        script = hurried(folder, STRATEGY_REFRESH=0.5)
        self.exporter = Exporter(folder / "exporter.yml", environment, script)

    def push(self, **held: str) -> None:
        """By the real client, in a process of its own."""
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); from push import Push; "
            "push = Push(sys.argv[2], token_file=sys.argv[3], spool=sys.argv[4]); "
            "assert push.positions('m', dict(one.split('=') for one in sys.argv[5:])); "
            "assert push.flush(10)"
        )
        (self.folder / "push.py").write_text((ROOT / "exporter/push.py").read_text())
        arguments = [f"{symbol.replace('_', '.')}={quantity}" for symbol, quantity in held.items()]
        subprocess.run(
            [sys.executable, "-I", "-c", program, str(self.folder), self.exporter.url,
             str(self.folder / "var/token"), str(self.folder / "spool"), *arguments],
            check=True, timeout=60,
        )  # fmt: skip

    def difference(self) -> tuple[float, str] | None:
        """Value and symbol; None while it is unknown."""
        found = self.exporter.metrics()
        if found.get(f"quant_limit_unknown{LIMIT}") != 0:
            return None
        for name, value in found.items():
            if name.startswith('quant_limit_value{limit="reconciliation"'):
                return value, name.partition('subject="')[2].partition('"')[0]
        return None

    def is_unknown(self) -> bool:
        found = self.exporter.metrics()
        values = [v for n, v in found.items() if n.startswith('quant_limit_value{limit="reconcil')]
        return found[f"quant_limit_unknown{LIMIT}"] == 1 and all(math.isnan(v) for v in values)

    def page(self) -> str:
        return get(f"{self.exporter.url}/").decode()


def test_what_a_strategy_pushes_is_compared_with_what_its_broker_says(
    tmp_path: Path, broker: Broker
) -> None:
    """Other names, short positions and fractions; an answer that is an error, half, or does not
    come is not "no difference"."""
    desk = Desk(tmp_path, broker)
    broker.fail(401)
    with desk.exporter as exporter:
        exporter.wait_ready(desk.port)
        desk.push(AAPL_US="10.5", TSLA_US="-2", **{"BRK-B_US": "0.001"})
        wait_for(lambda: "has not said its positions" in desk.page(), "what is missing")
        assert desk.is_unknown()
        broker.hold(AAPL="10.5", TSLA="-2", BRK_B="0.001")
        broker.heal()
        wait_for(lambda: desk.difference() == (0, ""), "no difference")
        broker.hold(AAPL="10.5", TSLA="2", BRK_B="0.001")
        wait_for(lambda: desk.difference() == (4, "symbol=TSLA.US"), "the wrong side")
        broker.hold(AAPL="10.5", TSLA="-2", BRK_B="0.0009")
        found = wait_for(lambda: (d := desk.difference()) and 0 < d[0] < 1 and d, "a fraction")
        assert found == (pytest.approx(0.0001), "symbol=BRK-B.US")
        broker.hold(AAPL="10.5", TSLA="-2", BRK_B="0.001", MSFT="3")
        wait_for(lambda: desk.difference() == (3, "symbol=MSFT"), "a symbol of the broker alone")
        broker.hold(AAPL="10.5", TSLA="-2", BRK_B="0.001")
        wait_for(lambda: desk.difference() == (0, ""), "no difference again")
        for fault in ("half", "hang"):
            broker.fail(fault)
            wait_for(desk.is_unknown, f"the fault {fault}")
            assert "the account of m has not said its positions since 20" in desk.page()
            if fault == "hang":
                wait_for(
                    lambda: "the limit reconciliation cannot be compared: " in exporter.output(),
                    "a line in the log",
                )
            broker.heal()
            wait_for(lambda: desk.difference() == (0, ""), f"an answer after {fault}")


def test_a_file_of_positions_and_a_total_over_currencies(tmp_path: Path, broker: Broker) -> None:
    """A file that is cut off is not flat; a total without its rate is not exposed as if right."""
    desk = Desk(tmp_path, broker, held="positions_file: held.csv")
    broker.hold(AAPL="10", TSLA="-2")
    file = tmp_path / "held.csv"

    def write(text: str) -> None:
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(file)

    write("symbol,quantity\nAAPL.US,10\nTSLA.US,-2\n")
    with desk.exporter as exporter:
        exporter.wait_ready(desk.port)
        wait_for(lambda: desk.difference() == (0, ""), "no difference")
        total = 'quant_portfolio_total_equity{currency="USD"}'
        assert math.isnan(exporter.metrics()[total])
        assert "the rate of EUR (EURUSD of the feed fx) has not come yet" in desk.page()
        bar: dict[str, Any] = {
            "symbol": "EURUSD",
            "open": 1.1,
            "high": 1.1,
            "low": 1.1,
            "close": 1.1,
            "volume": 1,
        }
        start = datetime.fromtimestamp(time.time() // 60 * 60 - 120, UTC).isoformat()
        bars = {"bars": [bar | {"time": start}]}
        status, said = post(f"{exporter.url}/api/v1/feeds/fx/bars", exporter.token, bars)
        assert status == 200, said
        equity = exporter.metrics()['quant_strategy_equity{strategy="m"}']
        assert exporter.metrics()[total] == pytest.approx(equity * 1.1)
        write("symbol,quantity\nAAPL.US,10\nTSLA.US,-")
        wait_for(desk.is_unknown, "the file that is cut off")
        assert "the last line does not end with a newline" in desk.page()
        write("symbol,quantity\nAAPL.US,10\n")
        wait_for(lambda: desk.difference() == (2, "symbol=TSLA.US"), "the difference")
