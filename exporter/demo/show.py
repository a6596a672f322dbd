"""``python -m exporter.demo.show FOLDER CONFIG [--fault]``: what `make stack` runs.

Writes into FOLDER the shipped Prometheus and Alertmanager files with shortened times, a config that
is CONFIG with its own state, and a Procfile for honcho. With ``--fault`` a task is added that fails
for its first 90 seconds, so that the whole story passes: page, escalation, resolved notification.
"""

from __future__ import annotations

import shlex
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from exporter.config import ConfigError, load
from exporter.config import yaml12 as yaml_file
from exporter.demo import stack
from exporter.util.shipped import shipped

FAULT_SECONDS = 90
PORTS = {"prometheus": 9090, "alertmanager": 9093, "sinks": 10079, "smtp": 10025}
KEPT = ("state", "tsdb", "alertmanager")
"""What the servers keep in the folder. Each show starts fresh: what was missed while none was
running does not belong to its story."""
QUICK = {"check_every": "2s", "silence": "20s", "settle": "6s"}


def prepare(folder: Path, config: Path, *, fault: bool, now: float) -> Path:
    """Write everything; the Procfile. Raises :class:`exporter.config.ConfigError`."""
    folder = folder.resolve()
    for name in KEPT:
        shutil.rmtree(folder / name, ignore_errors=True)
    ports = stack.Ports(exporter=load(config).address[1], **PORTS)
    stack.write(folder, shipped(""), ports, stack.SHOW, folder / "state/token")
    ours = folder / "exporter.yml"
    ours.write_text(yaml.safe_dump(_config(config, folder, fault, now), sort_keys=False))
    load(ours)
    here = shlex.quote(str(folder))
    python = f"exec {shlex.quote(sys.executable)} -m exporter"
    # Not before there is something to scrape: `for` is too short here for a process that starts.
    ready = f"http://127.0.0.1:{ports.exporter}/-/ready"
    looks = f"import urllib.request as u; u.urlopen('{ready}')"
    wait = f'until {shlex.quote(sys.executable)} -c "{looks}" 2>/dev/null; do sleep 0.3; done'
    lines = {
        "exporter": f"{python} run --config {here}/exporter.yml",
        "sinks": f"{python} sinks --listen 127.0.0.1:{ports.sinks} --smtp-port {ports.smtp}",
        "prometheus": (
            f"{wait}; exec prometheus --config.file={here}/prometheus.yml"
            f" --storage.tsdb.path={here}/tsdb"
            f" --web.listen-address=127.0.0.1:{ports.prometheus} --log.level=warn"
            " --rules.alert.resend-delay=5s"
        ),
        "alertmanager": (
            f"exec prometheus-alertmanager --config.file={here}/alertmanager.yml"
            f" --storage.path={here}/alertmanager --cluster.listen-address="
            f" --web.listen-address=127.0.0.1:{ports.alertmanager} --log.level=warn"
        ),
    }
    procfile = folder / "Procfile"
    procfile.write_text("".join(f"{name}: {line}\n" for name, line in lines.items()))
    return procfile


def _config(config: Path, folder: Path, fault: bool, now: float) -> dict[str, Any]:
    data: dict[str, Any] = yaml_file.load(config.read_text())[0] or {}
    base = config.resolve().parent
    data["code"] = [str(base / place) for place in data.get("code") or ()]
    for strategy in (data.get("strategies") or {}).values():
        if strategy.get("equity_file"):
            strategy["equity_file"] = str(base / strategy["equity_file"])
    data["state"] = str(folder / "state/state.db")
    for server in ("prometheus", "alertmanager"):
        data[f"{server}_url"] = f"http://localhost:{PORTS[server]}"
    data["alerts"] = {**(data.get("alerts") or {}), **QUICK}
    data["logs"] = {**(data.get("logs") or {}), "directory": str(folder / "log")}
    if fault:
        wait = f"test $(date +%s) -ge {int(now) + FAULT_SECONDS}"
        says = "echo broker answers again || { echo broker does not answer; exit 1; }"
        data["tasks"] = {
            **(data.get("tasks") or {}),
            "made_up_fault": {
                "command": ["sh", "-c", f"{wait} && {says}"],
                "schedule": "every 10s",
                "severity": "critical",
            },
        }
    return data


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
    fault = "--fault" in arguments
    folder, config = (Path(a) for a in arguments if a != "--fault")
    try:
        problems = taken({"exporter": load(config).address[1], **PORTS})
    except ConfigError as error:
        problems = [str(error)]
    if problems:
        sys.stderr.write("\n".join(problems) + "\n")
        return 1
    prepare(folder, config, fault=fault, now=time.time())
    command = Path(sys.executable).with_name("quant-exporter")
    sys.stdout.write(
        f"what arrives   http://localhost:{PORTS['sinks']}/\n"
        f"alerts         http://localhost:{PORTS['prometheus']}/alerts\n"
        f"alertmanager   http://localhost:{PORTS['alertmanager']}/\n"
        f"acknowledge    {command} ack QuantTaskFailing --config {folder}/exporter.yml\n"
        f"what happened  {command} alerts --config {folder}/exporter.yml\n"
        + (
            f"A task fails for {FAULT_SECONDS} s: page, escalation, resolved notification.\n"
            if fault
            else ""
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
