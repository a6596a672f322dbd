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
from grafana.colours import BAD, FINE, IDLE, NOTE, WARN, ground
from grafana.panels import EVENT_STEPS
from grafana.query import NO_SUM, POINTS, counted, counted_roughly, promql
from tests.boards import BOARDS, Query, label_values, panels, queries, selectors
from tests.each import each
from tests.unit.grafana.contrast import PANEL, on_band, on_tile

each_board = each(BOARDS.items())
each_panel = each((f"{board}/{panel['title']}", panel) for board, panel in panels())
each_query = each((str(query), query) for query in queries())

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


def asks_for_own_metrics(selector: Any) -> bool:
    """Whether it asks by name for whatever metrics a user has."""
    return not selector.name and any(m.name == "__name__" for m in selector.matchers.matchers)


def whole_of(counting: str) -> re.Pattern[str]:
    """What matches :func:`grafana.query.counted` of any counter."""
    first, *others = re.escape(promql(counting)).split("COUNTER")
    return re.compile(first + r"(\w*\{[^}]*\})" + r"\1".join(others))


EXACT = tuple(whole_of(counted("COUNTER", from_zero=from_zero)) for from_zero in (True, False))
ROUGH = whole_of(counted_roughly("COUNTER"))


def is_exact(expr: str) -> bool:
    """Whether it counts the events of each step one by one."""
    return any(counting.search(expr) for counting in EXACT)


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
        "quant-feed",
        "quant-limits",
        "quant-overview",
        "quant-strategies",
        "quant-strategy",
        "quant-task",
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
            own_list = variable["name"] in ("job", "instance") or not variable.get("includeAll")
            assert variable.get("allValue") == (None if own_list else ".+")


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
        if asks_for_own_metrics(selector):
            assert found[2] == "__name__"
        else:
            assert found[2] in OURS[selector.name] | {"job", "instance"}


@each_board
def test_links_to_other_boards_keep_time_and_variables(board: dict[str, Any]) -> None:
    """Looking closer keeps what one looks at."""
    link = board["links"][0]
    assert (link["keepTime"], link["includeVars"], link["tags"]) == (True, True, board["tags"])


ONE_OF = {
    "quant-task": "quant-tasks",
    "quant-feed": "quant-data",
    "quant-strategy": "quant-strategies",
}
"""The boards of one thing, and that of all of them."""


@pytest.mark.parametrize(("one", "every"), ONE_OF.items())
def test_board_of_one_thing_is_reached_by_a_click_and_leads_back(one: str, every: str) -> None:
    """Exactly one is chosen there; the way back keeps time and exporter, not the choice."""
    label = one.removeprefix("quant-")
    variables = {v["name"]: v for v in BOARDS[one]["templating"]["list"]}
    assert not variables[label].get("multi")
    assert not variables[label].get("includeAll")
    for board in (every, "quant-overview", "quant-alerts"):
        assert f"/d/{one}?" in json.dumps(BOARDS[board]["panels"])
        assert f"&var-{label}=" in json.dumps(BOARDS[board]["panels"])
    (back,) = BOARDS[one]["links"][1:]
    assert back["url"] == f"/d/{every}?${{job:queryparam}}&${{instance:queryparam}}"
    assert (back["type"], back["keepTime"], back["includeVars"]) == ("link", True, False)


@each_panel
def test_rows_and_lines_of_many_lead_to_the_board_of_one(panel: dict[str, Any]) -> None:
    """A column with tasks, feeds or strategies leads to the board of the one that was clicked."""
    for heading, looks in overrides(panel).items():
        label = heading.lower()
        if panel["type"] == "table" and f"quant-{label}" in ONE_OF:
            (lead,) = looks["links"]
            own_page = OUR_PAGE.fullmatch(lead["url"])
            assert own_page or lead["url"].startswith(f"/d/quant-{label}?"), heading


OUR_PAGE = re.compile(
    r'\$\{__data\.fields\["Exporter"\]\}(/(runs|tasks)/\$\{__data\.fields\["[\w ]+"\]\})?'
)


@each_panel
def test_links_of_panels_lead_to_our_boards_with_time_and_exporter(panel: dict[str, Any]) -> None:
    """A figure or a row leads to the same moment of the same exporter, or to its page."""
    for url in re.findall(r"'url': '([^']+)'", str(panel)):
        if OUR_PAGE.fullmatch(url):
            continue
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
    """A row of the grid is 38 pixels high: 21 are 798, which 1600 x 900 have left below Grafana's
    own bars while the links to the other boards are a menu."""
    bottoms = [p["gridPos"]["y"] + p["gridPos"]["h"] for p in BOARDS["quant-overview"]["panels"]]
    assert max(bottoms) <= 21
    assert all(board["links"][0]["asDropdown"] for board in BOARDS.values())


@each_panel
def test_moments_that_never_were_are_left_out(panel: dict[str, Any]) -> None:
    """They are NaN, and Grafana would write "Invalid date" into the cell."""
    units = {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        if {"id": "unit", "value": "dateTimeFromNow"} in override["properties"]
    }
    if not units or panel["type"] != "table":
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
    if "filterFieldsByName" not in steps:
        assert {"Time", "job", "instance"} <= set(steps["organize"]["excludeByName"])
        return
    names = steps["filterFieldsByName"]["include"]["names"]
    if len(panel["targets"]) == 1:
        assert "merge" not in steps
        assert not [name for name in names if name.startswith("Value #")]
    else:
        assert "merge" in steps
        refs = {f"Value #{target['refId']}": target["expr"] for target in panel["targets"]}
        shown = {name for name in names if name.startswith("Value")}
        assert shown <= set(refs)
        # Of a metric that is always 1 only the labels are shown.
        assert all("_info{" in refs[name] for name in set(refs) - shown)


@each_panel
def test_red_and_green_alone_say_nothing(panel: dict[str, Any]) -> None:
    """Colours come from a palette that colour-blind people can tell apart."""
    colours = set(re.findall(r"'(?:color|fixedColor)': '([^']+)'", str(panel)))
    palette = {"#00855F", "#0072B2", WARN, "#C44A00", "#737373", "#CF7EAB"}
    assert colours <= palette | {ground(colour) for colour in palette} | {"transparent"}


@each_panel
def test_limits_are_lines_from_metrics(panel: dict[str, Any]) -> None:
    """Where a metric has a limit metric, the graph draws it and no number is written down."""
    text = " ".join(target["expr"] for target in panel["targets"])
    limited = {
        "quant_data_overdue_seconds": "quant_feed_overdue_limit_seconds",
        "quant_data_spread_ratio": "quant_feed_spread_limit_ratio",
        "quant_strategy_drawdown_ratio": "quant_strategy_drawdown_limit_ratio",
        "quant_strategy_age_seconds": "quant_strategy_age_limit_seconds",
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
        known = selector.name in OURS or selector.name in OTHERS or selector.name in UNSCOPED
        assert known or asks_for_own_metrics(selector)


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
    """So that zooming and scraping more slowly leave no gaps. Events are counted by step, or in the
    whole shown time; the alert budget is of a day, whatever is shown."""
    for function, span in re.findall(r"(rate|increase|irate)\([^\[]*\[([^\]]+)\]", query.expr):
        budget = "quant_alert_notifications_total" in query.expr and span == "1d"
        counted = function == "increase" and span in (POINTS, "$__range")
        assert span == "$__rate_interval" or counted or budget


@each_query
def test_counters_are_never_shown_raw(query: Query) -> None:
    """A counter's height says how long ago the process started."""
    outside = query.expr
    for counting in (*EXACT, ROUGH):
        outside = counting.sub("", outside)
    outside = re.sub(r"and (\S+\{[^}]*\}) offset \$__range or max_over_time\(\1", "", outside)
    outside = re.sub(r"\b(?:rate|increase)\([^()]*\)", "", outside)
    counters = {s.name for s in TABLE if s.kind == "counter"} | (
        set(OURS) - {s.name for s in TABLE}
    )
    assert not counters & set(re.findall(r"\w+", outside))


def overrides(panel: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a panel says of single fields: matcher option to property to value."""
    return {
        override["matcher"]["options"]: {p["id"]: p["value"] for p in override["properties"]}
        for override in panel["fieldConfig"]["overrides"]
    }


def expressions(panel: dict[str, Any]) -> list[str]:
    """The queries of a panel."""
    return [target["expr"] for target in panel["targets"]]


@each_panel
def test_bands_keep_their_words(panel: dict[str, Any]) -> None:
    """With thresholds, a merged band is grey and labelled "-∞+" (Grafana 8.2 to 12)."""
    if panel["type"] == "state-timeline":
        assert panel["fieldConfig"]["defaults"]["color"]["mode"] == "fixed"


@each_panel
def test_sentence_of_an_empty_panel_stays_out_of_cells_and_legends(panel: dict[str, Any]) -> None:
    """Grafana writes `noValue` for each null and NaN, too; a cell or a name has its own word."""
    own = overrides(panel)
    if panel["type"] == "table":
        steps = {step["id"]: step["options"] for step in panel["transformations"]}
        shown = set(steps["organize"]["renameByName"].values())
        assert {name for name, looks in own.items() if looks.get("noValue")} >= shown
    if panel["type"] in ("timeseries", "state-timeline"):
        word = own["number"]["noValue"]
        assert word == ("none" if panel["type"] == "state-timeline" else "\u200b")
        # What reads as a number is drawn instead of each gap; a blank is 0.
        assert word.strip()


@each_panel
def test_events_are_counted_in_whole_numbers(panel: dict[str, Any]) -> None:
    """5.10 runs ran nowhere: `increase` is rounded, and a bar is the difference of two counts."""
    for expr in expressions(panel):
        for found in re.finditer("increase", expr):
            assert expr[: found.start()].endswith("round("), expr
    if panel["fieldConfig"]["defaults"].get("custom", {}).get("drawStyle") == "bars":
        assert panel["interval"] == "1m"
        assert panel["fieldConfig"]["defaults"]["decimals"] == 0
        assert panel["maxDataPoints"] == EVENT_STEPS
        assert all(map(is_exact, expressions(panel)))
        # Of what never happened there is no name in the legend.
        assert all(expr.endswith(" > 0") for expr in expressions(panel))


@each_panel
def test_legends_begin_with_the_worst(panel: dict[str, Any]) -> None:
    """The one failing task of eleven stands first, not where its name falls."""
    if panel["type"] == "timeseries":
        legend = panel["options"]["legend"]
        # The worst is the highest value, but of profit and prices the lowest.
        falls = re.search("_pnl_|_close_price", str(expressions(panel)))
        assert legend["sortDesc"] is not bool(falls)
        headings = {
            "lastNotNull": "Last *", "sum": "Total", "max": "Max", "min": "Min", "mean": "Mean",
        }  # fmt: skip
        assert legend["sortBy"] in [headings[calc] for calc in legend["calcs"]]


@each_panel
def test_colours_of_tiers_and_levels_have_one_meaning(panel: dict[str, Any]) -> None:
    """Critical is never green: a series that is named by tier or level has that tier's colour."""
    fixed = {
        name: looks["color"]["fixedColor"]
        for name, looks in overrides(panel).items()
        if "color" in looks
    }
    for target in panel["targets"]:
        named = re.match(r"\{\{(severity|level)\}\}", target.get("legendFormat") or "")
        if named and panel["type"] == "timeseries":
            assert fixed["^critical( .*)?$"] == BAD
            assert fixed["^warning( .*)?$"] == WARN
            assert fixed["^info( .*)?$"] == NOTE


@each_panel
def test_no_limit_flattens_what_matters(panel: dict[str, Any]) -> None:
    """A limit divides, or is drawn only while a value comes near it."""
    if panel["type"] == "timeseries":
        for expr in expressions(panel):
            for found in re.finditer(r"\w+_limit_(?!value|info)\w+|process_max_fds", expr):
                before, behind = expr[: found.start()], expr[found.end() :]
                divides = r"/ on \([^)]*\) (group_left \(\) )?min by \([^)]*\) \($"
                near = re.search(r" [<>] on \(\w+\) group_left \(\) (2|0\.5) \* ", behind)
                assert re.search(divides, before) or near, expr


def dimension(expr: str) -> str:
    """What a query measures, by its first metric."""
    first = next(selectors(expr)).name
    if "_seconds_sum" in expr:
        return "seconds"
    if " / " in expr or first.endswith(("_ratio", "_seconds_total")):
        return "share"
    return next((kind for kind in ("seconds", "bytes") if first.endswith(kind)), "number")


@each_panel
def test_one_axis_has_one_unit_that_grafana_writes_well(panel: dict[str, Any]) -> None:
    """No seconds beside counts, no "reqpm", and hours are not "1.50 hour"."""
    if panel["type"] not in ("timeseries", "heatmap"):
        return
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if any(asks_for_own_metrics(s) for expr in expressions(panel) for s in selectors(expr)):
        return
    (measured,) = {dimension(expr) for expr in expressions(panel)}
    wanted = {"seconds": {"s", "dtdhms"}, "share": {"percentunit"}, "bytes": {"bytes"}}
    assert panel["type"] == "heatmap" or unit in wanted.get(measured, {"none", "short"})
    if re.search(r"overdue_seconds|_age_", " ".join(expressions(panel))):
        assert unit != "s"


@each_panel
def test_zero_is_at_the_bottom(panel: dict[str, Any]) -> None:
    """Grafana draws a line of zeros in an axis up to 100, unless the axis says where it ends."""
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    if custom.get("axisSoftMin") == 0:
        assert custom["axisSoftMax"] > 0


def test_a_phone_shows_first_what_is_wrong() -> None:
    """A phone stacks the panels in the order of the grid, each as wide as the screen."""
    order = sorted(
        BOARDS["quant-overview"]["panels"], key=lambda p: (p["gridPos"]["y"], p["gridPos"]["x"])
    )
    assert [panel["title"] for panel in order[:2]] == ["Firing now", "At a glance"]
    assert [panel["type"] for panel in order].count("stat") == 1


def test_tiles_never_vanish() -> None:
    """A tile whose query returns nothing would be left out, which reads as well."""
    found = [p for _, p in panels() if p["type"] == "stat" and len(p["targets"]) > 1]
    assert len(found) == 8
    for panel in found:
        looks = overrides(panel)
        for target in panel["targets"]:
            name, expr = target["legendFormat"], target["expr"]
            if name.endswith(" {{currency}}"):
                words, unknown = looks[f"^{name.replace('{{currency}}', '.+')}$"]["mappings"]
                assert f"or on () label_replace(vector({NO_SUM})" in expr
                assert words["options"][str(NO_SUM)]["text"]
                assert unknown["options"]["match"] == "null+nan"
                assert unknown["options"]["result"]["text"]
                continue
            words = looks[name]["mappings"][0]["options"]
            # With labels the -1 would be a second tile.
            assert re.match(r"(max|min|sum|count)\(", expr), expr
            if expr.endswith("or vector(NaN)"):
                assert words["match"] == "null+nan"
                assert words["result"]["text"]
            else:
                assert expr.endswith("or vector(-1)")
                assert words["-1"]["text"]


@each_panel
def test_words_are_those_of_a_trader(panel: dict[str, Any]) -> None:
    """No word of the inside of Alertmanager or of a database."""
    shown = [panel["title"], panel["description"], panel["fieldConfig"]]
    shown += [target.get("legendFormat") for target in panel["targets"]]
    assert not re.search(
        "unprocessed|suppressed|inhibited|TAKEN|[Dd]urabl|DURABL", json.dumps(shown)
    )


@each_panel
def test_panels_work_on_the_oldest_grafana(panel: dict[str, Any]) -> None:
    """Grafana 9: no colour scheme of 10, and coloured cells in its spelling as well."""
    mode = panel["fieldConfig"]["defaults"].get("color", {}).get("mode")
    assert mode in (None, "thresholds", "palette-classic", "fixed")
    for looks in overrides(panel).values():
        assert ("custom.cellOptions" in looks) == ("custom.displayMode" in looks)


WIDTH = 1570
"""Pixels that the panels have on a screen of 1600."""


@each_panel
def test_no_column_is_cut_away_on_a_desk(panel: dict[str, Any]) -> None:
    """A column is 150 pixels wide at least, unless the board says its width."""
    if panel["type"] == "table":
        steps = {step["id"]: step["options"] for step in panel["transformations"]}
        own = overrides(panel)
        widths = [
            own[heading].get("custom.width", 150)
            for heading in steps["organize"]["renameByName"].values()
        ]
        assert sum(widths) <= WIDTH * panel["gridPos"]["w"] / 24 - 16


@each_panel
def test_legend_has_rows_and_leaves_room_for_the_graph(panel: dict[str, Any]) -> None:
    """On a phone a legend at the side takes the graph's place. Below it Grafana gives it 35 % of
    the height: enough for four names in 10 rows of the grid, and for three in 8."""
    if panel["type"] == "timeseries":
        legend = panel["options"]["legend"]
        assert (legend["placement"], legend["displayMode"]) == ("bottom", "table")
        assert "width" not in legend
        names = [target["legendFormat"] for target in panel["targets"]]
        by_label = [
            name for name in names if re.search(r"\{\{(?!instance|currency|severity)", name)
        ]
        if len(names) > 3 or by_label or "__auto" in names:
            assert panel["gridPos"]["h"] >= 10
        else:
            assert panel["gridPos"]["h"] >= 7


@each_panel
def test_no_duration_is_rounded_down(panel: dict[str, Any]) -> None:
    """Grafana's `dtdurations` writes "1 minute" for 90 seconds, "1 hour" for 119 minutes."""
    assert "dtdurations" not in str(panel["fieldConfig"])


@each_panel
def test_an_empty_timeline_has_its_own_words(panel: dict[str, Any]) -> None:
    """Grafana 9 writes "No data in response" there, whatever the panel says: a band says it."""
    if panel["type"] == "state-timeline":
        (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
        assert mapping["options"]["-1"]["text"] == panel["fieldConfig"]["defaults"]["noValue"]
        assert all(" or on () label_replace(" in expr for expr in expressions(panel))


@each_panel
def test_what_acted_does_not_look_fine(panel: dict[str, Any]) -> None:
    """A limit that acted was broken, and what it paused stands still until a person resumes it."""
    for looks in (panel["fieldConfig"]["defaults"], *overrides(panel).values()):
        for mapping in looks.get("mappings", []):
            for word in mapping["options"].values():
                if isinstance(word, dict) and word.get("text") == "acted":
                    assert word["color"] in (BAD, ground(BAD))


@each_panel
def test_failures_are_never_green(panel: dict[str, Any]) -> None:
    """Nor any other colour by the order of the names: what failed has the colour of what is bad."""
    bad = re.match("(Failed|Failures|Errors|Missed s)", panel["title"])
    if panel["type"] == "timeseries" and bad:
        colour = panel["fieldConfig"]["defaults"]["color"]
        assert colour == {"mode": "fixed", "fixedColor": BAD}


def test_figures_of_things_that_are_not_there_say_so() -> None:
    """With tasks alone, "0 overdue feeds" and "0 broken limits" in green would be untrue."""
    (glance,) = [p for p in BOARDS["quant-overview"]["panels"] if p["title"] == "At a glance"]
    looks = overrides(glance)
    for name in ("Overdue feeds", "Late tasks", "Drawdown / limit", "Broken limits", "Prices"):
        words = looks[name]["mappings"][0]["options"]
        assert words["-2"]["text"].startswith("no ")
        assert words["-1"]["text"] == "unknown"
        (expr,) = [t["expr"] for t in glance["targets"] if t["legendFormat"] == name]
        assert re.search(r"0 \* max\(quant_exporter_build_info\{[^}]*\}\) - 2 or vector", expr)


@each_board
def test_alerts_are_marked_where_they_begin(board: dict[str, Any]) -> None:
    """Not at each step while they fire, which would hide the graph behind lines."""
    (alerts,) = [a for a in board["annotations"]["list"] if a["name"] == "Alerts"]
    firing, _, before = alerts["expr"].partition(" unless ")
    assert before == f"{firing} offset $__interval"


@each_panel
def test_means_leave_out_what_did_not_happen(panel: dict[str, Any]) -> None:
    """0 / 0 is NaN, and a legend that sorts by it begins with it."""
    for expr in expressions(panel):
        if re.search(r"_sum\{.*_count\{", expr):
            assert re.search(r"_count\{[^}]*\}\[\$__rate_interval\]\)\) > 0\)", expr), expr


@each_panel
def test_bands_of_alerts_have_the_colour_of_their_tier(panel: dict[str, Any]) -> None:
    """A warning is never drawn as a page."""
    if panel["type"] == "state-timeline" and "ALERTS" in str(expressions(panel)):
        (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
        found = {o["text"]: o["color"] for o in mapping["options"].values()}
        assert found == {
            "critical": BAD, "warning": WARN, "info": NOTE,
            "nothing fires": FINE, "unknown": IDLE,
        }  # fmt: skip


READABLE = 4.5
"""Of small text, https://www.w3.org/TR/WCAG21/#contrast-minimum; names on tiles are small."""


def grounds(config: Any) -> set[str]:
    """Every colour below `config` that a value may give to what is behind its text."""
    if isinstance(config, list):
        return set().union(*map(grounds, config))
    if not isinstance(config, dict):
        return set()
    named = config.get("color")
    here = {named} if isinstance(named, str) else set()
    return here.union(*map(grounds, config.values())) - {"transparent"}


@each_panel
def test_text_can_be_read_on_its_colour(panel: dict[str, Any]) -> None:
    """In both themes, on the ground that Grafana makes of the colour."""
    if panel["type"] in ("stat", "table"):
        for colour in grounds(panel["fieldConfig"]):
            for theme in PANEL:
                assert on_tile(colour, theme) >= READABLE, (colour, theme)
    if panel["type"] == "state-timeline":
        assert panel["fieldConfig"]["defaults"]["custom"]["fillOpacity"] == 100
        for colour in grounds(panel["fieldConfig"]["defaults"]["mappings"]):
            assert on_band(colour) >= READABLE, colour
