"""``exporter.yml`` to frozen models. Every mistake is found in one go, each with its dotted place.

The models hold seconds, bytes and ratios as numbers; :mod:`exporter.util.units` says how people
write them. :func:`load` raises :class:`ConfigError`, which carries all mistakes.
"""

from exporter.config.account_settings import AccountSettings
from exporter.config.channels import Channel, Email
from exporter.config.config_errors import ConfigError, Mistake
from exporter.config.exchanges import CalendarOverrides, OwnExchange
from exporter.config.ledger_settings import LedgerSettings
from exporter.config.limit_keys import LimitSettings
from exporter.config.loading import load, load_what_is_right
from exporter.config.logs_and_alerts import Alerts, DigestSettings, Followed, Logs, Slack
from exporter.config.market_data import Feed
from exporter.config.model import Config, Programs
from exporter.config.own_metrics import OwnMetric, TextfileSettings
from exporter.config.source_settings import SourceSettings, TickDBSettings
from exporter.config.task_keys import Strategy, Task
from exporter.config.types import (
    INTERVAL_SECONDS,
    Exchange,
    Interval,
    Model,
    Schedule,
    Severity,
    Url,
    Zone,
)

__all__ = [
    "INTERVAL_SECONDS", "AccountSettings", "Alerts", "CalendarOverrides", "Channel", "Config",
    "ConfigError",
    "DigestSettings", "Email", "Exchange", "Feed", "Followed", "Interval", "LedgerSettings",
    "LimitSettings", "Logs",
    "Mistake", "Model", "OwnExchange", "OwnMetric", "Programs", "Schedule", "Severity", "Slack",
    "SourceSettings", "Strategy", "Task", "TextfileSettings", "TickDBSettings", "Url", "Zone",
    "load", "load_what_is_right",
]  # fmt: skip
