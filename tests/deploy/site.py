"""A trader's project on the VPS: what it runs, how it is deployed, and whether it serves."""

from __future__ import annotations

import contextlib
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.deploy.network import VPS
from tests.deploy.vps import Laptop, Said, Vps

PASSWORD = "correct horse battery"
SECRET = "-".join(("s3cret", "of", "the", "broker", "4711"))

CONFIG = f"""
listen: 127.0.0.1:10077
public_url: https://{VPS}
timezone: UTC
code: [strategies/]
stop_timeout: 3s
programs: {{memory: 200MB, write: [/srv/data]}}
sources: {{market: {{type: simulated}}}}
tasks:
  minute: {{run: "ticks:minute", schedule: "every 1m", grace: 5m}}
  quick:
    command: [sh, -c, "echo quick $QUANT_SLOT >> /srv/data/slots"]
    schedule: "every 2s"
    catch_up: true
  on_the_loop: {{run: "ticks:on_the_loop", schedule: "00:01"}}
  greedy: {{run: "ticks:greedy", schedule: "00:01"}}
  slow:
    command: [sh, -c, "for i in $(seq 600); do [ -e /srv/data/hold ] || exit 0; sleep 0.2; done"]
    schedule: "00:01"
  lazy: {{command: [sleep, "60"], interruptible: true, schedule: "00:01"}}
"""

TICKS = """
import os, pathlib

def minute(context):
    with open("/srv/data/slots", "a") as file:
        file.write(f"minute {context.slot:.0f}\\n")
    return 1

async def on_the_loop():
    pathlib.Path("/srv/data/by-the-daemon").write_text("")

def greedy():
    return len(bytearray(600_000_000)) // 600_000_000
"""


class Site:
    """The project on the laptop and what of it runs on the VPS."""

    def __init__(self, vps: Vps, laptop: Laptop) -> None:
        self.vps, self.laptop = vps, laptop
        self.good = ""
        """The version that should serve."""
        laptop.write("exporter.yml", CONFIG)
        laptop.write("strategies/ticks.py", TICKS)
        for name in ("scrape_interval: 15s", "scrape_timeout: 10s", "evaluation_interval: 15s"):
            laptop.change("prometheus/prometheus.yml", name, f"{name.split(':')[0]}: 1s")
        self.good_commit = ""

    def deploy(self, *options: str, watch: int = 1) -> Said:
        """`fab deploy` of what is committed."""
        return self.laptop.fab("deploy", "--allow-simulated", f"--watch={watch}", *options)

    def deploy_well(self, message: str) -> Said:
        """Commit, deploy, and expect it to serve."""
        version = self.laptop.commit(message)
        said = self.deploy().well()
        assert f"{version} is deployed" in said
        self.good, self.good_commit = version, self.laptop.git("rev-parse", "HEAD").strip()
        self.serves()
        return said

    def deploy_badly(self, message: str, *, watch: int = 1) -> Said:
        """Commit, deploy, expect the good version to serve afterwards, and take the commit back."""
        version = self.laptop.commit(message)
        try:
            said = self.deploy(watch=watch).failed()
            assert version in said
            self.serves()
        finally:
            self.laptop.git("reset", "-q", "--hard", self.good_commit)
        return said

    def restore(self, archive: Path, *options: str) -> Said:
        """`fab restore`, away from full minutes: the slot that falls into it is not run again."""
        wait_for(lambda: 2 <= time.time() % 60 <= 45, 30)
        return self.laptop.fab("restore", str(archive), *options)

    def serves(self) -> None:
        """The good version is current, ready, and scraped; nothing ran twice or was lost."""
        assert self.laptop.ssh("readlink /opt/quant/current").strip().endswith(f"/{self.good}")
        assert self.get("/-/ready")
        began = float(self.metric("process_start_time_seconds"))
        wait_for(lambda: self.prometheus("process_start_time_seconds") == [began], 20)
        self.nothing_ran_twice()

    def nothing_ran_twice(self) -> None:
        """Each slot ran once at the most, and of those within grace each did."""
        lines = self.laptop.ssh("cat /srv/data/slots 2>/dev/null || true").split("\n")
        ran = [line for line in lines if line]
        twice = sorted({line for line in ran if ran.count(line) > 1})
        assert not twice, twice
        minutes = sorted(int(line.split()[1]) for line in ran if line.startswith("minute"))
        if minutes:
            whole = list(range(minutes[0], minutes[-1] + 60, 60))
            assert minutes == whole, sorted(set(whole) - set(minutes))
        rows = self.query("SELECT task, slot, count(*) FROM runs WHERE slot NOT NULL GROUP BY 1, 2")
        assert all(count == 1 for _, _, count in rows)
        claimed = {f"{task} {slot:.0f}" for task, slot, _ in rows}
        assert set(ran) <= claimed, set(ran) - claimed

    def query(self, sql: str) -> list[Any]:
        """Rows of the state file."""
        script = f"""
import json, sqlite3
db = sqlite3.connect("file:/var/lib/quant-exporter/state.db?mode=ro", uri=True)
print(json.dumps(db.execute({sql!r}).fetchall()))
"""
        found: list[Any] = json.loads(self.laptop.python(script))
        return found

    def get(self, path: str, port: int = 10077) -> str:
        """What answers on the VPS's own loopback."""
        url = f"http://127.0.0.1:{port}{path}"
        return self.vps.network.machine.within(
            lambda: str(urllib.request.urlopen(url, timeout=10).read().decode())
        )

    def post(self, path: str, body: Any = None, port: int = 10077) -> str:
        """With the write token, on the VPS's own loopback."""
        token = self.laptop.ssh("cat /var/lib/quant-exporter/token").strip()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", data=json.dumps(body or {}).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )  # fmt: skip
        return self.vps.network.machine.within(
            lambda: str(urllib.request.urlopen(asked, timeout=10).read().decode())
        )

    def metric(self, name: str) -> str:
        """A sample's value, by its name and labels as they are printed."""
        match = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics"), re.M)
        assert match, name
        return match[1]

    def prometheus(self, query: str) -> list[float]:
        """What the VPS's Prometheus answers now for the exporter."""
        path = f"/api/v1/query?query={query}%7Bjob%3D%22quant-exporter%22%7D"
        try:
            found = json.loads(self.get(path, port=9090))["data"]["result"]
        except (OSError, urllib.error.URLError):
            return []
        return [float(series["value"][1]) for series in found]

    def run(self, task: str) -> str:
        """Start a task by hand; its run_id."""
        return str(json.loads(self.post(f"/api/v1/tasks/{task}/run"))["run_id"])

    @contextlib.contextmanager
    def a_slow_run(self) -> Iterator[str]:
        """A run of a task that must not be interrupted, and that lasts until :meth:`let_go`."""
        self.laptop.ssh("touch /srv/data/hold")
        try:
            yield self.run("slow")
        finally:
            self.let_go()

    def let_go(self, after: float = 0.0) -> None:
        """Let the slow run end, that many seconds from now, also when the machine goes down."""
        then = f'trap "" TERM; sleep {after}; rm -f /srv/data/hold'
        self.laptop.ssh(f"systemd-run --quiet --collect sh -c '{then}'")

    def outcome(self, run_id: str) -> tuple[str, str | None]:
        """How a run ended, and its error; waits for its end."""
        sql = f"SELECT outcome, error FROM runs WHERE run_id = '{run_id}' AND outcome NOT NULL"
        [[outcome, error]] = wait_for(lambda: self.query(sql), 30)
        return outcome, error

    def main_pid(self) -> int:
        """The exporter's process on the VPS."""
        return int(self.laptop.ssh("systemctl show -P MainPID quant-exporter"))


def wait_for(condition: Any, seconds: float) -> Any:
    """Ask until the answer is true; return it."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"still {found!r} after {seconds} s"
        time.sleep(0.1)
    return found
