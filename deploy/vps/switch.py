"""From one release to another: wait, save, switch, watch, and back when it is not well."""

from __future__ import annotations

import contextlib
import time
import urllib.request

import probe
import state
import watch
from places import CREDENTIALS, UNIT, ProblemError
from releases import Release, build, current, find, point_at, previous, prune, remember
from shell import attempt, is_active, run, say

_SERVERS = ("prometheus.service", "prometheus-alertmanager.service")


def deploy(version: str, *, now: bool, allow_simulated: bool, watch_seconds: float) -> None:
    """Build, check, save, switch, watch. Raises :class:`ProblemError` when the old one serves on.

    Nothing that serves is touched before the new version has accepted its configuration.
    """
    new, old = build(version), current()
    if new.about.simulated and not allow_simulated:
        raise ProblemError(
            f"exporter.yml: sources.{new.about.simulated[0]}: prices are simulated; nobody trades "
            "on those. Set `type: tickdb`, or deploy with --allow-simulated to try things"
        )
    if old and old.version == new.version and is_active(UNIT):
        say(f"{version} runs already")
        return
    if old and is_active(UNIT) and not now:
        wait_for_tasks(old)
    known_errors: dict[str, float] = {}
    if old:
        with contextlib.suppress(OSError):
            known_errors = probe.errors(old.about)
        state.save(old, f"before-{version}")
    began = time.monotonic()
    stop(gently=not now)
    point_at(new)
    try:
        start(new)
        say(f"switched to {version}; the exporter was down for {time.monotonic() - began:.1f} s")
        watch.watch(new, watch_seconds, known_errors)
    except ProblemError as problem:
        say(f"{version} is not well: {problem}")
        remember(what="failed", version=version, why=str(problem))
        if not old:
            raise ProblemError(f"{version} failed, and there is nothing to go back to") from problem
        seconds = back_to(old)
        raise ProblemError(
            f"{version} failed; rolled back to {old.version} in {seconds:.1f} s"
        ) from problem
    new.note(good_at=time.time())
    remember(what="deployed", version=version, before=old.version if old else None)
    annotate(f"deployed {version}")
    prune()
    say(f"{version} is deployed")


def rollback(version: str | None) -> None:
    """Go back to a release, or to the newest that proved good. Waits for no task."""
    target = find(version) if version else previous()
    if not target:
        raise ProblemError(
            f"{version} is not on this machine; `status` lists what is"
            if version
            else "no earlier release has proved good here; `status` lists what there is"
        )
    seconds = back_to(target)
    annotate(f"rolled back to {target.version}")
    say(f"rolled back to {target.version} in {seconds:.1f} s")


def back_to(target: Release) -> float:
    """Switch to a release at once; seconds it took until that was ready."""
    began = time.monotonic()
    before = current()
    stop(gently=False)
    state.make_readable_by(target)
    point_at(target)
    start(target)
    watch.until_ready(target)
    seconds = time.monotonic() - began
    remember(
        what="rolled_back",
        version=target.version,
        before=before.version if before else None,
        seconds=round(seconds, 1),
    )
    return seconds


def wait_for_tasks(release: Release) -> None:
    """Wait while a task runs that must not be interrupted."""
    said: set[str] = set()
    while busy := probe.running(release.about) & set(release.about.uninterruptible):
        if busy != said:
            say(f"waiting for {', '.join(sorted(busy))} (--now would not)")
            said = busy
        time.sleep(1)


def stop(*, gently: bool) -> None:
    """Stop the exporter; at once means five seconds for an orderly end."""
    if gently:
        run("systemctl", "stop", UNIT)
    elif is_active(UNIT) or not _is_down():
        run("systemctl", "stop", "--no-block", UNIT)
        for signal, seconds in (("TERM", 3.0), ("TERM", 2.0), ("KILL", 10.0)):
            attempt("systemctl", "kill", f"--signal={signal}", UNIT)
            if _is_down(seconds):
                break
    attempt("systemctl", "stop", "quant-programs@*.service")
    attempt("systemctl", "reset-failed", UNIT)


def _is_down(seconds: float = 0.0) -> bool:
    until = time.monotonic() + seconds
    while True:
        state_now = attempt("systemctl", "is-active", UNIT).stdout.strip()
        if state_now in ("inactive", "failed", "unknown"):
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.1)


def start(release: Release) -> None:
    """Start it and have Prometheus and Alertmanager read the release's files."""
    result = attempt("systemctl", "start", UNIT)
    if result.returncode:
        raise ProblemError(f"it does not start:\n{watch.last_words()}")
    for unit in _SERVERS:
        attempt("systemctl", "reset-failed", unit)
        if attempt("systemctl", "cat", unit).returncode == 0:
            attempt("systemctl", "reload-or-restart", unit)


def annotate(text: str) -> None:
    """A mark on Grafana's time line, when a token for it is there; never a reason to fail."""
    token = CREDENTIALS / "GRAFANA_TOKEN"
    if not token.exists():
        return
    body = f'{{"text": "{text}", "tags": ["deploy", "quant-exporter"]}}'
    asked = urllib.request.Request(
        "http://127.0.0.1:3000/api/annotations",
        data=body.encode(),
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Bearer {token.read_text().strip()}",
        },
    )
    try:
        with urllib.request.urlopen(asked, timeout=5):
            pass
    except OSError as error:
        say(f"Grafana took no annotation: {error}")
