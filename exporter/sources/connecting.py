"""How a connection is made through a proxy, and what it means that it failed: for requests and
streams alike.

The original exceptions are attached to nothing: aiohttp's hold the request, and so the key.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp

from exporter.sources.api_key import Key
from exporter.sources.base import SourceError
from exporter.util.proxy import HttpProxy

PROXY_REFUSES = 407
_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAME = (62, 64)
_NO_ISSUER = (2, 18, 19, 20, 21)
"""Codes of OpenSSL's verification, as its x509_vfy.h has them."""


def request_arguments(
    url: str, headers: Mapping[str, str], proxy: HttpProxy | None
) -> dict[str, Any]:
    """aiohttp's arguments for headers and proxy of a request. Raises :class:`SourceError` for a
    proxy that it cannot use."""
    if proxy is None:
        return {"headers": headers}
    if not proxy.url.startswith(("http://", "https://")):
        raise SourceError(
            "connect",
            f"{_named(proxy)}, is not an HTTP proxy (SOCKS is not supported): name one, "
            "or the source's host in NO_PROXY",
        )
    if not proxy.user:
        return {"headers": headers, "proxy": proxy.url}
    login = {"Proxy-Authorization": aiohttp.encode_basic_auth(proxy.user, proxy.password)}
    if url.lower().startswith(("https:", "wss:")):
        # The tunnel is a request of its own; what goes through it is not for the proxy.
        return {"headers": headers, "proxy": proxy.url, "proxy_headers": login}
    return {"headers": {**headers, **login}, "proxy": proxy.url}


def connection_failure(
    error: aiohttp.ClientError | OSError, key: Key, proxy: HttpProxy | None
) -> SourceError:
    """Why there is no connection: the proxy, the certificate, the network."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return SourceError("connect", _certificate_text(error.certificate_error, key))
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return SourceError("connect", f"cannot reach {_named(proxy)}", retryable=True)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return proxy_refusal(error.status, proxy)
    if isinstance(error, aiohttp.ClientSSLError):
        what = getattr(error.os_error, "reason", None) or "no reason given"
        text = f"TLS failed ({key.redact(what)}): does the server speak TLS at this address?"
        return SourceError("connect", text, retryable=True)
    what = getattr(error, "strerror", None) or type(error).__name__
    return SourceError("connect", f"connection failed: {key.redact(what)}", retryable=True)


def proxy_refusal(status: int, proxy: HttpProxy | None) -> SourceError:
    """A proxy that answers itself."""
    text = f"{_named(proxy)}, refuses the connection: HTTP {status}"
    if status == PROXY_REFUSES and proxy is not None:
        place = "HTTPS_PROXY instead of `proxy`" if proxy.named_by == "`proxy`" else proxy.named_by
        what = "are wrong" if proxy.user else "are missing"
        text += f"; its user and password {what}: they stand in front of the host in {place}"
    return SourceError("connect", text, retryable=status >= 500)


def _certificate_text(error: Exception, key: Key) -> str:
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    if code == _EXPIRED:
        return "the server's certificate has expired; or this machine's clock is wrong"
    if code == _NOT_YET:
        return "the server's certificate is not valid yet: is this machine's clock right?"
    if code in _OTHER_NAME:
        return "the server's certificate is for another host name: correct the address"
    if code in _NO_ISSUER:
        return (
            "the server's certificate is signed by nobody whom this machine trusts: name the file "
            "of your own CA in SSL_CERT_FILE"
        )
    return f"the server's certificate is not valid: {key.redact(getattr(error, 'reason', error))}"


def _named(proxy: HttpProxy | None) -> str:
    return f"the proxy {proxy.url}, from {proxy.named_by}" if proxy else "the proxy"
