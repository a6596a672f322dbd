"""Whether a release that was just started is well: ready, scraped, complete, and without errors."""

from __future__ import annotations

import time

import probe
import settings
from places import UNIT, ProblemError
from releases import Release
from shell import attempt, is_active, say, shows

_READY_SECONDS = 10.0
"""After systemd was told that it is started."""
_SERVERS_SECONDS = 15.0
_SCRAPED_SECONDS = 60.0


def servers_to_watch(*, first: bool) -> list[str]:
    """Which of Prometheus and Alertmanager must run with a new version: those that are installed,
    but for one that was down before. Before the first deploy none can run."""
    expected = []
    for unit in settings.read().servers:
        if attempt("systemctl", "cat", unit).returncode:
            continue
        if first or is_active(unit):
            expected.append(unit)
        else:
            say(f"note: {unit} was down before; this version is not blamed for that")
    return expected


def watch(
    release: Release, seconds: float, known_errors: dict[str, float], servers: list[str]
) -> None:
    """Look for that long. Raises :class:`ProblemError` with the first thing that is not well.

    `known_errors` are the loggers that had errors before: the new version is not blamed for them.
    `servers` are the units that have to run.
    """
    until_ready(release)
    began, failed = time.monotonic(), 0
    scraped = "prometheus.service" not in servers
    missing = set(release.about.tasks) - set(probe.samples(release.about, "quant_task_info"))
    if missing:
        raise ProblemError(f"these tasks are not registered: {', '.join(sorted(missing))}")
    while True:
        passed = time.monotonic() - began
        _still_up()
        failed = 0 if probe.is_ready(release.about) else failed + 1
        if failed >= 3:
            raise ProblemError(f"it was ready, and is no more:\n{last_words()}")
        if not failed:
            _no_new_errors(release, known_errors)
        down = next((unit for unit in servers if not is_active(unit)), None)
        if down and passed > _SERVERS_SECONDS:
            raise ProblemError(f"{down} does not run with its files:\n{last_words(unit=down)}")
        scraped = scraped or (not failed and _is_scraped(release))
        if not scraped and passed > _SCRAPED_SECONDS:
            raise ProblemError("Prometheus does not scrape it")
        if passed >= seconds and scraped and not down and not failed:
            return
        # When the time is up, only Prometheus, or a server that starts, is waited for.
        time.sleep(1 if failed else min(1.0, max(seconds - passed, 0.25)))


def until_ready(release: Release) -> None:
    """Return once it is ready. Raises :class:`ProblemError` when that takes too long."""
    until = time.monotonic() + _READY_SECONDS
    while not probe.is_ready(release.about):
        _still_up()
        if time.monotonic() > until:
            raise ProblemError(f"it is not ready after {_READY_SECONDS:.0f} s:\n{last_words()}")
        time.sleep(0.1)


def last_words(lines: int = 15, unit: str = UNIT) -> str:
    """The end of a unit's journal, the exporter's unless said."""
    said = attempt(
        "journalctl", "--unit", unit, "--lines", str(lines), "--output", "cat", "--no-pager"
    )
    return "\n".join(f"  {line[:300]}" for line in said.stdout.splitlines())


def _still_up() -> None:
    now = shows(UNIT, "ActiveState", "NRestarts", "Result")
    if now.get("NRestarts", "0") != "0":
        raise ProblemError(f"systemd had to restart it ({now['Result']}):\n{last_words()}")
    if now["ActiveState"] != "active":
        raise ProblemError(f"it is {now['ActiveState']} ({now['Result']}):\n{last_words()}")


def _no_new_errors(release: Release, known: dict[str, float]) -> None:
    try:
        errors = probe.errors(release.about)
    except OSError:
        return  # the next look at readiness says so
    new = sorted(name for name, n in errors.items() if n > 0 and not known.get(name))
    if new:
        raise ProblemError(f"it logs errors ({', '.join(new)}):\n{last_words()}")


def _is_scraped(release: Release) -> bool:
    """Whether Prometheus has seen this very process."""
    try:
        began = probe.samples(release.about, "process_start_time_seconds").get("")
    except OSError:
        return False
    data = probe.prometheus("query?query=process_start_time_seconds") or {}
    seen = [float(series["value"][1]) for series in data.get("result", [])]
    return any(began is not None and abs(began - one) < 0.01 for one in seen)
