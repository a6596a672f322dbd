"""The state before the exporter starts: copied before an upgrade, made readable for a rollback.

``keep_state.py FILE``: a file of an older schema is copied to ``backups/`` next to it, since the
exporter will change it. One of a newer schema, as a rollback leaves it, is turned back: the copy
from before the upgrade gets all that the newer file holds and it has a place for, so that no slot
runs a second time; the newer file stays next to it.

``keep_state.py FILE SCHEMA`` does the same for a version that knows that schema, before one is
started that comes without this program. The exporter must not run.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import state_copy

_COPY = re.compile(r"state-schema(\d+)-")
KEPT_COPIES = 3
"""Of each schema."""


class ProblemError(Exception):
    """What is wrong, and what to do."""


def keep(file: Path, known: int) -> str:
    """Make `file` fit for a program that knows schema `known`; what was done, or an empty text."""
    found = state_copy.version(file)
    if found == known or not found:
        return ""
    return _save(file, found) if found < known else _back(file, found, known)


def _save(file: Path, found: int) -> str:
    folder = file.with_name("backups")
    folder.mkdir(mode=0o700, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = folder / f"state-schema{found}-{stamp}.db"
    state_copy.copy(file, target)
    target.chmod(0o600)
    for old in sorted(folder.glob(f"state-schema{found}-*.db"))[:-KEPT_COPIES]:
        old.unlink()
    return f"the state has schema {found} and will be upgraded; a copy is {target}"


def _back(file: Path, found: int, known: int) -> str:
    copies = sorted(file.with_name("backups").glob("state-schema*-*.db"), key=_place, reverse=True)
    older = next((one for one in copies if _place(one)[0] <= known), None)
    if older is None:
        raise ProblemError(
            f"the state has schema {found}, this version knows {known}, and no copy in "
            f"{file.with_name('backups')} is old enough: go back to the newer version"
        )
    state_copy.settle(file)
    aside = file.with_name(f"{file.name}.schema-{found}")
    state_copy.copy(file, aside)
    draft = file.with_name(f".{file.name}.draft")
    state_copy.copy(older, draft)
    state_copy.carry(file, draft)
    for one in (aside, draft):
        one.chmod(0o600)
    draft.replace(file)
    # It belongs to the file that was replaced; this one is older on purpose.
    file.with_name(f"{file.name}-mark").unlink(missing_ok=True)
    return f"the state is back from schema {found} to {_place(older)[0]}; the newer file is {aside}"


def _place(copy: Path) -> tuple[int, str]:
    match = _COPY.match(copy.name)
    return int(match[1]) if match else 0, copy.name


def known_schema() -> int:
    """Of the exporter that this image has."""
    from exporter.state.schema import MIGRATIONS

    return len(MIGRATIONS)


def main(file: str, schema: str | None = None) -> None:
    """Says what was done, or exits 1 with what is wrong."""
    try:
        if done := keep(Path(file), int(schema) if schema else known_schema()):
            print(done)
    except PermissionError as error:
        sys.exit(
            f"{error.filename or file} cannot be used by user {os.getuid()}: its volume belongs to "
            "somebody else. docs/containers.md, When it does not come up, has the command for that"
        )
    except (ProblemError, OSError, state_copy.sqlite3.Error) as error:
        sys.exit(f"{file} was left as it is: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
