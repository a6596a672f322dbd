"""One HTTP attempt: the request with its key, time limits and size limit, to status and body.

Everything that aiohttp may raise becomes a :class:`SourceError` without the original attached:
aiohttp's exceptions hold the request with its headers, and so the key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import aiohttp

from exporter.sources.api_key import Key
from exporter.sources.base import SourceError
from exporter.sources.connecting import (
    PROXY_REFUSES,
    connection_failure,
    proxy_refusal,
    request_arguments,
)
from exporter.util.proxy import HttpProxy

LARGEST_ANSWER_BYTES = 32_000_000
"""Unpacked. A thousand bars, the most that one request asks for, are 200 kB."""
LARGE_BYTES = 100_000
"""From this size on an answer is large: read in a thread, and one at a time."""


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """Status, headers and the whole unpacked body of one answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes | bytearray

    @property
    def is_large(self) -> bool:
        """Whether reading it takes long."""
        return len(self.body) > LARGE_BYTES


class Transport:
    """Sends requests to one server. Its session opens with the first request."""

    def __init__(
        self,
        url: str,
        key: Key,
        connect_timeout: float,
        read_timeout: float,
        proxy: HttpProxy | None = None,
    ) -> None:
        self._url, self._key, self._proxy = url.rstrip("/"), key, proxy
        # With sock_read alone, a byte now and then could hold the request open forever.
        self.timeout = aiohttp.ClientTimeout(
            total=connect_timeout + 2 * read_timeout,
            connect=connect_timeout,
            sock_connect=connect_timeout,
            sock_read=read_timeout,
            ceil_threshold=read_timeout + 1,  # aiohttp would round longer ones up to whole seconds
        )
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def get(
        self, path: str, parameters: Mapping[str, str], is_large: Callable[[], Awaitable[None]]
    ) -> RawAnswer:
        """As :meth:`ask`, with the key in the header X-API-Key."""
        headers = {"X-API-Key": self._key.reveal()}
        return await self.ask("GET", path, parameters, headers, is_large)

    async def ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        headers: Mapping[str, str],
        is_large: Callable[[], Awaitable[None]],
    ) -> RawAnswer:
        """One attempt. Raises :class:`SourceError`: timeout, connect, http or malformed.

        `is_large` is awaited once when the answer turns out to be large, before more of it is read.
        """
        failure: SourceError
        try:
            return await self._ask(method, path, parameters, headers, is_large)
        except aiohttp.ConnectionTimeoutError:
            failure = SourceError(
                "connect",
                f"no connection within {self.timeout.sock_connect:g} s",
                retryable=True,
            )
        except TimeoutError:
            failure = SourceError(
                "timeout",
                f"no complete answer within {self.timeout.sock_read:g} s without a byte or "
                f"{self.timeout.total:g} s in all",
                retryable=True,
            )
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            failure = connection_failure(error, self._key, self._proxy)
        except aiohttp.ClientPayloadError:
            failure = SourceError(
                "malformed", "the answer breaks off or cannot be unpacked", retryable=True
            )
        except aiohttp.ClientResponseError as error:
            packed = "content-encoding" in error.message.lower()
            text = "the answer is packed in a way that it was not asked for (its Content-Encoding)"
            failure = SourceError(
                "malformed", text if packed else "the answer is not HTTP", retryable=True
            )
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            failure = SourceError("http", "the source's `url` is not a valid address")
        except (aiohttp.ClientError, OSError) as error:
            failure = connection_failure(error, self._key, self._proxy)
        except (ValueError, RuntimeError) as error:  # what aiohttp lets through of broken answers
            kind = type(error).__name__
            failure = SourceError(
                "malformed", f"the answer cannot be read ({kind})", retryable=True
            )
        # Raised here, outside of the handlers, so that no `__context__` carries the headers.
        raise failure

    async def _ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        headers: Mapping[str, str],
        is_large: Callable[[], Awaitable[None]],
    ) -> RawAnswer:
        if self._closed:
            raise SourceError("connect", "the source has been closed")
        arguments = request_arguments(self._url, headers, self._proxy)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self.timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0),  # the budget limits what is under way
            )
        async with self._session.request(
            method,
            self._url + path,
            params=parameters,
            allow_redirects=False,
            middlewares=(_once(),),
            **arguments,
        ) as response:
            if response.status == PROXY_REFUSES and self._proxy:
                raise proxy_refusal(response.status, self._proxy)
            body = bytearray()
            async for chunk in response.content.iter_any():
                if len(body) <= LARGE_BYTES < len(body) + len(chunk):
                    await is_large()
                body += chunk
                if len(body) > LARGEST_ANSWER_BYTES:
                    raise SourceError(
                        "malformed",
                        f"the answer is larger than {LARGEST_ANSWER_BYTES // 10**6} MB",
                        retryable=True,
                    )
            return RawAnswer(response.status, response.headers, body)

    async def close(self) -> None:
        """Close the connections; requests after this fail."""
        self._closed = True
        if self._session is not None:
            await self._session.close()


def _once() -> aiohttp.ClientMiddlewareType:
    """Keeps aiohttp from sending a GET again by itself when the connection breaks.

    That request would be in no budget and no metric; ours is repeated by the retries alone.
    """
    sent = False

    async def middleware(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        nonlocal sent
        if sent:
            raise aiohttp.ServerDisconnectedError
        sent = True
        return await handler(request)

    return middleware
