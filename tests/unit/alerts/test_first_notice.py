"""Who hears of a task that fails, and when."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from exporter.alerts.first_notice import NOTICED_AFTER_SECONDS, first_notice
from exporter.config import Alerts, Config, Task
from exporter.util.units import parse_duration

NEW_YORK = ZoneInfo("America/New_York")
ROOT = Path(__file__).parents[3]


def at(text: str) -> float:
    """A time in New York."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


def said(folder: Path, slot: str, config: Config | None = None, **keys: object) -> str:
    """Of a task that may start for 5 minutes and run for another 5."""
    task = Task(command=("true",), schedule="09:00", **keys)  # type: ignore[arg-type]
    config = config or Config()
    return first_notice(config, folder, task, at(slot), at("2026-11-24 08:00"))


@pytest.mark.parametrize(
    ("slot", "keys", "text"),
    [
        ("2026-11-24 09:00", {"severity": "critical", "alert_after": 2},
         "critical: phone and chat after 2 failed runs in a row, at the latest Tue 09:12"),
        ("2026-11-25 03:00", {"severity": "critical"},
         "critical: phone and chat after 1 failed run, at the latest Wed 03:12"),
        ("2026-11-24 21:45", {}, "warning: chat after 1 failed run, at the latest Tue 21:57"),
        ("2026-11-24 21:55", {},
         "warning: chat after 1 failed run, at the latest Wed 07:00, when quiet hours end"),
        ("2026-11-25 03:00", {},
         "warning: chat after 1 failed run, at the latest Wed 07:00, when quiet hours end"),
        ("2026-11-25 03:00", {"severity": "info"},
         "info: the journal only, nobody is notified"),
        ("2026-11-24 09:00", {"strategy": "momentum"},
         "critical: phone and chat after 1 failed run, at the latest Tue 09:12"),
    ],
)  # fmt: skip
def test_it_says_who_hears_of_a_failed_run_and_by_when(
    tmp_path: Path, slot: str, keys: dict[str, object], text: str
) -> None:
    """The deadline, the way to the message, and for warnings the quiet hours."""
    assert said(tmp_path, slot, **keys) == text


def test_while_learning_the_lower_tier_is_said(tmp_path: Path) -> None:
    """And from when on it is the configured one."""
    learning = Config(alerts=Alerts(learning_until=date(2026, 12, 1)))
    assert said(tmp_path, "2026-11-25 03:00", learning, severity="critical") == (
        "warning (critical from 2026-12-01): chat after 1 failed run, at the latest Wed 07:00, "
        "when quiet hours end"
    )


def test_a_task_that_never_runs_has_no_time(tmp_path: Path) -> None:
    """Its schedule meets no trading day."""
    task = Task(command=("true",), schedule="09:00")
    text = first_notice(Config(), tmp_path, task, float("nan"), at("2026-11-24 08:00"))
    assert text == "warning: chat after 1 failed run; no run is planned"


@pytest.mark.parametrize(
    ("hours", "latest"),
    [
        ({"times": [{"start_time": "08:00", "end_time": "20:00"}], "location": "Europe/Berlin"},
         "at the latest Sat 03:12"),
        ({"times": [{"start_time": "10:00", "end_time": "20:00"}], "location": "Europe/Berlin",
          "weekdays": ["monday:friday"]}, "at the latest Mon 04:00, when quiet hours end"),
        ({"months": ["december"]}, "at the latest Sat 03:12"),
    ],
)  # fmt: skip
def test_quiet_hours_are_those_of_the_own_file(
    tmp_path: Path, hours: dict[str, object], latest: str
) -> None:
    """Saturday 03:12 in New York is 09:12 in Berlin."""
    own = yaml.safe_load((ROOT / "alerting/alertmanager.yml").read_text())
    own["time_intervals"] = [{"name": "waking-hours", "time_intervals": [hours]}]
    (tmp_path / "alerting").mkdir()
    (tmp_path / "alerting/alertmanager.yml").write_text(yaml.safe_dump(own))
    assert said(tmp_path, "2026-11-28 03:00").endswith(latest)


@pytest.mark.parametrize("text", ["route: {receiver: chat}", "route: ["])
def test_without_quiet_hours_a_warning_comes_at_once(tmp_path: Path, text: str) -> None:
    """The own file has none, or is broken."""
    (tmp_path / "alerting").mkdir()
    (tmp_path / "alerting/alertmanager.yml").write_text(text)
    assert said(tmp_path, "2026-11-25 03:00").endswith("at the latest Wed 03:12")


def test_the_way_to_the_message_takes_as_long_as_the_shipped_files_say() -> None:
    """Scrape, two evaluations, `for`, and the wait for the group."""
    prometheus = yaml.safe_load((ROOT / "prometheus/prometheus.yml").read_text())["global"]
    rules = yaml.safe_load((ROOT / "prometheus/rules/quant.yml").read_text())["groups"][0]["rules"]
    failing = next(rule for rule in rules if rule["alert"] == "QuantTaskFailing")
    route = yaml.safe_load((ROOT / "alerting/alertmanager.yml").read_text())["route"]
    steps = (
        prometheus["scrape_interval"], prometheus["evaluation_interval"], failing["for"],
        prometheus["evaluation_interval"], route["group_wait"],
    )  # fmt: skip
    assert sum(map(parse_duration, steps)) == NOTICED_AFTER_SECONDS
