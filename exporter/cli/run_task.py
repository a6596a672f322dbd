"""``quant-exporter run-task``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from exporter.cli import client
from exporter.cli.backfill import Backfill, backfill, slots_of, typed
from exporter.cli.progress import working
from exporter.cli.run_result import items_text, wait_for_end
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.util.printable import clean
from exporter.util.units import format_duration


def run_task(
    path: Path,
    name: str,
    *,
    wait: bool,
    day: str | None = None,
    first: str | None = None,
    last: str | None = None,
    params: Sequence[str] = (),
    again: bool = False,
    keep_going: bool = False,
) -> int:
    """Ask the running exporter to run a task now; its outcome is the exit code, and what it printed
    is shown below. With `day`, or `first` and `last`, for its slots of then."""
    try:
        given = dict(_param(text) for text in params)
        _check(day, first, last, wait=wait, again=again, keep_going=keep_going)
    except ValueError as error:
        complain(str(error))
        return 2

    def ask(config: Config) -> int:
        if first is not None:
            end = last or first
            return backfill(config, Backfill(name, first, end, given, again, keep_going))
        body: dict[str, Any] = {"params": given, "again": again} if given or day else {}
        if day is not None:
            slot = _the_slot(config, name, day)
            if slot is None:
                return 2
            body["slot"] = slot
        run_id = client.call(config, "POST", f"/api/v1/tasks/{name}/run", body)["run_id"]
        if not wait:
            print(f"{name}: started as run {run_id}")
            return 0
        try:
            with working(f"waiting for {name} to end; Ctrl-C lets it go on by itself"):
                run = wait_for_end(config, name, run_id)
        except KeyboardInterrupt:
            complain(
                f"{name}: run {run_id} continues; its lines: quant-exporter logs --run {run_id}"
            )
            return 130
        return _show(name, run)

    return with_config(path, ask, tolerant=True)


def _check(
    day: str | None, first: str | None, last: str | None, *, wait: bool, again: bool,
    keep_going: bool,
) -> None:  # fmt: skip
    if day is not None and (first is not None or last is not None):
        raise ValueError("--for is one slot, --from and --to are several: give one of them")
    if last is not None and first is None:
        raise ValueError("--to needs --from")
    if again and day is None and first is None:
        raise ValueError("--again is for --for, or --from and --to")
    if first is not None and not wait:
        raise ValueError("several slots are run one by one: leave out --no-wait")
    if keep_going and first is None:
        raise ValueError("--keep-going is for --from and --to")


def _param(text: str) -> tuple[str, Any]:
    """``lookback=30``: a value that is JSON is read as that, anything else is text."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"invalid parameter {text!r}: write NAME=VALUE, such as lookback=30")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _the_slot(config: Config, name: str, day: str) -> float | None:
    """The only slot of that day; says what is wrong otherwise."""
    found = [each["slot"] for each in slots_of(config, name, day, day)]
    if len(found) == 1:
        return float(found[0])
    if not found:
        complain(f"{name} has no slot on {day} at which it ran or should have run")
        return None
    zone = ZoneInfo(config.timezone)
    some = ", ".join(f"--for {typed(at, zone)}" for at in found[:3])
    complain(
        f"{name} has {len(found)} slots on {day}: name one ({some}{', …' * (len(found) > 3)}), or "
        f"run them all: --from {day} --to {day}"
    )
    return None


def _show(name: str, run: Mapping[str, Any]) -> int:
    took = format_duration(run["ended_at"] - run["started_at"])
    print(f"{name}: {run['outcome']} after {took}{items_text(run['items'])}")
    if text := run["error"] or run.get("message"):
        print(clean(text))
    for line in (run["tail"] or "").splitlines():
        print(f"    {clean(line)}".rstrip())
    return 0 if run["outcome"] == "success" else 1
