"""``python -m exporter.demo.show FOLDER CONFIG [--fault] [--live]``: what `make stack` runs.

Writes into FOLDER the shipped Prometheus and Alertmanager files with shortened times, and a
Procfile for honcho; and next to CONFIG one that is like it, so that relative paths mean the same,
but with its state and logs in FOLDER. With ``--fault`` a task is added that fails for its first 90
seconds, so that the whole story passes: page, escalation, resolved notification. Without ``--live``
the user's own tasks do nothing, and no message is sent: one of them may place orders.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from exporter.config import ConfigError, load, yaml12
from exporter.demo import stack
from exporter.util.shipped import shipped

FAULT_SECONDS = 90
PORTS = {"prometheus": 9090, "alertmanager": 9093, "sinks": 10079, "smtp": 10025}
KEPT = ("state", "tsdb", "alertmanager")
"""What the servers keep in the folder. Each show starts fresh: what was missed while none was
running does not belong to its story."""
_SERVERS = ("prometheus", "alertmanager")
_HEAD = "# Written by `make stack` at each start, from the config next to it: do not edit.\n"
QUICK = {"check_every": "2s", "silence": "20s", "settle": "6s"}


def shown_config(config: Path) -> Path:
    """Where the config of the show lies: next to the user's own."""
    return config.resolve().with_suffix(".stack.yml")


def prepare(
    folder: Path, config: Path, *, fault: bool, now: float, live: bool = False
) -> list[str]:
    """Write everything; the names of tasks that have a stand-in. Raises
    :class:`exporter.config.ConfigError`."""
    folder = folder.resolve()
    for name in KEPT:
        shutil.rmtree(folder / name, ignore_errors=True)
    ports = stack.Ports(exporter=load(config).address[1], **PORTS)
    stack.write(folder, shipped(""), ports, stack.SHOW, folder / "state/token")
    data: dict[str, Any] = yaml12.load(config.read_text())[0] or {}
    replaced = [] if live else _stand_ins(data, config.resolve().parent)
    if fault:
        data.setdefault("tasks", {})["made_up_fault"] = _fault(now)
    ours = shown_config(config)
    ours.write_text(_HEAD + yaml.safe_dump(_apart(data, folder), sort_keys=False))
    zone = load(ours).timezone
    here = shlex.quote(str(folder))
    python = f"exec {shlex.quote(sys.executable)} -m exporter"
    # Not before there is something to scrape: `for` is too short here for a process that starts.
    ready = f"http://127.0.0.1:{ports.exporter}/-/ready"
    looks = f"import urllib.request as u; u.urlopen('{ready}')"
    wait = f'until {shlex.quote(sys.executable)} -c "{looks}" 2>/dev/null; do sleep 0.3; done'
    lines = {
        "exporter": f"{python} run --config {shlex.quote(str(ours))}",
        "sinks": f"{python} sinks --listen 127.0.0.1:{ports.sinks} --smtp-port {ports.smtp}",
        "prometheus": (
            f"{wait}; exec prometheus --config.file={here}/prometheus.yml"
            f" --storage.tsdb.path={here}/tsdb"
            f" --web.listen-address=127.0.0.1:{ports.prometheus} --log.level=warn"
            " --rules.alert.resend-delay=5s"
        ),
        "alertmanager": (
            f"TZ={zone} exec prometheus-alertmanager --config.file={here}/alertmanager.yml"
            f" --storage.path={here}/alertmanager --cluster.listen-address="
            f" --web.listen-address=127.0.0.1:{ports.alertmanager} --log.level=warn"
        ),
    }
    (folder / "Procfile").write_text("".join(f"{name}: {line}\n" for name, line in lines.items()))
    return replaced


def _apart(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """With state, logs and servers of its own, and quick acknowledgements."""
    return {
        **data,
        "state": str(folder / "state/state.db"),
        **{f"{server}_url": f"http://localhost:{PORTS[server]}" for server in _SERVERS},
        "alerts": {**(data.get("alerts") or {}), **QUICK},
        "logs": {**(data.get("logs") or {}), "directory": str(folder / "log")},
    }


def _fault(now: float) -> dict[str, Any]:
    wait = f"test $(date +%s) -ge {int(now) + FAULT_SECONDS}"
    says = "echo broker answers again || { echo broker does not answer; exit 1; }"
    return {
        "command": ["sh", "-c", f"{wait} && {says}"],
        "schedule": "every 10s",
        "severity": "critical",
    }


def _stand_ins(data: dict[str, Any], base: Path) -> list[str]:
    """Have tasks that are not of this project do nothing; their names."""
    code = [base / place for place in data.get("code") or ()]
    replaced = []
    for name, task in (data.get("tasks") or {}).items():
        if not task.get("external") and not _comes_along(task.get("run") or "", code):
            task.pop("run", None)
            task["command"] = ["echo", "not run: this is a show"]
            replaced.append(str(name))
        task.pop("report_to", None)
    for where in ("digest", "messages"):
        data.pop(where, None)
    return replaced


def _comes_along(run: str, code: list[Path]) -> bool:
    """Whether a function is a built-in one, or one of the sample as it was shipped."""
    module = run.partition(":")[0].removesuffix(".py")
    if module == "exporter.tasks":
        return True
    files = [place / f"{module}.py" for place in code]
    sample = shipped(f"sample/strategies/{module}.py")
    first = next((file for file in files if file.is_file()), None)
    return bool(first and sample.is_file() and first.read_bytes() == sample.read_bytes())


def taken(ports: dict[str, int]) -> list[str]:
    """A sentence for each port that somebody listens on already."""
    found = []
    for name, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                found.append(
                    f"port {port}, for {name}, is in use; find out by what with"
                    f" `ss -ltnp 'sport = :{port}'` and stop it"
                )
    return found


def main(arguments: list[str]) -> int:
    """Say where to look; honcho starts the rest."""
    fault, live = "--fault" in arguments, "--live" in arguments
    folder, config = (Path(a) for a in arguments if not a.startswith("--"))
    try:
        problems = taken({"exporter": load(config).address[1], **PORTS})
    except ConfigError as error:
        problems = [str(error)]
    if problems:
        sys.stderr.write("\n".join(problems) + "\n")
        return 1
    replaced = prepare(folder, config, fault=fault, now=time.time(), live=live)
    ours = os.path.relpath(shown_config(config))
    command = Path(sys.executable).with_name("quant-exporter")
    sys.stdout.write(
        f"what arrives   http://localhost:{PORTS['sinks']}/\n"
        f"alerts         http://localhost:{PORTS['prometheus']}/alerts\n"
        f"alertmanager   http://localhost:{PORTS['alertmanager']}/\n"
        f"acknowledge    {command} ack QuantTaskFailing --config {ours}\n"
        f"write token    cat {folder}/state/token\n"
        f"what happened  {command} alerts --config {ours}\n"
        + (
            f"A task fails for {FAULT_SECONDS} s: page, escalation, resolved notification.\n"
            if fault
            else ""
        )
    )
    if replaced:
        sys.stdout.write(
            f"Not run, because they are your own: {', '.join(replaced)}. They succeed and do"
            " nothing; `make stack LIVE=1` runs them for real.\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
