"""From an empty VPS to a good version that serves, whatever is deployed: on a real Debian."""

from __future__ import annotations

import pytest

from tests.deploy.vps import Laptop

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]


def test_provision_says_first_what_it_would_change(laptop: Laptop) -> None:
    """--dry-run names the changes and makes none of them."""
    said = laptop.fab("provision", "--dry-run").well()
    assert "would create user quant" in said
    assert "would install python3-venv" in said
    assert "quant" not in laptop.ssh("cut -d: -f1 /etc/passwd")


def test_provision_makes_the_machine_ready(laptop: Laptop) -> None:
    """An empty machine gets all it needs by one command."""
    said = laptop.fab("provision").well()
    assert "enable quant-firewall.service" in said
    units = "nginx quant-firewall quant-programs.socket"
    assert laptop.ssh(f"systemctl is-active {units}").split() == ["active"] * 3


def test_a_second_provision_changes_nothing(laptop: Laptop) -> None:
    """What is as it should be is left alone."""
    said = laptop.fab("provision").well()
    assert said.text.strip().splitlines()[-1] == "nothing to do"
