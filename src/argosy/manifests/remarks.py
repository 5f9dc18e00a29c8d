"""The text that stands under a field in a model's source, as its description.

Pydantic can read it too (``use_attribute_docstrings``), but at every import of every model; here it is read when somebody asks, from one
reading of each module.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


def remarks(model: type[BaseModel]) -> dict[str, str]:
    """The text under each field, by field, in one line; nothing where the source is not at hand."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not issubclass(owner, BaseModel) or owner is BaseModel:
            continue
        node = _classes(owner.__module__).get(owner.__qualname__)
        for field, text in itertools.pairwise(node.body if node else ()):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                found.pop(field.target.id, None)
                if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                    found[field.target.id] = " ".join(str(text.value.value).split())
    return found


@cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    """The classes of a module by their qualified names."""
    try:
        tree = ast.parse(Path(inspect.getfile(sys.modules[module])).read_text(encoding="utf-8"))
    except (KeyError, TypeError, OSError, ValueError, SyntaxError):
        return {}
    found: dict[str, ast.ClassDef] = {}

    def walk(nodes: list[ast.stmt], prefix: str) -> None:
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                found[prefix + node.name] = node
                walk(node.body, f"{prefix}{node.name}.")

    walk(tree.body, "")
    return found


class Described(GenerateJsonSchema):
    """JSON Schema in which each field has its remark as description."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """The schema of a model."""
        made = super().model_schema(schema)
        model: Any = schema["cls"]
        texts = remarks(model)
        properties = made.get("properties", {})
        for name, field in model.model_fields.items():
            one = properties.get(field.alias if self.by_alias and field.alias else name)
            if one is not None and name in texts:
                one.setdefault("description", texts[name])
        return made
