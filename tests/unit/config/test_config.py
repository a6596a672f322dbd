"""exporter.yml: what is read, and what every mistake says."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pytest

from exporter.config import Config, ConfigError, load, load_what_is_right
from exporter.util.backoff import backoff_cap

MISTAKES = sorted((Path(__file__).parent / "mistakes").glob("*.yml"))
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("file", MISTAKES, ids=lambda f: f.stem)
def test_each_mistake_says_where_and_what_would_be_right(file: Path) -> None:
    """Every file holds its expected lines in comments at its top; nothing else is reported."""
    head = "# expect: "
    lines = file.read_text().splitlines()
    expected = [line.removeprefix(head) for line in lines if line.startswith(head)]
    with pytest.raises(ConfigError) as caught:
        load(file)
    said = [f"{m.place}: {m.text}" if m.place else m.text for m in caught.value.mistakes]
    assert said == [line.replace("{folder}", str(file.parent)) for line in expected]


def test_a_line_that_is_not_yaml_is_shown_with_a_mark_below_the_character(tmp_path: Path) -> None:
    """A tab cannot be seen, and nobody counts columns."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "tasks:\n\ta: {}\n")
    assert str(caught.value).splitlines()[1:] == ["    2 | →a: {}", "      | ^"]
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"tasks: {{a: {'x' * 300}, b: c: d}}\n")
    _, shown, mark = str(caught.value).splitlines()
    assert len(shown) < 120
    assert shown[mark.index("^")] == ":"


def test_a_file_of_200_mb_is_refused_at_once(tmp_path: Path) -> None:
    """Reading a recording as YAML would take hours and all memory."""
    file = tmp_path / "exporter.yml"
    with file.open("wb") as large:
        large.truncate(200_000_000)
    began = time.perf_counter()
    with pytest.raises(ConfigError, match="larger than 1 MB: name a config, not another file"):
        load(file)
    assert time.perf_counter() - began < 1


def test_a_file_of_a_module_is_its_name(tmp_path: Path) -> None:
    """As people write what they see in the folder."""
    (tmp_path / "signals.py").write_text("def compute(context): ...\n")
    text = 'code: [.]\ntasks: {a: {run: "signals.py:compute", schedule: "every 5m"}}\n'
    assert read(tmp_path, text).tasks["a"].run == "signals:compute"


def read(tmp_path: Path, text: str):
    """Load a config from text."""
    file = tmp_path / "exporter.yml"
    file.write_text(text)
    return load(file)


def test_what_the_sample_shows_in_comments_is_right_once_it_is_no_comment(tmp_path: Path) -> None:
    """`#` taken away from each example of a source or task."""
    shutil.copytree(ROOT / "sample", tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "exporter.yml").read_text()
    shown = re.sub(r"^  # (\w+: +\{)", r"  \1", text, flags=re.MULTILINE)
    without = re.sub(r"^  market: \{type: simulated\}\n", "", shown, flags=re.MULTILINE)
    config = read(tmp_path, without)
    assert config.tasks["rebalance"].after == ("end_of_day_report",)
    assert config.tasks["bot"].service == "bot.service"
    assert config.sources["market"].type == "tickdb"


def test_the_config_that_is_shipped_is_well() -> None:
    """A new user starts from it."""
    config = load(ROOT / "sample/exporter.yml")
    assert config.tasks["pre_market_scan"].severity == "critical"
    assert config.tasks["health_check"].severity == "warning"
    assert config.feeds["us_minute"].max_overdue == {"critical": 7200.0}
    assert config.feeds["us_minute"].max_spread == {"warning": 0.005}


@pytest.mark.parametrize("name", ["pre_market_scan", "end_of_day_report", "key_check"])
def test_the_shipped_tasks_that_ask_a_source_outlast_an_outage_of_two_minutes(name: str) -> None:
    """Even where chance makes each pause as short as it can be: half of its cap."""
    task = load(ROOT / "sample/exporter.yml").tasks[name]
    shortest = sum(backoff_cap(task.backoff, retry) / 2 for retry in range(task.retries))
    assert shortest > 120


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    """grace, timeout, retries, max_runtime, severity, catch_up, delay, poll."""
    config = read(
        tmp_path,
        "sources: {s: {type: simulated}}\n"
        "feeds: {f: {source: s, symbols: [A.US], interval: 5m, exchange: XNYS}}\n"
        'tasks: {a: {command: [x], schedule: "every 5m"},'
        ' b: {run: "exporter.util.units:parse_size", schedule: "every 5m", retries: 2}}\n',
    )
    task, other, feed = config.tasks["a"], config.tasks["b"], config.feeds["f"]
    assert (task.grace, task.timeout, task.retries, task.max_runtime_seconds) == (300, 300, 0, 300)
    assert other.max_runtime_seconds == 3 * 300 + 5 + 10
    assert (task.severity, task.alert_after, feed.severity) == ("warning", 1, "critical")
    assert (task.catches_up, other.catches_up) == (False, True)
    assert (feed.delay, feed.poll_seconds) == (90, 300)
    assert config.address == ("127.0.0.1", 10077)


def test_a_file_that_is_not_there_or_empty(tmp_path: Path) -> None:
    """Missing is a mistake; empty is an exporter with nothing to do."""
    with pytest.raises(ConfigError, match="there is no such file: `quant-exporter init`"):
        load(tmp_path / "exporter.yml")
    with pytest.raises(ConfigError, match=f"a folder: name the file in it, {tmp_path}/exporter"):
        load(tmp_path)
    assert read(tmp_path, "# nothing yet\n").tasks == {}


def test_a_file_that_nests_without_end_is_a_mistake(tmp_path: Path) -> None:
    """It must not end the command with a traceback."""
    with pytest.raises(ConfigError, match="nests too deeply"):
        read(tmp_path, "a: " + "[" * 5000 + "]" * 5000)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """It must not matter from where the exporter is started."""
    config = read(tmp_path, "strategies: {m: {equity_file: var/m.csv}}\nstate: s/state.db\n")
    assert config.state == tmp_path / "s/state.db"
    assert config.strategies["m"].equity_file == tmp_path / "var/m.csv"
    assert config.logs.directory == tmp_path / "var/log"


def test_scalars_mean_what_a_person_means(tmp_path: Path) -> None:
    """12:00 is a time and not 720; NO is a symbol and not False; a date key is a date."""
    config = read(
        tmp_path,
        "sources: {s: {type: simulated}}\n"
        "feeds: {f: {source: s, symbols: [NO, ON], interval: 1m, exchange: XHKG}}\n"
        "calendar_overrides: {XHKG: {closed: [2026-09-01], early_close: {2026-12-24: 12:00}}}\n",
    )
    assert config.feeds["f"].symbols == ("NO", "ON")
    assert list(config.calendar_overrides["XHKG"].early_close.values()) == ["12:00"]


def test_environment_says_what_the_file_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container listens elsewhere than a laptop; what the file says wins."""
    monkeypatch.setenv("QUANT_LISTEN", "0.0.0.0:10077")
    monkeypatch.setenv("QUANT_ALLOWED_HOSTS", "exporter, other")
    monkeypatch.setenv("QUANT_PROMETHEUS_URL", "http://prometheus:9090/")
    monkeypatch.setenv("QUANT_HANG_TIMEOUT", "30s")
    config = read(tmp_path, "alertmanager_url: http://am:9093")
    assert config.address == ("0.0.0.0", 10077)
    assert config.allowed_hosts == ("exporter", "other")
    assert config.prometheus_url == "http://prometheus:9090"
    assert config.alertmanager_url == "http://am:9093"
    assert config.hang_timeout == 30.0
    monkeypatch.delenv("QUANT_HANG_TIMEOUT")
    assert read(tmp_path, "timezone: UTC").hang_timeout is None
    assert read(tmp_path, "listen: 127.0.0.1:0").address == ("127.0.0.1", 0)


def test_environment_is_checked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake there is said as if it stood in the file."""
    monkeypatch.setenv("QUANT_LISTEN", "everywhere")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, "timezone: UTC")
    assert [m.place for m in caught.value.mistakes] == ["listen"]


@pytest.mark.parametrize("file", MISTAKES, ids=lambda f: f.stem)
def test_what_is_right_can_be_had_without_what_is_wrong(file: Path) -> None:
    """With the same mistakes, or they are raised: nothing else ever is."""
    with pytest.raises(ConfigError) as strict:
        load(file)
    try:
        _, wrong = load_what_is_right(file)
    except ConfigError as error:
        wrong = error
    assert str(wrong) == str(strict.value)


def test_one_wrong_entry_takes_no_other_with_it(tmp_path: Path) -> None:
    """But what refers to it, and keys that do not exist."""
    file = tmp_path / "exporter.yml"
    file.write_text(
        "listen: 127.0.0.1:10099\nstop_timout: 3s\n"
        "sources: {s: {type: simulated}, odd: {type: what}}\n"
        "feeds: {f: {source: odd, symbols: [A.US], interval: 5m, exchange: XNYS}}\n"
        'tasks: {a: {command: [x], schedule: "every 5m"}, b: {command: [x], schedule: "never"}}\n'
    )
    config, wrong = load_what_is_right(file)
    assert wrong is not None
    assert {mistake.place for mistake in wrong.mistakes} == {
        "stop_timout", "sources.odd.type", "tasks.b.schedule",
    }  # fmt: skip
    assert (config.address[1], list(config.tasks)) == (10099, ["a"])
    assert (list(config.sources), list(config.feeds)) == (["s"], [])
    for text, said in (
        ("listen: nowhere\n", "invalid address"),
        ("listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", "written twice"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=said):
            load_what_is_right(file)


@pytest.mark.parametrize(
    ("keys", "severity"),
    [("", "warning"), (", strategy: m", "critical"), (", strategy: m, severity: info", "info")],
)
def test_a_task_that_trades_a_strategy_pages_unless_it_says_otherwise(
    tmp_path: Path, keys: str, severity: str
) -> None:
    """Its failure is a hard error of the strategy."""
    text = 'strategies: {m: {}}\ntasks: {t: {command: [x], schedule: "09:00"' + keys + "}}\n"
    assert read(tmp_path, text).tasks["t"].severity == severity


def test_a_dump_has_the_keys_of_a_sources_and_an_accounts_own_type() -> None:
    """A deploy finds the secrets that a config names in it."""
    config = Config.model_validate(
        {
            "sources": {"s": {"type": "tickdb", "url": "https://x.org", "api_key_env": "KEY"}},
            "strategies": {"m": {"equity": {"from": "alpaca", "key_env": "A", "secret_env": "B"}}},
        }
    )
    dumped = config.model_dump()
    assert dumped["sources"]["s"]["api_key_env"] == "KEY"
    assert dumped["strategies"]["m"]["equity"]["secret_env"] == "B"
