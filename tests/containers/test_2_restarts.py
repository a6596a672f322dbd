"""Killed and restarted: everything comes back by itself, and nothing is forgotten."""

from __future__ import annotations

import re

import pytest

from tests.compose import LASTING
from tests.containers.stack import ALERTMANAGER, EXPORTER, Stack, until

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(900)]


def healthy(stack: Stack) -> bool:
    health = stack.health()
    return all(health.get(name) == "healthy" for name in LASTING)


def runs(stack: Stack) -> list[str]:
    """Ids of the runs of `beat` that the page lists, newest first."""
    return re.findall(r"/runs/([\w-]+)", stack.get(f"{EXPORTER}/tasks/beat"))


@pytest.mark.parametrize("service", LASTING)
def test_what_is_killed_is_healthy_again(stack: Stack, service: str) -> None:
    """By its restart policy, without anybody."""
    until(lambda: healthy(stack))
    before = stack.engine.docker(
        "inspect", "--format", "{{.State.StartedAt}}", stack.id_of(service)
    )
    stack.kill(service)
    until(
        lambda: before not in stack.engine.docker(
            "inspect", "--format", "{{.State.StartedAt}}", stack.id_of(service)
        ) and stack.health().get(service) == "healthy",
        what=f"{service} is healthy again",
    )  # fmt: skip


def test_a_killed_exporter_keeps_its_runs_and_goes_on(stack: Stack) -> None:
    """Runs and the journal are there, and new runs come."""
    known = until(lambda: runs(stack))
    journal = until(lambda: "AlwaysFires" in stack.command("alerts") and stack.command("alerts"))
    stack.kill("exporter")
    until(lambda: set(known) < set(runs(stack)), what="old runs and new ones")
    assert journal.splitlines()[0] in stack.command("alerts")


def test_an_acknowledgement_outlives_a_killed_alertmanager(stack: Stack) -> None:
    """Although it had not saved the silence yet."""
    until(lambda: "AlwaysFires" in stack.command("alerts"))
    stack.command("ack", "AlwaysFires")
    assert silenced(stack) is True
    stack.kill("alertmanager")
    until(lambda: silenced(stack), what="the alert is silenced again")


def silenced(stack: Stack) -> bool | None:
    """Whether the alert that always fires is; None when Alertmanager does not have it."""
    for alert in stack.json(f"{ALERTMANAGER}/api/v2/alerts") or ():
        if alert["labels"]["alertname"] == "AlwaysFires":
            return bool(alert["status"]["silencedBy"])
    return None


def test_a_task_that_takes_all_memory_is_killed_alone(stack: Stack) -> None:
    """The kernel ends the task, not the exporter, and the run says so."""
    until(lambda: healthy(stack))
    asked = ("inspect", "--format", "{{.State.StartedAt}} {{.RestartCount}}")
    before = stack.engine.docker(*asked, stack.id_of("exporter"))
    said = "killed for memory: everything in its container or service may use 1.07 GB"
    assert said in stack.command("run-task", "hungry", check=False)
    assert stack.engine.docker(*asked, stack.id_of("exporter")) == before


STUCK = """
import time


async def stuck(context):
    time.sleep(600)
"""


def test_a_hung_exporter_is_started_again(stack: Stack) -> None:
    """Docker restarts nothing that is only unhealthy: the process has to end. It is warned of."""
    until(lambda: healthy(stack))
    config = (stack.checkout / "exporter.yml").read_text()
    stack.write("strategies/stuck.py", STUCK)
    task = '  stuck: {run: "stuck:stuck", schedule: "sun 03:00"}\n'
    stack.write("exporter.yml", f"hang_timeout: 5s\n{config.rstrip()}\n{task}")
    try:
        stack.up()
        known = until(lambda: runs(stack))
        stack.command("run-task", "stuck", check=False)
        until(lambda: "its event loop hung in stuck" in stack.logs("exporter"))
        until(lambda: set(known) < set(runs(stack)), what="old runs and new ones")
        alert = 'ALERTS{alertname="QuantExporterCrashed", alertstate="firing"}'
        until(lambda: stack.ask(alert), seconds=180, what="the warning fires")
    finally:
        stack.write("exporter.yml", config)
        stack.up()


def test_after_a_power_cut_everything_comes_back(stack: Stack) -> None:
    """In whatever order the engine starts it; the settings are still in their volumes."""
    if not stack.engine.power_cut:
        pytest.skip("the engine of this machine is not the tests' to kill")
    until(lambda: healthy(stack))
    known = runs(stack)
    stack.engine.power_cut()
    until(lambda: healthy(stack), what="all containers are healthy again")
    until(lambda: set(known) < set(runs(stack)), what="old runs and new ones")
    until(lambda: len(stack.ask("up == 1")) == 3, what="every target is up")
