#!/usr/bin/env python3
"""Push what a strategy knows to quant-exporter: equity, fills, positions, metrics, bars, pings.

    from push import Push

    push = Push("http://127.0.0.1:10077", token_file="/srv/quant/var/token")
    push.equity("momentum", "100012.50")
    push.fill("momentum", "AAPL.US", "buy", "181.50", quantity=10)

One file that needs Python 3.8 or newer and nothing else: copy it next to the strategy, or import
`exporter.push`. `python push.py --flush` sends what is kept.

No call raises, and none waits for the network: each puts a file into a folder of its own and
returns True; a thread sends it. A call that returned True survives `kill -9` of the strategy. What
cannot be sent waits in that folder, 10,000 requests at most, and is sent later, in order, with the
time at which it was pushed; the exporter counts each once, by its id.

Without arguments the variables QUANT_PUSH_URL, QUANT_PUSH_TOKEN or QUANT_PUSH_TOKEN_FILE, and
QUANT_PUSH_SPOOL (the folder) count.
"""

# Modules that take long to import (urllib, logging, uuid) are left out, and json comes when it is
# needed: `quant-exporter exec` uses this file, and each of its commands waits for it.
from __future__ import annotations

import math
import os
import socket
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from decimal import Decimal
    from typing import Any, Union

    Number = Union[int, float, str, Decimal]
    Moment = Union[int, float, datetime, None]

MOST_KEPT = 1000
MOST_REFUSED = 100
LARGEST_BYTES = 250_000
_MOST_PUSHED = 10_000
_COUNT_EVERY = 64
_HTTP_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Push:
    """One exporter. Make it once and keep it; threads may share it, and a fork gets its own."""

    _last: float
    _asked_pause: float
    _answers: bool

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        spool: str | os.PathLike[str] | None = None,
    ) -> None:
        env = os.environ
        self.url = (url or env.get("QUANT_PUSH_URL") or "http://127.0.0.1:10077").rstrip("/")
        self._token = token or env.get("QUANT_PUSH_TOKEN")
        self._token_file = token_file or env.get("QUANT_PUSH_TOKEN_FILE")
        name = self.url.partition("//")[2]
        place = "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
        folder = spool or env.get("QUANT_PUSH_SPOOL") or os.path.join(spool_base(), "push", place)
        self._spool = Spool(os.fspath(folder), self._deliver, _warn, _MOST_PUSHED, synced=False)
        self._said: set[str] = set()
        self._rids: dict[str, str] = {}
        self._start_over()

    # --- what is pushed

    def equity(
        self, strategy: str, equity: Number, *, flow: Number = 0, at: Moment = None, id: str = ""
    ) -> bool:
        """A point of a strategy's equity curve, after `flow`: a deposit is positive."""
        return self._keep(lambda: (
            f"/api/v1/strategies/{_part(strategy)}/equity",
            {"equity": _number(equity), "flow": _number(flow), "timestamp": _seconds(at),
             "id": id or new_id()},
        ))  # fmt: skip

    def fill(
        self,
        strategy: str,
        symbol: str,
        side: str,
        price: Number,
        quantity: Number | None = None,
        *,
        fee: Number | None = None,
        at: Moment = None,
        order: str = "",
        id: str = "",
    ) -> bool:
        """An execution: `side` is buy or sell, `price` of one unit, `id` the broker's if known."""
        body: dict[str, Any] = {"symbol": symbol, "side": side}
        return self._keep(lambda: (
            f"/api/v1/strategies/{_part(strategy)}/fills",
            {**body, "price": _number(price), "timestamp": _seconds(at), "id": id or new_id(),
             **({} if quantity is None else {"quantity": _number(quantity)}),
             **({} if fee is None else {"fee": _number(fee)}),
             **({"order": order} if order else {})},
        ))  # fmt: skip

    def positions(
        self, strategy: str, positions: Mapping[str, Number], *, at: Moment = None
    ) -> bool:
        """All that a strategy holds, symbol to quantity (short: negative); {} when it is flat."""
        return self._keep(lambda: (
            f"/api/v1/strategies/{_part(strategy)}/positions",
            {"positions": [{"symbol": symbol, "quantity": _number(quantity)}
                           for symbol, quantity in positions.items()],
             "timestamp": _seconds(at)},
        ))  # fmt: skip

    def gauge(self, name: str, value: float, *, at: Moment = None, **labels: str) -> bool:
        """A metric of your own, which /metrics shows by this name."""
        one = {"name": name, "value": value, "labels": labels}
        return self._keep(lambda: ("/api/v1/metrics", {**one, "timestamp": _seconds(at)}))

    def bars(self, feed: str, bars: Iterable[Mapping[str, Any]]) -> bool:
        """Bars for a feed whose source has `type: push`; openapi.yaml says what a bar has."""
        return self._keep(lambda: (f"/api/v1/feeds/{_part(feed)}/bars", {"bars": list(bars)}))

    def ping(
        self,
        task: str,
        kind: str = "success",
        *,
        items: int | None = None,
        message: str | None = None,
        rid: str | None = None,
    ) -> bool:
        """An external task started, succeeded or failed: start, success or fail.

        An end belongs to the task's start before it, unless `rid` (a UUID) names another run.
        """
        return self._keep(lambda: self._ping(task, kind, items, message, rid))

    def _ping(
        self, task: str, kind: str, items: int | None, message: str | None, rid: str | None
    ) -> tuple[str, dict[str, Any]]:
        if kind not in ("start", "success", "fail"):
            raise ValueError(f"kind must be start, success or fail, not {kind!r}")
        rid = rid or (None if kind == "start" else self._rids.pop(task, None)) or new_id()
        if kind == "start":
            self._rids[task] = rid
        body = {"items": items, "message": message, "rid": rid,
                "started" if kind == "start" else "ended": round(time.time(), 3)}  # fmt: skip
        path = f"/api/v1/tasks/{_part(task)}/{kind}"
        return path, {name: value for name, value in body.items() if value is not None}

    # --- how it leaves

    @property
    def waiting(self) -> int:
        """How many requests are not sent yet."""
        return len(self._spool.names())

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything is sent; False when that takes longer."""
        end = time.monotonic() + timeout
        while self.waiting:
            self._wake_thread()
            self._hurry.set()
            if time.monotonic() >= end:
                return False
            time.sleep(0.01)
        return True

    def close(self, timeout: float = 1.0) -> None:
        """Send what can be sent now; the rest is sent by the next Push. An exit calls it."""
        try:
            if self._answers and self._pid == os.getpid():
                self.flush(timeout)
        except Exception as error:
            self._say(f"closing: {error}")
        self._closing = True
        self._wake.set()
        self._hurry.set()

    def _keep(self, make: Callable[[], tuple[str, dict[str, Any]]]) -> bool:
        """True once the request is kept. Nothing may leave here: it would end in the strategy."""
        try:
            path, body = make()
            import json

            text = json.dumps(body, allow_nan=False, default=str)
            if len(text) > LARGEST_BYTES:
                raise ValueError(f"{len(text)} bytes are too much; {LARGEST_BYTES} are the most")
            if self._pid != os.getpid():
                self._start_over()
            record = {"path": path, "body": text}
            with self._order:
                self._last = max(time.time(), self._last + 1e-6)
                kept = self._spool.keep(f"{self._last:017.6f}-{new_id()}", record)
            if not kept:
                self._say(f"nothing can be kept in {self._spool.folder}: make it writable")
            self._wake_thread()
            return kept
        except Exception as error:
            self._say(f"not pushed: {error}")
            return False

    def _start_over(self) -> None:
        """A fork has neither the thread nor a lock that another thread may have held."""
        self._pid, self._order = os.getpid(), threading.Lock()
        self._wake, self._hurry = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._answers = True
        self._last = 0.0
        self._asked_pause = 0.0

    def _wake_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            import atexit

            self._closing = False
            self._thread = threading.Thread(target=self._run, name="quant-push", daemon=True)
            self._thread.start()
            atexit.unregister(self.close)
            atexit.register(self.close)
        self._wake.set()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closing:
            self._wake.clear()
            try:
                left = self._spool.flush()
            except Exception as error:
                left = 1
                self._say(f"sending: {error}")
            self._answers = left == 0
            if left == 0:
                pause = _FIRST_PAUSE
                self._wake.wait()
                continue
            self._hurry.wait(max(pause, self._asked_pause))
            self._hurry.clear()
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _deliver(self, record: dict[str, Any]) -> None:
        self._asked_pause = 0.0
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._secret()}"}
        try:
            post(self.url + record["path"], record["body"].encode(), headers)
        except ReportNotSentError as error:
            self._asked_pause = error.retry_after
            raise
        except ReportRefusedError as error:
            if error.status in (401, 403):  # nothing would be accepted: mend the token
                self._say(f"{self.url} refuses the token: {error}")
                raise ReportNotSentError(str(error)) from None
            raise

    def _secret(self) -> str:
        if self._token or not self._token_file:
            return self._token or ""
        try:
            with open(self._token_file, encoding="ascii") as file:
                return file.read().strip()
        except (OSError, ValueError) as error:
            raise ReportNotSentError(f"no token: {error}") from None

    def _say(self, text: str) -> None:
        """Once each: a strategy may push ten times a second."""
        if text not in self._said and len(self._said) < 100:
            self._said.add(text)
            _warn(text)


def _warn(text: str) -> None:
    import logging

    logging.getLogger("quant_exporter.push").warning("%s", text)


def _part(name: str) -> str:
    """A name as a part of an address."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"a name must be a text, not {name!r}")
    plain = "-._~"
    return "".join(
        chr(byte) if byte < 128 and (chr(byte).isalnum() or chr(byte) in plain) else f"%{byte:02X}"
        for byte in name.encode()
    )


def _number(value: Number) -> float | str:
    """As it goes into JSON: with all digits, so a Decimal as text."""
    if isinstance(value, bool) or not math.isfinite(float(value)):
        raise ValueError(f"a finite number is needed, not {value!r}")
    return value if isinstance(value, (int, float)) else str(value)


def _seconds(at: Moment) -> float:
    if at is None:
        return round(time.time(), 6)
    if not isinstance(at, (int, float)):
        if at.tzinfo is None:
            raise ValueError(f"{at} has no time zone")
        return at.timestamp()
    return float(at)


# --- the spool, and the request; `quant-exporter exec` uses them, too


class ReportNotSentError(Exception):
    """It may be sent again later, after `retry_after` seconds at the earliest."""

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class ReportRefusedError(Exception):
    """It would be refused again."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Spool:
    """Records on disk, a file each, oldest first, `most` of them.

    `send` raises ReportNotSentError or ReportRefusedError; what is refused stays as `….refused`.
    """

    def __init__(
        self,
        folder: str,
        send: Callable[[dict[str, Any]], None],
        say: Callable[[str], object],
        most: int = MOST_KEPT,
        *,
        synced: bool = True,
    ) -> None:
        self.folder, self._send, self._say = folder, send, say
        self._most, self._synced, self._keeps = most, synced, 0

    def names(self, end: str = ".report") -> list[str]:
        """The records that wait."""
        try:
            found = os.listdir(self.folder)
        except OSError:
            return []
        return sorted(name for name in found if name.endswith(end))

    def keep(self, name: str, record: dict[str, Any]) -> bool:
        """Names are sent in their order. False when it cannot be kept."""
        aside = os.path.join(self.folder, f".{name}")
        try:
            if self._keeps % _COUNT_EVERY == 0:
                os.makedirs(self.folder, mode=0o700, exist_ok=True)
                self._drop(".report", self._most)
                self._drop(".refused", MOST_REFUSED)
            self._keeps += 1
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                import json

                json.dump(record, file)
                if self._synced:
                    file.flush()
                    os.fsync(file.fileno())
            os.rename(aside, os.path.join(self.folder, name + ".report"))
        except OSError:
            return False
        return True

    def _drop(self, end: str, most: int) -> None:
        names = self.names(end)
        for old in names[: max(0, len(names) - most)]:
            os.unlink(os.path.join(self.folder, old))
        if len(names) > most and end == ".report":
            self._say(f"more than {most} reports wait in {self.folder}: the oldest are dropped")

    def flush(self) -> int:
        """Send what waits, in order, one process at a time; how many are left."""
        import fcntl

        try:
            lock = open(os.path.join(self.folder, ".lock"), "w")
        except OSError:
            return len(self.names())
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                for name in self.names():
                    if not self._send_one(name):
                        break
            except OSError as error:
                self._say(f"{self.folder} cannot be written: {error}")
        return len(self.names())

    def _send_one(self, name: str) -> bool:
        """True once it no longer has to be sent."""
        path = os.path.join(self.folder, name)
        try:
            with open(path, encoding="utf-8") as file:
                import json

                self._send(json.load(file))
        except ReportNotSentError:
            return False
        except ReportRefusedError as error:
            self._say(f"a report of {name[:17]} is refused and stays as .refused: {error}")
            os.rename(path, path[: -len(".report")] + ".refused")
            return True
        except FileNotFoundError:
            return True  # dropped meanwhile, as one of too many
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._say(f"{path} cannot be read and is dropped: {error}")
        os.unlink(path)
        return True


def spool_base() -> str:
    """Where records wait unless somebody says otherwise."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "quant-exporter")


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """POST, without importing an HTTP client. Raises ReportNotSentError or ReportRefusedError."""
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    host, port = _split(place, 443 if scheme == "https" else 80)
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST /{path} HTTP/1.1\r\nHost: {place}\r\nUser-Agent: quant-push\r\n"
        f"Connection: close\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    )
    end = time.monotonic() + 2 * _HTTP_SECONDS
    try:
        with socket.create_connection((host, port), _HTTP_SECONDS) as plain:
            stream = _secured(plain, host) if scheme == "https" else plain
            with stream:
                stream.sendall(head.encode("latin-1", "replace") + body)
                answer = b""
                while b"\r\n\r\n" not in answer and len(answer) < 65536:
                    more_bytes = stream.recv(4096)
                    if not more_bytes or time.monotonic() > end:
                        break
                    answer += more_bytes
                status = _status(answer)
                while status >= 400 and len(answer) < 8192 and time.monotonic() < end:
                    more_bytes = stream.recv(4096)  # what is wrong
                    if not more_bytes:
                        break
                    answer += more_bytes
    except (OSError, UnicodeError, ValueError) as error:
        raise ReportNotSentError(f"{place} does not answer ({error})") from None
    if 200 <= status < 300:
        return
    if status in (408, 429) or not 400 <= status < 500:
        raise ReportNotSentError(f"{place} answers {status or 'nothing'}", _retry_after(answer))
    raise ReportRefusedError(_reason(status, answer), status)


def _status(answer: bytes) -> int:
    words = answer.split(None, 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _retry_after(answer: bytes) -> float:
    for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"retry-after" and value.strip().isdigit():
            return min(float(value), 3600.0)
    return 0.0


def _reason(status: int, answer: bytes) -> str:
    try:
        import json

        said = json.loads(answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace"))["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {status}"
    return f"HTTP {status}: {str(said)[:200]}"


def _secured(plain: socket.socket, host: str) -> socket.socket:
    import ssl

    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _split(place: str, usual: int) -> tuple[str, int]:
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return host, int(port[1:] or usual)
    host, _, port = place.partition(":")
    return host, int(port) if port.isdigit() else usual


def new_id() -> str:
    """A random UUID."""
    number = bytearray(os.urandom(16))
    number[6], number[8] = number[6] & 0x0F | 0x40, number[8] & 0x3F | 0x80
    text = number.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


if __name__ == "__main__":
    if sys.argv[1:] != ["--flush"]:
        print(__doc__)
    elif not Push().flush(60.0):
        sys.exit("some requests cannot be sent: look whether the exporter runs, and at the token")
