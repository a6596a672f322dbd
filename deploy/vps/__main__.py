"""``quant-vps``: what the fabfile runs on the machine, as root. Standard library only."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import provision
import switch
import upkeep
from places import TOOL, ProblemError
from shell import attempt, run, say

_UNIT = "quant-deploy.service"


def main(arguments: list[str]) -> int:
    """One command; 0 well, 1 it failed, 2 wrong use."""
    options = _parser().parse_args(arguments)
    os.umask(0o022)
    try:
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
    one = command("deploy", _deploy)
    one.add_argument("version")
    one.add_argument("--now", action="store_true")
    one.add_argument("--allow-simulated", action="store_true")
    one.add_argument("--watch", type=float, default=30.0)
    command("rollback", lambda o: switch.rollback(o.version)).add_argument("version", nargs="?")
    command("status", lambda _: not upkeep.status())
    command("backup", lambda o: upkeep.backup(o.file)).add_argument("file", type=Path)
    command("restore", lambda o: upkeep.restore(o.file)).add_argument("file", type=Path)
    one = command("credential", _credential)
    one.add_argument("name")
    one.add_argument("--remove", action="store_true")
    command("login", lambda o: provision.set_login(o.name, sys.stdin.readline())).add_argument(
        "name"
    )
    one = command("domain", lambda o: provision.use_domain(o.domain, o.email))
    one.add_argument("domain")
    one.add_argument("email")
    one = command("apart", _apart)
    one.add_argument("rest", nargs=argparse.REMAINDER)
    command("noted", _noted).add_argument("rest", nargs=argparse.REMAINDER)
    return parser


def _provision(options: argparse.Namespace) -> None:
    provision.provision(dry_run=options.dry_run)


def _deploy(options: argparse.Namespace) -> None:
    switch.deploy(
        options.version,
        now=options.now,
        allow_simulated=options.allow_simulated,
        watch_seconds=options.watch,
    )


def _credential(options: argparse.Namespace) -> None:
    if options.remove:
        upkeep.forget_credential(options.name)
    else:
        upkeep.put_credential(options.name, sys.stdin.read())


def _apart(options: argparse.Namespace) -> int:
    """Run a command as a unit of its own and follow it: it ends well without a connection, too."""
    _wait_for_others(options.rest[0])
    base = Path(f"/run/quant-deploy-{time.time_ns()}")
    log, result = base.with_suffix(".log"), base.with_suffix(".result")
    log.write_text("")
    run(
        "systemd-run", "--quiet", "--collect", f"--unit={_UNIT}",
        f"--description=quant-deploy {' '.join(options.rest)}",
        f"--property=StandardOutput=append:{log}", f"--property=StandardError=append:{log}",
        "python3", "-I", TOOL, "noted", result, *options.rest,
    )  # fmt: skip
    with log.open() as lines:
        while not result.exists():
            if attempt("systemctl", "is-active", "--quiet", _UNIT).returncode:
                time.sleep(0.2)
                break
            sys.stdout.write(lines.read())
            sys.stdout.flush()
            time.sleep(0.2)
        sys.stdout.write(lines.read())
    code = int(result.read_text()) if result.exists() else 1
    for file in (log, result):
        file.unlink(missing_ok=True)
    return code


def _wait_for_others(what: str) -> None:
    """One at a time; but a rollback ends a deploy that is at work rather than wait for it."""
    said = False
    while attempt("systemctl", "is-active", "--quiet", _UNIT).returncode == 0:
        if what == "rollback":
            say("ending what is at work on the machine")
            attempt("systemctl", "stop", _UNIT)
        elif not said:
            say("another deploy or rollback is at work on the machine; waiting for its end")
            said = True
        time.sleep(0.5)


def _noted(options: argparse.Namespace) -> int:
    """Run a command and leave its exit code where :func:`_apart` finds it."""
    result, *rest = options.rest
    code = 1
    try:
        code = subprocess.run(["python3", "-I", str(TOOL), *rest], check=False).returncode
    finally:
        draft = Path(f"{result}.draft")
        draft.write_text(str(code))
        draft.replace(result)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
