"""Prometheus' series, sent on to a store elsewhere (Grafana Cloud) as well."""

from __future__ import annotations

import json
import socket
import urllib.parse
from pathlib import Path
from typing import Any

import probe
import prometheus_file
from desired import File, Folder, Gone, Step, Thing, guarded
from places import CREDENTIALS, CURRENT, PROMETHEUS_COPY, ProblemError
from prometheus_file import SECTION
from settings import Settings
from shell import attempt, say, tail

SECRET = "remote_write_password"  # noqa: S105  a name
_PASSWORD = Path("/etc/prometheus/secrets") / SECRET
_RESTART = ["systemctl try-restart prometheus.service"]
OURS, OF_ANY_JOB = "quant-exporter.*", "process_.+|up|scrape_.+|ALERTS"
"""Jobs of which all is sent, metrics of the user's own too; names that are sent of all jobs."""
DROPPED = "quant_.+_bucket|ALERTS_FOR_STATE"
"""Histograms are many series. The same three as in prometheus/remote-write.yml."""
_SENT = (
    f'{{job=~"{OURS}", __name__!~"{DROPPED}"}} or '
    f'{{__name__=~"{OF_ANY_JOB}", __name__!~"{DROPPED}"}}'
)
_NOT_THEIRS = f"quant[_:].+|{OF_ANY_JOB}"


class RemoteWrite:
    """The setting, as it can be met now."""

    def __init__(self, wanted: Settings) -> None:
        self._wanted = wanted.remote_write
        self.is_on = self._wanted is not None and _may_begin(self._wanted)

    def things(self) -> list[Thing]:
        """Password and section, or neither."""
        if not self.is_on or self._wanted is None:
            copy = CURRENT / "prometheus" / PROMETHEUS_COPY
            # What waits to be sent is sent with the password, which goes last.
            return [Gone(SECTION, then=[*_RESTART, f"rm -f {_PASSWORD}"]), Gone(copy)]
        secret = (CREDENTIALS / SECRET).read_text()
        return [
            Folder(_PASSWORD.parent, group="prometheus", mode=0o750),
            Step(
                lambda: None if _reads(_PASSWORD) == secret else f"write {_PASSWORD}",
                lambda: guarded(_PASSWORD, secret, "prometheus"),
            ),
            File(SECTION, _section(self._wanted), then=_RESTART),
            Step(
                lambda: prometheus_file.copy_differs(CURRENT),
                lambda: prometheus_file.write_copy(CURRENT),
            ),
        ]


def _section(wanted: dict[str, Any]) -> str:
    url, user = json.dumps(wanted["url"]), json.dumps(wanted["username"])
    origin = json.dumps(wanted.get("origin") or socket.gethostname())
    return f"""
# Written by quant-exporter's provision, from vps.yml.
remote_write:
  - url: {url}
    basic_auth: {{username: {user}, password_file: {_PASSWORD}}}
    write_relabel_configs:
      - {{source_labels: [__name__], regex: "{DROPPED}", action: drop}}
      - {{source_labels: [job, __name__], regex: "{OURS};.+|.*;({OF_ANY_JOB})", action: keep}}
      - {{target_label: origin, replacement: {origin}}}
"""


def _may_begin(wanted: dict[str, Any]) -> bool:
    """Say how many series there will be and try the file, before anything is changed.

    Raises :class:`ProblemError` when there are too many, or Prometheus refuses the file.
    """
    if not (CREDENTIALS / SECRET).is_file():
        say(
            "remote_write: left out, its password is missing. Store it (make secret HOST=… "
            f"NAME={SECRET}), then provision again"
        )
        return False
    section = _section(wanted)
    if _reads(SECTION) == section:
        return True
    count, most = _count(), wanted["max_series"]
    if count is None:
        say("remote_write: left out, no series can be counted yet. Deploy, then provision again")
        return False
    to = urllib.parse.urlsplit(wanted["url"]).hostname
    own = _count(f'{{job=~"{OURS}", __name__!~"{_NOT_THEIRS}|{DROPPED}"}}') or 0
    say(f"remote_write: {count} series to {to}, of at most {most}; metrics of your own: {own}")
    if count > most:
        raise ProblemError(
            f"vps.yml: remote_write: {count} series are more than max_series ({most}); nothing "
            "was changed. Raise it if your plan has room for them"
        )
    _try_out(section)
    return True


def _count(chosen: str = _SENT) -> int | None:
    """Series that would be sent now; None before this machine's Prometheus has the exporter's."""
    query = urllib.parse.quote(f"count({chosen}) and count(quant_exporter_build_info)")
    found = (probe.prometheus(f"query?query={query}") or {}).get("result")
    return int(found[0]["value"][1]) if found else None


def _try_out(section: str) -> None:
    """Have Prometheus' own checker read the file. Raises :class:`ProblemError`."""
    draft = CURRENT.resolve() / "prometheus/.vps-draft.yml"
    try:
        draft.write_text(prometheus_file.text_with(section, CURRENT))
        checked = attempt("promtool", "check", "config", draft)
    finally:
        draft.unlink(missing_ok=True)
    if checked.returncode:
        raise ProblemError(
            f"Prometheus refuses remote_write; nothing was changed:\n{tail(checked)}"
        )


def _reads(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None
