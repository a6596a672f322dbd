"""Which systems are new enough; also asked on the laptop, before anything is sent."""

from __future__ import annotations

from places import ProblemError

OLDEST = {"debian": 12.0, "ubuntu": 24.04}


def need_a_system_we_know(os_release: str) -> None:
    """Raises :class:`ProblemError` for a system whose Python or Prometheus is too old."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    told = {k: v.strip("\"'") for k, v in fields.items()}
    name, version = told.get("ID", ""), told.get("VERSION_ID", "")
    oldest = OLDEST.get(name)
    try:
        # Debian's testing has no number: it is newer than any that has.
        too_old = oldest is None or (bool(version) and float(version) < oldest)
    except ValueError:
        too_old = True
    if too_old:
        raise ProblemError(
            f"this machine runs {told.get('PRETTY_NAME', name) or 'an unknown system'}; "
            "quant-exporter needs Debian 12 or newer or Ubuntu 24.04 or newer (Python 3.11, "
            "Prometheus 2.42): install one of those"
        )
