"""Started from a fresh checkout, with all profiles, and asked by what each container is for."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.compose import LASTING, ROOT
from tests.containers.stack import EXPORTER, STORE, Stack, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def test_every_container_is_healthy(stack: Stack) -> None:
    """Each by the health check of docker-compose.yml."""
    health = stack.health()
    assert {name: health[name] for name in LASTING} == dict.fromkeys(LASTING, "healthy")
    assert stack.containers()["settings"]["ExitCode"] == 0


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    """The same containers, none of them started again; what ran once runs once more."""
    before = started(stack)
    stack.up()
    assert started(stack) == before


def started(stack: Stack) -> dict[str, str]:
    """Service to its container and the moment at which that started."""
    asked = "{{.Name}} {{.Id}} {{.State.StartedAt}}"
    ids = [row["ID"] for name, row in stack.containers().items() if name in LASTING]
    lines = stack.engine.docker("inspect", "--format", asked, *ids).splitlines()
    return {name: rest for name, _, rest in (line.partition(" ") for line in lines)}


def test_a_line_in_loki_leads_to_the_page_of_its_run(stack: Stack) -> None:
    """By the regular expression and the address of the data source, as Grafana uses them."""
    file = yaml.safe_load((ROOT / "grafana/provisioning/datasources/loki.yml").read_text())
    (link,) = file["datasources"][0]["jsonData"]["derivedFields"]

    def runs() -> list[str]:
        return [
            found[1] for line in lines(stack) if (found := re.search(link["matcherRegex"], line))
        ]

    run_id = until(runs, what="a line of a run is in Loki")[-1]
    address = link["url"].replace("$EXPORTER_URL", EXPORTER).replace("$${__value.raw}", run_id)
    assert run_id in stack.get(address)


def lines(stack: Stack) -> list[str]:
    """What Loki has of the exporter, asked from its network as Grafana asks."""
    question = "/loki/api/v1/query_range?limit=1000&query=%7Bjob%3D%22quant-exporter%22%7D"
    answer = stack.compose(
        "exec", "-T", "grafana", "wget", "-q", "-O", "-", f"http://loki:3100{question}", check=False
    )
    streams: list[dict[str, Any]] = json.loads(answer or '{"data": {"result": []}}')["data"][
        "result"
    ]
    return [line for stream in streams for _, line, *_ in stream["values"]]


def test_remote_write_reaches_another_prometheus(stack: Stack) -> None:
    """What the boards show, with the label that says where it comes from; no buckets."""
    until(
        lambda: stack.ask('quant_task_runs_total{origin="quant-exporter"}', STORE),
        seconds=150, what="the other Prometheus has the runs of tasks",
    )  # fmt: skip
    assert stack.ask('{__name__=~"quant_.+_bucket"}', STORE) == []


def test_an_alert_reaches_the_journal(stack: Stack) -> None:
    """From Alertmanager to the exporter, with the token that both have of one secret."""
    stack.command("alerts", "test", check=False)
    until(lambda: "QuantTrial" in stack.command("alerts"), what="the trial is in the journal")


def test_every_target_is_up(stack: Stack) -> None:
    """As Prometheus says, which scrapes them: the last test, as the first scrapes take a while."""
    until(lambda: len(stack.ask("up == 1")) == 3, what="exporter, Prometheus, Alertmanager are up")
    assert stack.ask("up == 0") == []
