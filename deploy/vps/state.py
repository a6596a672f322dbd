"""The state file in a deploy: saved before, carried back after a migration."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

from places import BACKUPS, KEEP_BACKUPS, TOOL, USER, ProblemError
from releases import Release
from shell import attempt, say, tail


def _ask(what: str, *files: Path) -> str:
    result = attempt("python3", "-I", TOOL / "state_copy.py", what, *files, user=USER)
    if result.returncode:
        raise ProblemError(f"the state could not be handled ({what}):\n{tail(result)}")
    return result.stdout.strip()


def save(release: Release, why: str) -> Path | None:
    """A consistent copy of the state below /var/backups; None when there is no state yet."""
    source = Path(release.about.state)
    if not source.exists():
        return None
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    target = BACKUPS / f"state-{stamp}-{why}.db"
    _ask("copy", source, target)
    for old in sorted(BACKUPS.glob("state-*.db"))[:-KEEP_BACKUPS]:
        old.unlink()
    say(f"state saved as {target}")
    return target


def make_readable_by(release: Release) -> None:
    """After a migration: give an older release the state in its own schema, nothing forgotten.

    The exporter must not run. The newer file is kept beside.
    """
    file = Path(release.about.state)
    now = int(_ask("version", file))
    if now <= release.about.schema:
        return
    older = [
        b for b in sorted(BACKUPS.glob("state-*.db"), reverse=True)
        if 0 < int(_ask("version", b)) <= release.about.schema
    ]  # fmt: skip
    if not older:
        raise ProblemError(
            f"the state has schema {now}, {release.version} knows {release.about.schema}, and no "
            f"backup in {BACKUPS} is old enough; go back to the newer version"
        )
    draft = file.with_name(f".{file.name}.older")
    shutil.copy(older[0], draft)
    shutil.chown(draft, USER, USER)
    _ask("carry", file, draft)
    aside = file.with_name(f"{file.name}.schema-{now}")
    _ask("copy", file, aside)
    for beside in ("-wal", "-shm"):
        file.with_name(file.name + beside).unlink(missing_ok=True)
    draft.replace(file)
    say(f"state: from schema {now} back to {release.about.schema}; the newer is {aside}")
