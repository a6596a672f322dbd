"""What every board has: variables, links to the others, deploys and alerts as annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard as parts
from grafana_foundation_sdk.models import dashboard

from grafana.colours import BAD, NOTE, OTHER
from grafana.panels import SOURCE
from grafana.query import promql

TAG = "quant-exporter"
PREFIX = "quant-"
OLDEST_GRAFANA = 9
"""The oldest whose panels show all that the boards use."""


def link(board: str, **variables: str) -> str:
    """The address of another board, with the shown time and the chosen exporter kept."""
    chosen = "".join(f"&var-{name}={value}" for name, value in variables.items())
    kept = "${__url_time_range}&${job:queryparam}&${instance:queryparam}"
    return f"/d/{PREFIX}{board}?{kept}{chosen}"


def cell(label: str) -> str:
    """For :func:`link` from a table: the value of the clicked row's column `label`."""
    return '${__data.fields["' + label + '"]}'


def series_label(label: str) -> str:
    """For :func:`link` from a line of a graph: the value of its `label`."""
    return "${__field.labels." + label + "}"


@dataclass(frozen=True)
class Choice:
    """A variable at the top of a board: the values of `label` that series of `known_by` have.

    With `one` a single value is chosen, as on the board of one thing; else any number or all.
    """

    label: str
    known_by: str
    one: bool = False
    of: str = ""
    """The label that has the values, where that is not `label`."""


@dataclass(frozen=True)
class Back:
    """From the board of one thing to the board of all: its name and the words of the link."""

    board: str
    title: str


def board(
    name: str,
    title: str,
    text: str,
    panels: Sequence[tuple[int, int, Any]],
    *,
    choices: Sequence[Choice] = (),
    back: Back | None = None,
    hours: str = "now-24h",
) -> dashboard.Dashboard:
    """Lay `panels` (width of 24, height, panel) out in rows, and add what every board has."""
    made = (
        parts.Dashboard(title)
        .uid(PREFIX + name)
        .description(f"{text} For Grafana {OLDEST_GRAFANA} and newer.")
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time(hours, "now")
        .refresh("1m")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(
            parts.DashboardLink("Boards")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .tooltip("The other boards, at the same time and for the same exporter")
            .keep_time(True)
            .include_vars(True)
        )
    )
    if back:
        made.link(
            parts.DashboardLink(back.title)
            .type(dashboard.DashboardLinkType.LINK)
            .icon("arrow-left")
            .url(f"/d/{PREFIX}{back.board}?${{job:queryparam}}&${{instance:queryparam}}")
            .tooltip("Back, at the same time and for the same exporter")
            .keep_time(True)
        )
    source = parts.DatasourceVariable("datasource").label("Data source").type("prometheus")
    made.with_variable(source)
    # "All" are the exporters: other programs have `up` and `process_…`, too.
    made.with_variable(_any_of(_variable("job", "quant_exporter_build_info")))
    exporters = _variable("instance", 'quant_exporter_build_info{job=~"$job"}')
    made.with_variable(_any_of(exporters))
    for choice in choices:
        variable = _variable(choice.label, promql(choice.known_by), choice.of)
        # All is whatever there is: 500 symbols in each query would be long.
        made.with_variable(variable if choice.one else _any_of(variable).all_value(".+"))
    for annotation in _annotations():
        made.annotation(annotation)
    x = y = row = 0
    for number, (width, height, panel) in enumerate(panels, start=1):
        if x + width > 24:
            x, y, row = 0, y + row, 0
        panel.grid_pos(dashboard.GridPos(h=height, w=width, x=x, y=y)).id(number)
        made.with_panel(panel)
        x, row = x + width, max(row, height)
    return made.build()


def _variable(label: str, known_by: str, of: str = "") -> parts.QueryVariable:
    asked = f"label_values({known_by}, {of or label})"
    return (
        parts.QueryVariable(label)
        .label(label.capitalize())
        .datasource(SOURCE)
        .query({"query": asked, "refId": label})
        .definition(asked)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )


def _any_of(variable: parts.QueryVariable) -> parts.QueryVariable:
    everything = dashboard.VariableOption(selected=True, text="All", value="$__all")
    return variable.multi(True).include_all(True).current(everything)


def _annotations() -> list[parts.AnnotationQuery]:
    started = (
        "process_start_time_seconds{@}"
        " * on (job, instance) group_left (version) quant_exporter_build_info{@} * 1000"
    )
    reloaded = "(quant_exporter_config_last_reload_success_timestamp_seconds{@} > 0) * 1000"
    # Where each began: Grafana widens the step of a long time, and would then draw a line a step.
    firing = 'ALERTS{alertstate="firing", alertname!="QuantWatchdog"}'
    firing += f" unless {firing} offset $__interval"
    return [
        _annotation("Deploys and starts", started, NOTE, "started {{version}}", moment=True),
        _annotation("Config reloads", reloaded, OTHER, "config loaded", moment=True),
        _annotation("Alerts", firing, BAD, "{{alertname}} {{severity}}"),
    ]


def _annotation(
    name: str, expr: str, colour: str, title: str, *, moment: bool = False
) -> parts.AnnotationQuery:
    """With `moment` the query's value is the time to mark, in Unix milliseconds."""
    made = parts.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour)
    made.expr(promql(expr)).title_format(title).step("60s")
    return made.use_value_for_time(True) if moment else made
