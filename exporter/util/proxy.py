"""Through which proxy a request goes: the configured one, or the environment's."""

from __future__ import annotations

import ipaddress
import re
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

    A `configured` one is always used. Else HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, unless NO_PROXY
    names the host; this machine itself is never asked through a proxy of the environment.
    """
    if configured:
        return HttpProxy(configured, "`proxy`")
    target = urlsplit(url)
    host = target.hostname or ""
    own = f"{target.scheme}_proxy"
    names = (own, own.upper(), "all_proxy", "ALL_PROXY")
    named = next((name for name in names if environ.get(name)), None)
    excluded = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    port = target.port or (443 if target.scheme == "https" else 80)
    if named is None or _is_here(host) or _is_excluded(host, port, excluded):
        return None
    return _read(environ[named].strip(), named)


def _read(found: str, named: str) -> HttpProxy:
    if "://" not in found:
        found = f"http://{found}"
    try:
        parts = urlsplit(found)
        valid = parts.hostname is not None and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        return HttpProxy("(not a valid address)", named)
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return HttpProxy(address, named, unquote(parts.username or ""), unquote(parts.password or ""))


def _is_excluded(host: str, port: int, no_proxy: str) -> bool:
    for entry in re.split(r"[\s,]+", no_proxy.lower()):
        name = entry.removeprefix("*").strip(".")
        if entry == "*" or name in (host, f"{host}:{port}", f"[{host}]"):
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
