"""Services of the trader's own under the real systemd of the VPS."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Iterator

import pytest

from tests.deploy.site import Site, wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

_PROGRAM = "/opt/quant/current/venv/bin/quant-exporter"
_BOT = """\
[Service]
ExecStart=/bin/sh -c 'echo connecting; [ ! -e /run/refused ] || exit 3; exec sleep inf'
"""
_FLAKY = """\
[Unit]
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sh -c 'echo no key; sleep 1; exit 1'
Restart=always
RestartSec=1
"""


@pytest.fixture
def units(site: Site) -> Iterator[None]:
    """Two services: one that is up, and one that ends again and again."""
    ssh = site.laptop.ssh
    for name, text in (("bot", _BOT), ("flaky", _FLAKY)):
        ssh(f"cat >/etc/systemd/system/{name}.service", stdin=text)
    ssh("systemctl daemon-reload && systemctl start bot flaky")
    yield
    ssh("systemctl stop bot flaky; rm -f /etc/systemd/system/{bot,flaky}.service", check=False)


def test_services_are_found_and_watched_as_systemd_has_them(site: Site, units: None) -> None:
    """Up, killed, refused, stopped, masked, gone, restarted too often. The exporter may read the
    journal as a member of a group."""
    ssh = site.laptop.ssh
    offered = ssh(f"{_PROGRAM} discover --config /opt/quant/current/exporter.yml")
    assert 'bot: {service: "bot.service"}' in offered
    drop_in = "/etc/systemd/system/quant-exporter.service.d/journal.conf"
    ssh(f"cat >{drop_in}", stdin="[Service]\nSupplementaryGroups=systemd-journal\n")
    ssh("systemctl daemon-reload")
    tasks = "  bot: {service: bot.service}\n  flaky: {service: flaky.service, max_restarts: 1}\n"
    site.laptop.change("exporter.yml", "tasks:\n", f"tasks:\n{tasks}")
    often = ("LOOKS_EVERY_SECONDS = 10.0", "LOOKS_EVERY_SECONDS = 1.0")
    site.laptop.change("exporter/runner/service_watch.py", *often)
    _give_wheel(site, "/srv/data/mine-1.0-py3-none-any.whl")
    site.laptop.write("requirements.txt", "/srv/data/mine-1.0-py3-none-any.whl\n")
    said = site.deploy_well("watch two services, with a package of one's own")
    assert re.search(r"environment: that of \S+, and what your requirements.txt names", said.text)
    assert ssh("/opt/quant/current/venv/bin/python -c 'import mine; print(mine.WORD)'") == "here\n"

    def is_up() -> bool:
        return site.metric('quant_service_up{task="bot"}') == "1.0"

    def says(text: str, task: str = "bot") -> None:
        wait_for(lambda: text in site.get(f"/tasks/{task}"), 40)

    wait_for(is_up, 30)
    ssh("systemctl kill --signal=KILL bot")
    says("bot.service has failed (signal 9); its last lines: connecting")
    assert not is_up()
    ssh("touch /run/refused; systemctl start bot; sleep 1; rm /run/refused")
    says("bot.service has failed (exit status 3)")
    ssh("systemctl start bot")
    wait_for(is_up, 30)
    says("times within 1h (limit 1)", "flaky")
    says("no key", "flaky")
    ssh("systemctl stop bot")
    says("bot.service is stopped")
    ssh("rm /etc/systemd/system/bot.service; systemctl mask bot")
    says("bot.service is masked: systemctl unmask bot.service")
    ssh("systemctl unmask bot; systemctl daemon-reload")
    says("bot.service is unknown to systemd: install its unit, or correct the name")


def _give_wheel(site: Site, path: str) -> None:
    """A package of the trader's own, as an index would give it."""
    about = "Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n"
    kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {"mine.py": "WORD = 'here'\n", "mine-1.0.dist-info/METADATA": about,
             "mine-1.0.dist-info/WHEEL": kind}  # fmt: skip
    listed = "".join(f"{name},,\n" for name in (*files, "mine-1.0.dist-info/RECORD"))
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in (*files.items(), ("mine-1.0.dist-info/RECORD", listed)):
            archive.writestr(name, text)
    text = base64.b64encode(wheel.getvalue()).decode()
    site.laptop.ssh(f"base64 -d >{path}", stdin=text)


def test_a_unit_of_the_user_s_own_systemd_is_seen(site: Site) -> None:
    """Here root's. A login would start its manager; nobody logs in by PAM here."""
    ssh = site.laptop.ssh
    ssh("mkdir -p /root/.config/systemd/user /run/user/0")
    ssh("cat >/root/.config/systemd/user/mine.service", stdin=_FLAKY)
    ssh("cat >/tmp/mine.yml", stdin="tasks: {mine: {service: mine.service, scope: user}}\n")
    manager = "-E XDG_RUNTIME_DIR=/run/user/0 -E HOME=/root /lib/systemd/systemd --user"
    ssh(f"systemd-run --quiet --unit=own-manager -p Delegate=yes {manager}")
    here = "export XDG_RUNTIME_DIR=/run/user/0; "
    try:
        wait_for(lambda: ssh(f"{here} systemctl --user is-system-running", check=False).strip(), 20)
        said = ssh(
            f"{here}{_PROGRAM} check --config /tmp/mine.yml; systemctl --user start mine; "
            f"{_PROGRAM} discover --config /nowhere"
        )
    finally:
        ssh("systemctl stop own-manager", check=False)
    assert "tasks.mine.service: mine.service is stopped" in said
    assert '{service: "mine.service", scope: user}' in said
