"""The file that Prometheus reads: the release's own, or, where its series are sent on, a copy that
has one section more. The copy lies next to the original: paths in it are relative to it."""

from __future__ import annotations

import re
from pathlib import Path

from places import ETC, PROMETHEUS_COPY, ProblemError

SECTION = ETC / "remote-write.yml"


def name() -> str:
    """The copy where there is one."""
    return PROMETHEUS_COPY if SECTION.exists() else "prometheus.yml"


def text_with(section: str, release: Path) -> str:
    """A release's file with a section more. Raises :class:`ProblemError` when it has that one."""
    original = (release / "prometheus/prometheus.yml").read_text()
    if re.search(r"(?m)^remote_write:", original):
        raise ProblemError(
            "prometheus/prometheus.yml has a remote_write of its own, and so has vps.yml; take "
            "one of them out"
        )
    return f"{original.rstrip()}\n{section}"


def write_copy(release: Path) -> None:
    """Give a release its copy, if anything is sent on. Raises OSError, and
    :class:`ProblemError` when the release sends by itself."""
    if copy_differs(release):
        target = release / "prometheus" / PROMETHEUS_COPY
        draft = target.with_suffix(".draft")
        draft.write_text(text_with(SECTION.read_text(), release))
        draft.replace(target)


def copy_differs(release: Path) -> str | None:
    """What is not as it should be, or None."""
    if not SECTION.exists() or not (release / "prometheus/prometheus.yml").exists():
        return None
    copy = release / "prometheus" / PROMETHEUS_COPY
    if copy.exists() and copy.read_text() == text_with(SECTION.read_text(), release):
        return None
    return f"write {PROMETHEUS_COPY} next to prometheus.yml"
