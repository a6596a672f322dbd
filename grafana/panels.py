"""The few kinds of panels that the boards use, each with everything that a reader needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import common as common_parts
from grafana_foundation_sdk.builders import dashboard as parts
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, table
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

from grafana.colours import BAD, IDLE, NOTE, OTHER, ground

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
NOTHING = "no data"

Query = prometheus.Dataquery
State = tuple[str, str]
"""What a value means: its word and its colour, empty for none."""
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


def words(states: Mapping[Any, State]) -> list[Any]:
    """Values as words, each on its colour; None is a value that is not known."""
    results = {
        value: dashboard.ValueMappingResult(text=text, color=colour or None, index=place)
        for place, (value, (text, colour)) in enumerate(states.items())
    }
    unknown = results.pop(None, None)
    made: list[Any] = []
    if results:
        named = {str(value): result for value, result in results.items()}
        made.append(dashboard.ValueMap(options=named))
    if unknown:
        null = dashboard.SpecialValueMatch.NULL_AND_NAN
        options = dashboard.DashboardSpecialValueMapOptions(match=null, result=unknown)
        made.append(dashboard.SpecialValueMap(options=options))
    return made


def _grounds(states: Mapping[Any, State]) -> dict[Any, State]:
    return {value: (text, ground(colour)) for value, (text, colour) in states.items()}


def _texts(names: Mapping[str, str]) -> list[Any]:
    results = {
        value: dashboard.ValueMappingResult(text=text, index=place)
        for place, (value, text) in enumerate(names.items())
    }
    return [dashboard.ValueMap(options=results)]


def _big(title: str, text: str, *, unit: str, nothing: str, queries: Sequence[Query]) -> stat.Panel:
    panel = _base(stat.Panel(), title, text, unit=unit, nothing=nothing, queries=queries)
    panel.color_scheme(parts.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
    panel.color_mode(common.BigValueColorMode.BACKGROUND).graph_mode(common.BigValueGraphMode.NONE)
    return panel.reduce_options(
        common_parts.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    )


@dataclass(frozen=True)
class Tile:
    """One figure of several in a panel; its query's legend is `name`. `states` has a word for each
    value that is no figure, so that a tile never vanishes."""

    name: str
    query: Query
    states: Mapping[Any, State]
    link: str = ""
    unit: str = "none"
    thresholds: parts.ThresholdsConfig | None = None
    decimals: int | None = None
    currency: bool = False
    """Its query's legend has the currency after the name."""

    def look(self) -> list[dashboard.DynamicConfigValue]:
        """What differs from the panel's defaults."""
        limits = (self.thresholds or steps((None, NOTE))).build()
        for step in limits.steps:
            step.color = ground(step.color)
        looks = {"mappings": words(_grounds(self.states)), "thresholds": limits, "unit": self.unit}
        if self.link:
            looks["links"] = [_lead(self.link)]
        if self.decimals is not None:
            looks["decimals"] = self.decimals
        return [dashboard.DynamicConfigValue(name, value) for name, value in looks.items()]


def _lead(url: str) -> dict[str, str]:
    return {"title": "Look closer", "url": url}


def tiles(title: str, text: str, *shown: Tile, nothing: str = NOTHING) -> stat.Panel:
    """Several figures with their names in one panel, small enough for a phone."""
    panel = _big(title, text, unit="none", nothing=nothing, queries=[t.query for t in shown])
    panel.thresholds(steps((None, ground(IDLE)))).decimals(0)
    panel.text_mode(common.BigValueTextMode.VALUE_AND_NAME)
    for tile in shown:
        if tile.currency:
            panel.override_by_regexp(f"^{tile.name} .+$", tile.look())
        else:
            panel.override_by_name(tile.name, tile.look())
    return panel


def graph(
    title: str,
    text: str,
    *queries: Query,
    unit: str = "short",
    nothing: str = NOTHING,
    zero: bool = False,
    top: float = 1,
    decimals: int | None = None,
    bars: bool = False,
    dots: bool = False,
    log: bool = False,
    limits: str | None = None,
    share: bool = False,
    colours: Mapping[str, str] | None = None,
    colour: str | None = None,
    calcs: Sequence[str] = ("lastNotNull",),
    lowest_first: bool = False,
    leads_to: str | None = None,
) -> lines.Panel:
    """Lines over time, with the largest or the `lowest_first` in the legend: a table below the
    graph, since one at the side would leave no room for the graph on a phone.

    Series whose name matches `limits` are limits: dashed, in one colour. With `share` 1 is the
    limit of each series. `colours` gives the colour of each word that a name may start with, and
    `colour` is that of all others.
    `bars` are counted events: whole numbers, one bar a step. An axis from `zero` goes to `top` at
    least, or all zeros would be drawn below 100; a `log` one shows short and long alike. A click on
    a point `leads_to` a board.
    """
    panel = _base(lines.Panel(), title, text, unit=unit, nothing=nothing, queries=queries)
    panel.line_width(2).fill_opacity(0).span_nulls(False)
    panel.show_points(common.VisibilityMode.AUTO)
    palette = parts.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC)
    one = parts.FieldColor().mode(dashboard.FieldColorModeId.FIXED).fixed_color(colour or "")
    panel.color_scheme(one if colour else palette)
    panel.legend(_legend(calcs, lowest_first=lowest_first))
    panel.tooltip(
        common_parts.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
    if zero:
        panel.axis_soft_min(0).axis_soft_max(top)
    if decimals is not None:
        panel.decimals(decimals)
    if bars:
        panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(70).line_width(1)
        panel.stacking(common_parts.StackingConfig().mode(common.StackingMode.NORMAL))
        panel.interval(EVENT_STEP).max_data_points(EVENT_STEPS).decimals(0)
    if dots:
        panel.draw_style(common.GraphDrawStyle.POINTS).point_size(7)
    if log:
        scale = common_parts.ScaleDistributionConfig().type(common.ScaleDistribution.LOG)
        panel.scale_distribution(scale.log(10))
    if share:
        panel.thresholds(steps((None, "transparent"), (1, BAD)))
        style = common_parts.GraphThresholdsStyleConfig()
        panel.thresholds_style(style.mode(common.GraphThresholdsStyleMode.DASHED))
    for word, its_colour in (colours or {}).items():
        panel.override_by_regexp(f"^{word}( .*)?$", [_fixed(its_colour)])
    if limits:
        panel.override_by_regexp(limits, _LIMIT_LOOK)
    leads = [dashboard.DynamicConfigValue("links", [_lead(leads_to)])] if leads_to else []
    panel.override_by_field_type("number", [_EMPTY, *leads])
    return panel


EVENT_STEP = "1m"
"""Shortest step of counted events: each step then holds several scrapes."""
EVENT_STEPS = 120
"""So many steps at most, or a bar would be a hair on a desk and nothing on a phone."""
_CALCULATED = {
    "lastNotNull": "Last *", "sum": "Total", "max": "Max", "min": "Min", "mean": "Mean",
}  # fmt: skip
"""Grafana's headings of what a legend may calculate."""
_EMPTY = dashboard.DynamicConfigValue("noValue", "\u200b")
"""Without it a NaN in a legend, and a step of an axis between two whole numbers, would be written
as the sentence of the empty panel. It has no width, and is not blank: Grafana reads a blank as the
number 0 and draws gaps as zeros."""


def _legend(calcs: Sequence[str], *, lowest_first: bool) -> common_parts.VizLegendOptions:
    return (
        common_parts.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(list(calcs))
        .sort_by(_CALCULATED[calcs[-1]])
        .sort_desc(not lowest_first)
    )


def _fixed(colour: str) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


_LIMIT_LOOK = [
    dashboard.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 6]}),
    dashboard.DynamicConfigValue("custom.lineWidth", 2),
    _fixed(BAD),
]


def timeline(
    title: str, text: str, *queries: Query, states: Mapping[int, State], nothing: str = NOTHING
) -> statetimeline.Panel:
    """A band for each series, in the word and the colour of its state; one of -1 says `nothing`.
    The colour mode is fixed: with thresholds, merged bands lose their words
    (grafana/grafana#71804)."""
    panel = _base(statetimeline.Panel(), title, text, unit="none", nothing=nothing, queries=queries)
    panel.mappings(words({-1: (nothing, IDLE), **states})).thresholds(steps((None, IDLE)))
    fixed = parts.FieldColor().mode(dashboard.FieldColorModeId.FIXED)
    panel.color_scheme(fixed.fixed_color(IDLE))
    panel.merge_values(True).show_value(common.VisibilityMode.AUTO).row_height(0.85)
    panel.fill_opacity(100).line_width(0).per_page(20)
    return panel.override_by_field_type("number", [dashboard.DynamicConfigValue("noValue", "none")])


def sheet(
    title: str,
    text: str,
    *queries: Query,
    columns: Mapping[str, str],
    units: Mapping[str, str] | None = None,
    decimals: Mapping[str, int] | None = None,
    widths: Mapping[str, int] | None = None,
    links: Mapping[str, str] | None = None,
    states: Mapping[str, Mapping[Any, State]] | None = None,
    texts: Mapping[str, Mapping[str, str]] | None = None,
    marked: Mapping[str, str] | None = None,
    empty: Mapping[str, str] | None = None,
    sort: str | None = None,
    descending: bool = False,
    hidden: Sequence[str] = (),
    nothing: str = NOTHING,
) -> table.Panel:
    """A table of the newest values. `columns` maps a label or ``Value #A`` to its heading, in
    order, and leaves out all others; with `hidden` it leaves out these alone. `units`, `decimals`,
    `widths` (pixels), `links`, `states` (words in colour), `texts` (words without), `marked` (the
    colour of any number) and `empty`, what an empty cell means, go by heading."""
    panel = _base(table.Panel(), title, text, unit="none", nothing=nothing, queries=queries)
    panel.cell_options(common.TableAutoCellOptions())
    if len(queries) > 1:
        panel.with_transformation(dashboard.DataTransformerConfig("merge", options={}))
    if not hidden:
        named = {"include": {"names": list(columns)}}
        panel.with_transformation(
            dashboard.DataTransformerConfig("filterFieldsByName", options=named)
        )
    order: dict[str, Any] = {
        "indexByName": {name: place for place, name in enumerate(columns)},
        "renameByName": dict(columns),
    }
    if hidden:
        order["excludeByName"] = dict.fromkeys(hidden, True)
    panel.with_transformation(dashboard.DataTransformerConfig("organize", options=order))
    looks = {
        heading: [dashboard.DynamicConfigValue("noValue", (empty or {}).get(heading, "–"))]
        for heading in columns.values()
    }
    for heading, unit in (units or {}).items():
        looks[heading].append(dashboard.DynamicConfigValue("unit", unit))
    for heading, width in (widths or {}).items():
        looks[heading].append(dashboard.DynamicConfigValue("custom.width", width))
    for heading, places in (decimals or {}).items():
        looks[heading].append(dashboard.DynamicConfigValue("decimals", places))
    for heading, url in (links or {}).items():
        looks[heading].append(dashboard.DynamicConfigValue("links", [_lead(url)]))
    for heading, meaning in (states or {}).items():
        mapped = dashboard.DynamicConfigValue("mappings", words(_grounds(meaning)))
        looks[heading] += [mapped, *_FILLED]
    for heading, colour in (marked or {}).items():
        mapped = dashboard.DynamicConfigValue("mappings", [_any_number(ground(colour))])
        looks[heading] += [mapped, *_FILLED]
    for heading, named_as in (texts or {}).items():
        looks[heading].append(dashboard.DynamicConfigValue("mappings", _texts(named_as)))
    for heading, look in looks.items():
        panel.override_by_name(heading, look)
    if sort:
        first = common_parts.TableSortByFieldState().display_name(sort).desc(descending)
        panel.sort_by([first])
    panel.thresholds(steps((None, "transparent")))
    return panel


_FILLED = [
    dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-background"}),
    # The same before Grafana 9.5.
    dashboard.DynamicConfigValue("custom.displayMode", "color-background-solid"),
]


def _any_number(colour: str) -> dashboard.RangeMap:
    result = dashboard.ValueMappingResult(color=colour, index=0)
    options = dashboard.DashboardRangeMapOptions(from_val=-1e18, to=1e18, result=result)
    return dashboard.RangeMap(options=options)


def heat(
    title: str, text: str, query: Query, *, unit: str, nothing: str = NOTHING
) -> heatmap.Panel:
    """How often each bucket was hit over time, in Cividis, which grows lighter for everybody."""
    panel = _base(heatmap.Panel(), title, text, unit="short", nothing=nothing, queries=[query])
    panel.calculate(False).exemplars_color(OTHER)
    panel.interval(EVENT_STEP).max_data_points(EVENT_STEPS)
    panel.color(
        heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Cividis").steps(64)
    )
    panel.y_axis(heatmap.YAxisConfig().unit(unit))
    panel.tooltip(heatmap.HeatmapTooltip().mode(common.TooltipDisplayMode.SINGLE).y_histogram(True))
    return panel
