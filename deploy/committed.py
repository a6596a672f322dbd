"""What leaves the laptop: the committed tree, packed and named so that it can be found again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from invoke.exceptions import Exit

REPOSITORY = Path(__file__).resolve().parent.parent
_STAYS_HERE = ("docs/guide/pictures", "requirements-dev.lock", "requirements-docs.lock")
"""No machine has a use for them, and they are most of what would be sent."""


def version() -> str:
    """Commit time and short hash. Refuses a tree with changes: a version must be findable again."""
    if dirty := _git("status", "--porcelain", "--untracked-files=no").rstrip():
        raise Exit(
            "refused: these changes are not committed, so there would be no way back to them:\n"
            f"{dirty}\ncommit them first",
            code=1,
        )
    named = _git("log", "-1", "--format=%cd-%h", "--date=format-local:%Y%m%d-%H%M%S").strip()
    if not _git("ls-files", "exporter.yml"):
        raise Exit(
            "refused: exporter.yml is not in git, and only what is committed is deployed: "
            "git add exporter.yml strategies && git commit",
            code=1,
        )
    left = _git("ls-files", "--others", "--exclude-standard", "--directory").splitlines()
    if left:
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        print(f"not in git, so not deployed: {', '.join(left[:5])}{more}")
    return named


def archive() -> bytes:
    """The committed tree as a compressed tar file, without what only people need."""
    return _ask("archive", "--format=tar.gz", "HEAD", "--", ".", *map(":!{}".format, _STAYS_HERE))


def own_file(name: str) -> Path:
    """A file in git's own folder, which is never committed."""
    return REPOSITORY / _git("rev-parse", "--git-path", name).strip()


def _git(*arguments: str) -> str:
    return _ask(*arguments).decode(errors="replace")


def _ask(*arguments: str) -> bytes:
    try:
        return subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments],
            check=True,
            capture_output=True,
            env=os.environ | {"TZ": "UTC", "LC_ALL": "C"},
        ).stdout
    except FileNotFoundError as error:
        raise Exit("refused: git is not installed here; a version is a commit", code=1) from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        print(f"git says: {said[0] if said else error}", file=sys.stderr)
        raise Exit(
            f"refused: {REPOSITORY} has no commit that could be deployed, and a version is a "
            "commit: `git clone` the project instead of copying it, or in your copy: git init && "
            'git add --all && git commit -m "my project"',
            code=1,
        ) from error
