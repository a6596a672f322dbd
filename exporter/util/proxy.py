"""Through which proxy a request goes: the configured one, or the environment's."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class HttpProxy:
    """A proxy without its credentials, and who named it."""

    url: str
    named_by: str
    user: str = ""
    password: str = field(default="", repr=False)


def proxy_for(url: str, configured: str | None, environ: Mapping[str, str]) -> HttpProxy | None:
    """The proxy for requests to `url`; None to go directly.

    A `configured` one is always used. Else HTTP_PROXY or HTTPS_PROXY, unless NO_PROXY names the
    host; this machine itself is never asked through a proxy of the environment.
    """
    if configured:
        return HttpProxy(configured, "`proxy`")
    target = urlsplit(url)
    host = target.hostname or ""
    name = f"{target.scheme}_proxy"
    found = environ.get(name) or environ.get(name.upper()) or ""
    excluded = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if not found or _is_here(host) or _is_excluded(host, target.port, excluded):
        return None
    if "://" not in found:
        found = f"http://{found}"
    parts = urlsplit(found)
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    named = name if environ.get(name) else name.upper()
    return HttpProxy(address, named, unquote(parts.username or ""), unquote(parts.password or ""))


def _is_excluded(host: str, port: int | None, no_proxy: str) -> bool:
    for entry in no_proxy.lower().split(","):
        name = entry.strip().removeprefix("*").removeprefix(".")
        if entry.strip() == "*" or name in (host, f"{host}:{port}"):
            return True
        if name and host.endswith(f".{name}"):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False):
                return True
        except ValueError:
            continue  # a name, not a network
    return False


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
