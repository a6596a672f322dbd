"""All of ``exporter.yml`` as one model."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from exporter.config.backtests import Backtests
from exporter.config.channels import Channel
from exporter.config.exchanges import CalendarOverrides, OwnExchange
from exporter.config.ledger_settings import LedgerSettings
from exporter.config.limit_keys import LimitSettings
from exporter.config.logs_and_alerts import Alerts, DigestSettings, Logs
from exporter.config.market_data import Feed
from exporter.config.own_metrics import OwnMetric, TextfileSettings
from exporter.config.portfolio_settings import PortfolioSettings
from exporter.config.source_settings import AnySource
from exporter.config.task_keys import Strategy, Task
from exporter.config.types import Exchange, Model, Url, Zone, here
from exporter.util.units import Duration, Ratio, Size

LOG_REVIEW = "exporter.tasks:log_review"


class Programs(Model):
    """Limits of the user's own programs on a VPS, where systemd enforces them (deploy/)."""

    memory: Size = 2_000_000_000
    processes: int = Field(512, ge=16, le=32_768)
    write: tuple[Path, ...] = ()

    @field_validator("write")
    @classmethod
    def _write_is_absolute(cls, write: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in write:
            if not path.is_absolute() or not re.fullmatch(r"[\w./-]+", str(path)):
                raise ValueError(
                    f"invalid folder {str(path)!r}: write an absolute path without spaces"
                )
        return write


class MachineLimits(Model):
    """What may be used of the machine before a warning."""

    max_memory: Size = 350_000_000
    """Of the exporter itself."""
    max_program_memory: Size | None = None
    """Of one run; by default 80 % of what all programs may have."""
    min_free: Ratio = 0.1
    """Of each disk that the exporter writes to."""
    full_within: Duration = 4 * 3600.0
    """A disk that would be full so soon, as it filled in the last hour."""
    max_loop_lag: Duration = 2.0
    """Of the event loop, in each minute for ten minutes."""
    max_errors: int | None = Field(default=100, ge=1)
    """Lines of level error in the exporter's own log within 15 minutes."""


def _hosts_here() -> tuple[str, ...]:
    return tuple(os.environ.get("QUANT_ALLOWED_HOSTS", "").replace(",", " ").split())


class Config(Model):
    """All of ``exporter.yml``."""

    listen: str = here("QUANT_LISTEN", "127.0.0.1:10077")
    public_url: Url = here("QUANT_PUBLIC_URL", "http://localhost:10077")
    timezone: Zone = "America/New_York"
    state: Path = Path("var/state.db")
    code: tuple[Path, ...] = ()
    allowed_hosts: tuple[str, ...] = Field(default_factory=_hosts_here)
    stop_timeout: Duration = 30.0
    hang_timeout: Duration | None = here("QUANT_HANG_TIMEOUT", None)
    prometheus_url: Url = here("QUANT_PROMETHEUS_URL", "http://localhost:9090")
    alertmanager_url: Url = here("QUANT_ALERTMANAGER_URL", "http://localhost:9093")
    sources: Mapping[str, AnySource] = {}
    feeds: Mapping[str, Feed] = {}
    tasks: Mapping[str, Task] = {}
    strategies: Mapping[str, Strategy] = {}
    metrics: Mapping[str, OwnMetric] = {}
    textfiles: TextfileSettings | None = None
    limits: Mapping[str, LimitSettings] = {}
    exchanges: Mapping[str, OwnExchange] = {}
    calendar_overrides: Mapping[Exchange, CalendarOverrides] = {}
    logs: Logs = Logs()
    alerts: Alerts = Field(default_factory=Alerts)
    messages: Mapping[str, Channel] = {}
    digest: DigestSettings = DigestSettings()
    backtests: Backtests = Backtests()
    ledger: LedgerSettings = LedgerSettings()
    portfolio: PortfolioSettings | None = None
    programs: Programs = Programs()
    machine: MachineLimits = MachineLimits()

    @field_validator("listen")
    @classmethod
    def _listen_is_an_address(cls, listen: str) -> str:
        host, colon, port = listen.rpartition(":")
        if not (host and colon and port.isdigit() and int(port) < 65536):
            raise ValueError(f"invalid address {listen!r}: write it as 127.0.0.1:10077")
        return listen

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on; port 0 means any free port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def local_url(self) -> str:
        """How programs on this machine reach the exporter."""
        host, port = self.address
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def max_program_memory(self) -> float:
        """What one run may use before a warning, in bytes."""
        limit = self.machine.max_program_memory
        return float(0.8 * self.programs.memory if limit is None else limit)

    @property
    def exchanges_in_use(self) -> list[str]:
        """Every exchange that a feed, a task, a strategy or a backtest names, sorted."""
        named = [f.exchange for f in self.feeds.values()]
        named += [t.exchange for t in self.tasks.values() if t.exchange]
        named += [s.exchange for s in self.strategies.values() if s.exchange]
        named += [s.exchange for s in self.backtests.strategies.values()]
        return sorted(set(named))

    @property
    def channels(self) -> dict[str, Channel]:
        """Where messages go, by name; with those that the old keys of `digest` name."""
        old: dict[str, Channel] = {}
        if slack := self.digest.slack:
            old["slack"] = Channel(url_env=slack.url_env, url_file=slack.url_file)
        if self.digest.email:
            old["email"] = Channel(email=self.digest.email)
        return {**old, **self.messages}

    def report_to(self, task: str) -> tuple[str, ...]:
        """The channels that get what a task reports."""
        found = self.tasks.get(task)
        if found is None:
            return ()
        old = self.digest.to if found.run == LOG_REVIEW else ()
        return found.report_to or old
