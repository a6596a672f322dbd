"""Files that come with the exporter: rules, Alertmanager's files, boards, the runbook, a sample."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(name: str) -> Path:
    """Where a file or folder that comes with the exporter is, by its path in the source tree.

    A wheel has them in ``exporter/share``, laid out as in the source tree, which is what runs from
    a clone reads itself; ``pyproject.toml`` lists what goes along.
    """
    packaged = _PACKAGE / "share"
    return (packaged if packaged.is_dir() else _PACKAGE.parent) / name
