"""The state file in a deploy: saved before, carried back after a migration, put back by restore.

Whatever is put in its place: a slot that was claimed stays claimed, and what was paused stays
paused. Nothing that trades runs a second time because a file is older.
"""

from __future__ import annotations

import datetime
import re
import shutil
from pathlib import Path

from places import BACKUPS, KEEP_BACKUPS, TOOL, USER, ProblemError
from releases import Release
from shell import attempt, say, tail

_SCHEMA = re.compile(r"-schema(\d+)-")


def _ask(what: str, *files: Path) -> str:
    result = attempt("python3", "-I", TOOL / "state_copy.py", what, *files, user=USER)
    if result.returncode:
        raise ProblemError(f"the state could not be handled ({what}):\n{tail(result, 3)}")
    return result.stdout.strip()


def schema_of(file: Path) -> int:
    """The version of a state file's schema; 0 when there is none."""
    return int(_ask("version", file))


def save(release: Release, why: str) -> Path | None:
    """A consistent copy of the state below /var/backups; None when there is no state yet."""
    source = Path(release.about.state)
    if not source.exists():
        return None
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")  # noqa: UP017
    target = BACKUPS / f"state-{stamp}-schema{schema_of(source)}-{why}.db"
    _ask("copy", source, target)
    _prune()
    say(f"state saved as {target}")
    return target


def _prune() -> None:
    """The newest stay, and of each schema the newest: a rollback may need it."""
    copies = _copies()
    stay = set(copies[:KEEP_BACKUPS])
    schemas = {_schema_in_name(each) for each in copies}
    stay |= {next(c for c in copies if _schema_in_name(c) == schema) for schema in schemas}
    for each in copies:
        if each not in stay:
            each.unlink()


def _copies() -> list[Path]:
    return sorted((p for p in BACKUPS.glob("state-*.db") if _SCHEMA.search(p.name)), reverse=True)


def _schema_in_name(copy: Path) -> int:
    match = _SCHEMA.search(copy.name)
    assert match  # noqa: S101  _copies() took no other
    return int(match[1])


def make_readable_by(release: Release) -> None:
    """After a migration: give an older release the state in its own schema, nothing forgotten.

    The exporter must not run. The newer file is kept beside.
    """
    file = Path(release.about.state)
    now = schema_of(file)
    if now <= release.about.schema:
        return
    older = next((c for c in _copies() if 0 < _schema_in_name(c) <= release.about.schema), None)
    if not older:
        raise ProblemError(
            f"the state has schema {now}, {release.version} knows {release.about.schema}, and no "
            f"copy in {BACKUPS} is old enough; go back to the newer version"
        )
    _ask("settle", file)
    aside = file.with_name(f"{file.name}.schema-{now}")
    _ask("copy", file, aside)
    draft = _draft(older, file)
    _ask("carry", file, draft)
    draft.replace(file)
    _forget_mark(file)
    say(f"state: from schema {now} back to {release.about.schema}; the newer is {aside}")


def put_back(saved: Path, release: Release) -> None:
    """Take a saved state, without what it has forgotten being run again. The exporter must not
    run."""
    file = Path(release.about.state)
    if file.exists():
        _ask("settle", file)
    draft = _draft(saved, file)
    _ask("merge", file, draft)
    draft.replace(file)
    _forget_mark(file)


def _forget_mark(file: Path) -> None:
    """The mark belongs to the file that was replaced; this one is older on purpose."""
    file.with_name(f"{file.name}-mark").unlink(missing_ok=True)


def _draft(source: Path, file: Path) -> Path:
    draft = file.with_name(f".{file.name}.draft")
    shutil.copy(source, draft)
    shutil.chown(draft, USER, USER)
    draft.chmod(0o600)
    return draft
