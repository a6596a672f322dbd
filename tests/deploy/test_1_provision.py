"""From an empty VPS to one that can be deployed to."""

from __future__ import annotations

import pytest

from tests.deploy.site import wait_for
from tests.deploy.vps import Laptop, Said

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

_JAMMY = 'NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n'
_BULLSEYE = 'ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\n'


@pytest.mark.parametrize(("system", "name"), [(_JAMMY, "Ubuntu 22.04.5"), (_BULLSEYE, "Linux 11")])
def test_a_system_that_is_too_old_is_refused(laptop: Laptop, system: str, name: str) -> None:
    """With a sentence that says what would do, and before anything is written."""
    before = laptop.ssh("ls /opt /etc")
    laptop.ssh("cp --remove-destination /usr/lib/os-release /etc/os-release")
    laptop.ssh("cat > /etc/os-release", stdin=system)
    try:
        said = laptop.fab("provision").failed()
    finally:
        laptop.ssh("ln -sf ../usr/lib/os-release /etc/os-release")
    assert name in said
    assert "needs Debian 12 or newer or Ubuntu 24.04 or newer" in said
    assert "Traceback" not in said
    assert laptop.ssh("ls /opt /etc") == before


def test_a_machine_that_is_not_set_up_says_so(laptop: Laptop) -> None:
    """Whatever is asked of it."""
    if is_provisioned(laptop):
        pytest.skip("the machine is provisioned already")
    for command in ("status", "backup", "rollback"):
        assert "this machine is not set up yet" in laptop.fab(command).failed()
    assert "quant" not in laptop.ssh("ls /etc /var/lib")


def test_a_port_that_somebody_else_has_is_said_before_anything_is_changed(laptop: Laptop) -> None:
    """Another web server, by its name."""
    if is_provisioned(laptop):
        pytest.skip("the machine is provisioned already")
    laptop.ssh("systemd-run --quiet --unit=other python3 -m http.server 80")
    try:
        wait_for(lambda: ":80 " in laptop.ssh("ss -Htln"), 10)
        said = laptop.fab("provision").failed()
    finally:
        laptop.ssh("systemctl stop other")
    assert "port 80 is taken by python3, and nginx needs it; nothing was changed" in said
    assert not is_provisioned(laptop)


def test_provision_says_first_what_it_would_change(laptop: Laptop) -> None:
    """--dry-run names the changes and makes none of them."""
    if is_provisioned(laptop):
        pytest.skip("the machine is provisioned already")
    said = laptop.fab("provision", "--dry-run").well()
    assert "would create user quant" in said
    assert "would install python3-venv" in said
    assert "would install grafana" in said
    assert not is_provisioned(laptop)


def test_provision_makes_the_machine_ready(laptop: Laptop, provisioned: Said) -> None:
    """An empty machine gets all it needs by one command."""
    assert "enable quant-firewall.service" in provisioned
    active = "nginx quant-firewall quant-programs.socket"
    assert laptop.ssh(f"systemctl is-active {active}").split() == ["active"] * 3
    enabled = (
        "quant-exporter prometheus prometheus-alertmanager grafana-server systemd-timesyncd "
        "unattended-upgrades apt-daily.timer apt-daily-upgrade.timer logrotate.timer"
    )
    assert laptop.ssh(f"systemctl is-enabled {enabled}").split() == ["enabled"] * 9
    assert laptop.ssh("systemctl --failed --no-legend") == ""
    apt = laptop.ssh("apt-config dump APT::Periodic")
    assert 'APT::Periodic::Unattended-Upgrade "1"' in apt
    assert "Debian-Security" in laptop.ssh("apt-config dump Unattended-Upgrade::Origins-Pattern")
    assert "SystemMaxUse=500M" in laptop.ssh("systemd-analyze cat-config systemd/journald.conf")
    assert laptop.ssh("getent passwd quant").strip().endswith(":/usr/sbin/nologin")


def test_a_second_provision_changes_nothing(laptop: Laptop, provisioned: Said) -> None:
    """What is as it should be is left alone."""
    said = laptop.fab("provision").well()
    assert said.text.strip().splitlines()[-1] == "nothing to do"


def test_what_is_no_longer_so_is_mended(laptop: Laptop, provisioned: Said) -> None:
    """A server that stands still, and what a provision that was cut off still owed."""
    laptop.ssh(
        "systemctl stop nginx; echo systemctl daemon-reload > /var/lib/quant-deploy/left-over"
    )
    said = laptop.fab("provision").well()
    assert said.text.splitlines() == [
        "start nginx.service", "systemctl daemon-reload", "2 things changed",
    ]  # fmt: skip
    assert "nothing to do" in laptop.fab("provision", "--dry-run").well()


def test_the_firewall_outlives_debian_s_own(laptop: Laptop, provisioned: Said) -> None:
    """nftables.service empties every table when it is restarted or reloaded."""
    table = "nft list table inet quant"
    try:
        for how in ("start", "restart", "reload"):
            laptop.ssh(f"systemctl {how} nftables")
            wait_for(lambda: "dport { 22, 80, 443 }" in laptop.ssh(table, check=False), 10)
    finally:
        laptop.ssh("systemctl stop nftables; systemctl start quant-firewall")


def test_nobody_is_locked_out_who_has_ssh_on_another_port(
    laptop: Laptop, provisioned: Said
) -> None:
    """The firewall leaves open what sshd listens on."""
    port = "/etc/ssh/sshd_config.d/port.conf"
    laptop.ssh(f"echo Port 2222 > {port}")
    try:
        said = laptop.fab("provision", "--dry-run").well()
    finally:
        laptop.ssh(f"rm {port}")
    assert "+    tcp dport { 2222, 80, 443 } accept" in said


def test_your_own_edits_are_kept(laptop: Laptop, provisioned: Said) -> None:
    """An edited file stays; a newer one of ours is put beside it, once, and that is said."""
    site = "/etc/nginx/sites-available/quant"
    laptop.ssh(f"echo '# mine' >> {site}")
    assert "nothing to do" in laptop.fab("provision").well()
    laptop.change("deploy/files/nginx-site.conf", "# Status page", "# The status page")
    try:
        said = laptop.fab("provision").well()
        assert f"keep your edit of {site}, put ours beside it as quant.quant-new" in said
        assert laptop.ssh(f"tail -1 {site}").strip() == "# mine"
        assert laptop.ssh(f"head -1 {site}.quant-new").startswith("# The status page")
        assert "nothing to do" in laptop.fab("provision").well()
    finally:
        laptop.git("checkout", "-q", ".")
        laptop.ssh(f"sed -i '$d' {site}; rm -f {site}.quant-new")


def test_an_unknown_host_key_is_refused(laptop: Laptop, provisioned: Said) -> None:
    """Nothing is sent to a machine that nobody has vouched for."""
    known = laptop.home / ".ssh/known_hosts"
    before = known.read_text()
    known.write_text("")
    try:
        said = laptop.fab("status").failed()
    finally:
        known.write_text(before)
    assert "compare the fingerprint" in said


def is_provisioned(laptop: Laptop) -> bool:
    """Whether the user is there."""
    return "quant" in laptop.ssh("cut -d: -f1 /etc/passwd")
