"""docs/openapi.yaml as something that answers can be held against."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

FILE = Path(__file__).parents[1] / "docs/openapi.yaml"
_URI = "urn:openapi"


@dataclass
class Contract:
    """What may be asked, and what may come back. Remembers which answers were seen."""

    document: Mapping[str, Any] = field(
        default_factory=lambda: yaml.safe_load(FILE.read_text(encoding="utf-8"))
    )
    seen: set[tuple[str, str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        whole = Resource.from_contents(self.document, DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_URI, whole)

    def operations(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """Method, path template and description of everything that may be asked."""
        for path, item in self.document["paths"].items():
            for method in ("get", "post"):
                if method in item:
                    yield method.upper(), path, item[method]

    def answers(self) -> set[tuple[str, str, str]]:
        """Method, path template and status of every answer that is described."""
        return {
            (method, path, status)
            for method, path, operation in self.operations()
            for status in operation["responses"]
        }

    def check(self, method: str, path: str, status: int, kind: str, body: bytes) -> None:
        """Raises AssertionError when the answer is not one that the document describes."""
        template, operation = self._find(method, path.partition("?")[0])
        said = f"{method} {path} answered {status} {kind}: {body[:300]!r}"
        assert str(status) in operation["responses"], f"not described: {said}"
        content = self._resolved(operation["responses"][str(status)])["content"]
        media = kind.partition(";")[0]
        assert media in content, f"described as {list(content)}: {said}"
        text = body.decode()
        value = json.loads(text, parse_constant=_no_constant) if media.endswith("json") else text
        self._validator(content[media]["schema"]).validate(value)
        self.seen.add((method, template, str(status)))

    def accepts(self, method: str, path: str, body: Any) -> bool:
        """Whether the document says that this body may be sent."""
        _, operation = self._find(method, path.partition("?")[0])
        content = operation["requestBody"]["content"]
        return bool(self._validator(content["application/json"]["schema"]).is_valid(body))

    def _find(self, method: str, path: str) -> tuple[str, Mapping[str, Any]]:
        for asked, template, operation in self.operations():
            pattern = re.sub(r"\{\w+\}", "[^/]+", template)
            if asked == method and re.fullmatch(pattern, path):
                return template, operation
        raise AssertionError(f"not described: {method} {path}")

    def _resolved(self, response: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" in response:
            found = self.document["components"]["responses"]
            return dict(found[response["$ref"].rpartition("/")[2]])
        return response

    def _validator(self, schema: Any) -> Draft202012Validator:
        # References within the document are meant from its root.
        text = json.dumps(schema).replace('"#/components', f'"{_URI}#/components')
        return Draft202012Validator(json.loads(text), registry=self._registry)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")
