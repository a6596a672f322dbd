"""A paper strategy, so that there are equity, fills and drawdown to look at. Replace it with yours.

It holds BTCUSDT while the price is above the mean of its last 20 prices.
"""

import json
import os
from pathlib import Path
from urllib.request import Request, urlopen

SYMBOL, PRICES = "BTCUSDT", 20
ACCOUNT = Path("var/paper.json")


def trade(context):
    price = context.tickers([SYMBOL])[SYMBOL].last
    account = {"cash": 10_000.0, "coins": 0.0, "prices": []}
    if ACCOUNT.exists():
        account = json.loads(ACCOUNT.read_text())
    account["prices"] = [*account["prices"], price][-PRICES:]
    mean = sum(account["prices"]) / len(account["prices"])
    side = None
    if price >= mean and not account["coins"]:
        side, account["coins"], account["cash"] = "buy", account["cash"] / price, 0.0
    elif price < mean and account["coins"]:
        side, account["cash"], account["coins"] = "sell", account["coins"] * price, 0.0
    ACCOUNT.parent.mkdir(exist_ok=True)
    ACCOUNT.write_text(json.dumps(account))
    post("equity", {"equity": account["cash"] + account["coins"] * price})
    if side:
        post("fills", {"symbol": SYMBOL, "side": side, "price": price})
    print(f"{SYMBOL} at {price:.2f}, mean {mean:.2f}: {side or 'nothing to do'}")
    return 1


def post(what, body):
    """To the exporter that runs this task; it puts both variables into the environment."""
    token = Path(os.environ["QUANT_TOKEN_FILE"]).read_text().strip()
    request = Request(
        f"{os.environ['QUANT_URL']}/api/v1/strategies/paper/{what}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    with urlopen(request, timeout=10):
        pass
