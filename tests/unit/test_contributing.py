"""What contributors are promised: CI on every Python, hooks that exist, releases that agree."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import exporter

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)["project"]


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ("github-workflows", ["workflows/ci.yml", "workflows/release.yml"]),
        ("github-issue-forms", ["ISSUE_TEMPLATE/bug.yml", "ISSUE_TEMPLATE/idea.yml"]),
        ("github-issue-config", ["ISSUE_TEMPLATE/config.yml"]),
    ],
)
def test_files_for_github_are_valid(schema: str, names: list[str]) -> None:
    """By GitHub's own schemas."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}",
         *(GITHUB / name for name in names)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", ["ci", "release"])
def test_workflows_pin_their_actions_and_may_only_read(name: str) -> None:
    """A whole commit with its version next to it; only the job that releases may write."""
    text = (GITHUB / f"workflows/{name}.yml").read_text()
    for action in re.findall(r"uses: (.+)", text):
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action), action
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert {n for n, job in workflow["jobs"].items() if "permissions" in job} <= {"release"}
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())
    assert not re.search(r"run:.*\$\{\{", text), "values go through env, not into a script's text"


def test_ci_runs_every_python_that_is_claimed() -> None:
    """The classifiers, from the oldest that may be installed on."""
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if ":: Python :: 3." in c]
    workflow = yaml.safe_load((GITHUB / "workflows/ci.yml").read_text())
    assert workflow["jobs"]["unit"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_hooks_run_programs_of_the_environment() -> None:
    """The same versions as `make lint`."""
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    for hook in local["hooks"]:
        program = hook["entry"].split()[0]
        assert program.startswith(".venv/bin/"), hook
        assert shutil.which(Path(program).name, path=str(Path(sys.executable).parent)), program
        re.compile(hook.get("files", ""))


def release_notes() -> ModuleType:
    """tools/release-notes, which has no suffix."""
    loader = importlib.machinery.SourceFileLoader(
        "release_notes", str(ROOT / "tools/release-notes")
    )
    spec = importlib.util.spec_from_loader("release_notes", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_one_version_stands_everywhere() -> None:
    """docker-compose.yml is held to it elsewhere."""
    version = PROJECT["version"]
    assert exporter.__version__ == version
    assert release_notes().notes(f"v{version}", PYPROJECT, (ROOT / "CHANGELOG.md").read_text())


NO_SECTION = "has no section '## [{}] - YYYY-MM-DD' with text in it"
CHANGES = """\
## [Unreleased]

- later

## [0.2.0] - 2026-12-01

### Added

- a thing

## [0.1.0] - 2026-11-25

[Unreleased]: https://example.com/
"""


def test_release_notes_are_the_section_of_the_tag() -> None:
    """And nothing of what comes before or after it."""
    pyproject = '[project]\nversion = "0.2.0"\n'
    assert release_notes().notes("v0.2.0", pyproject, CHANGES) == "### Added\n\n- a thing\n"


@pytest.mark.parametrize(
    ("tag", "version", "message"),
    [
        ("v0.3.0", "0.2.0", "the tag is v0.3.0, but pyproject.toml says version 0.2.0"),
        (
            "v0.3.0",
            "0.3.0",
            "CHANGELOG.md has no section '## [0.3.0] - YYYY-MM-DD' with text in it",
        ),
        (
            "v0.1.0",
            "0.1.0",
            "CHANGELOG.md has no section '## [0.1.0] - YYYY-MM-DD' with text in it",
        ),
    ],
)
def test_a_release_that_does_not_agree_is_refused(tag: str, version: str, message: str) -> None:
    """Before anything is published."""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        release_notes().notes(tag, f'[project]\nversion = "{version}"\n', CHANGES)
