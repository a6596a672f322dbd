"""The project's alerting files, made ready for tests: other places, shorter times, recipes."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "alerting/recipes").glob("*.yml"))


def alertmanager_text(recipe: Path | None = None) -> str:
    """alerting/alertmanager.yml as text, its receivers replaced by those of a recipe, as a user
    does it in an editor: what one of them needs of another would be missed."""
    text = (ROOT / "alerting/alertmanager.yml").read_text()
    text = text.replace("[templates/", f"[{ROOT}/alerting/templates/")
    if recipe:
        head, ours = _receivers(text)
        _, theirs = _receivers(recipe.read_text())
        assert set(theirs) <= set(ours), "a recipe replaces receivers, it adds none"
        text = head + "".join({**ours, **theirs}.values())
    return text


def _receivers(text: str) -> tuple[str, dict[str, str]]:
    """What stands before them, and each by its name."""
    head, start, rest = text.partition("\nreceivers:\n")
    assert start
    each = re.split(r"^(?=  - name: )", rest, flags=re.MULTILINE)
    found = {one.partition("name: ")[2].partition("\n")[0]: f"{one.rstrip()}\n" for one in each}
    found.pop("", None)
    return head + start, found


def write_all(folder: Path) -> None:
    """alertmanager.yml, and the file that each recipe makes of it, under the recipe's name."""
    for recipe in (None, *RECIPES):
        name = recipe.name if recipe else "alertmanager.yml"
        (folder / name).write_text(alertmanager_text(recipe))


if __name__ == "__main__":  # tools/check-alerting
    write_all(Path(sys.argv[1]))
