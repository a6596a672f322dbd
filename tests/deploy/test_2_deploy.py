"""A version that is good is put in place; one that is not never stays."""

from __future__ import annotations

import json
import re
import time

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
    said = site.laptop.fab("status").well()
    assert f"version   {site.good}" in said
    assert "active (running), ready" in said


def test_the_same_version_again_does_nothing(site: Site) -> None:
    """The exporter is not even restarted."""
    before = site.main_pid()
    assert f"{site.good} runs already" in site.deploy().well()
    assert site.main_pid() == before


def test_a_deploy_leaves_a_mark_in_grafana(site: Site) -> None:
    """Over Grafana's API, with the token that was stored; the token stands in no log."""
    site.laptop.fab("secret", "GRAFANA_TOKEN", stdin="glsa_test_4711").well()
    site.laptop.ssh("cat > /root/grafana.py", stdin=GRAFANA)
    site.laptop.ssh("systemd-run --quiet --unit=grafana-test python3 /root/grafana.py")
    try:
        site.deploy_well("for the annotation")
        asked = json.loads(site.laptop.ssh("cat /root/asked.json"))
    finally:
        site.laptop.ssh("systemctl stop grafana-test")
        site.laptop.fab("secret", "GRAFANA_TOKEN", "--remove").well()
    assert asked["path"] == "/api/annotations"
    assert asked["login"] == "Bearer glsa_test_4711"
    assert asked["body"] == {"text": f"deployed {site.good}", "tags": ["deploy", "quant-exporter"]}


GRAFANA = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open("/root/asked.json", "w") as file:
            login = self.headers["Authorization"]
            json.dump({"path": self.path, "login": login, "body": body}, file)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 3000), Handler).serve_forever()
"""


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
    assert "tasks.minute.schedul: unknown key; did you mean schedule?" in said
    assert site.main_pid() == before


def test_a_version_that_crashes_at_start_is_rolled_back(site: Site) -> None:
    """Within seconds, with its last words."""
    site.laptop.change(
        "exporter/app.py", "        self._start_logs(stack)\n",
        '        raise RuntimeError("broken at the start")\n',
    )  # fmt: skip
    said = site.deploy_badly("crashes at start")
    assert "it does not start" in said
    assert "broken at the start" in said
    seconds = rolled_back_in(said.text)
    print(f"rolled back from a crash in {seconds} s")
    assert seconds < 60


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
                    f"TimeoutAbortSec=1\\n' > {override}/test.conf && systemctl daemon-reload "
                    "&& systemctl restart quant-exporter")  # fmt: skip
    try:
        before = site.main_pid()
        site.laptop.ssh(f"kill -STOP {before}")
        wait_for(lambda: site.main_pid() not in (0, before), 30)
        wait_for(lambda: "ready" in site.laptop.fab("status").text, 30)
        said = site.laptop.ssh("journalctl -u quant-exporter -o cat --no-pager -n 40")
        assert "Watchdog timeout" in said
        # A stop that waits for a run is no hang, however long it takes.
        run = site.run("slow")
        site.laptop.ssh("systemctl stop quant-exporter && systemctl start quant-exporter")
        assert site.outcome(run) == ("success", None)
    finally:
        site.laptop.ssh(
            f"rm -r {override}; systemctl daemon-reload; systemctl restart quant-exporter"
        )
    site.serves()


def test_a_run_that_must_not_be_interrupted_is_waited_for(site: Site) -> None:
    """The deploy waits until it ended; a run that may be interrupted holds nobody up."""
    run, lazy = site.run("slow"), site.run("lazy")
    said = site.deploy_well("while a run is under way")
    assert re.search(r"waiting for .*slow \(--now would not\)", said.text)
    assert site.outcome(run) == ("success", None)
    assert site.outcome(lazy) == ("error", "stopped at shutdown")


def test_a_deploy_that_is_told_so_waits_for_nothing(site: Site) -> None:
    """--now ends the run, which is recorded as what it is."""
    run = site.run("slow")
    site.laptop.commit("now")
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
    """There would be no way back to it."""
    site.laptop.write("exporter.yml", CONFIG + "\n# later\n")
    said = site.deploy().failed()
    site.laptop.git("checkout", "-q", ".")
    assert "not committed" in said


def test_a_connection_that_dies_does_not_stop_a_deploy(site: Site) -> None:
    """The machine goes on by itself; deploying again finds it done."""
    version = site.laptop.commit("while the laptop is closed")
    started = site.laptop.start("deploy", "--allow-simulated", "--watch=4")
    unit = "systemctl is-active quant-deploy"
    wait_for(lambda: site.laptop.ssh(unit, check=False).startswith("active"), 30)
    site.vps.network.cut()
    started.communicate(timeout=60)
    assert started.returncode != 0
    said = site.deploy().well()
    assert "another deploy or rollback is at work" in said
    assert f"{version} runs already" in said
    site.good = version
    site.serves()


def test_a_connection_that_dies_in_the_upload_is_no_harm(site: Site) -> None:
    """Nothing was changed; deploying again works."""
    site.laptop.commit("while the train is in a tunnel")
    started = site.laptop.start("deploy", "--allow-simulated")
    time.sleep(1.0)
    site.vps.network.cut()
    started.communicate(timeout=120)
    assert started.returncode != 0
    site.serves()
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


def rolled_back_in(text: str) -> float:
    """Seconds, as the deploy printed them."""
    match = re.search(r"rolled back to \S+ in ([\d.]+) s", text)
    assert match, text
    return float(match[1])
