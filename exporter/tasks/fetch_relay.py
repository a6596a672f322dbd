"""Fetches of a plain function: requested in its process, answered by the exporter.

Both ends are here: :func:`answer` runs on the exporter's loop, :func:`read` in the worker process.
In between is JSON.
"""

from __future__ import annotations

import base64
import pickle
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import astuple
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from exporter.sources.base import Bar, SourceError, Ticker
from exporter.tasks.context import Context
from exporter.tasks.errors import NoData, Permanent
from exporter.tasks.outcome import of_exception

if TYPE_CHECKING:
    from exporter.calendars.bars import Calendar


class FetchFailedError(Exception):
    """The exporter could not answer; says whether asking again may help."""

    def __init__(self, message: str, retryable: bool, retry_after: float | None) -> None:
        super().__init__(message)
        self.retryable, self.retry_after = retryable, retry_after


async def answer(context: Context, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The result of one fetch, or the error that the function shall see. Never raises."""
    try:
        if method in _OF_BUILT_IN:
            return {"result": await _OF_BUILT_IN[method](context, arguments)}
        return {"result": await _fetch(context, method, arguments)}
    except Permanent as error:
        return {"error": str(error), "class": "Permanent"}
    except NoData as error:
        return {"error": str(error), "class": "NoData"}
    except SourceError as error:
        return {
            "error": error.message,
            "class": "SourceError",
            "reason": error.reason,
            "code": error.code,
            "retryable": error.retryable,
            "retry_after": error.retry_after,
        }
    except Exception as error:  # noqa: BLE001  goes on to the task, which decides
        outcome = of_exception(error)
        return {
            "error": outcome.error,
            "retryable": outcome.retryable,
            "retry_after": outcome.retry_after_seconds,
        }


async def _fetch(context: Context, method: str, arguments: Mapping[str, Any]) -> Any:
    match method:
        case "latest":
            found = await context.latest(**arguments)
            return {symbol: [astuple(bar) for bar in bars] for symbol, bars in found.items()}
        case "history":
            return [astuple(bar) for bar in await context.history(**arguments)]
        case "tickers":
            tickers = await context.tickers(**arguments)
            return {symbol: astuple(ticker) for symbol, ticker in tickers.items()}
        case "calendar":
            return _packed(context.calendar(**arguments))
    return await _tell(context, method, arguments)


async def _tell(context: Context, method: str, arguments: Mapping[str, Any]) -> Any:
    match method:
        case "notify":
            return await context.notify(**arguments)
        case "fill":
            return await context._services.fill(context.task, **arguments)
        case "equity":
            return await context._services.equity(context.task, **arguments)
        case "set_metric":
            set_it = context.counter if arguments["add"] else context.gauge
            return set_it(arguments["name"], arguments["value"], **arguments["labels"])
    raise Permanent(f"unknown fetch {method!r}")


async def _config(context: Context, _: Mapping[str, Any]) -> str:
    return _pickled(context._services.parts.config)


async def _recent(context: Context, asked: Mapping[str, Any]) -> list[Any]:
    source = context._services.source(asked["source"] or context._about.source)
    bars = await source.recent(asked["symbol"], asked["interval"], asked["limit"])
    return [astuple(bar) for bar in bars]


async def _report(context: Context, given: Mapping[str, Any]) -> None:
    from exporter.messages.message import ChannelMessage
    from exporter.tasks.builtin.parts import send_report

    await send_report(context, ChannelMessage.from_json(given["message"]), given["about"])


_OF_BUILT_IN: Mapping[str, Callable[[Context, Mapping[str, Any]], Awaitable[Any]]] = {
    "config": _config, "recent": _recent, "report": _report,
}  # fmt: skip
"""What plain functions of ours ask for, and users' do not."""


def read(method: str, answered: Mapping[str, Any]) -> Any:
    """The result that :func:`answer` gave, or its error raised."""
    if "error" in answered:
        raise _error(answered)
    result = answered["result"]
    match method:
        case "latest":
            return {symbol: [Bar(*bar) for bar in bars] for symbol, bars in result.items()}
        case "history" | "recent":
            return [Bar(*bar) for bar in result]
        case "tickers":
            return {symbol: Ticker(*ticker) for symbol, ticker in result.items()}
        case "notify" | "report" | "set_metric" | "fill" | "equity":
            return result
        case "config":
            return _unpickled(result)
    return _unpacked(result)


def _error(answered: Mapping[str, Any]) -> Exception:
    match answered.get("class"):
        case "Permanent":
            return Permanent(answered["error"])
        case "NoData":
            return NoData(answered["error"])
        case "SourceError":
            return SourceError(
                answered["reason"],
                answered["error"],
                retryable=answered["retryable"],
                retry_after=answered["retry_after"],
                code=answered["code"],
            )
    return FetchFailedError(answered["error"], answered["retryable"], answered["retry_after"])


def _packed(calendar: Calendar) -> str:
    overrides = calendar.overrides and SimpleNamespace(**vars(calendar.overrides))
    return _pickled((calendar.name, calendar.table, overrides))


def _pickled(value: Any) -> str:
    return base64.b64encode(pickle.dumps(value)).decode()


def _unpacked(text: str) -> Calendar:
    from exporter.calendars.bars import Calendar

    return Calendar(*_unpickled(text))


def _unpickled(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))  # noqa: S301  from our own exporter
