"""For `make docs`: the README is the first page, and links to files outside docs/ lead to the
repository. A file that is not there is an error, as every other broken link."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import normpath
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=_at(text, "", config.repo_url)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """The links of a page in docs/."""
    if page.file.src_uri == "index.md":
        return markdown
    return _at(markdown, f"docs/{page.file.src_uri}", config.repo_url)


def _at(markdown: str, source: str, repository: str) -> str:
    """The text of `source` with its links as the site has them."""

    def link(found: re.Match[str]) -> str:
        start, target, end = found.groups()
        path = normpath(f"{source.rpartition('/')[0]}/{target}".lstrip("/"))
        if not (ROOT / path).exists():
            raise PluginError(f"{source or 'README.md'}: a link to {target}, which is not there")
        if not path.startswith("docs/"):
            return f"{start}{repository}/blob/main/{path}{end}"
        return f"{start}{path.removeprefix('docs/') if not source else target}{end}"

    return _LINK.sub(link, markdown)
