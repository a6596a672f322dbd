"""The machine: what is open, what is hardened, what it hides, and what survives."""

from __future__ import annotations

import base64
import http.client
import json
import re
import selectors
import socket
import ssl
import tarfile
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.network import VPS
from tests.deploy.site import PASSWORD, SECRET, Site, wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

_UNITS = (
    "quant-exporter.service quant-firewall.service quant-gave-up.service quant-programs.socket "
    "quant-programs@x.service"
)


# --- from outside


def test_only_three_ports_are_open_from_outside(site: Site) -> None:
    """Everybody may connect to SSH and nginx; all else that listens is behind the firewall."""
    listening = site.laptop.ssh("ss -Htln | awk '{print $4}'").split()
    ports = {int(address.rpartition(":")[2]) for address in listening}
    assert {22, 80, 443, 9090, 9093, 10077} <= ports
    everything = sorted(ports | set(range(1, 1025)))
    assert site.vps.network.outside.within(lambda: open_ports(everything)) == [22, 80, 443]
    # Not the loopback alone keeps them out: what listens everywhere is dropped, too.
    site.laptop.ssh("systemd-run --quiet --unit=stray python3 -m http.server 8000")
    try:
        wait_for(lambda: ":8000" in site.laptop.ssh("ss -Htln"), 10)
        assert site.vps.network.outside.within(lambda: open_ports([8000, 22])) == [22]
    finally:
        site.laptop.ssh("systemctl stop stray")


def test_the_page_wants_tls_and_a_password(site: Site) -> None:
    """401 without, the status page with it; plain HTTP leads to TLS."""
    status, headers, _ = browse(site, "/", password=None)
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Basic")
    assert browse(site, "/", password="wrong")[0] == 401
    status, headers, page = browse(site, "/")
    assert status == 200
    assert "minute" in page
    assert "max-age" in headers["Strict-Transport-Security"]
    assert browse(site, "/", tls=False)[0] == 301
    assert 'id="quanttaskfailing"' in browse(site, "/runbook")[2]


def test_grafana_is_behind_the_same_password(site: Site) -> None:
    """Under its own path; the password itself goes no further than nginx."""
    assert browse(site, "/grafana/", password=None)[0] == 401
    status, _, said = browse(site, "/grafana/d/quant-overview?kiosk")
    assert (status, said) == (200, "Grafana saw /grafana/d/quant-overview?kiosk and the login None")


def test_metrics_and_writes_are_not_for_the_outside(site: Site) -> None:
    """/metrics and /-/ are not there at all; a write needs the exporter's own token as well."""
    assert [browse(site, path)[0] for path in ("/metrics", "/-/ready", "/-/reload")] == [404] * 3
    assert browse(site, "/api/v1/tasks/lazy/run", method="POST")[0] == 401
    assert browse(site, "/", host="evil.example.com")[0] == 403
    origin = {"Origin": "https://evil.example.com"}
    token = site.laptop.ssh("cat /var/lib/quant-exporter/token").strip()
    path = f"/api/v1/tasks/lazy/run?token={token}"
    assert browse(site, path, method="POST", headers=origin)[0] == 403
    assert token not in site.laptop.ssh("cat /var/log/nginx/*.log")


def test_an_alert_is_acknowledged_from_a_phone(site: Site) -> None:
    """The page behind a message's link, through nginx: asks for the token once, then knows it."""
    labels = {"alertname": "QuantTaskFailing", "task": "slow", "severity": "critical"}
    site.post("/api/v2/alerts", [{"labels": labels}], port=9093)
    # Alertmanager has the token that the journal asks for.
    wait_for(lambda: "QuantTaskFailing" in site.get("/api/v1/alerts?since=1h"), 30)
    query = urllib.parse.urlencode({"alertname": "QuantTaskFailing", "task": "slow"})
    status, _, page = browse(site, f"/ack?{query}")
    assert status == 200
    assert 'name="token"' in page
    token = site.laptop.ssh("cat /var/lib/quant-exporter/token").strip()
    form = {"alertname": "QuantTaskFailing", "task": "slow", "for": "30m"}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{VPS}",
               "Sec-Fetch-Site": "same-origin"}  # fmt: skip
    wrong = urllib.parse.urlencode({**form, "token": "guess"})
    assert browse(site, "/ack", method="POST", body=wrong, headers=headers)[0] == 401
    right = urllib.parse.urlencode({**form, "token": token})
    status, answered, page = browse(site, "/ack", method="POST", body=right, headers=headers)
    assert status == 200, page
    assert "Acknowledged" in page
    assert "Secure" in answered["Set-Cookie"]
    silences = json.loads(site.get("/api/v2/silences", port=9093))
    assert [s for s in silences if s["status"]["state"] == "active"]
    cookie = {"Cookie": answered["Set-Cookie"].partition(";")[0]}
    assert 'name="token"' not in browse(site, f"/ack?{query}", headers=cookie)[2]


# --- the units


def test_the_units_are_sound_and_hardened(
    site: Site, record_property: Callable[[str, object], None]
) -> None:
    """systemd-analyze has nothing to say, and an exposure under 2.0 for each; none dumps core."""
    assert site.laptop.ssh(f"systemd-analyze verify {_UNITS} 2>&1") == ""
    for unit in (unit for unit in _UNITS.split() if unit.endswith(".service")):
        told = site.laptop.ssh(f"systemd-analyze security {unit} --no-pager")
        match = re.search(r"exposure level for \S+: ([\d.]+)", told)
        assert match
        record_property("measured", f"exposure of {unit} (systemd-analyze security): {match[1]}")
        assert float(match[1]) < 2.0, told
        assert site.laptop.ssh(f"systemctl show -P LimitCORE {unit}").strip() == "0"


def test_the_hardened_firewall_still_sets_its_rules(site: Site) -> None:
    """By a start and by a reload, also of what an administrator added."""
    rules, added = "/etc/quant-exporter/firewall.nft", "udp dport 51820 accept"
    site.laptop.ssh(f"cp -a {rules} /root/kept && sed -i 's/iif lo accept/&\\n{added}/' {rules}")
    try:
        site.laptop.ssh("systemctl reload quant-firewall")
        assert added in site.laptop.ssh("nft list table inet quant")
    finally:
        site.laptop.ssh(f"mv /root/kept {rules}")
    site.laptop.ssh("nft delete table inet quant; systemctl restart quant-firewall")
    table = site.laptop.ssh("nft list table inet quant")
    assert "policy drop" in table
    assert added not in table


def test_an_exporter_that_stays_down_is_paged_at_once(site: Site) -> None:
    """systemd starts the unit that tells Alertmanager, unless a deploy is at work, which says so
    itself; the next version that serves ends the alert."""

    def firing() -> bool:
        alerts = json.loads(site.get("/api/v2/alerts", port=9093))
        return "QuantExporterGaveUp" in [one["labels"]["alertname"] for one in alerts]

    deploying = "systemd-run --quiet --collect --unit=quant-deploy-other sleep 60"
    site.laptop.ssh(f"{deploying} && systemctl start quant-gave-up")
    site.laptop.ssh("systemctl stop quant-deploy-other")
    assert site.laptop.ssh("systemctl show -P ConditionResult quant-gave-up").strip() == "no"
    assert not firing()
    drop_in = "/run/systemd/system/quant-exporter.service.d/once.conf"
    site.laptop.ssh(f"mkdir -p $(dirname {drop_in})")
    site.laptop.ssh(f"cat > {drop_in}", stdin="[Service]\nRestart=no\n")
    site.laptop.ssh("systemctl daemon-reload; systemctl kill -s KILL quant-exporter")
    try:
        wait_for(firing, 30)
    finally:
        site.laptop.ssh(f"rm {drop_in}; systemctl daemon-reload; systemctl start quant-exporter")
    assert site.laptop.ssh("systemctl --failed --no-legend") == ""
    tool = "cd /opt/quant/tool && python3 -c 'import gave_up; gave_up.take_back()'"
    site.laptop.ssh(tool)
    wait_for(lambda: not firing(), 10)
    site.serves()


def test_programs_have_limits_of_their_own(site: Site) -> None:
    """A command writes where the config lets it; the daemon itself cannot, nor read a home."""
    assert "quick" in wait_for(lambda: site.laptop.ssh("tail -5 /srv/data/slots"), 10)
    outcome, error = site.outcome(site.run("on_the_loop"))
    assert outcome == "error"
    assert "Read-only file system" in str(error)
    run = site.run("lazy")
    slow = wait_for(lambda: site.laptop.ssh("pgrep -xu quant sleep", check=False).split(), 10)[0]
    group = site.laptop.ssh(f"cat /proc/{slow}/cgroup")
    assert "quant-programs@" in group
    shown = site.laptop.ssh("systemctl show 'quant-programs@*' -p MemoryMax -p ReadWritePaths")
    assert "MemoryMax=200000000" in shown
    assert "/srv/data" in shown
    site.laptop.ssh(f"kill {slow}")
    site.outcome(run)


def test_a_program_that_eats_memory_ends_alone(site: Site) -> None:
    """The exporter and its other tasks go on."""
    if not site.vps.limit_memory():
        pytest.skip("this machine lends its guests no limits of memory (cgroup v1 and systemd)")
    site.laptop.ssh("systemctl daemon-reexec; systemctl restart quant-exporter")
    before = site.main_pid()
    outcome, error = site.outcome(site.run("greedy"))
    assert outcome == "error"
    assert str(error).startswith("killed for memory: "), error
    assert site.main_pid() == before
    site.serves()


def test_a_secret_shows_nowhere(site: Site) -> None:
    """Not in a unit's properties, an environment, a command line, a log, or a readable file; the
    exporter and the user's own programs can read it all the same."""
    token = site.laptop.ssh("cat /var/lib/quant-exporter/token").strip()
    hidden = [SECRET, PASSWORD, token]
    places = (
        "systemctl show quant-exporter 'quant-programs@*' 'quant-deploy*'",
        "systemctl cat quant-exporter 'quant-programs@*'",
        "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'",
        "journalctl --no-pager",
        "cat /var/log/quant-exporter/* /var/log/nginx/*",
        "setpriv --reuid=nobody --clear-groups find /etc /opt /var /run /tmp -xdev -type f "
        "-readable -exec grep -lE 's3cret-of|correct horse' {} + 2>/dev/null; true",
    )
    for place in places:
        said = site.laptop.ssh(place, check=False)
        assert not [value for value in hidden if value in said], place
    assert said == ""
    pid = site.main_pid()
    folder = re.search(
        r"CREDENTIALS_DIRECTORY=(\S+)",
        site.laptop.ssh(f"tr '\\0' '\\n' < /proc/{pid}/environ"),
    )
    assert folder
    enter = f"nsenter --target {pid} --mount setpriv --reuid=quant --regid=quant --clear-groups"
    assert site.laptop.ssh(f"{enter} cat {folder[1]}/BROKER_KEY").strip() == SECRET
    assert "Permission denied" in site.laptop.ssh(
        f"setpriv --reuid=nobody --clear-groups cat {folder[1]}/BROKER_KEY", check=False
    )
    # What Alertmanager's configuration names, it has; nobody else does.
    shared = site.laptop.ssh("stat -c '%a %U:%G' /etc/alertmanager/secrets/exporter_token").strip()
    assert shared == "640 root:prometheus"


# --- what survives


def test_a_backup_is_restored_and_runs_nothing_again(site: Site, tmp_path: Path) -> None:
    """Saved while slots are claimed; what was claimed since stays claimed, what was paused since
    stays paused, and what was saved is back."""
    site.laptop.ssh("echo kept > /var/lib/quant-exporter/notes; "
                    "mkdir -p /var/lib/quant-exporter/reports; "
                    "echo today > /var/lib/quant-exporter/reports/day.md")  # fmt: skip
    site.laptop.fab("backup", f"--to={tmp_path}").well()
    [archive] = tmp_path.iterdir()
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as saved:
        names = saved.getnames()
        copy = saved.extractfile("backup/state.db")
        assert copy
        (tmp_path / "state.db").write_bytes(copy.read())
    assert {"backup/exporter.yml", "backup/var/notes", "backup/var/reports/day.md"} <= set(names)
    assert not [n for n in names if n.endswith(("/token", ".lock"))]
    site.outcome(site.run("on_the_loop"))
    site.post("/api/v1/pause", {"task": "quick", "for": "1h"})
    claimed = site.query("SELECT task, slot FROM runs WHERE slot NOT NULL")
    site.laptop.ssh("rm -r /var/lib/quant-exporter/notes /var/lib/quant-exporter/reports")
    said = site.restore(archive).well()
    assert "No slot up to now is run again" in said
    assert site.laptop.ssh("cat /var/lib/quant-exporter/notes").strip() == "kept"
    assert site.laptop.ssh("cat /var/lib/quant-exporter/reports/day.md").strip() == "today"
    still = site.query("SELECT task, slot FROM runs WHERE slot NOT NULL")
    assert [row for row in claimed if row not in still] == []
    assert site.metric('quant_task_paused{task="quick"}') == "1.0"
    site.serves()
    site.restore(tmp_path / "state.db").failed()
    site.serves()


def test_a_backup_s_config_is_put_back_when_told_so(site: Site, tmp_path: Path) -> None:
    """As a version of its own, checked like any other, and one to go back from."""
    site.laptop.fab("backup", f"--to={tmp_path}").well()
    [archive] = tmp_path.iterdir()
    before, good = site.good, site.good_commit
    site.laptop.change("exporter.yml", "grace: 5m", "grace: 6m")
    site.laptop.change("prometheus/prometheus.yml", "global:", "# mine\nglobal:")
    site.deploy_well("with another config")
    newer = site.good
    current = (
        "cd /opt/quant/current && grep -o 'grace: .m' exporter.yml && "
        "grep -c mine prometheus/prometheus.yml"
    )
    said = site.restore(archive).well()
    assert f"the archive's exporter.yml, prometheus (version {before}) differ" in said
    assert site.laptop.ssh(current).split("\n")[:2] == ["grace: 6m", "1"]
    said = site.restore(archive, "--config").well()
    assert site.laptop.ssh(current, check=False).split("\n")[:2] == ["grace: 5m", "0"]
    site.good = site.laptop.ssh("basename $(readlink /opt/quant/current)").strip()
    assert site.good.startswith(f"{newer}-restored-")
    site.serves()
    site.laptop.fab("rollback", f"--version={before}").well()
    site.good, site.good_commit = before, good
    site.laptop.git("reset", "-q", "--hard", good)
    site.serves()


def test_a_backup_is_restored_on_a_fresh_machine(site: Site, tmp_path: Path) -> None:
    """The state is gone with the old machine: what is owed then is nothing."""
    site.laptop.fab("backup", f"--to={tmp_path}").well()
    [archive] = tmp_path.iterdir()
    runs = site.query("SELECT count(*) FROM runs WHERE outcome NOT NULL")[0][0]
    lost = "find /var/lib/quant-exporter -mindepth 1 -maxdepth 1 ! -name log -exec rm -r {} +"
    site.laptop.ssh(f"systemctl stop quant-exporter; {lost}; rm -f /srv/data/slots; "
                    "systemctl start quant-exporter")  # fmt: skip
    site.restore(archive).well()
    assert site.query("SELECT count(*) FROM runs WHERE outcome NOT NULL")[0][0] >= runs
    wait_for(lambda: site.prometheus("quant_exporter_build_info"), 20)
    assert site.get("/-/ready")


def test_after_a_reboot_everything_is_back(site: Site) -> None:
    """By itself: the exporter, Prometheus, Alertmanager, nginx, the firewall; each of them although
    its first start fails. The machine went down only when the run that must not be interrupted had
    ended."""
    units = ("quant-exporter", "prometheus", "prometheus-alertmanager", "nginx", "quant-firewall")
    fails = "'mkdir /run/first-%p 2>/dev/null && exit 1; exit 0'"
    drop_ins = [f"/etc/systemd/system/{unit}.service.d/fails.conf" for unit in units]
    for drop_in in drop_ins:
        site.laptop.ssh(f"mkdir -p $(dirname {drop_in})")
        site.laptop.ssh(f"cat > {drop_in}", stdin=f"[Service]\nExecStartPre=+/bin/sh -c {fails}\n")
    before = site.laptop.wait_for_boot()
    with site.a_slow_run() as run:
        site.let_go(after=3)
        site.laptop.ssh("systemctl reboot", check=False)
        site.vps.boot_again()
        site.laptop.wait_for_boot(before)
    ask = f"systemctl is-active {' '.join(units)}"
    try:
        wait_for(lambda: site.laptop.ssh(ask, check=False).split() == ["active"] * len(units), 120)
    except AssertionError as error:
        shown = site.laptop.ssh(f"systemctl status --no-pager {' '.join(units)}", check=False)
        raise AssertionError(shown) from error
    assert len(site.laptop.ssh("ls -d /run/first-*").split()) == len(units)
    site.laptop.ssh(f"rm {' '.join(drop_ins)}; systemctl daemon-reload")
    assert site.vps.network.outside.within(lambda: open_ports([22, 80, 443, 9090, 10077])) == [
        22, 80, 443,
    ]  # fmt: skip
    assert browse(site, "/")[0] == 200
    site.serves()
    assert site.outcome(run) == ("success", None)
    assert site.laptop.ssh("systemctl --failed --no-legend") == ""


# --- helpers


def open_ports(ports: list[int]) -> list[int]:
    """Those that take a connection within a second."""
    found = []
    for start in range(0, len(ports), 400):
        waiting = selectors.DefaultSelector()
        for port in ports[start : start + 400]:
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((VPS, port))
            waiting.register(sock, selectors.EVENT_WRITE, port)
        for _ in range(4):
            for key, _events in waiting.select(0.25):
                sock = key.fileobj  # type: ignore[assignment]
                waiting.unregister(sock)
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.append(key.data)
                sock.close()
        for key in list(waiting.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        waiting.close()
    return sorted(found)


def browse(
    site: Site,
    path: str,
    *,
    method: str = "GET",
    password: str | None = PASSWORD,
    host: str = VPS,
    body: str | None = None,
    headers: dict[str, str] | None = None,
    tls: bool = True,
) -> tuple[int, http.client.HTTPMessage, str]:
    """As a phone does it, from outside; the certificate is the machine's own."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sent = {"Host": host, **(headers or {})}
    if password is not None:
        login = base64.b64encode(f"quant:{password}".encode()).decode()
        sent["Authorization"] = f"Basic {login}"

    def ask() -> tuple[int, http.client.HTTPMessage, str]:
        connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(VPS, timeout=10, context=context)
            if tls
            else http.client.HTTPConnection(VPS, timeout=10)
        )
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()

    return site.vps.network.outside.within(ask)
