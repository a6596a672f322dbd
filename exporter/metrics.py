"""All metrics in one table.

Two kinds of metrics: those that parts of the process set or count when something happens, and those
that depend on now (:attr:`Spec.at_scrape`), which readers compute at each scrape so that nothing can
get stuck at an old value. A time that never was is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

FAILURE_REASONS = ("error", "timeout", "no_data", "stale_data", "crashed")
SKIP_REASONS = ("overlap", "exchange_closed", "early_close", "paused", "blocked")
FETCH_REASONS = (
    "timeout", "connect", "http", "rate_limit", "quota", "auth", "api", "malformed",
    "wrong_time", "error",
)  # fmt: skip
SEVERITIES = ("critical", "warning", "info")
LOWER = {"critical": "warning", "warning": "info", "info": "info"}
"""What each severity is while a new installation is learning."""
MESSAGE_OUTCOMES = ("sent", "failed", "dropped")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

RUN_BUCKETS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
FETCH_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)

Sample = tuple[str, Sequence[str], float]
"""A value computed at the scrape: metric name, label values in the table's order, value."""


@dataclass(frozen=True)
class Column:
    """Values of one metric for many label sets, as parts with hundreds of series yield them.

    Where nothing changed since the last scrape, ``labels`` and ``values`` are the same objects as
    then. Nobody changes them.
    """

    name: str
    labels: Sequence[Sequence[str]]
    values: Sequence[float]


Reader = Callable[[], Iterable[Sample | Column]]


@dataclass(frozen=True)
class Spec:
    """One metric of the contract."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    at_scrape: bool = False
    buckets: tuple[float, ...] = ()
    alias_of: str = ""
    """The metric that this is the old name of."""


def _gauge(name: str, labels: str, text: str) -> Spec:
    return Spec(name, "gauge", tuple(labels.split()), text)


def _now(name: str, labels: str, text: str) -> Spec:
    return Spec(name, "gauge", tuple(labels.split()), text, at_scrape=True)


def _counter(name: str, labels: str, text: str) -> Spec:
    return Spec(name, "counter", tuple(labels.split()), text)


def _histogram(name: str, labels: str, buckets: tuple[float, ...], text: str) -> Spec:
    return Spec(name, "histogram", tuple(labels.split()), text, buckets=buckets)


def _old_name(name: str, of: Spec) -> Spec:
    """Exposed one release longer, with the values of the new name."""
    text = f"Old name of `{of.name}`; removed in the next release."
    return replace(of, name=name, help=text, at_scrape=True, alias_of=of.name)


_DROPPED = _counter(
    "quant_log_dropped_total", "", "Log lines that could not be written and were dropped."
)
_LAG = _now(
    "quant_log_lag_bytes", "file", "Bytes of the followed file that have not been read yet."
)
_QUEUE = _now("quant_log_queue_bytes", "", "Log lines waiting to be written, in bytes.")

TABLE: tuple[Spec, ...] = (
    # Tasks
    _now("quant_task_info", "task severity exchange source kind schedule", "A configured task; always 1."),
    _counter("quant_task_runs_total", "task", "Runs that ended, whatever the outcome."),
    _counter("quant_task_failures_total", "task reason", "Runs that ended without success, by outcome."),
    _counter("quant_task_retries_total", "task", "Attempts beyond a run's first."),
    _counter("quant_task_missed_total", "task", "Slots whose time and grace passed without a run."),
    _counter("quant_task_skipped_total", "task reason", "Slots skipped on purpose, by reason."),
    _histogram("quant_task_duration_seconds", "task", RUN_BUCKETS, "How long runs took, all attempts."),
    _now("quant_task_last_success_timestamp_seconds", "task", "End of the newest successful run."),
    _now("quant_task_last_failure_timestamp_seconds", "task", "End of the newest failed run."),
    _now("quant_task_last_failure_info", "task reason run_id text",
         "The newest failure: its outcome, its run, and its error in 200 masked characters; always 1."),
    _now("quant_task_last_start_timestamp_seconds", "task", "Start of the newest run."),
    _now("quant_task_consecutive_failures", "task", "Failed runs since the last success."),
    _now("quant_task_items", "task", "Items that the newest successful run reported."),
    _now("quant_task_failures_limit", "task", "Failures in a row from which the task alerts."),
    _now("quant_task_items_limit", "task severity", "Items below which a success alerts."),
    _now("quant_task_duration_limit_seconds", "task severity", "Duration beyond which a run that is under way alerts."),
    _now("quant_task_deadline_timestamp_seconds", "task",
         "When the first slot that no success covers is too late: slot + grace + max_runtime."),
    _now("quant_task_next_slot_timestamp_seconds", "task", "Next moment at which the task will run."),
    _now("quant_task_running", "task", "1 while a run is under way."),
    _now("quant_task_waiting", "task", "1 while a slot waits for other tasks (`after`)."),
    _now("quant_task_left_processes", "task", "Processes that still live after their run: allowed to, or impossible to end."),
    _now("quant_task_memory_bytes", "task", "Resident memory of the processes of its run, as of the last 10 s; 0 while none runs."),
    _now("quant_task_memory_limit_bytes", "", "Memory of one run beyond which it alerts."),
    _now("quant_task_paused", "task", "1 while the task is paused."),
    _now("quant_task_announced", "task", "1 when each success is announced in the journal (`announce`)."),
    _now("quant_service_up", "task", "1 while the task's service is up; 0 also while systemd cannot be asked."),
    _now("quant_service_expected", "task", "1 while the service must be up: always, or while `exchange` is open."),
    _now("quant_service_since_timestamp_seconds", "task", "Since when the service has been up, or down."),
    _counter("quant_service_restarts_total", "task", "Restarts of the service by systemd itself."),
    _now("quant_service_recent_restarts", "task", "Restarts of the service by systemd within the last hour."),
    _now("quant_service_restarts_limit", "task", "Restarts within an hour beyond which the service alerts."),
    # Fetches
    _counter("quant_fetch_requests_total", "source endpoint", "Requests sent, retries included."),
    _counter("quant_fetch_retries_total", "source endpoint", "Requests that repeated a failed one."),
    _counter("quant_fetch_failures_total", "source endpoint reason", "Requests that failed, by reason."),
    _counter("quant_fetch_bad_symbols_total", "source endpoint reason", "Symbols whose part of an answer could not be used."),
    _counter("quant_fetch_bad_bars_total", "source endpoint reason",
             "Bars that were left out of an answer whose other bars could be used."),
    _histogram("quant_fetch_duration_seconds", "source endpoint", FETCH_BUCKETS,
               "How long one attempt took, from sending to the last byte."),
    _counter("quant_fetch_wait_seconds_total", "source", "Time spent waiting for the request budget."),
    # Data
    _now("quant_feed_info", "feed source interval exchange severity", "A configured feed; always 1."),
    _now("quant_data_last_bar_timestamp_seconds", "feed symbol", "End of the newest closed bar."),
    _now("quant_data_age_seconds", "feed symbol", "Wall clock since the newest closed bar ended."),
    _now("quant_data_overdue_seconds", "feed symbol",
         "Time since the oldest missing bar fell due; 0 when none is missing."),
    _now("quant_data_close_price", "feed symbol", "Close of the newest closed bar."),
    _now("quant_data_spread_ratio", "feed symbol", "Distance of bid and ask by their middle, of the newest ticker; NaN when that is 15 minutes old."),
    _now("quant_data_halted", "feed symbol",
         "1: no bars of this symbol, although its source answers and has those of most others of the feed."),
    _now("quant_data_unchanged_bars", "feed symbol",
         "Bars in a row that repeat the close and volume of the one before, where `max_unchanged` limits them."),
    _now("quant_data_ignored", "feed symbol", "1 while `ignore` names the symbol."),
    _now("quant_feed_fallback_since_timestamp_seconds", "feed source",
         "Since when bars come from the feed's `fallback`; NaN while its first source has what is due."),
    _now("quant_feed_missing_bars", "feed", "Bars that are due and missing, all symbols together."),
    _now("quant_feed_overdue_limit_seconds", "feed severity", "Overdue beyond which the feed alerts."),
    _now("quant_feed_unchanged_limit_bars", "feed", "Unchanged bars from which the feed alerts."),
    _now("quant_feed_spread_limit_ratio", "feed severity", "Spread beyond which the feed alerts."),
    # Streams
    _now("quant_stream_connected", "source", "1 while the WebSocket is connected, which is no sign of data."),
    _counter("quant_stream_connections_total", "source", "Connections that were made."),
    _counter("quant_stream_failures_total", "source reason", "Connections that ended or could not be made, and subscriptions that were refused, by reason."),
    _counter("quant_stream_messages_total", "source channel", "Messages about a symbol that could be used."),
    _counter("quant_stream_bad_messages_total", "source reason", "Messages that could not be used, or had nothing new."),
    _now("quant_stream_last_message_timestamp_seconds", "feed symbol", "Time of the newest message of a stream: its stamp, or its arrival if the stamp is in the future."),
    _now("quant_stream_last_price", "feed symbol", "Price of the newest message of a stream."),
    _now("quant_stream_silence_seconds", "feed symbol", "Trading time since the newest message of a stream."),
    _now("quant_feed_silence_limit_seconds", "feed severity", "Silence beyond which the stream alerts."),
    # Exchanges and sources
    _now("quant_market_open", "exchange", "1 while the exchange is in a session."),
    _now("quant_market_next_open_timestamp_seconds", "exchange", "Next open."),
    _now("quant_market_next_close_timestamp_seconds", "exchange", "Next close."),
    _now("quant_calendar_end_timestamp_seconds", "exchange", "Where the known sessions end."),
    _now("quant_exchange_silent_since_timestamp_seconds", "exchange day",
         "Open of the session of that day in which no symbol of any feed has had a bar, although the sources answer; NaN otherwise."),
    _now("quant_source_out_since_timestamp_seconds", "source",
         "Since when every request has failed; NaN while the source answers."),
    _now("quant_source_key_expiry_timestamp_seconds", "source", "When the API key expires."),
    _now("quant_source_clock_offset_seconds", "source",
         "Seconds by which this machine's clock is ahead of the source's, by the Date of its answers."),
    _now("quant_source_simulated", "source", "1 when the source's prices are simulated."),
    # Strategies
    _now("quant_strategy_info", "strategy currency severity", "A configured strategy; always 1."),
    _now("quant_strategy_equity", "strategy", "Newest equity, in the strategy's currency."),
    _now("quant_strategy_equity_peak", "strategy", "Highest equity, moved by deposits and withdrawals."),
    _now("quant_strategy_drawdown_ratio", "strategy", "(peak - equity) / peak, flows taken out."),
    _now("quant_strategy_pnl_today", "strategy", "Change of equity since midnight (of its exchange, if it has one), flows taken out."),
    _now("quant_strategy_pnl_week", "strategy", "Change of equity since Monday, flows taken out; days are the exchange's."),
    _now("quant_strategy_pnl_month", "strategy", "Change of equity since the first of the month, flows taken out."),
    _now("quant_strategy_under_water_seconds", "strategy", "Time since equity was last at its peak; 0 at the peak."),
    _now("quant_strategy_return_ratio", "strategy window", "Time-weighted return of the window's days, flows taken out."),
    _now("quant_strategy_volatility_ratio", "strategy window", "Annualised standard deviation of daily returns; NaN below 10 days."),
    _now("quant_strategy_sharpe_ratio", "strategy window", "Annualised Sharpe ratio of daily returns, without a risk-free rate; NaN below 10 days."),
    _now("quant_strategy_win_ratio", "strategy window", "Days with a gain among those with a gain or a loss."),
    _now("quant_strategy_exposure_ratio", "strategy", "Absolute value of all positions, divided by equity; NaN if one has no price."),
    _now("quant_strategy_account_profit", "strategy", "Profit of all trades, as the account itself reports it (freqtrade only)."),
    _now("quant_portfolio_equity", "currency", "Equity of all strategies of a currency."),
    _now("quant_portfolio_pnl_today", "currency", "Their change of equity today, flows taken out."),
    _now("quant_strategy_last_update_timestamp_seconds", "strategy", "Time of the newest equity."),
    _now("quant_strategy_age_seconds", "strategy", "Age of the newest equity, or the time without any; with `exchange` in its trading time."),
    _now("quant_strategy_equity_unreadable", "strategy", "1: the equity file is missing, or it or its newest row cannot be read."),
    _now("quant_strategy_drawdown_limit_ratio", "strategy severity", "Drawdown from which it alerts."),
    _now("quant_strategy_age_limit_seconds", "strategy", "Age of the equity beyond which it alerts."),
    _now("quant_strategy_last_fill_timestamp_seconds", "strategy symbol side", "Newest fill."),
    _now("quant_strategy_last_fill_price", "strategy symbol side", "Price of the newest fill."),
    _now("quant_portfolio_total_equity", "currency", "All strategies in the currency of `portfolio`; NaN while a rate or an equity is missing or too old."),
    _now("quant_portfolio_total_pnl_today", "currency", "Their profit of today, likewise."),
    _now("quant_portfolio_rate", "currency", "What one unit of a currency is worth in the currency of the total; NaN while unknown."),
    _now("quant_portfolio_rate_timestamp_seconds", "currency", "Time of that rate."),
    _now("quant_position_quantity", "strategy origin symbol",
         "What is held, negative when short; origin: `strategy`, or the account."),
    _now("quant_positions_timestamp_seconds", "strategy origin", "Time of the newest positions."),
    _now("quant_backtest_return_ratio", "strategy symbol", "Total return of the newest backtest."),
    _now("quant_backtest_sharpe_ratio", "strategy symbol", "Annualised Sharpe ratio, newest backtest."),
    _now("quant_backtest_worst_drawdown_ratio", "strategy symbol", "Deepest drawdown, newest backtest."),
    _now("quant_backtest_last_success_timestamp_seconds", "strategy symbol", "Newest backtest's end."),
    _now("quant_backtest_units", "", "Units of the backtests that run now; 0 while none runs."),
    _now("quant_backtest_units_done", "", "Of these, those that have ended."),
    _now("quant_backtest_units_failed", "", "Of these, those that failed."),
    # Metrics of your own
    _now("quant_custom_series", "", "Series of your own metrics."),
    _counter("quant_custom_refused_total", "reason", "Values of your own metrics that were refused: a wrong name, label, value or type, or too many names or series."),
    _now("quant_custom_oldest_timestamp_seconds", "metric", "When the oldest series of a declared metric was last set; at first the time of the start."),
    _now("quant_textfile_timestamp_seconds", "file", "When a text file with metrics was last written."),
    _now("quant_textfile_broken", "file", "1: the text file, or a series in it, cannot be used; it keeps its last good values."),
    # Limits
    _now("quant_limit_info", "limit measure unit", "A configured limit; always 1."),
    _now("quant_limit_value", "limit strategy subject", "What the limit is compared with; `subject` has the other labels of a metric."),
    _now("quant_limit_value_timestamp_seconds", "limit strategy subject", "Time of that value."),
    _now("quant_limit_max", "limit strategy severity", "Value above which it alerts."),
    _now("quant_limit_min", "limit strategy severity", "Value below which it alerts."),
    _now("quant_limit_unknown", "limit strategy", "1 while a value that is limited is NaN."),
    _now("quant_limit_action_timestamp_seconds", "limit strategy", "When the limit acted; until it is resumed by hand."),
    _now("quant_limit_action_failed", "limit strategy", "1: the limit's action could not be done, or its run failed."),
    _now("quant_limit_age_seconds", "limit strategy", "Age of the oldest value of a metric with `max_age`, or of a text file."),
    _now("quant_limit_age_limit_seconds", "limit strategy severity", "Age beyond which it alerts."),
    # Logs and alerts
    _counter("quant_log_records_total", "level", "Log records written."),
    _counter("quant_log_errors_total", "logger", "Records of level error and above, by logger."),
    _now("quant_log_errors_limit", "", "Records of level error and above within 15 minutes beyond which it alerts."),
    _counter("quant_log_events_total", "event", "Log records written, by event."),
    _DROPPED,
    _old_name("quant_log_lost_total", _DROPPED),
    _counter("quant_log_followed_lines_total", "file", "Lines of other programs' log files read."),
    _counter("quant_log_matches_total", "file pattern", "Of these, lines that match a pattern."),
    _counter("quant_log_broken_total", "file", "Of these, lines that are not the JSON they should be."),
    _LAG,
    _old_name("quant_log_behind_bytes", _LAG),
    _now("quant_log_followed_readable", "file", "1 while the followed file can be read."),
    _now("quant_log_failure_limit_ratio", "file severity",
         "Share of failed fetches, by the file's patterns, beyond which it alerts."),
    _now("quant_log_healthy", "", "1 while log files can be written."),
    _QUEUE,
    _old_name("quant_log_waiting_bytes", _QUEUE),
    _counter("quant_alert_notifications_total", "severity status receiver",
             "Messages that Alertmanager handed to the journal, a group of alerts as one."),
    _counter("quant_alert_deliveries_total", "integration outcome",
             "Attempts of Alertmanager to deliver a message: delivered, failed or unconfigured (the receiver has no channel)."),
    _counter("quant_alert_rule_notifications_total", "alertname severity",
             "Those about firing alerts, by rule: shows which rule is noisy."),
    _now("quant_alert_sync_last_success_timestamp_seconds", "",
         "When acknowledgements were last compared with Alertmanager and Prometheus; at first the time of the start."),
    _now("quant_alert_sync_limit_seconds", "", "Time since then beyond which it alerts."),
    _now("quant_alert_links_info", "exporter_url dashboards_url runbook_url",
         "Where links in messages lead; always 1."),
    _now("quant_timezone_offset_seconds", "abbreviation",
         "Current offset of the configured zone from UTC, and its name: messages use both."),
    _now("quant_alert_learning_until_timestamp_seconds", "",
         "Until then every severity is exposed one tier lower."),
    # Messages
    _counter("quant_messages_total", "channel outcome",
             "Messages by outcome: sent, failed (given up) or dropped (too many at once)."),
    _now("quant_message_queue", "channel", "Messages that wait to be sent."),
    _now("quant_message_failing", "channel", "1 from the third failed attempt, or a rejected message, until one is accepted."),
    _now("quant_message_last_success_timestamp_seconds", "channel", "When the channel last accepted a message."),
    # The exporter itself
    _now("quant_state_healthy", "", "1 when state has been durable for a minute and no damaged state file was set aside."),
    _now("quant_exporter_build_info", "version python", "Always 1."),
    _now("quant_exporter_config_last_reload_successful", "", "1 when the newest config was loaded."),
    _now("quant_exporter_config_last_reload_success_timestamp_seconds", "", "When a config was last loaded."),
    _now("quant_exporter_memory_limit_bytes", "", "Memory of the exporter beyond which it alerts."),
    _now("quant_disk_free_bytes", "folders", "Free space of a disk that the exporter writes to; NaN when it does not answer."),
    _now("quant_disk_free_ratio", "folders", "Free share of its space or inodes, whichever is less; NaN when it does not answer."),
    _now("quant_disk_free_limit_ratio", "", "Free share below which it alerts."),
    _now("quant_disk_full_limit_seconds", "", "A disk that would be full within this time alerts."),
    _now("quant_exporter_clock_timestamp_seconds", "", "This machine's clock at the scrape."),
    _now("quant_exporter_clock_offset_limit_seconds", "", "Difference between clocks beyond which it alerts."),
    _now("quant_exporter_last_crash_timestamp_seconds", "",
         "When the exporter last ended because it hung or crashed; NaN when it never did."),
    _gauge("quant_exporter_event_loop_lag_seconds", "", "Longest recent time for which the event loop was blocked."),
    _now("quant_exporter_event_loop_lag_limit_seconds", "", "Lag of the event loop beyond which it alerts."),
)  # fmt: skip

_T = TypeVar("_T", bound=MetricWrapperBase)
_Family = GaugeMetricFamily | CounterMetricFamily


class Metrics(Collector):
    """Every metric of :data:`TABLE`, in one registry that is passed in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self._readers: list[Reader] = []
        self._lowered: Callable[[], bool] = lambda: False
        self._at_scrape = [spec for spec in TABLE if spec.at_scrape]
        self._set: dict[str, MetricWrapperBase] = {
            spec.name: _make(spec, registry) for spec in TABLE if not spec.at_scrape
        }
        registry.register(self)

    def counter(self, name: str) -> Counter:
        """The counter of that name; :class:`KeyError` when the table has none."""
        return self._typed(name, Counter)

    def gauge(self, name: str) -> Gauge:
        """The gauge of that name that is set rather than read."""
        return self._typed(name, Gauge)

    def histogram(self, name: str) -> Histogram:
        """The histogram of that name."""
        return self._typed(name, Histogram)

    def _typed(self, name: str, kind: type[_T]) -> _T:
        metric = self._set[name]
        if not isinstance(metric, kind):
            raise KeyError(f"{name} is not a {kind.__name__}")
        return metric

    def add_reader(self, reader: Reader) -> None:
        """Call `reader` at each scrape. It must not block, and runs in the scrape's
        thread, not on the event loop."""
        self._readers.append(reader)

    def lower_severities(self, when: Callable[[], bool]) -> None:
        """Expose severities that are read at the scrape one tier lower while `when()` is true.

        Done here and nowhere else, so that rules and the owners of the limits need not know
        about the learning period.
        """
        self._lowered = when

    def keep_only(self, label: str, names: Iterable[str]) -> None:
        """Drop the series of tasks, feeds, … that a reload removed; all others go on counting."""
        wanted = set(names)
        for spec in TABLE:
            if spec.at_scrape or label not in spec.labels:
                continue
            place = spec.labels.index(label)
            metric = self._set[spec.name]
            for values in list(metric._metrics):
                if values[place] not in wanted:
                    metric.remove(*values)

    def describe(self) -> Iterator[Metric]:
        """Names without reading anything: a registry asks this when the collector is added."""
        for spec in self._at_scrape:
            yield _family(spec)

    def collect(self) -> Iterator[Metric]:
        """All values that depend on now, for prometheus-client."""
        for spec, columns in self.read():
            family = _family(spec)
            for column in columns:
                for labels, value in zip(column.labels, column.values, strict=True):
                    family.add_metric(labels, value)
            yield family

    def read(self) -> Iterator[tuple[Spec, list[Column]]]:
        """All values that depend on now, as columns."""
        columns = {spec.name: list[Column]() for spec in self._at_scrape}
        lowered = self._lowered()
        for reader in self._readers:
            read = _snapshot(reader)
            for column in _as_columns(lower(read) if lowered else read):
                columns[column.name].append(column)
        for spec in self._at_scrape:
            if spec.alias_of:
                columns[spec.name] = list(self._columns_of(spec.alias_of, columns))
            yield spec, columns[spec.name]

    def _columns_of(self, name: str, columns: Mapping[str, list[Column]]) -> Iterator[Column]:
        if name in columns:
            yield from columns[name]
            return
        for family in self._set[name].collect():
            labels = [list(sample.labels.values()) for sample in family.samples]
            yield Column(name, labels, [sample.value for sample in family.samples])


def _as_columns(read: Iterable[Sample | Column]) -> Iterator[Column]:
    """Columns as they are, and single samples gathered, a column a metric."""
    gathered = dict[str, tuple[list[Sequence[str]], list[float]]]()
    for each in read:
        if isinstance(each, Column):
            if each.name in gathered:
                yield Column(each.name, *gathered.pop(each.name))
            yield each
            continue
        name, labels, value = each
        if name not in gathered:
            gathered[name] = [], []
        gathered[name][0].append(labels)
        gathered[name][1].append(value)
    for name, (rows, values) in gathered.items():
        yield Column(name, rows, values)


def lower(read: Iterable[Sample | Column]) -> Iterator[Sample | Column]:
    """What was read with each `severity` label a tier lower; info stays.

    Where two limits of one thing meet on a tier, the one that was higher wins: with limits
    for warning and info, info then means what warning meant.
    """
    places = {
        spec.name: spec.labels.index("severity") for spec in TABLE if "severity" in spec.labels
    }
    met: set[tuple[str, tuple[str, ...]]] = set()
    rank = {severity: number for number, severity in enumerate(SEVERITIES)}

    def height(sample: Sample) -> int:
        name, labels, _ = sample
        return rank.get(labels[places[name]], 0)

    tiered = list[Sample]()
    for each in read:
        if (each.name if isinstance(each, Column) else each[0]) not in places:
            yield each
        elif isinstance(each, Column):
            rows = zip(each.labels, each.values, strict=True)
            tiered += [(each.name, labels, value) for labels, value in rows]
        else:
            tiered.append(each)
    for name, labels, value in sorted(tiered, key=height):
        place = places[name]
        lowered = [*labels[:place], LOWER.get(labels[place], labels[place]), *labels[place + 1 :]]
        key = (name, tuple(lowered))
        if key not in met:
            met.add(key)
            yield name, lowered, value


def _snapshot(reader: Reader) -> list[Sample | Column]:
    """All of a reader's samples. The event loop may add a key while a scrape's thread reads."""
    for _ in range(5):
        try:
            return list(reader())
        except RuntimeError:  # "dictionary changed size during iteration"
            continue
    return list(reader())


def _family(spec: Spec) -> _Family:
    kind = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
    return kind(spec.name, spec.help, labels=spec.labels)


def _make(spec: Spec, registry: CollectorRegistry) -> MetricWrapperBase:
    match spec.kind:
        case "counter":
            return Counter(spec.name, spec.help, spec.labels, registry=registry)
        case "gauge":
            return Gauge(spec.name, spec.help, spec.labels, registry=registry)
        case "histogram":
            return Histogram(
                spec.name, spec.help, spec.labels, registry=registry, buckets=spec.buckets
            )
