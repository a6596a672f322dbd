"""Clients, journal and acknowledgements together, as the app runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import aiohttp

from exporter.alerts.acks import AckReconciler
from exporter.alerts.alert_metrics import expose
from exporter.alerts.api_clients import AlertmanagerClient, PrometheusClient
from exporter.alerts.journal import Journal
from exporter.config import Config
from exporter.metrics import Metrics, Sample
from exporter.redaction.mask import Mask
from exporter.state import State
from exporter.util.clock import Clock

SYNC_LIMIT_SECONDS = 300.0
"""Acknowledgements that were not compared for so long are an alert: their silences run out then."""


class AlertService:
    """What Alertmanager reports to and people acknowledge with. Needs a running loop."""

    def __init__(
        self,
        state: State,
        metrics: Metrics,
        clock: Clock,
        config: Callable[[], Config],
        mask: Mask,
    ) -> None:
        self._config = config
        expose(metrics, config, clock)
        self._session = aiohttp.ClientSession()
        self.alertmanager = AlertmanagerClient(
            self._session, lambda: config().alertmanager_url, mask
        )
        self.prometheus = PrometheusClient(self._session, lambda: config().prometheus_url, mask)
        self.journal = Journal(state, metrics, clock, mask)
        self.acks = AckReconciler(
            self.alertmanager, self.prometheus, self.journal, state, clock,
            settings=lambda: config().alerts,
        )  # fmt: skip
        metrics.add_reader(self._read)

    def _read(self) -> Iterator[Sample]:
        yield "quant_alert_sync_last_success_timestamp_seconds", (), self.acks.last_success
        yield "quant_alert_sync_limit_seconds", (), SYNC_LIMIT_SECONDS

    async def run(self) -> None:
        """Keep acknowledgements, and send late resolved notifications, until cancelled."""
        await self.acks.run()

    async def close(self) -> None:
        """After :meth:`run` was cancelled."""
        await self._session.close()
