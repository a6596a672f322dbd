"""How one run goes: claim, attempts, one outcome, recorded in one place."""

from exporter.runner.results import BusyError, RunningRun, RunResult
from exporter.runner.runner import Runner

__all__ = ["BusyError", "RunResult", "Runner", "RunningRun"]
