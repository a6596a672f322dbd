"""The rules that every dashboard follows, one small test a rule."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from exporter.metrics import TABLE
from grafana.build import FOLDER, built, without_defaults
from tests.boards import BOARDS, Query, label_values, panels, queries, selectors

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
each_panel = pytest.mark.parametrize(
    "panel", [p for _, p in panels()], ids=[f"{b}/{p['title']}" for b, p in panels()]
)
each_query = pytest.mark.parametrize("query", queries(), ids=str)

OURS = {spec.name: set(spec.labels) for spec in TABLE}
OURS |= {
    spec.name + part: set(spec.labels) | ({"le"} if part == "_bucket" else set())
    for spec in TABLE
    if spec.kind == "histogram"
    for part in ("_bucket", "_sum", "_count")
}
OTHERS = {
    "up": "Prometheus: whether the scrape worked",
    "scrape_duration_seconds": "Prometheus: how long it took",
    "scrape_samples_post_metric_relabeling": "Prometheus: what it kept",
    "process_start_time_seconds": "prometheus_client, on Linux",
    "process_resident_memory_bytes": "prometheus_client, on Linux",
    "process_cpu_seconds_total": "prometheus_client, on Linux",
    "process_open_fds": "prometheus_client, on Linux",
    "process_max_fds": "prometheus_client, on Linux",
}
UNSCOPED = {
    "ALERTS": "Prometheus: made from rules, which may join several exporters",
    "alertmanager_alerts": "Alertmanager",
    "alertmanager_silences": "Alertmanager",
    "alertmanager_notifications_failed_total": "Alertmanager",
}


def test_committed_json_is_what_the_code_builds() -> None:
    """`make dashboards` would change nothing, and no file is left over."""
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == built()


@each_board
def test_model_reads_its_own_json(board: dict[str, Any]) -> None:
    """The SDK's model loads every file and writes the same again: a key that it does not know, in
    whatever depth of a panel or a query, would be lost."""
    register_default_plugins()
    back = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    assert {"id": None, **without_defaults(back)} == board


def test_uids_are_fixed() -> None:
    """Links and bookmarks outlive a rebuild."""
    assert sorted(board["uid"] for board in BOARDS.values()) == [
        "quant-alerts",
        "quant-data",
        "quant-exporter",
        "quant-overview",
        "quant-strategies",
        "quant-tasks",
    ]


@each_board
def test_board_is_read_only(board: dict[str, Any]) -> None:
    """It comes from files: an edit in the browser would be lost."""
    assert board["editable"] is False
    assert board["id"] is None
    assert "__inputs" not in board


@each_board
def test_board_lets_choose_source_job_and_instance(board: dict[str, Any]) -> None:
    """One Prometheus may hold several exporters, one Grafana several Prometheus."""
    variables = {v["name"]: v for v in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for name in ("job", "instance"):
        assert variables[name]["multi"] is True
        assert variables[name]["label"] == name.capitalize()


@each_board
def test_all_exporters_are_exporters_alone(board: dict[str, Any]) -> None:
    """Prometheus and Alertmanager have `up` and `process_…`, too: All is the list of exporters, not
    whatever there is. Of tasks and symbols it is whatever there is, which keeps queries short."""
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            exporters = variable["name"] in ("job", "instance")
            assert variable.get("allValue") == (None if exporters else ".+")


@each_board
def test_variables_follow_the_shown_time(board: dict[str, Any]) -> None:
    """A task that was removed yesterday can still be chosen when last week is shown."""
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["refresh"] == 2


@each_board
def test_variables_ask_for_what_exists(board: dict[str, Any]) -> None:
    """label_values(METRIC, LABEL): the metric is in the table and has the label."""
    for _, definition in label_values(board):
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", definition)
        assert found
        (selector,) = selectors(found[1])
        assert found[2] in OURS[selector.name] | {"job", "instance"}


@each_board
def test_links_to_other_boards_keep_time_and_variables(board: dict[str, Any]) -> None:
    """Looking closer keeps what one looks at."""
    (link,) = board["links"]
    assert (link["keepTime"], link["includeVars"], link["tags"]) == (True, True, board["tags"])


@each_panel
def test_links_of_panels_lead_to_our_boards_with_time_and_exporter(panel: dict[str, Any]) -> None:
    """A figure or a row leads to the same moment of the same exporter."""
    for url in re.findall(r"'url': '([^']+)'", str(panel)):
        found = re.match(r"/d/([\w-]+)\?", url)
        assert found
        assert found[1] in BOARDS
        for kept in ("${__url_time_range}", "${job:queryparam}", "${instance:queryparam}"):
            assert kept in url
        variables = {v["name"] for v in BOARDS[found[1]]["templating"]["list"]}
        assert set(re.findall(r"&var-(\w+)=", url)) <= variables


@each_board
def test_deploys_and_alerts_are_marked(board: dict[str, Any]) -> None:
    """Every graph shows what changed and what fired."""
    names = [annotation["name"] for annotation in board["annotations"]["list"]]
    assert names == ["Deploys and starts", "Config reloads", "Alerts"]


@each_board
def test_panels_do_not_overlap_and_fit(board: dict[str, Any]) -> None:
    """Each cell of the grid of 24 columns belongs to one panel at the most."""
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        pos = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(pos["x"], pos["x"] + pos["w"])
            for y in range(pos["y"], pos["y"] + pos["h"])
        }
        assert not cells & taken
        assert pos["x"] + pos["w"] <= 24
        taken |= cells


@each_board
def test_board_has_few_panels(board: dict[str, Any]) -> None:
    """A board that shows everything shows nothing."""
    assert len(board["panels"]) <= 14


def test_overview_fits_one_screen() -> None:
    """A row of the grid is 38 pixels high: 21 are 800, which a browser on a screen of 1080 has
    left below Grafana's own bars."""
    bottoms = [p["gridPos"]["y"] + p["gridPos"]["h"] for p in BOARDS["quant-overview"]["panels"]]
    assert max(bottoms) <= 21


@each_panel
def test_moments_that_never_were_are_left_out(panel: dict[str, Any]) -> None:
    """They are NaN, and Grafana would write "Invalid date" into the cell."""
    units = {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        if {"id": "unit", "value": "dateTimeFromNow"} in override["properties"]
    }
    if not units:
        return
    names = {s["id"]: s["options"] for s in panel["transformations"]}["organize"]["renameByName"]
    for target in panel["targets"]:
        name = names.get(f"Value #{target['refId']}", names.get("Value"))
        if name in units and "process_start_time" not in target["expr"]:
            assert re.search(r"_timestamp_seconds\{[^}]*\}( \* 1000)? > 0", target["expr"]), name


@each_panel
def test_panel_has_title_and_description(panel: dict[str, Any]) -> None:
    """Nobody has to guess; the description is a sentence."""
    assert panel["title"]
    assert panel["description"].endswith(".")


@each_panel
def test_panel_has_unit(panel: dict[str, Any]) -> None:
    """A figure without a unit is a riddle."""
    assert panel["fieldConfig"]["defaults"]["unit"]


@each_panel
def test_panel_says_what_no_data_means(panel: dict[str, Any]) -> None:
    """An empty panel is either good news or bad news; it says which."""
    assert panel["fieldConfig"]["defaults"]["noValue"]


@each_panel
def test_panel_asks_the_chosen_source(panel: dict[str, Any]) -> None:
    """The variable decides, for the panel and for each of its queries."""
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == wanted
    assert [target["datasource"] for target in panel["targets"]] == [wanted] * len(panel["targets"])


@each_panel
def test_panel_has_queries_with_names_of_their_own(panel: dict[str, Any]) -> None:
    """Two queries of one name overwrite each other."""
    names = [target["refId"] for target in panel["targets"]]
    assert names
    assert len(set(names)) == len(names)


@each_panel
def test_only_columns_that_a_query_yields_are_shown(panel: dict[str, Any]) -> None:
    """A column `Value #F` needs a query F, and more than one query needs merging."""
    if panel["type"] != "table":
        return
    steps = {step["id"]: step["options"] for step in panel["transformations"]}
    names = steps["filterFieldsByName"]["include"]["names"]
    if len(panel["targets"]) == 1:
        assert "merge" not in steps
        assert not [name for name in names if name.startswith("Value #")]
    else:
        assert "merge" in steps
        refs = {f"Value #{target['refId']}" for target in panel["targets"]}
        assert {name for name in names if name.startswith("Value")} == refs


@each_panel
def test_red_and_green_alone_say_nothing(panel: dict[str, Any]) -> None:
    """Colours come from a palette that colour-blind people can tell apart."""
    colours = set(re.findall(r"'(?:color|fixedColor)': '([^']+)'", str(panel)))
    allowed = {"#009E73", "#0072B2", "#E69F00", "#D55E00", "#8C8C8C", "#CC79A7", "transparent"}
    assert colours <= allowed


@each_panel
def test_limits_are_lines_from_metrics(panel: dict[str, Any]) -> None:
    """Where a metric has a limit metric, the graph draws it and no number is written down."""
    text = " ".join(target["expr"] for target in panel["targets"])
    limited = {
        "quant_data_overdue_seconds": "quant_feed_overdue_limit_seconds",
        "quant_data_spread_ratio": "quant_feed_spread_limit_ratio",
        "quant_strategy_drawdown_ratio": "quant_strategy_drawdown_limit_ratio",
        "quant_strategy_last_update_timestamp_seconds": "quant_strategy_age_limit_seconds",
    }
    for metric, limit in limited.items():
        if metric in text and panel["type"] in ("timeseries", "stat"):
            assert limit in text


def test_runs_of_tasks_and_markets_are_timelines() -> None:
    """What is a state is a band, not a line that jumps between numbers."""
    bands = {(b, p["title"]) for b, p in panels() if p["type"] == "state-timeline"}
    assert {("quant-tasks", "State"), ("quant-overview", "Markets")} <= bands
    for board, panel in panels():
        if panel["type"] == "state-timeline":
            (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
            words = [option["text"] for option in mapping["options"].values()]
            assert len(set(words)) == len(words), (board, panel["title"])


@each_query
def test_query_is_valid_and_names_only_what_exists(query: Query) -> None:
    """Every metric is in the table, or is one that Prometheus or Alertmanager has."""
    for selector in selectors(query.expr):
        assert selector.name in OURS or selector.name in OTHERS or selector.name in UNSCOPED


@each_query
def test_query_matches_only_labels_that_the_metric_has(query: Query) -> None:
    """A mistyped label matches nothing, silently."""
    for selector in selectors(query.expr):
        if selector.name in OURS:
            matched = {matcher.name for matcher in selector.matchers.matchers}
            assert matched <= OURS[selector.name] | {"job", "instance"}


@each_query
def test_query_asks_the_chosen_exporter(query: Query) -> None:
    """Every selector carries job and instance, but for what belongs to no exporter."""
    for selector in selectors(query.expr):
        if selector.name not in UNSCOPED:
            matched = {matcher.name for matcher in selector.matchers.matchers}
            assert {"job", "instance"} <= matched


@each_query
def test_rates_use_the_rate_interval(query: Query) -> None:
    """So that zooming and scraping more slowly leave no gaps. `$__range` is the whole shown time;
    the alert budget is of a day, whatever is shown."""
    spans = re.findall(r"(?:rate|increase|irate)\([^\[]*\[([^\]]+)\]", query.expr)
    for span in spans:
        budget = "quant_alert_notifications_total" in query.expr and span == "1d"
        assert span in ("$__rate_interval", "$__range") or budget


@each_query
def test_counters_are_never_shown_raw(query: Query) -> None:
    """A counter's height says how long ago the process started."""
    outside = re.sub(r"\b(?:rate|increase)\([^()]*\)", "", query.expr)
    counters = {s.name for s in TABLE if s.kind == "counter"} | (
        set(OURS) - {s.name for s in TABLE}
    )
    assert not counters & set(re.findall(r"\w+", outside))
