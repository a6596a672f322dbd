"""Journal and keeper together, as the app runs them."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp

from exporter.alerts.acks import Keeper
from exporter.alerts.alert_metrics import expose
from exporter.alerts.api_clients import Servers
from exporter.alerts.journal import Journal
from exporter.config import Config
from exporter.metrics import Metrics
from exporter.state import State
from exporter.util.clock import Clock


class Desk:
    """Where Alertmanager reports and people acknowledge. Made on a running loop."""

    def __init__(
        self, state: State, metrics: Metrics, clock: Clock, config: Callable[[], Config]
    ) -> None:
        self._config = config
        expose(metrics, config, clock)
        self._session = aiohttp.ClientSession()
        self.journal = Journal(state, metrics, clock)
        self.keeper = Keeper(
            Servers(
                self._session,
                lambda: self._config().alertmanager_url,
                lambda: self._config().prometheus_url,
            ),
            self.journal,
            state,
            clock,
            lambda: self._config().alerts,
        )

    async def run(self) -> None:
        """Keep acknowledgements and good news, for ever."""
        await self.keeper.run()

    async def close(self) -> None:
        """After :meth:`run` was cancelled."""
        await self._session.close()
