"""The shipped alertmanager.yml on a real Alertmanager of each generation: what mutes what, and what
a group of foreign alerts looks like where it arrives."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from exporter.util.clock import iso
from tests.generations import Generation, each_generation
from tests.integration.servers import AlertStack, alert_stack, until

pytestmark = pytest.mark.integration
EXPORTER = {"job": "quant-exporter", "instance": "127.0.0.1:10077"}


async def post(place: AlertStack, *alerts: dict[str, str], **annotations: str) -> None:
    """As a rule of somebody's would, for an hour."""
    body = [
        {"labels": labels, "annotations": annotations, "endsAt": iso(time.time() + 3600)}
        for labels in alerts
    ]
    async with place.client.post(f"{place.url('alertmanager')}/api/v2/alerts", json=body) as done:
        assert done.status == 200, await done.text()


def of(name: str, severity: str, **labels: str) -> dict[str, str]:
    """Labels."""
    return {"alertname": name, "severity": severity, **labels}


CRITICAL = [
    of("QuantLogFetchesFailing", "critical", **EXPORTER, file="bot_a"),
    of("DiskFull", "critical", job="node", instance="vps:9100", mountpoint="/"),
    of("QuantDrawdown", "critical", **EXPORTER, strategy="m"),
    of("QuantSourceDown", "critical", **EXPORTER, source="tickdb"),
    of("QuantExchangeSilent", "critical", **EXPORTER, exchange="XNYS"),
    of("QuantPriceFrozen", "critical", **EXPORTER, source="s", feed="f", symbol="GME.US"),
]
HEARD = [
    of("QuantLogFetchesFailing", "warning", **EXPORTER, file="bot_b"),
    of("DiskFull", "warning", job="node", instance="vps:9100", mountpoint="/data"),
    of("DiskFull", "warning", job="node", instance="vps:9100", mountpoint="/"),
    of("QuantDrawdown", "warning", **EXPORTER, strategy="other"),
    of("QuantDataOverdue", "critical", **EXPORTER, source="other", feed="f"),
    of("QuantDataOverdue", "critical", **EXPORTER, source="s", feed="hk", exchange="XHKG"),
    of("QuantTaskFailing", "critical", **EXPORTER, task="rebalance", exchange="XNYS"),
    of("QuantPriceFrozen", "warning", **EXPORTER, source="s", feed="f", symbol="AMC.US"),
    of("DiskFull", "info", job="node", instance="vps:9100"),
]
MUTED = [
    of("QuantLogFetchesFailing", "warning", **EXPORTER, file="bot_a"),
    of("QuantDrawdown", "warning", **EXPORTER, strategy="m"),
    of("QuantDataOverdue", "critical", **EXPORTER, source="tickdb", feed="f"),
    of("QuantDataOverdue", "critical", **EXPORTER, source="s", feed="daily", exchange="XNYS"),
    of("QuantTaskFailing", "critical", **EXPORTER, task="scan", source="s", exchange="XNYS"),
]


@each_generation
async def test_a_critical_mutes_its_own_warning_alone(
    generation: Generation, tmp_path: Path
) -> None:
    """Other files, other strategies, and every rule that is not ours are heard; and their groups
    arrive with a title and a text."""
    async with alert_stack(tmp_path, {}, generation, programs=["alertmanager"]) as place:
        await post(place, *CRITICAL, summary="it is bad", description="so: bad #1")
        await asyncio.sleep(1)
        await post(place, *HEARD, *MUTED, summary="it may be bad")
        bots = [of("BotStopped", "critical", job="bots", instance="v:1", bot=b) for b in "ab"]
        for bot in bots:
            await post(place, bot, summary=f"{bot['bot']} stopped", description="no: heartbeat")
        await post(place, of("OldRule", "warning", job="bots", instance="v:1"), message="old words")

        def slack(words: str) -> Any:
            return place.got("slack", words)

        await until(lambda: slack("CRITICAL v:1: BotStopped (2)"), "the group of two")
        (old,) = await until(lambda: slack("WARNING v:1: OldRule"), "the rule without a summary")
        assert old.body["attachments"][0]["text"] == "old words"
        await until(lambda: slack("WARNING bot_b: it may be bad"), "the other file's warning")
        await until(lambda: place.got("pagerduty", "bot_a"), "the pager")
        (page,) = place.got("pagerduty", "CRITICAL bot_a")
        assert page.body["payload"]["custom_details"]["description"].strip() == "so: bad #1"
        states = {
            tuple(sorted(alert.labels.items())): alert.inhibited
            for alert in await place.alertmanager.alerts()
        }
        for labels in HEARD:
            assert not states[tuple(sorted(labels.items()))], labels
        for labels in MUTED:
            assert states[tuple(sorted(labels.items()))], labels
        place.nothing_wrong_on_the_wire()
