"""What ``vps.yml`` asks for comes, works, and goes again."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator

import bcrypt
import pytest

from tests.deploy.site import Site, wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

_STORE = 9190
_PASSWORD = "-".join(("glc", "remote", "4711"))
_REMOTE_WRITE = f"""\
remote_write:
  url: http://127.0.0.1:{_STORE}/api/v1/write
  username: 123456
"""


@pytest.fixture
def store(site: Site) -> Iterator[None]:
    """Another Prometheus, which accepts what is written to it, for a password."""
    hashed = bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    ssh = site.laptop.ssh
    ssh("mkdir -p /srv/store && echo '{}' >/srv/store/prometheus.yml && chown -R quant /srv/store")
    ssh("cat >/srv/store/web.yml", stdin=json.dumps({"basic_auth_users": {"123456": hashed}}))
    ssh(
        "systemd-run --quiet --unit=store --uid=quant prometheus "
        "--config.file=/srv/store/prometheus.yml --web.config.file=/srv/store/web.yml "
        f"--storage.tsdb.path=/srv/store/data --web.listen-address=127.0.0.1:{_STORE} "
        "--web.enable-remote-write-receiver"
    )
    yield
    ssh("systemctl stop store; rm -rf /srv/store")


def stored(site: Site, query: str) -> int:
    """What the store answers, as its user."""
    asked = urllib.parse.urlencode({"query": query})
    said = site.laptop.ssh(
        f"python3 -c 'import base64, urllib.request as u; print(u.urlopen(u.Request("
        f'"http://127.0.0.1:{_STORE}/api/v1/query?{asked}", headers={{"Authorization": "Basic " + '
        f'base64.b64encode(b"123456:{_PASSWORD}").decode()}})).read().decode())\'',
        check=False,
    )
    found = json.loads(said)["data"]["result"] if said.startswith("{") else []
    return int(found[0]["value"][1]) if found else 0


def sends(site: Site) -> bool | None:
    """Whether the VPS's own Prometheus runs with a remote_write; None while it does not answer."""
    try:
        return "remote_write:" in site.get("/api/v1/status/config", port=9090)
    except OSError:
        return None


def test_series_are_sent_on_and_counted_before(site: Site, store: None) -> None:
    """To a real Prometheus, with a password from a file; and no longer when the setting is gone."""
    laptop, ssh = site.laptop, site.laptop.ssh
    prometheus = "systemctl show -P ExecMainStartTimestampMonotonic prometheus"
    began = ssh(prometheus)
    laptop.write("vps.yml", _REMOTE_WRITE)
    said = laptop.fab("provision", "--dry-run").well()
    assert "remote_write: left out, its password is missing. Store it (make secret" in said
    laptop.fab("secret", "remote_write_password", stdin=_PASSWORD).well()
    laptop.write("vps.yml", f"{_REMOTE_WRITE}  max_series: 5\n")
    assert "are more than max_series (5); nothing was changed" in laptop.fab("provision").failed()
    assert ssh(prometheus) == began
    laptop.write("vps.yml", f"{_REMOTE_WRITE}  origin: my-vps\n")
    said = laptop.fab("provision").well()
    announced = re.search(r"remote_write: (\d+) series to 127.0.0.1, of at most 10000", said.text)
    assert announced
    assert said.text.index(announced[0]) < said.text.index("write /etc/quant-exporter/settings")
    number = int(announced[1])
    wait_for(lambda: stored(site, 'count({origin="my-vps"})') >= number * 0.95, 30)
    assert stored(site, 'count({origin="my-vps"})') <= number * 1.05
    assert stored(site, 'count({__name__=~".+_bucket"})') == 0
    assert _PASSWORD not in ssh("systemctl show prometheus; cat /opt/quant/current/prometheus/.w*")
    assert "nothing to do" in laptop.fab("provision").well()
    # The next version sends as well; its own file is left as it was committed.
    site.deploy_well("sends on")
    assert sends(site)
    assert "remote_write" not in ssh("cat /opt/quant/current/prometheus/prometheus.yml")

    (laptop.repository / "vps.yml").unlink()
    assert "remove /etc/quant-exporter/remote-write.yml" in laptop.fab("provision").well()
    wait_for(lambda: sends(site) is False, 20)
    left = ssh(
        "ls -A /etc/prometheus/secrets /opt/quant/current/prometheus; cat /etc/default/prom*"
    )
    assert "remote" not in left
    laptop.fab("secret", "remote_write_password", "--remove").well()
    assert "nothing to do" in laptop.fab("provision").well()
    site.serves()
