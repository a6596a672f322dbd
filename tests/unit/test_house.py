"""One name for one thing, and everything in its room."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "exporter"
FILES = sorted(PACKAGE.rglob("*.py"))


def twice(places: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: found for name, found in places.items() if len(found) > 1}


def test_a_public_class_name_stands_for_one_thing() -> None:
    """Whoever searches for it finds one place."""
    places = defaultdict(list)
    for file in FILES:
        for name in re.findall(r"^ *class ([A-Za-z]\w*)[(:]", file.read_text(), re.MULTILINE):
            places[name].append(str(file.relative_to(ROOT)))
    assert twice(places) == {}


def test_a_file_name_stands_for_one_thing() -> None:
    """So that a stack trace, or a question for a file, needs no path."""
    places = defaultdict(list)
    for file in FILES:
        if file.name not in ("__init__.py", "__main__.py"):
            places[file.name].append(str(file.relative_to(ROOT)))
    assert twice(places) == {}


def test_only_what_knows_every_room_is_at_the_top() -> None:
    """Everything else has a room; push.py is copied into other programs, so it needs none."""
    top = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert top == {"__init__.py", "__main__.py", "app.py", "metrics.py", "push.py", "py.typed"}


def test_the_architecture_page_names_files_that_exist() -> None:
    """It is the newcomer's map."""
    page = (ROOT / "docs/architecture.md").read_text()
    named = set(re.findall(r"`([a-z_]+/[a-z_/]*\.?[a-z]*)`", page))
    assert len(named) > 40
    missing = [name for name in sorted(named) if not _exists(name)]
    assert missing == []
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert {name for name in rooms if f"`{name}/`" not in page} == set()


def _exists(name: str) -> bool:
    return (PACKAGE / name).exists() or (ROOT / name).exists()
