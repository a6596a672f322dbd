"""A version that is good is put in place; one that is not never stays."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.site import CONFIG, SECRET, Site, wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]


def test_a_good_version_serves(site: Site) -> None:
    """Ready, scraped by the Prometheus of that machine, its tasks registered, and written down."""
    assert site.prometheus("quant_exporter_build_info") == [1.0]
    tasks = {task["name"] for task in json.loads(site.get("/api/v1/tasks"))["tasks"]}
    assert tasks == {"minute", "quick", "on_the_loop", "greedy", "slow", "lazy"}
    journal = site.laptop.ssh("journalctl -t quant-deploy -o cat --no-pager")
    assert f"what=deployed version={site.good}" in journal
    assert "fabric" not in site.laptop.ssh("ls /opt/quant/current/venv/lib/python3*/site-packages")
    zone = site.laptop.ssh("systemctl show -P Environment prometheus-alertmanager")
    assert "TZ=UTC" in zone.split()
    said = site.laptop.fab("status").well()
    assert f"version   {site.good}" in said
    assert "active (running), ready, up " in said
    assert re.search(
        r"task +minute +(well|new) +(success 0:00:\d\d ago|has not run yet), next in 0:00:\d\d\n",
        said.text,
    )
    assert re.search(r"task +slow +new +has not run yet, next in ", said.text)
    assert re.search(r"machine +up \d+:\d\d:\d\d, clock ", said.text)
    assert re.search(r"disk +/: [\d.]+ GB free of [\d.]+ GB", said.text)
    assert re.search(r"firing +\S", said.text)


def test_the_command_is_at_hand_on_the_machine(site: Site) -> None:
    """As the runbook has it, for root and without a path; it acts as the exporter's own user."""
    assert re.search(r"(?m)^minute ", site.laptop.ssh("quant-exporter tasks"))
    site.laptop.ssh("quant-exporter pause lazy --for 1h")
    assert re.search(r"(?m)^lazy +paused", site.laptop.ssh("quant-exporter tasks"))
    site.laptop.ssh("quant-exporter resume lazy")
    assert site.laptop.ssh("find /var/lib/quant-exporter -user root ! -name log") == ""


def test_the_same_version_again_does_nothing(site: Site) -> None:
    """The exporter is not even restarted."""
    before = site.main_pid()
    assert f"{site.good} runs already" in site.deploy().well()
    assert site.main_pid() == before


def test_a_deploy_leaves_a_mark_in_grafana(site: Site) -> None:
    """Over Grafana's API, with the password that provision made; the boards are the release's."""
    assert marks(site)[-1] == {
        "path": "/api/annotations",
        "login": "password",
        "body": {"text": f"deployed {site.good}", "tags": ["deploy", "quant-exporter"]},
    }
    assert "quant-overview.json" in json.loads(site.get("/grafana/boards", port=3000))


def test_a_deploy_that_was_cut_off_in_its_watch_is_watched_again(site: Site) -> None:
    """What runs and was never found good is looked at, and not restarted for that."""
    before = site.main_pid()
    known = f"/opt/quant/releases/{site.good}/.release.json"
    site.laptop.ssh(f'sed -i -E \'s/"good_at": [0-9.]+/"good_at": null/\' {known}')
    assert f"{site.good} is deployed" in site.deploy().well()
    assert site.main_pid() == before
    assert '"good_at": null' not in site.laptop.ssh(f"cat {known}")


def test_a_new_secret_is_taken_by_the_next_deploy(site: Site) -> None:
    """Also of the same version; one that is removed is gone from the machine."""
    site.laptop.fab("secret", "GRAFANA_TOKEN", stdin="glsa_test_4711\n").well()
    assert f"{site.good} is deployed" in site.deploy().well()
    listing = "ls /run/credentials/quant-exporter.service"
    assert "GRAFANA_TOKEN" in site.laptop.ssh(listing)
    assert marks(site)[-1]["login"] == "token"
    site.laptop.fab("secret", "GRAFANA_TOKEN", "--remove").well()
    assert site.laptop.ssh("ls /etc/quant-exporter/credentials").split() == ["BROKER_KEY"]
    said = site.laptop.fab("secret", "GRAFANA_TOKEN", "--remove").failed()
    assert "no secret 'GRAFANA_TOKEN'" in said
    site.serves()


def test_a_user_who_may_sudo_does_as_well_as_root(site: Site, tmp_path: Path) -> None:
    """The same commands, without a root login."""
    site.laptop.ssh(
        "useradd --create-home deployer && cp -r /root/.ssh /home/deployer/ && "
        "chown -R deployer: /home/deployer/.ssh && "
        "echo 'deployer ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deployer"
    )
    as_user = {"hosts": "deployer@vps"}
    assert ", ready, " in site.laptop.fab("status", **as_user).well()
    said = site.laptop.fab("deploy", "--allow-simulated", **as_user).well()
    assert f"{site.good} runs already" in said
    site.laptop.fab("backup", f"--to={tmp_path}", **as_user).well()
    assert len(list(tmp_path.iterdir())) == 1
    site.laptop.ssh("rm /etc/sudoers.d/deployer")
    said = site.laptop.fab("deploy", **as_user).failed()
    assert "deployer may not use sudo without a password" in said
    site.serves()


def test_simulated_prices_are_refused_unless_told(site: Site) -> None:
    """Nobody trades on those by mistake."""
    site.laptop.commit("the same, in another commit")
    said = site.laptop.fab("deploy").failed()
    assert "sources.market: prices are simulated" in said
    site.serves()


def test_a_bad_config_is_refused_before_anything_is_touched(site: Site) -> None:
    """By the new version's own check; the old one is not restarted."""
    before = site.main_pid()
    site.laptop.write("exporter.yml", CONFIG.replace('schedule: "every 1m"', "schedul: x"))
    said = site.deploy_badly("a typo")
    assert "the new version refuses its configuration" in said
    assert "tasks.minute.schedul: unknown key: did you mean schedule?" in said
    assert site.main_pid() == before


def test_a_config_that_names_what_the_vps_does_not_have_is_refused(site: Site) -> None:
    """A file in somebody's home, which is hidden from the exporter there; a port where neither
    Prometheus nor nginx looks; a secret that nobody stored."""
    before = site.main_pid()
    equity = "\nstrategies: {s: {equity_file: /home/me/s.csv, currency: USD}}\n"
    site.laptop.write("exporter.yml", CONFIG + equity)
    said = site.deploy_badly("a file of the laptop's")
    assert "exporter.yml: strategies.s.equity_file: /home/me/s.csv is hidden" in said
    site.laptop.write("exporter.yml", CONFIG.replace(":10077", ":10078"))
    said = site.deploy_badly("another port")
    assert "exporter.yml: listen: the exporter would listen on port 10078, where" in said
    source = "{type: tickdb, url: https://api.tickdb.ai/v1, api_key_env: TICKDB_API_KEY}"
    site.laptop.write("exporter.yml", CONFIG.replace("{type: simulated}", source))
    said = site.deploy_badly("a key that is not there")
    assert "exporter.yml: sources.market.api_key_env: TICKDB_API_KEY is not on this" in said
    assert site.main_pid() == before


def test_a_version_that_crashes_at_start_is_rolled_back(
    site: Site, record_property: Callable[[str, object], None]
) -> None:
    """Within seconds, with its last words."""
    site.laptop.change(
        "exporter/app.py", "        self._start_logs(stack)\n",
        '        raise RuntimeError("broken at the start")\n',
    )  # fmt: skip
    said = site.deploy_badly("crashes at start")
    assert "it does not start" in said
    assert "broken at the start" in said
    seconds = rolled_back_in(said.text)
    record_property("measured", f"rolled back from a version that crashes at start: {seconds} s")
    assert seconds < 60
    # Who deploys is told here; nobody is paged.
    assert "QuantExporterGaveUp" not in site.get("/api/v2/alerts", port=9093)


def test_a_version_that_is_not_healthy_is_rolled_back(site: Site) -> None:
    """It starts, says so to systemd, and is not ready all the same."""
    site.laptop.change("exporter/app.py", "        self.missing = None\n", "        pass\n")
    said = site.deploy_badly("starts and is not well")
    assert "it is not ready after 10 s" in said


def test_a_version_that_logs_errors_is_rolled_back(site: Site) -> None:
    """Errors from where there were none before."""
    site.laptop.change(
        "exporter/app.py", "        self.missing = None\n",
        '        self.missing = None\n        logging.getLogger("exporter.new").error("oh no")\n',
    )  # fmt: skip
    said = site.deploy_badly("logs errors")
    assert "it logs errors (exporter.new)" in said


def test_a_version_that_hangs_is_rolled_back(site: Site) -> None:
    """Its event loop stands still a second after it was ready."""
    site.laptop.change(
        "exporter/app.py", "        self.missing = None\n",
        "        self.missing = None\n        import time\n"
        "        asyncio.get_running_loop().call_later(1, time.sleep, 600)\n",
    )  # fmt: skip
    said = site.deploy_badly("hangs", watch=30)
    assert "it was ready, and is no more" in said
    assert rolled_back_in(said.text) < 60


def test_an_event_loop_that_hangs_is_restarted(site: Site) -> None:
    """By systemd's watchdog, long after the deploy is over."""
    override = "/run/systemd/system/quant-exporter.service.d"
    site.laptop.ssh(f"mkdir -p {override} && printf '[Service]\\nWatchdogSec=2\\n"
                    f"TimeoutAbortSec=1\\nExecStartPre=\\n' > {override}/test.conf && "
                    "systemctl daemon-reload && systemctl restart quant-exporter")  # fmt: skip
    try:
        before = site.main_pid()
        site.laptop.ssh(f"kill -STOP {before}")
        wait_for(lambda: site.main_pid() not in (0, before), 30)
        wait_for(lambda: ", ready, " in site.laptop.fab("status").text, 30)
        said = site.laptop.ssh("journalctl -u quant-exporter -o cat --no-pager -n 40")
        assert "Watchdog timeout" in said
        # A stop that waits for a run is no hang, however long it takes.
        with site.a_slow_run() as run:
            site.let_go(after=4)
            site.laptop.ssh("systemctl stop quant-exporter && systemctl start quant-exporter")
            assert site.outcome(run) == ("success", None)
    finally:
        site.laptop.ssh(
            f"rm -r {override}; systemctl daemon-reload; systemctl restart quant-exporter"
        )
    site.serves()


def test_a_run_that_must_not_be_interrupted_is_waited_for(site: Site) -> None:
    """The deploy waits until it ended; a run that may be interrupted holds nobody up."""
    version, lazy = site.laptop.commit("while a run is under way"), site.run("lazy")
    with site.a_slow_run() as run:
        started = site.laptop.start("deploy", "--allow-simulated", "--watch=1")
        said = site.laptop.hear(started, "(--now would not)")
        assert re.search(r"waiting for .*slow \(--now would not\)", said)
        assert "switched" not in said
        site.let_go()
        out, _ = started.communicate(timeout=60)
    assert f"{version} is deployed" in out
    site.good, site.good_commit = version, site.laptop.git("rev-parse", "HEAD").strip()
    assert site.outcome(run) == ("success", None)
    assert site.outcome(lazy) == ("error", "stopped at shutdown")
    site.serves()


def test_a_deploy_that_is_told_so_waits_for_nothing(site: Site) -> None:
    """--now ends the run, which is recorded as what it is."""
    site.laptop.commit("now")
    with site.a_slow_run() as run:
        said = site.deploy("--now").well()
        site.good = site.laptop.ssh("basename $(readlink /opt/quant/current)").strip()
        assert "waiting for" not in said
        assert site.outcome(run) == ("error", "stopped at shutdown")
    site.serves()


def test_a_secret_in_the_tree_is_not_deployed(site: Site) -> None:
    """It is found before anything leaves the laptop, and its value is not printed."""
    site.laptop.write("strategies/broker.py", f'api_key = "{SECRET}"\n')
    site.laptop.commit("a mistake")
    said = site.deploy().failed()
    site.laptop.git("reset", "-q", "--hard", "HEAD~1")
    assert "strategies/broker.py:1: a secret's value" in said
    assert SECRET not in said


def test_what_is_not_committed_is_not_deployed(site: Site) -> None:
    """There would be no way back to it; what git does not know is named."""
    site.laptop.write("exporter.yml", CONFIG + "\n# later\n")
    said = site.deploy().failed()
    site.laptop.git("checkout", "-q", ".")
    assert "not committed" in said
    site.laptop.write("strategies/forgotten.py", "")
    said = site.deploy().well()
    (site.laptop.repository / "strategies/forgotten.py").unlink()
    assert "not in git, so not deployed: strategies/forgotten.py" in said
    assert f"{site.good} runs already" in said


def test_a_connection_that_dies_does_not_stop_a_deploy(site: Site) -> None:
    """The machine goes on by itself; deploying again finds it done."""
    version = site.laptop.commit("while the laptop is closed")
    with site.a_slow_run():  # so that the deploy is at work for as long as this takes
        started = site.laptop.start("deploy", "--allow-simulated", "--watch=1")
        site.laptop.hear(started, "(--now would not)")
        site.vps.network.cut()
        out, _ = started.communicate(timeout=60)
        assert started.returncode == 1
        assert "What was begun on the machine goes on there" in out
        assert "Traceback" not in out
        again = site.laptop.start("deploy", "--allow-simulated", "--watch=1")
        site.laptop.hear(again, "another deploy or rollback is at work")
        site.let_go()
        out, _ = again.communicate(timeout=60)
    assert again.returncode == 0
    assert f"{version} runs already" in out
    site.good = version
    site.serves()


def test_a_deploy_that_is_killed_half_way_is_done_again(site: Site) -> None:
    """On the machine itself, with the switch made and nothing found good: as a power cut does."""
    version = site.laptop.commit("while the power goes")
    started = site.laptop.start("deploy", "--allow-simulated", "--watch=30")
    link = "readlink /opt/quant/current"
    wait_for(lambda: site.laptop.ssh(link).strip().endswith(version), 60)
    site.laptop.ssh("systemctl kill --signal=KILL 'quant-deploy*'")
    started.communicate(timeout=60)
    assert started.returncode == 1
    assert f"{version} is deployed" in site.deploy().well()
    site.good, site.good_commit = version, site.laptop.git("rev-parse", "HEAD").strip()
    site.serves()


def test_a_connection_that_dies_in_the_upload_is_no_harm(site: Site) -> None:
    """Nothing was changed; deploying again works."""
    before = site.main_pid()
    (site.laptop.repository / "strategies/data.bin").write_bytes(random.Random(1).randbytes(10**6))
    version = site.laptop.commit("while the train is in a tunnel")
    site.vps.network.cut_after(500_000)
    said = site.laptop.fab("deploy", "--allow-simulated").failed()
    assert "the connection died" in said
    assert "Traceback" not in said
    assert site.main_pid() == before
    assert version not in site.laptop.ssh("ls /opt/quant/releases /opt/quant/incoming")
    site.deploy_well("and again")


def test_the_last_five_good_releases_are_kept(site: Site) -> None:
    """And one that failed, to look at; all those that were deployed before are gone."""
    history = site.laptop.ssh("cat /var/lib/quant-deploy/history.jsonl").splitlines()
    deployed = [entry for entry in map(json.loads, history) if entry["what"] == "deployed"]
    if len(deployed) < 6:
        pytest.skip("the tests before this one make the releases")
    known = site.laptop.ssh(
        "cd /opt/quant/releases && grep -lE '\"good_at\": [0-9]' */.release.json"
    )
    versions = sorted(line.partition("/")[0] for line in known.split())
    assert versions == sorted(entry["version"] for entry in deployed[-5:])
    assert len(site.laptop.ssh("ls /opt/quant/releases").split()) == 6


def marks(site: Site) -> list[dict[str, Any]]:
    """What Grafana was asked to write down."""
    return [json.loads(x) for x in site.laptop.ssh("cat /var/lib/grafana/asked.jsonl").splitlines()]


def rolled_back_in(text: str) -> float:
    """Seconds, as the deploy printed them."""
    match = re.search(r"rolled back to \S+ in ([\d.]+) s", text)
    assert match, text
    return float(match[1])
