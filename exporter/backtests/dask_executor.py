"""Units on a Dask cluster: the same ones, with the same limits, on other machines.

Each worker of the cluster has this package installed. A plugin, which Dask sets up on every worker,
brings the user's modules and keeps the processes in which units run there. A group whose worker is
lost runs again elsewhere, and reports only when it is complete, so nothing is counted twice.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from distributed import Client, Security, WorkerPlugin, as_completed, get_worker

from exporter.backtests.local_executor import ExecutorError, LocalExecutor, OnResult
from exporter.backtests.unit import UnitGroup, UnitResult
from exporter.config.backtests import Backtests

log = logging.getLogger(__name__)

CONNECT_SECONDS = 15.0
_PLUGIN = "quant-exporter-units"
_MOST_CODE = 20 << 20


class UnitPlugin(WorkerPlugin):
    """What each worker of the cluster keeps for the time of a run."""

    def __init__(self, files: Mapping[str, bytes], timeout: float, memory: int) -> None:
        self._files, self._timeout, self._memory = dict(files), timeout, memory

    def setup(self, worker: Any) -> None:
        """Write the user's modules."""
        self.folder = Path(tempfile.mkdtemp(prefix="quant-backtest-"))
        for name, content in self._files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        self._lock = threading.Lock()
        self._idle: list[LocalExecutor] = []

    def teardown(self, worker: Any) -> None:
        """End the processes, and delete the modules."""
        for executor in self._idle:
            executor.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def compute(self, group: UnitGroup) -> list[UnitResult]:
        """All units of a group, in a process below this worker that is kept for the next group."""
        with self._lock:
            executor = self._idle.pop() if self._idle else None
        if executor is None:
            executor = LocalExecutor(1, timeout=self._timeout, memory=self._memory, keep=True)
        results: list[UnitResult] = []
        folders = sorted({str(self.folder / name.split("/")[0]) for name in self._files})
        try:
            executor.run(iter([replace(group, code=folders)]), results.append)
        except BaseException:
            executor.close()
            raise
        with self._lock:
            self._idle.append(executor)
        return results


def _compute(group: UnitGroup) -> list[UnitResult]:
    """On a worker."""
    return cast("UnitPlugin", get_worker().plugins[_PLUGIN]).compute(group)


class DaskExecutor:
    """Computes groups on the cluster of `backtests.scheduler`. Raises :class:`ExecutorError` when
    it cannot be reached."""

    def __init__(self, settings: Backtests, code: Iterable[Path]) -> None:
        self._settings = settings
        self._files = _files_of(code)
        tls = settings.tls
        security = tls and Security(
            tls_ca_file=str(tls.ca), tls_client_cert=str(tls.cert), tls_client_key=str(tls.key),
            require_encryption=True,
        )  # fmt: skip
        try:
            self._client = Client(
                settings.scheduler, security=security, timeout=CONNECT_SECONDS,
                set_as_default=False, direct_to_workers=False,
            )  # fmt: skip
            self.workers = max(1, sum(self._client.ncores().values()))
        except (OSError, TimeoutError, ValueError) as error:
            raise ExecutorError(
                f"no Dask scheduler answers at {settings.scheduler}: {error or 'timeout'}; is it "
                "started, with the same version of Dask?"
            ) from error

    def run(self, groups: Iterable[UnitGroup], on_result: OnResult) -> None:
        """Compute all; each unit is reported once, in any order. Raises :class:`ExecutorError`
        when the cluster is lost; what was reported before is kept."""
        client = self._client
        try:
            plugin = UnitPlugin(self._files, self._settings.timeout, self._settings.memory)
            client.register_plugin(plugin, name=_PLUGIN)
            if not client.ncores():
                raise ExecutorError(
                    f"{self._settings.scheduler} has no workers: start at least one"
                )
            waiting = self._submit(groups)
            for future in as_completed(list(waiting), loop=client.loop):
                group = waiting.pop(future)
                if future.status == "finished":
                    results = future.result()
                elif future.status == "error":
                    results = _lost(group, future.exception())
                else:
                    raise ExecutorError("the Dask scheduler is gone: what was computed is kept")
                for result in results:
                    on_result(result)
                future.release()
        except (OSError, TimeoutError) as error:
            raise ExecutorError(f"the Dask cluster was lost: {error}") from error
        finally:
            self.close()

    def _submit(self, groups: Iterable[UnitGroup]) -> dict[Any, UnitGroup]:
        waiting = {}
        for group in groups:
            # Bars go along, rather than being scattered: those would be lost with their worker.
            future = self._client.submit(_compute, group, pure=False)
            waiting[future] = group
        return waiting

    def close(self) -> None:
        """Leave the cluster; it goes on for others."""
        try:
            self._client.unregister_worker_plugin(_PLUGIN)
        except Exception as error:  # noqa: BLE001  the cluster may be gone, in many ways
            log.debug("the plugin could not be removed: %s", type(error).__name__)
        self._client.close(timeout=5)


def _lost(group: UnitGroup, error: BaseException | None) -> list[UnitResult]:
    text = " ".join(str(error).split())[:300]
    why = f"{type(error).__name__}: {text}"
    return [UnitResult(trial.number, error=why) for trial in group.trials]


def _files_of(folders: Iterable[Path]) -> dict[str, bytes]:
    """The modules in those folders, by a path that starts with the folder's number."""
    found: dict[str, bytes] = {}
    size = 0
    for number, folder in enumerate(folders):
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).parts
            if any(part.startswith(".") or part in ("var", "node_modules") for part in parts):
                continue
            content = file.read_bytes()
            size += len(content)
            if size > _MOST_CODE:
                raise ExecutorError(
                    f"{folder} has more than 20 MB of modules: name a smaller folder"
                )
            found["/".join([str(number), *parts])] = content
    return found
