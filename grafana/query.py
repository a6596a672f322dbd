"""Writing one query: the shared matchers, and the few shapes that several boards need."""

from __future__ import annotations

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

MATCHERS = 'job=~"$job", instance=~"$instance"'


def promql(text: str) -> str:
    """Fill in ``{@}`` and ``{@, more}``: which exporter the variables at the top choose."""
    return " ".join(text.replace("{@", "{" + MATCHERS).split())


def some_or_zero(counted: str, of: str = "") -> str:
    """`counted`, or 0 while the exporter answers; with no exporter there is no figure at all.
    Where the exporter has none `of` what could be counted, it is -2: 0 would read as all is well.
    """
    answers = "max(quant_exporter_build_info{@})"
    if not of:
        return f"{counted} or 0 * {answers}"
    return f"{counted} or 0 * count({of}{{@}}) or 0 * {answers} - 2"


NO_SUM = 10**18
"""Instead of a sum that there is not: it may be any other number, -1 included."""


def total(metric: str, by_currency: str) -> str:
    """All strategies together: in the currency of `portfolio`, or in that which all of them have.
    NaN while a rate is missing."""
    sums = f"sum by (currency) ({by_currency}{{@}})"
    nothing = f'label_replace(vector({NO_SUM}), "currency", "of all strategies", "", "")'
    return (
        f"sum by (currency) ({metric}{{@}})"
        f" or on () ({sums} and on () count({sums}) == 1) or on () {nothing}"
    )


def or_band(expr: str, label: str) -> str:
    """`expr`, or one band of -1 named "none" while the exporter answers: older Grafanas have a
    sentence of their own for an empty timeline."""
    none = "0 * max(quant_exporter_build_info{@}) - 1"
    return f'{expr} or on () label_replace({none}, "{label}", "none", "", "")'


def or_word(expr: str, value: int) -> str:
    """`expr`, or `value`, which a mapping turns into a word: a tile never vanishes."""
    return f"{expr} or vector({value})"


FEW = "${__range_s}ms"
"""A thousandth of the shown time: what a query reads in such steps does not grow with the time
shown, nor with how often Prometheus scrapes."""
STEP, POINTS = "$__interval", f"$__interval:{FEW}"


def counted(counter: str, *, from_zero: bool = True) -> str:
    """How many events `counter` counted in each step: whole, and each event in one step.

    The difference of two counts is exact. Where the exporter started again, its counters began at
    0: then it is what was counted since, and, where that can be told (while less was counted since
    than before), what was counted before; of what came just before, a thousandth of the shown time
    may be missing. A series that appears while the exporter runs began `from_zero`; other counters
    outlive a restart. Only where nothing was known a step ago `increase` is asked: it extrapolates,
    and would else read every sample of the shown time.
    """
    before = f"{counter} offset {STEP}"
    highest = f"max_over_time({counter}[{POINTS}])"
    known = f"quant_exporter_build_info{{@}} offset {STEP}"
    ways = [
        _difference(counter) if from_zero else f"({counter} - {before}) >= 0",
        f"clamp_min(({highest} > {counter}) - {before}, 0) + {counter}",
        *([f"{counter} and on (job, instance) {known}"] if from_zero else []),
        _increase(counter),
    ]
    return f"({' or '.join(ways)})"


def counted_roughly(counter: str) -> str:
    """The same at half the cost, for many series that say how often rather than how many: in a step
    in which the exporter started it may be off by an eighth."""
    return f"({_difference(counter)} or {_increase(counter)})"


def _difference(counter: str) -> str:
    """Of each step, unless the exporter started in it: 1 failure before and 1 since are no 0."""
    began = "process_start_time_seconds{@}"
    return (
        f"({counter} - {counter} offset {STEP}"
        f" unless on (job, instance) {began} != {began} offset {STEP}) >= 0"
    )


def _increase(counter: str) -> str:
    return f"round(increase({counter}[{POINTS}]))"


def events(counter: str, by: str = "") -> str:
    """The steps in which `counter` counted anything, for bars: of what never happened there is no
    name in the legend and no bar."""
    return f"sum by ({by}) ({counted(counter)}) > 0" if by else f"sum({counted(counter)}) > 0"


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
    return series(f"sum by (le) ({counted_roughly(buckets)})", "{{le}}").format(
        PromQueryFormat.HEATMAP
    )
