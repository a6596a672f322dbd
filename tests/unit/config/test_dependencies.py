"""Tasks that run after others: how serious their failure is."""

from __future__ import annotations

from exporter.config import Task
from exporter.config.dependencies import followers, too_mild, with_inherited_severity


def task(**more: object) -> Task:
    return Task.model_validate({"command": ["x"], "schedule": "every 1h", **more})


TASKS = {
    "fetch": task(),
    "clean": task(after=["fetch"], severity="info"),
    "trade": task(after=["clean"], severity="critical"),
    "report": task(after=["fetch"]),
    "alone": task(),
}


def test_a_task_without_a_severity_is_as_serious_as_the_most_serious_behind_it() -> None:
    """Its alert is the only one when they do not run; what says its own keeps it."""
    found = {name: task.severity for name, task in with_inherited_severity(TASKS).items()}
    assert found == {
        "fetch": "critical", "clean": "info", "trade": "critical", "report": "warning",
        "alone": "warning",
    }  # fmt: skip


def test_a_severity_that_hides_what_does_not_run_is_noted() -> None:
    """With what it hides."""
    (note,) = too_mild(with_inherited_severity(TASKS))
    assert note.place == "tasks.clean.severity"
    assert note.text == (
        "when it fails, trade (critical) does not run either, and nobody hears more than info: "
        "remove it, or write critical"
    )


def test_all_that_wait_are_known_in_their_order() -> None:
    """Through others, too."""
    assert followers("fetch", TASKS) == ["clean", "report", "trade"]
    assert followers("alone", TASKS) == []
