"""``quant-exporter discover``: what runs on this machine and is not watched, with lines for
exporter.yml. Nothing is changed, and no argument of a command line is printed."""

from __future__ import annotations

import os
from pathlib import Path

from exporter.cli.discovered import Findings, ThisMachine, Unwatched
from exporter.cli.find_running import find_containers, find_processes, find_services
from exporter.cli.find_scheduled import find_cron, find_timers
from exporter.cli.import_schedules import zone_here
from exporter.config import Config, ConfigError, load_what_is_right

_KINDS = ("cron jobs", "timers", "services", "containers", "long-running processes")


def discover(path: Path, *, as_all: bool = False, machine: ThisMachine | None = None) -> int:
    """Print what was found, by kind; with `as_all` what packages brought along, too."""
    config = _config(path)
    units = [str(task.service) for task in config.tasks.values() if task.service]
    here = machine or ThisMachine(uid=os.geteuid(), watched_units=units)
    zone = zone_here()
    looks = (
        find_cron(here, zone), find_timers(here, zone), find_services(here), find_containers(here),
        find_processes(here),
    )  # fmt: skip
    everything = Findings([one for look in looks for one in look.found])
    named = iter(everything.renamed(config.tasks))
    print("# for exporter.yml, below `tasks:`; then `quant-exporter check` and `reload`")
    for kind, look in zip(_KINDS, looks, strict=True):
        lines = [text for _ in look.found for text in _lines(next(named))]
        print(f"\n# {kind}: {f'{len(look.found)} not watched' if look.found else 'none'}")
        print("\n".join(lines), end="\n" if lines else "")
    _print_rest(looks, as_all=as_all)
    return 0


def _config(path: Path) -> Config:
    """What is watched already; nothing where there is no config yet."""
    try:
        return load_what_is_right(path)[0]
    except ConfigError:
        return Config()


def _lines(one: Unwatched) -> list[str]:
    offer = f"  {one.name}: {one.task}" if one.task else f"  # {one.name} needs a task by hand"
    return [f"  # {one.what}", f"  #   {one.why}", offer]


def _print_rest(looks: tuple[Findings, ...], *, as_all: bool) -> None:
    watched = [name for look in looks for name in look.watched]
    packaged = sorted({name for look in looks for name in look.packaged})
    print()
    if watched:
        print(f"# watched already: {', '.join(watched)}")
    if packaged:
        listed = f": {', '.join(packaged)}" if as_all else "; --all names them"
        print(f"# {len(packaged)} cron jobs and timers come with the system{listed}")
    for text in dict.fromkeys(text for look in looks for text in look.unseen):
        print(f"# not looked at: {text}")
    if os.geteuid():
        print("# crontabs of others and some processes are seen by root alone: run it with sudo")
