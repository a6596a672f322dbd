"""Writing one query: the shared matchers, and the few shapes that several boards need."""

from __future__ import annotations

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

MATCHERS = 'job=~"$job", instance=~"$instance"'


def promql(text: str) -> str:
    """Fill in ``{@}`` and ``{@, more}``: which exporter the variables at the top choose."""
    return " ".join(text.replace("{@", "{" + MATCHERS).split())


def some_or_zero(counted: str) -> str:
    """`counted`, or 0 while the exporter answers; with no exporter there is no figure at all."""
    return counted + " or 0 * max(quant_exporter_build_info{@})"


def or_word(expr: str, value: int) -> str:
    """`expr`, or `value`, which a mapping turns into a word: a tile never vanishes."""
    return f"{expr} or vector({value})"


def counted(counter: str) -> str:
    """How many events `counter` counted in each step: whole and exact, each event in one step.

    `increase` extrapolates, and its windows overlap. It is asked only where there was no value
    a step ago or the counter began again, and rounded."""
    step = "$__interval"
    return f"(({counter} - {counter} offset {step}) >= 0 or round(increase({counter}[{step}])))"


def counted_in_all(counter: str) -> str:
    """How many events `counter` counted in the shown time, restarts included."""
    return f"round(increase({counter}[$__range]))"


def counted_with_the_first(counter: str) -> str:
    """The same for a counter whose series appear with their first event: `increase` sees none then.
    A series that was not there when the shown time began counts from 0."""
    whole = "$__range"
    return (
        f"(round(increase({counter}[{whole}])) and {counter} offset {whole}"
        f" or max_over_time({counter}[{whole}]))"
    )


def near(limit: str, value: str, by: str) -> str:
    """`limit` while `value` is more than half of it: one that is far off would flatten the axis."""
    return f"{limit} < on ({by}) group_left () 2 * {value}"


def near_below(limit: str, value: str, by: str) -> str:
    """The same for a limit that must not be undershot: while `value` is below twice of it."""
    return f"{limit} > on ({by}) group_left () 0.5 * {value}"


def lowest_limit(metric: str, owner: str) -> str:
    """The first of a thing's limits (a thing may have one for each severity)."""
    return f"min by (job, instance, {owner}) ({metric}" + "{@})"


def series(expr: str, legend: str, *, name: str | None = None) -> prometheus.Dataquery:
    """A query over the shown time."""
    query = prometheus.Dataquery().expr(promql(expr)).legend_format(legend).range()
    return query.ref_id(name) if name else query


def now(expr: str, legend: str = "", *, name: str | None = None) -> prometheus.Dataquery:
    """A query for the newest value alone."""
    query = prometheus.Dataquery().expr(promql(expr)).legend_format(legend).instant()
    return query.ref_id(name) if name else query


def rows(expr: str, *, name: str | None = None) -> prometheus.Dataquery:
    """The newest values as rows of a table, a column a label."""
    return now(expr, name=name).format(PromQueryFormat.TABLE)


def newest(metric: str, chosen: str) -> str:
    """One moment in the milliseconds that Grafana counts in, or -1, for a tile."""
    return or_word(f"max({metric}{chosen} > 0 < Inf) * 1000", -1)


def moments(metric: str, by: str, *, chosen: str = "{@}", name: str) -> prometheus.Dataquery:
    """The newest moment of each thing as rows, in the milliseconds that Grafana counts in. One that
    never was is NaN, and one that never comes may be Inf; Grafana would call both an invalid date:
    the cell stays empty."""
    return rows(f"max by ({by}) ({metric}{chosen} > 0 < Inf) * 1000", name=name)


def cells(buckets: str) -> prometheus.Dataquery:
    """Counts by bucket for a heat map."""
    return series(f"sum by (le) ({counted(buckets)})", "{{le}}").format(PromQueryFormat.HEATMAP)
