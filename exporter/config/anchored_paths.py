"""Relative paths made absolute, from the folder of the config file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from exporter.config.model import Config
from exporter.config.types import Model

_M = TypeVar("_M", bound=Model)
_Under = Callable[[Path | None], Path | None]


def anchored(config: Config, folder: Path) -> Config:
    """The config with every path below `folder`, unless it is absolute."""

    def under(path: Path | None) -> Path | None:
        return None if path is None else folder / path.expanduser()

    logs, digest, backtests = config.logs, config.digest, config.backtests
    follow = {name: _paths(each, under, "path") for name, each in logs.follow.items()}
    messages = {
        name: _paths(each, under, "url_file").model_copy(
            update={"email": each.email and _paths(each.email, under, "password_file")}
        )
        for name, each in config.messages.items()
    }
    strategies = {
        name: _paths(each, under, "equity_file", "positions_file").model_copy(
            update={"equity": each.equity and each.equity.anchored(under)}
        )
        for name, each in config.strategies.items()
    }
    changed = {
        "code": tuple(folder / path for path in config.code),
        "logs": _paths(logs, under, "directory").model_copy(update={"follow": follow}),
        "backtests": _paths(backtests, under, "folder").model_copy(
            update={"tls": backtests.tls and _paths(backtests.tls, under, "ca", "cert", "key")}
        ),
        "digest": digest.model_copy(
            update={
                "slack": digest.slack and _paths(digest.slack, under, "url_file"),
                "email": digest.email and _paths(digest.email, under, "password_file"),
            }
        ),
        "messages": messages,
        "textfiles": config.textfiles and _paths(config.textfiles, under, "folder"),
        "sources": {name: each.anchored(under) for name, each in config.sources.items()},
        "strategies": strategies,
    }
    return _paths(config, under, "state").model_copy(update=changed)


def _paths(settings: _M, under: _Under, *keys: str) -> _M:
    """The settings with the paths under these keys made absolute; None stays."""
    return settings.model_copy(update={key: under(getattr(settings, key)) for key in keys})
