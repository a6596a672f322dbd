"""YAML as people mean it: no ``12:00`` read as 720, no ``no`` read as False, no key twice."""

from __future__ import annotations

import re
from typing import Any

import yaml

from exporter.config.yaml_errors import explain


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2 (core schema) and without duplicate keys."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
    )


def _duplicates(node: yaml.Node | None, place: str, known: set[int]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if id(node) in known:  # an alias, maybe within what it stands for
        return found
    known.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value)
            where = f"{place}.{name}" if place else name
            line = key.start_mark.line + 1
            if name in seen and name != "<<":
                found.append((where, f"written twice, in lines {seen[name]} and {line}: keep one"))
            seen.setdefault(name, line)
            found += _duplicates(value, where, known)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            found += _duplicates(item, f"{place}.{index}", known)
    return found


def load(text: str) -> tuple[Any, list[tuple[str, ...]]]:
    """The document and its mistakes as (dotted place, what is wrong, the line in question if any).

    A document that is not valid YAML comes back as ``None`` with one mistake, its place a line.
    """
    try:
        node = yaml.compose(text, _Loader)
        data = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader subclass
    except (yaml.YAMLError, ValueError, TypeError) as error:
        return None, [explain(error, text)]
    except RecursionError:
        return None, [("", "nests too deeply")]
    return data, [*_duplicates(node, "", set())]
