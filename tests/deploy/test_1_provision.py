"""From an empty VPS to one that can be deployed to."""

from __future__ import annotations

import pytest

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


def test_provision_says_first_what_it_would_change(laptop: Laptop) -> None:
    """--dry-run names the changes and makes none of them."""
    if "quant" in laptop.ssh("cut -d: -f1 /etc/passwd"):
        pytest.skip("the machine is provisioned already")
    said = laptop.fab("provision", "--dry-run").well()
    assert "would create user quant" in said
    assert "would install python3-venv" in said
    assert "quant" not in laptop.ssh("cut -d: -f1 /etc/passwd")


def test_provision_makes_the_machine_ready(laptop: Laptop, provisioned: Said) -> None:
    """An empty machine gets all it needs by one command."""
    assert "enable quant-firewall.service" in provisioned
    units = "nginx quant-firewall quant-programs.socket"
    assert laptop.ssh(f"systemctl is-active {units}").split() == ["active"] * 3
    assert laptop.ssh("systemctl --failed --no-legend") == ""
    assert "Unattended-Upgrade" in laptop.ssh("cat /etc/apt/apt.conf.d/52quant-upgrades")


def test_a_second_provision_changes_nothing(laptop: Laptop, provisioned: Said) -> None:
    """What is as it should be is left alone."""
    said = laptop.fab("provision").well()
    assert said.text.strip().splitlines()[-1] == "nothing to do"


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
