"""Back to a version that was good: within seconds, whatever state the machine is in."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from exporter.state.schema import MIGRATIONS
from tests.deploy.site import Site, wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

_MIGRATION = """    (
        "ALTER TABLE tasks ADD COLUMN mood TEXT",
        "CREATE TABLE moods (task TEXT PRIMARY KEY, mood TEXT NOT NULL) STRICT",
        "INSERT INTO moods SELECT name, 'calm' FROM tasks",
    ),
)


def migrate("""


Measured = Callable[[str, object], None]


def test_a_rollback_takes_seconds_and_waits_for_nothing(
    site: Site, record_property: Measured
) -> None:
    """Not even for a run that must not be interrupted; without a name, to the last good one."""
    before = site.good
    site.deploy_well("to go back from")
    newer = site.good
    with site.a_slow_run() as run:
        said, seconds = rolled_back(site)
        assert site.outcome(run) == ("error", "stopped at shutdown")
    record_property(
        "measured", f"rollback with a run under way: {said} s, {seconds:.1f} s as it is felt"
    )
    assert site.laptop.ssh("basename $(readlink /opt/quant/current)").strip() == before
    site.good = before
    site.serves()
    assert f"release   {newer} (not proved)" in site.laptop.fab("status").well()
    rolled_back(site, f"--version={newer}")
    site.good = newer
    site.serves()
    assert f"what=rolled_back version={newer} before={before}" in site.laptop.ssh(
        "journalctl -t quant-deploy -o cat --no-pager"
    )


def test_a_version_that_is_not_there_is_said(site: Site) -> None:
    """And nothing else happens."""
    said = site.laptop.fab("rollback", "--version=20200101-000000-abcdef0").failed()
    assert "20200101-000000-abcdef0 is not on this machine; `status` lists what is" in said
    assert "is no version" in site.laptop.fab("rollback", "--version=../../etc").failed()
    site.serves()


def test_a_migration_is_gone_back_from_and_forgets_nothing(
    site: Site, record_property: Measured
) -> None:
    """Claims that the newer version made stand; what only it knew stays in a copy beside."""
    site.laptop.change("exporter/state/schema.py", ")\n\n\ndef migrate(", _MIGRATION)
    before = site.good
    commit = site.laptop.git("rev-parse", "HEAD").strip()
    site.deploy_well("with another schema")
    assert site.query("PRAGMA user_version") == [[len(MIGRATIONS) + 1]]
    assert ["minute", "calm"] in site.query("SELECT task, mood FROM moods")
    run = site.run("on_the_loop")
    newer = site.outcome(run)
    claimed = site.query("SELECT task, slot FROM runs WHERE slot NOT NULL")
    record_property("measured", f"rollback after a migration: {rolled_back(site)[0]} s")
    site.good, site.good_commit = before, commit
    site.laptop.git("reset", "-q", "--hard", commit)
    site.serves()
    assert site.query("PRAGMA user_version") == [[len(MIGRATIONS)]]
    assert site.outcome(run) == newer
    still = site.query("SELECT task, slot FROM runs WHERE slot NOT NULL")
    assert [row for row in claimed if row not in still] == []
    assert f"state.db.schema-{len(MIGRATIONS) + 1}" in site.laptop.ssh("ls /var/lib/quant-exporter")


def test_a_version_that_migrates_and_then_crashes_is_rolled_back(site: Site) -> None:
    """The migrated state is brought back into the old schema at once."""
    site.laptop.change("exporter/state/schema.py", ")\n\n\ndef migrate(", _MIGRATION)
    site.laptop.change(
        "exporter/app.py", "        token = self._token_file.read_or_make()\n",
        '        raise RuntimeError("broken after the migration")\n',
    )  # fmt: skip
    said = site.deploy_badly("migrates and crashes")
    assert "broken after the migration" in said
    assert f"state: from schema {len(MIGRATIONS) + 1} back to {len(MIGRATIONS)}" in said
    assert site.query("PRAGMA user_version") == [[len(MIGRATIONS)]]


def test_an_exporter_that_stays_down_is_told_to_the_pager(
    site: Site, record_property: Measured
) -> None:
    """After the last start that systemd tries; and a rollback gets it up again."""
    override = "/run/systemd/system/quant-exporter.service.d"
    limit = "[Unit]\\nStartLimitBurst=2\\n[Service]\\nExecStartPre=\\nExecStart=\\n"
    site.laptop.ssh(f"mkdir -p {override} && printf '{limit}ExecStart=/bin/false\\n' "
                    f"> {override}/test.conf && systemctl daemon-reload")  # fmt: skip
    try:
        site.laptop.ssh("systemctl restart quant-exporter", check=False)
        alerts = wait_for(
            lambda: [a for a in site.get("/api/v2/alerts", port=9093).split('"labels"')
                     if "QuantExporterGaveUp" in a], 30)  # fmt: skip
        assert '"severity":"critical"' in alerts[0]
        said = site.laptop.fab("status").failed()
        assert re.search("firing .*QuantExporterGaveUp", said.text)
        assert "QuantExporterGaveUp" in site.laptop.ssh("cat /opt/quant/current/docs/runbook.md")
    finally:
        site.laptop.ssh(f"rm -r {override}; systemctl daemon-reload")
    seconds = rolled_back(site, f"--version={site.good}")[0]
    record_property("measured", f"rollback of an exporter that is down: {seconds} s")
    assert "QuantExporterGaveUp" not in site.get("/api/v2/alerts", port=9093)
    site.serves()


def test_a_rollback_ends_a_deploy_that_waits(site: Site) -> None:
    """Who needs it now does not wait for a deploy that waits for a task."""
    site.laptop.commit("waits")
    with site.a_slow_run() as run:
        started = site.laptop.start("deploy", "--allow-simulated")
        site.laptop.hear(started, "(--now would not)")
        rolled_back(site, f"--version={site.good}")
        out, _ = started.communicate(timeout=60)
        assert started.returncode == 1, out
        assert site.outcome(run) == ("error", "stopped at shutdown")
    site.serves()


def test_a_full_disk_is_refused_and_gone_back_on(site: Site, record_property: Measured) -> None:
    """A deploy says so and changes nothing; a rollback and the exporter do without."""
    if not site.vps.own_disk:
        pytest.skip("no loop device here, so the machine's disk is this machine's")
    newer = site.good
    site.laptop.commit("one too many")
    fill = (
        "fallocate -l $(df -B1 --output=avail / | tail -1) /var/most; "
        "dd if=/dev/zero of=/var/fill bs=1M status=none 2>/dev/null; sync; df --output=avail /"
    )
    try:
        free = int(site.laptop.ssh(fill, check=False).split()[1])
        assert free < 2000
        said = site.deploy().failed()
        assert re.search(r"does not take the upload|only \d+ MB are free", said.text)
        assert "nothing was changed" in said
        assert "Traceback" not in said
        assert site.laptop.ssh("basename $(readlink /opt/quant/current)").strip() == newer
        assert site.get("/metrics")
        record_property("measured", f"rollback with a full disk: {rolled_back(site)[0]} s")
        site.good = site.laptop.ssh("basename $(readlink /opt/quant/current)").strip()
        assert site.good != newer
        assert ", ready, " in site.laptop.fab("status").text
    finally:
        site.laptop.ssh("rm -f /var/fill /var/most")
    site.laptop.ssh("systemctl restart quant-exporter")
    assert site.metric("quant_state_healthy") == "1.0"
    site.serves()


def rolled_back(site: Site, *version: str) -> tuple[float, float]:
    """Seconds of a rollback: as it printed them, and with connection and all."""
    began = time.monotonic()
    said = site.laptop.fab("rollback", *version).well()
    seconds = time.monotonic() - began
    match = re.search(r"rolled back to \S+ in ([\d.]+) s", said.text)
    assert match, said.text
    assert float(match[1]) < 60
    return float(match[1]), seconds
