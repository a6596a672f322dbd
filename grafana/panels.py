"""The few kinds of panels that the boards use, each with everything that a reader needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import common as common_parts
from grafana_foundation_sdk.builders import dashboard as parts
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, table
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

from grafana.colours import BAD, IDLE, OTHER

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
NOTHING = "no data"

Query = prometheus.Dataquery
State = tuple[str, str]
"""What a value means: its word and its colour."""
_P = TypeVar("_P", stat.Panel, table.Panel, lines.Panel, statetimeline.Panel, heatmap.Panel)


def _base(
    panel: _P, title: str, text: str, *, unit: str, nothing: str, queries: Sequence[Query]
) -> _P:
    panel.title(title).description(text).datasource(SOURCE).unit(unit).no_value(nothing)
    for place, query in enumerate(queries):
        ref = query.build().ref_id or chr(ord("A") + place)
        panel.with_target(query.ref_id(ref).datasource(SOURCE))
    return panel


def steps(*pairs: tuple[float | None, str]) -> parts.ThresholdsConfig:
    """Colours by value: the first pair has None, and each other one starts at its value."""
    return (
        parts.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps([dashboard.Threshold(value=value, color=colour) for value, colour in pairs])
    )


def words(states: Mapping[int, State]) -> list[Any]:
    """Values as words, each in its colour."""
    return [
        dashboard.ValueMap(
            options={
                str(value): dashboard.ValueMappingResult(text=text, color=colour, index=place)
                for place, (value, (text, colour)) in enumerate(states.items())
            }
        )
    ]


def figure(
    title: str,
    text: str,
    query: Query,
    *,
    unit: str = "short",
    states: Mapping[int, State] | None = None,
    thresholds: parts.ThresholdsConfig | None = None,
    nothing: str = NOTHING,
    link: str | None = None,
    decimals: int | None = None,
    by_name: bool = False,
) -> stat.Panel:
    """One big value, or one for each series with `by_name`."""
    panel = _base(stat.Panel(), title, text, unit=unit, nothing=nothing, queries=[query])
    panel.thresholds(thresholds or steps((None, IDLE)))
    panel.color_scheme(parts.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
    panel.color_mode(common.BigValueColorMode.BACKGROUND).graph_mode(common.BigValueGraphMode.NONE)
    panel.reduce_options(common_parts.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    mode = common.BigValueTextMode.VALUE_AND_NAME if by_name else common.BigValueTextMode.VALUE
    panel.text_mode(mode)
    if states:
        panel.mappings(words(states))
    if decimals is not None:
        panel.decimals(decimals)
    if link:
        panel.data_links([parts.DashboardLink("Look closer").url(link)])
    return panel


def graph(
    title: str,
    text: str,
    *queries: Query,
    unit: str = "short",
    nothing: str = NOTHING,
    zero: bool = False,
    bars: bool = False,
    dots: bool = False,
    limits: str | None = None,
    calcs: Sequence[str] = ("lastNotNull",),
) -> lines.Panel:
    """Lines over time. Series whose name matches `limits` are limits: dashed, in one colour."""
    panel = _base(lines.Panel(), title, text, unit=unit, nothing=nothing, queries=queries)
    panel.line_width(2).fill_opacity(0).span_nulls(False)
    panel.show_points(common.VisibilityMode.AUTO)
    panel.color_scheme(parts.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel.legend(
        common_parts.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(list(calcs))
    )
    panel.tooltip(
        common_parts.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
    if zero:
        panel.axis_soft_min(0)
    if bars:
        panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(70).line_width(1)
        panel.stacking(common_parts.StackingConfig().mode(common.StackingMode.NORMAL))
    if dots:
        panel.draw_style(common.GraphDrawStyle.POINTS).point_size(7)
    if limits:
        panel.override_by_regexp(limits, _LIMIT_LOOK)
    return panel


_LIMIT_LOOK = [
    dashboard.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 6]}),
    dashboard.DynamicConfigValue("custom.lineWidth", 2),
    dashboard.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": BAD}),
]


def timeline(
    title: str, text: str, *queries: Query, states: Mapping[int, State], nothing: str = NOTHING
) -> statetimeline.Panel:
    """A band for each series, in the word and the colour of its state."""
    panel = _base(statetimeline.Panel(), title, text, unit="none", nothing=nothing, queries=queries)
    panel.mappings(words(states)).thresholds(steps((None, IDLE)))
    panel.color_scheme(parts.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
    panel.merge_values(True).show_value(common.VisibilityMode.AUTO).row_height(0.85)
    panel.fill_opacity(85).line_width(0).per_page(20)
    return panel


def sheet(
    title: str,
    text: str,
    *queries: Query,
    columns: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
    states: Mapping[str, Mapping[int, State]] | None = None,
    sort: str | None = None,
    descending: bool = False,
    nothing: str = NOTHING,
) -> table.Panel:
    """A table of the newest values. `columns` maps a label or ``Value #A`` to its heading, in
    order, and leaves out all others; `units`, `links` and `states` go by heading."""
    panel = _base(table.Panel(), title, text, unit="short", nothing=nothing, queries=queries)
    panel.cell_options(common.TableAutoCellOptions())
    if len(queries) > 1:
        panel.with_transformation(dashboard.DataTransformerConfig("merge", options={}))
    panel.with_transformation(
        dashboard.DataTransformerConfig(
            "filterFieldsByName", options={"include": {"names": list(columns)}}
        )
    )
    panel.with_transformation(
        dashboard.DataTransformerConfig(
            "organize",
            options={
                "indexByName": {name: place for place, name in enumerate(columns)},
                "renameByName": dict(columns),
            },
        )
    )
    looks: dict[str, list[dashboard.DynamicConfigValue]] = {}
    for heading, unit in (units or {}).items():
        looks.setdefault(heading, []).append(dashboard.DynamicConfigValue("unit", unit))
    for heading, url in (links or {}).items():
        link = {"title": "Look closer", "url": url}
        looks.setdefault(heading, []).append(dashboard.DynamicConfigValue("links", [link]))
    for heading, meaning in (states or {}).items():
        looks.setdefault(heading, []).extend(
            [
                dashboard.DynamicConfigValue("mappings", words(meaning)),
                dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-background"}),
            ]
        )
    for heading, look in looks.items():
        panel.override_by_name(heading, look)
    if sort:
        order = common_parts.TableSortByFieldState().display_name(sort).desc(descending)
        panel.sort_by([order])
    panel.thresholds(steps((None, "transparent")))
    return panel


def heat(
    title: str, text: str, query: Query, *, unit: str, nothing: str = NOTHING
) -> heatmap.Panel:
    """How often each bucket was hit over time, in Cividis, which grows lighter for everybody."""
    panel = _base(heatmap.Panel(), title, text, unit="short", nothing=nothing, queries=[query])
    panel.calculate(False).exemplars_color(OTHER)
    panel.color(
        heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Cividis").steps(64)
    )
    panel.y_axis(heatmap.YAxisConfig().unit(unit))
    panel.tooltip(heatmap.HeatmapTooltip().mode(common.TooltipDisplayMode.SINGLE).y_histogram(True))
    return panel
