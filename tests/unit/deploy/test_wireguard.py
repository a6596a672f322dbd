"""WireGuard to a Prometheus elsewhere, and a token for /metrics: what is asked for and written."""

from __future__ import annotations

import configparser
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from invoke.exceptions import Exit

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "deploy/vps"))
sys.path.append(str(ROOT / "deploy"))

import provision  # type: ignore[import-not-found]  # noqa: E402
import settings  # type: ignore[import-not-found]  # noqa: E402
import wanted  # type: ignore[import-not-found]  # noqa: E402
import web  # type: ignore[import-not-found]  # noqa: E402
import wireguard  # type: ignore[import-not-found]  # noqa: E402
from places import ProblemError  # type: ignore[import-not-found]  # noqa: E402

PEER = "xocwmvYwECMaAfs6faBS2ex0LUUT0C8a5ZD3D2lBUwg="
ELSEWHERE = "prometheus: elsewhere\n"


def asked(folder: Path, text: str) -> Any:
    (folder / "vps.yml").write_text(text)
    return json.loads(wanted.wanted(folder / "vps.yml").text)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (f"wireguard: {{public_key: {PEER}}}",
         "wireguard goes together with prometheus: elsewhere; add that"),
        (f"{ELSEWHERE}wireguard: {{public_key: {PEER[1:]}}}",
         "wireguard.public_key: expected a public key of WireGuard: what `wg pubkey` prints"),
        (f"{ELSEWHERE}wireguard: {{public_key: {PEER}, network: 8.8.8.0/30}}",
         "wireguard.network: expected a private network of two addresses, such as 10.107.77.0/30"),
        (f"{ELSEWHERE}tunnel: ssh-ed25519 AAAA\nwireguard: {{public_key: {PEER}}}",
         "tunnel and wireguard are two ways for the same: choose one"),
        ("metrics_user: me\nmetrics_token: true",
         "metrics_user and metrics_token are two ways: choose one"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, text: str, mistake: str) -> None:
    """Before anything is sent."""
    with pytest.raises(Exit) as refused:
        asked(tmp_path, text)
    assert refused.value.message == f"{tmp_path}/vps.yml: {mistake}"


def test_the_interface_has_one_peer_and_no_key_in_its_file(tmp_path: Path) -> None:
    """As wg-quick reads it; the network of the setting decides both addresses."""
    body = f"{ELSEWHERE}wireguard: {{public_key: {PEER}, network: 192.168.250.4/30, port: 4500}}"
    section = asked(tmp_path, body)["wireguard"]
    assert wireguard.ends(section) == ("192.168.250.5", "192.168.250.6")
    config = configparser.ConfigParser()
    config.read_string(wireguard._config(section).replace("%", ""))
    assert dict(config["Peer"]) == {"publickey": PEER, "allowedips": "192.168.250.6/32"}
    assert config["Interface"]["ListenPort"] == "4500"
    assert "privatekey" not in config["Interface"]
    assert ("192.168.250.5:10077", "127.0.0.1:10077") in wireguard._ways(section)


def test_the_firewall_opens_its_port_only_with_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the exporter's port to the other end alone."""
    monkeypatch.setattr(provision, "_FILES", ROOT / "deploy/files")
    monkeypatch.setattr(provision, "ssh_ports", lambda: [22])
    without = provision._firewall(settings.Settings())
    assert without == (ROOT / "deploy/files/firewall.nft").read_text()
    section = {"public_key": PEER, "port": 4500, "network": "10.107.77.0/30"}
    rules = provision._firewall(settings.Settings(wireguard=section)).splitlines()
    assert rules[-4:-2] == [
        '    udp dport 4500 accept comment "WireGuard"',
        '    iifname "quant" tcp dport 10077 accept',
    ]


@pytest.mark.parametrize("token", ["short", "a token with blanks in it", 'quotes"quotes"quotes'])
def test_a_token_that_nginx_would_misread_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """With how to make one."""
    monkeypatch.setattr(web, "CREDENTIALS", tmp_path)
    (tmp_path / "metrics_token").write_text(token)
    with pytest.raises(ProblemError, match="openssl rand -hex 32"):
        web._metrics_token()
