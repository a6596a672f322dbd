"""`quant-exporter alerts test` with a real Alertmanager, the shipped file and the sinks."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
import yaml

from tests.integration.servers import alert_stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SENT = """\
slack: sent (slack, webhook)
pagerduty: sent (pagerduty, webhook)
email: sent (email, webhook)
journal: sent (webhook)
deadman: sent (webhook)
"""


async def says(folder: Path) -> tuple[str, int | None]:
    """What the command prints, and its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exporter", "alerts", "test", cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return out.decode(), process.returncode


async def test_every_receiver_gets_a_trial_and_a_broken_one_is_said(tmp_path: Path) -> None:
    """One after the other; the trial is over a minute later. A receiver without a route or a
    channel is said, with what to do."""
    async with alert_stack(tmp_path, {}, programs=("exporter", "alertmanager")) as stack:
        assert await says(tmp_path) == (SENT, 0)
        for sink, receiver in (("slack", "slack"), ("pagerduty", "pagerduty"), ("email", "email")):
            assert len(stack.got(sink, f"A trial of {receiver}")) == 1
        stack.nothing_wrong_on_the_wire()

        await stack.stop("alertmanager")
        file = tmp_path / "alertmanager.yml"
        config = yaml.safe_load(file.read_text())
        trial = next(r for r in config["route"]["routes"] if "QuantTrial" in str(r["matchers"]))
        trial["routes"] = [r for r in trial["routes"] if r["receiver"] != "email"]
        (pager,) = (r for r in config["receivers"] if r["name"] == "pagerduty")
        del pager["pagerduty_configs"]
        file.write_text(yaml.safe_dump(config))
        (tmp_path / "secrets/slack_url").write_text("http://127.0.0.1:9/gone")
        await stack.start("alertmanager")
        out, code = await says(tmp_path)
        assert code == 1
        assert out.splitlines() == [
            "slack: slack was not delivered: Alertmanager's log says why",
            "pagerduty: not configured: only the journal has it; set its secret or give it a "
            "channel",
            "email: no route sends a trial to it: add the route of QuantTrial from the shipped "
            "alertmanager.yml to yours",
            "journal: sent (webhook)",
            "deadman: sent (webhook)",
        ]
