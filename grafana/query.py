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


def moments(metric: str, by: str, *, chosen: str = "{@}", name: str) -> prometheus.Dataquery:
    """The newest moment of each thing as rows, in the milliseconds that Grafana counts in. One that
    never was is NaN, which Grafana would call an invalid date: its cell stays empty."""
    return rows(f"max by ({by}) ({metric}{chosen} > 0) * 1000", name=name)


def cells(expr: str) -> prometheus.Dataquery:
    """Counts by bucket for a heat map."""
    return series(expr, "{{le}}").format(PromQueryFormat.HEATMAP)
