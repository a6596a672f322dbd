"""Which requests go through a proxy."""

from __future__ import annotations

import pytest

from exporter.util.proxy import HttpProxy, proxy_for

PROXY = "http://proxy.lan:3128"


@pytest.mark.parametrize(
    ("url", "environ", "through"),
    [
        ("https://api.tickdb.ai/v1", {}, None),
        ("https://api.tickdb.ai/v1", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://api.tickdb.ai/v1", {"https_proxy": PROXY, "HTTPS_PROXY": "http://x"}, PROXY),
        ("https://api.tickdb.ai/v1", {"HTTPS_PROXY": "proxy.lan:3128"}, PROXY),
        ("https://api.tickdb.ai/v1", {"HTTP_PROXY": PROXY}, None),
        ("http://api.tickdb.ai/v1", {"HTTP_PROXY": PROXY}, PROXY),
        ("https://api.tickdb.ai/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "tickdb.ai"}, None),
        ("https://api.tickdb.ai/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "x, .tickdb.ai"}, None),
        ("https://api.tickdb.ai/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "ickdb.ai"}, PROXY),
        ("https://api.tickdb.ai/v1", {"HTTPS_PROXY": PROXY, "no_proxy": "*"}, None),
        ("https://api.tickdb.ai/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "x tickdb.ai."}, None),
        ("https://api.tickdb.ai/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*.tickdb.ai"}, None),
        ("https://tickdb.ai/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "tickdb.ai:443"}, None),
        ("https://tickdb.ai/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "tickdb.ai:8443"}, PROXY),
        ("https://tickdb.ai/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": ""}, PROXY),
        ("https://tickdb.ai/v1", {"HTTPS_PROXY": PROXY, "NO_PROXY": " , "}, PROXY),
        ("https://tickdb.ai/v1", {"HTTPS_PROXY": "", "ALL_PROXY": PROXY}, PROXY),
        ("https://tickdb.ai/v1", {"HTTPS_PROXY": PROXY, "all_proxy": "http://x"}, PROXY),
        ("http://[fd00::1]/v1", {"HTTP_PROXY": PROXY, "NO_PROXY": "[fd00::1]"}, None),
        ("http://[fd00::1]/v1", {"HTTP_PROXY": PROXY, "NO_PROXY": "fd00::/8"}, None),
        ("https://tickdb.ai/v1", {"HTTPS_PROXY": "http://[::1"}, "(not a valid address)"),
        ("https://tickdb.ai/v1", {"HTTPS_PROXY": "http://me:x@y:port"}, "(not a valid address)"),
        ("http://10.1.2.3/v1", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, None),
        ("http://10.1.2.3:8080/v1", {"HTTP_PROXY": PROXY, "NO_PROXY": "10.1.2.3:80"}, PROXY),
        ("http://127.0.0.1:10078/v1", {"HTTP_PROXY": PROXY}, None),
        ("http://localhost:10078/v1", {"HTTP_PROXY": PROXY}, None),
        ("http://[::1]:10078/v1", {"HTTP_PROXY": PROXY}, None),
    ],
)
def test_the_environment_names_proxies(
    url: str, environ: dict[str, str], through: str | None
) -> None:
    """As for curl; but this machine itself is never asked through one."""
    proxy = proxy_for(url, None, environ)
    assert (proxy and proxy.url) == through


def test_a_configured_proxy_is_always_used() -> None:
    """Whatever the environment says."""
    environ = {"HTTPS_PROXY": "http://other", "NO_PROXY": "*"}
    assert proxy_for("https://api.tickdb.ai/v1", PROXY, environ) == HttpProxy(PROXY, "`proxy`")


def test_credentials_are_no_part_of_what_is_shown() -> None:
    """Address and repr go into messages."""
    proxy = proxy_for("http://a.b", None, {"http_proxy": "http://me:pa%20ss@proxy.lan:3128"})
    assert proxy is not None
    assert (proxy.url, proxy.user, proxy.password) == (PROXY, "me", "pa ss")
    assert "ss" not in repr(proxy).replace("pass", "")
