"""The project's alerting files, made ready for tests: other places, shorter times, recipes."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "alerting/recipes").glob("*.yml"))


def alertmanager_config(recipe: Path | None = None) -> dict[str, Any]:
    """alerting/alertmanager.yml, its receivers replaced by those of a recipe."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "alerting/alertmanager.yml").read_text())
    config["templates"] = [str(ROOT / "alerting/templates/*.tmpl")]
    if recipe:
        ours = {receiver["name"]: receiver for receiver in config["receivers"]}
        theirs = {r["name"]: r for r in yaml.safe_load(recipe.read_text())["receivers"]}
        assert set(theirs) <= set(ours), "a recipe replaces receivers, it adds none"
        config["receivers"] = list({**ours, **theirs}.values())
    return config
