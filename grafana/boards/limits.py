"""What is limited in exporter.yml, what acted, and the metrics of one's own."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import Choice, board, cell, link
from grafana.colours import BAD, FINE, IDLE, NOTE, OTHER, WARN
from grafana.panels import Tile, graph, sheet, steps, tiles, timeline
from grafana.query import (
    MATCHERS,
    counted,
    counted_in_all,
    events,
    moments,
    now,
    or_band,
    or_word,
    rows,
    series,
    some_or_zero,
)

CHOSEN = '{@, limit=~"$limit"}'
BY = "job, instance, limit, strategy"
NO_LIMIT = "no limit is configured"
STATES = {
    0: ("within", FINE),
    1: ("unknown", OTHER),
    2: ("warning", WARN),
    3: ("critical", BAD),
    4: ("acted", BAD),
}
# Metrics have names of their own: whatever is not the exporter's or Prometheus'.
OWN_NAMES = '__name__!~"(quant|process|python|scrape)_.+|up|ALERTS|ALERTS_FOR_STATE"'
OWN_GAUGE = f'{{__name__=~"$metric", __name__!~".+_total", {MATCHERS}}}'
OWN_COUNTER = f'{{__name__=~"$metric", __name__=~".+_total", {MATCHERS}}}'


def _broken(severity: str, chosen: str) -> str:
    """Limits of a severity that are broken now, as QuantLimit has them."""
    of = chosen.replace("}", f', severity="{severity}"}}')
    return f"""
      max by ({BY}) (quant_limit_value{chosen}) > on ({BY}) max by ({BY}) (quant_limit_max{of})
      or min by ({BY}) (quant_limit_value{chosen}) < on ({BY}) max by ({BY}) (quant_limit_min{of})
      or max by ({BY}) (quant_limit_age_seconds{chosen})
        > on ({BY}) max by ({BY}) (quant_limit_age_limit_seconds{of})
    """


def state(chosen: str) -> str:
    """One value for each limit of each strategy: what stands first wins."""
    return f"""
      max by (limit, strategy) (
        max by ({BY}) (quant_limit_action_timestamp_seconds{chosen} > 0) * 0 + 4
        or ({_broken("critical", chosen)}) * 0 + 3
        or ({_broken("warning", chosen)}) * 0 + 2
        or max by ({BY}) (quant_limit_unknown{chosen} == 1)
        or count by ({BY}) (quant_limit_value{chosen}) * 0
        or max by ({BY}) (quant_limit_age_seconds{chosen}) * 0
      )
    """


def all_limits(chosen: str, title: str = "Limits") -> object:
    """Each limit with its value and when it acted."""

    def bound(which: str, severity: str) -> str:
        of = chosen.replace("}", f', severity="{severity}"}}')
        return f"max by (limit, strategy) (quant_limit_{which}{of})"

    return sheet(
        title,
        "What each limit is compared with, the worst series of it: the largest where there is a "
        "most, and the tiers at which it alerts. Acted: it paused tasks or started one, until it "
        "is resumed by hand.",
        rows(state(chosen), name="A"),
        rows(f"max by (limit, strategy) (quant_limit_value{chosen})", name="B"),
        rows(bound("max", "warning"), name="C"),
        rows(bound("max", "critical"), name="D"),
        rows(bound("min", "warning"), name="E"),
        rows(bound("min", "critical"), name="F"),
        moments("quant_limit_value_timestamp_seconds", "limit, strategy", chosen=chosen, name="G"),
        moments("quant_limit_action_timestamp_seconds", "limit, strategy", chosen=chosen, name="H"),
        rows(f"max by (limit, strategy) (quant_limit_action_failed{chosen})", name="I"),
        columns={
            "limit": "Limit", "Value #A": "State", "Value #B": "Value", "strategy": "Strategy",
            "Value #C": "Warning above", "Value #D": "Critical above",
            "Value #E": "Warning below", "Value #F": "Critical below", "Value #G": "As of",
            "Value #H": "Acted", "Value #I": "Action",
        },
        units={"As of": "dateTimeFromNow", "Acted": "dateTimeFromNow"},
        widths={"State": 100, "Value": 100, "Warning above": 130, "Critical above": 130,
                "Warning below": 130, "Critical below": 130, "Action": 90},
        states={"State": STATES, "Action": {0: ("done", NOTE), 1: ("FAILED", BAD)}},
        empty={"Value": "unknown", "Acted": "never", "As of": "never"},
        links={
            "Limit": link("limits", limit=cell("Limit")),
            "Strategy": link("strategy", strategy=cell("Strategy")),
        },
        sort="State",
        descending=True,
        nothing=NO_LIMIT,
    )  # fmt: skip


def build() -> Dashboard:
    """The board of the limits and of one's own metrics."""
    return board(
        "limits",
        "Quant: limits and own metrics",
        "How far values are from their limits, which limit acted, and the metrics of your own.",
        [*_limits(), *_own()],
        choices=[
            Choice("limit", "quant_limit_info{@}"),
            Choice("metric", f"{{@, {OWN_NAMES}}}", one=True, of="__name__"),
        ],
    )


def broken(chosen: str = "{@}") -> str:
    """How many limits are broken now, at any severity; -2 where there is none."""
    all_broken = f"count({_broken('critical', chosen)} or {_broken('warning', chosen)})"
    return some_or_zero(all_broken, of="quant_limit_info")


def _tile(name: str, expr: str, bad: str) -> Tile:
    limits = steps((None, FINE), (1, bad))
    return Tile(name, now(or_word(expr, -1), name), {-1: ("unknown", IDLE), -2: ("no limit", IDLE)},
                thresholds=limits)  # fmt: skip


def _limits() -> list[tuple[int, int, object]]:
    acted = f"count(quant_limit_action_timestamp_seconds{CHOSEN} > 0)"
    failed = f"count(quant_limit_action_failed{CHOSEN} == 1)"
    unknown = f"count(quant_limit_unknown{CHOSEN} == 1)"
    share = (
        f"max by (limit, strategy) (max by ({BY}) (quant_limit_value{CHOSEN})"
        f" / on ({BY}) min by ({BY}) (quant_limit_max{CHOSEN} > 0))"
    )
    return [
        (24, 4, tiles(
            "Now", "Broken: beyond its warning or critical tier. Acted: what it paused stays "
            "paused until it is resumed by hand. Unknown: the value is NaN, and no limit can hold.",
            _tile("Broken limits", broken(CHOSEN), BAD),
            _tile("Acted, not resumed", some_or_zero(acted), BAD),
            _tile("Actions that failed", some_or_zero(failed), BAD),
            _tile("Unknown values", some_or_zero(unknown), WARN),
            _tile("Broken text files", some_or_zero("sum(quant_textfile_broken{@})"), WARN),
            _tile("Refused values",
                  f"sum({counted_in_all('quant_custom_refused_total{@}')})", WARN),
            Tile("Series of your own", now(or_word("sum(quant_custom_series{@})", -1),
                                           "Series of your own"), {-1: ("unknown", IDLE)},
                 link("exporter")),
            nothing="the exporter does not answer")),
        (24, 6, timeline(
            "State", "One band for each limit. Within: on the good side of all its tiers. Acted: "
            "until it is resumed by hand.",
            series(or_band(state(CHOSEN), "limit"), "{{limit}} {{strategy}}"),
            states=STATES, nothing=NO_LIMIT)),
        (24, 7, all_limits(CHOSEN)),
        (24, 10, graph(
            "Value / limit", "The largest value as a share of the first tier that it must not "
            "exceed: above 100% it alerts. Limits of 0 and those that must not be undershot have "
            "no share.",
            series(share, "{{limit}} {{strategy}}"), unit="percentunit", zero=True, share=True,
            calcs=("lastNotNull", "max"), nothing=NO_LIMIT)),
    ]  # fmt: skip


def _own() -> list[tuple[int, int, object]]:
    refused = events("quant_custom_refused_total{@}", "reason")
    return [
        (24, 10, graph(
            "Your metric over time", "The metric chosen at the top; a counter as the events of "
            "each step.",
            series(f"max without (job, instance) ({OWN_GAUGE})", "__auto"),
            series("sum without (job, instance) "
                   f"({counted(OWN_COUNTER, from_zero=False)})", "__auto"),
            unit="none", nothing="no metric of your own is known")),
        (12, 8, sheet(
            "Your metric now", "Every series of the metric chosen at the top, 100 at most; a "
            "counter since the exporter counts it.",
            rows(f"topk(100, {OWN_GAUGE} or round(increase({OWN_COUNTER}[$__range])))"),
            columns={"Value": "Value"}, hidden=("Time", "__name__", "job", "instance"),
            sort="Value", descending=True, nothing="no metric of your own is known")),
        (12, 8, sheet(
            "Waiting for a value", "Declared metrics: since when the series that has waited "
            "longest has had no new value, and with max_age when that alerts.",
            moments("quant_custom_oldest_timestamp_seconds", "metric", name="A"),
            rows("label_replace(max by (limit) (quant_limit_age_limit_seconds{@}), "
                 '"metric", "$1", "limit", "(.+)")', name="B"),
            columns={"metric": "Metric", "Value #A": "Waiting since", "Value #B": "Longest wait"},
            units={"Waiting since": "dateTimeFromNow", "Longest wait": "dtdhms"},
            empty={"Longest wait": "no limit", "Waiting since": "–"}, sort="Waiting since",
            nothing="no metric is declared")),
        (12, 10, graph(
            "Refused values", "Values of your own metrics that were refused, by reason. The log "
            "and the status page say which.",
            series(refused, "{{reason}}"),
            zero=True, bars=True, colour=WARN, calcs=("sum",), nothing="none was refused")),
        (12, 10, sheet(
            "Text files", "Files with metrics: when each was written, and whether it can be used.",
            moments("quant_textfile_timestamp_seconds", "file", name="A"),
            rows("max by (file) (quant_textfile_broken{@})", name="B"),
            columns={"file": "File", "Value #A": "Written", "Value #B": "Content"},
            units={"Written": "dateTimeFromNow"},
            states={"Content": {0: ("ok", NOTE), 1: ("BROKEN", BAD)}},
            empty={"Written": "never"}, sort="Content", descending=True,
            nothing="no text file is read")),
    ]  # fmt: skip
