"""``quant-vps``: what the fabfile runs on the machine, as root. Standard library only."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import apart
import backups
import provision
import secret
import settings
import status
import switch
import web
from places import SETTINGS, ProblemError, need_a_provisioned_machine
from shell import say


def main(arguments: list[str]) -> int:
    """One command; 0 well, 1 it failed, 2 wrong use."""
    options = _parser().parse_args(arguments)
    os.umask(0o022)
    try:
        if arguments[0] not in ("apart", "noted", "provision"):
            need_a_provisioned_machine()
        return int(bool(options.act(options)))
    except (ProblemError, OSError, subprocess.SubprocessError) as problem:
        say(f"error: {problem}")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="quant-vps", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(name: str, act: object) -> argparse.ArgumentParser:
        one = commands.add_parser(name)
        one.set_defaults(act=act)
        return one

    one = command("provision", _provision)
    one.add_argument("--dry-run", action="store_true")
    one.add_argument("--settings", type=Path, default=SETTINGS)
    one = command("deploy", _deploy)
    one.add_argument("version")
    one.add_argument("--now", action="store_true")
    one.add_argument("--allow-simulated", action="store_true")
    one.add_argument("--watch", type=float, default=30.0)
    command("rollback", lambda o: switch.rollback(o.version)).add_argument("version", nargs="?")
    command("status", lambda _: not status.status())
    command("backup", lambda o: backups.backup(o.file)).add_argument("file", type=Path)
    one = command("restore", lambda o: backups.restore(o.file, with_its_config=o.config))
    one.add_argument("file", type=Path)
    one.add_argument("--config", action="store_true")
    one = command("credential", _credential)
    one.add_argument("name")
    one.add_argument("--remove", action="store_true")
    command("login", lambda o: web.set_login(o.name, sys.stdin.readline())).add_argument("name")
    one = command("domain", lambda o: web.use_domain(o.domain, o.email))
    one.add_argument("domain")
    one.add_argument("email")
    one = command("apart", lambda o: apart.follow(o.rest))
    one.add_argument("rest", nargs=argparse.REMAINDER)
    command("noted", lambda o: apart.noted(o.rest[0], o.rest[1:])).add_argument(
        "rest", nargs=argparse.REMAINDER
    )
    return parser


def _provision(options: argparse.Namespace) -> None:
    provision.provision(settings.read(options.settings), dry_run=options.dry_run)


def _deploy(options: argparse.Namespace) -> None:
    switch.deploy(
        options.version,
        now=options.now,
        allow_simulated=options.allow_simulated,
        watch_seconds=options.watch,
    )


def _credential(options: argparse.Namespace) -> None:
    if options.remove:
        secret.forget_credential(options.name)
    else:
        secret.put_credential(options.name, sys.stdin.read())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
