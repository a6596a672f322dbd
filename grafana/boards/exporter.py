"""Whether the exporter itself works, and what it costs."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import board
from grafana.colours import BAD, FINE, IDLE, LEVELS, NOTE
from grafana.panels import State, Tile, graph, heat, sheet, tiles
from grafana.query import cells, events, near, now, or_word, rows, series

FILES = "max by (instance) (process_open_fds{@})"
FILES_LIMIT = "max by (instance) (process_max_fds{@})"


def _tile(name: str, expr: str, fine: State, bad: State) -> Tile:
    return Tile(name, now(or_word(expr, -1), name), {1: fine, 0: bad, -1: ("unknown", IDLE)})


def build() -> Dashboard:
    """The board of the process."""
    return board(
        "exporter",
        "Quant: exporter",
        "The process itself: is it up, is its state saved, is it fast, what does it use.",
        [
            (15, 4, tiles(
                "Now", "Exporter: whether Prometheus reaches it; DOWN when one is missing. State: "
                "whether what must outlive the process is safe on disk; when not, only idempotent "
                "tasks run. Configuration: whether exporter.yml was loaded at the last reload.",
                _tile("Exporter", "min(up{@})", ("UP", NOTE), ("DOWN", BAD)),
                _tile("State", "min(quant_state_healthy{@})", ("SAVED", FINE), ("NOT SAVED", BAD)),
                _tile("Configuration", "min(quant_exporter_config_last_reload_successful{@})",
                      ("LOADED", FINE), ("REFUSED", BAD)),
                nothing="never scraped")),
            (9, 4, sheet(
                "Version", "What runs, and since when.",
                rows("process_start_time_seconds{@} * on (job, instance) group_left (version, "
                     "python) quant_exporter_build_info{@} * 1000"),
                columns={"version": "Version", "python": "Python", "Value": "Started"},
                units={"Started": "dateTimeFromNow"}, nothing="never scraped")),
            (12, 8, graph(
                "Event loop lag", "Longest recent time that the event loop was blocked. Above a "
                "second, slots start late.",
                series("max by (instance) (quant_exporter_event_loop_lag_seconds{@})",
                       "{{instance}}"),
                unit="s", zero=True, calcs=("mean", "max"))),
            (12, 8, graph(
                "Scrape", "How long Prometheus waits for /metrics.",
                series("max by (instance) (scrape_duration_seconds{@})", "{{instance}}"),
                unit="s", zero=True, calcs=("mean", "max"), nothing="never scraped")),
            (12, 8, graph(
                "Memory", "Resident memory of the process; workers and simulator not included.",
                series("max by (instance) (process_resident_memory_bytes{@})", "{{instance}}"),
                unit="bytes", zero=True, calcs=("lastNotNull", "max"))),
            (12, 8, graph(
                "Processor", "Share of one core.",
                series("sum by (instance) (rate(process_cpu_seconds_total{@}[$__rate_interval]))",
                       "{{instance}}"),
                unit="percentunit", calcs=("mean", "max"))),
            (12, 10, heat(
                "Fetch latency", "How many requests took how long; the scale is below.",
                cells("quant_fetch_duration_seconds_bucket{@}"),
                unit="s", nothing="no request yet")),
            (12, 10, graph(
                "Waiting for the request budget", "Share of the time that fetches waited, by "
                "source. Steady waiting means that the plan is too small.",
                series("sum by (source) (rate(quant_fetch_wait_seconds_total{@}"
                       "[$__rate_interval]))", "{{source}}"),
                unit="percentunit", calcs=("mean", "max"),
                nothing="no request yet")),
            (12, 10, graph(
                "Log records", "Records written, by level, and records that could not be written.",
                series(events("quant_log_records_total{@}", "level"), "{{level}}"),
                series(events("quant_log_dropped_total{@}"), "lost"),
                zero=True, bars=True, colours=LEVELS, calcs=("sum",),
                nothing="no record in the shown time")),
            (12, 10, graph(
                "Errors by logger", "Records of level error and above.",
                series(events("quant_log_errors_total{@}", "logger"), "{{logger}}"),
                zero=True, bars=True, colour=BAD, calcs=("sum",), nothing="no error was logged")),
            (12, 8, graph(
                "Series", "Series in one scrape. Grafana Cloud's free plan holds 10 000.",
                series("max by (instance) (scrape_samples_post_metric_relabeling{@})",
                       "{{instance}}"),
                zero=True, calcs=("lastNotNull", "max"), nothing="never scraped")),
            (12, 8, graph(
                "Open files", "File descriptors; a dashed line is the most that the process may "
                "open, when that is near.",
                series(FILES, "{{instance}}"),
                series(near(FILES_LIMIT, FILES, "instance"), "limit {{instance}}"),
                zero=True, limits="^limit .*")),
        ],
    )  # fmt: skip
