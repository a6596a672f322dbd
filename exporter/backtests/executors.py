"""Which executor a run has, by the config."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from exporter.backtests.batch import Executor
from exporter.backtests.local_executor import ExecutorError, LocalExecutor
from exporter.config.backtests import Backtests


def open_executor(
    settings: Backtests,
    code: Sequence[Path],
    *,
    workers: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Executor:
    """Raises :class:`ExecutorError`."""
    if settings.executor == "dask":
        try:
            from exporter.backtests.dask_executor import DaskExecutor
        except ImportError as error:
            raise ExecutorError(
                "`executor: dask` needs Dask: pip install 'quant-exporter[dask]'"
            ) from error
        return DaskExecutor(settings, code)
    return LocalExecutor(
        workers or settings.workers or os.cpu_count() or 1, timeout=settings.timeout,
        memory=settings.memory, environment=environment,
    )  # fmt: skip
