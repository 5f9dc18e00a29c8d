"""Models as tables of their fields, in the words of manifests: a part of ``docs.py``."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from argosy.manifests.fields import Duration
from argosy.manifests.remarks import remarks

Link = Callable[[type[BaseModel]], str]
"""Where a model is described, seen from the page that refers to it."""


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _type(annotation: Any, link: Link) -> str:
    """A field's type in words that a manifest's author uses; ``link`` leads to a model."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(each, link) for each in inner if each is not type(None)))
    if origin is typing.Literal:
        return " or ".join(f"`{each}`" if each else '""' for each in inner)
    if origin in (list, tuple, set, frozenset):
        return f"list of {_type(inner[0], link)}" if inner else "list"
    if origin is dict:
        return f"map of {_type(inner[1], link)}"
    names = {
        str: "text",
        int: "integer",
        float: "number",
        bool: "true or false",
        dict: "object",
        bytes: "text",
    }
    if annotation is Any:
        return "any value"
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            return f"[{annotation.__name__}]({link(annotation)})"
        return "time" if annotation is AwareDatetime else names.get(annotation, annotation.__name__)
    return "any value"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == "" or (isinstance(value, list | dict | tuple) and not value):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "" if isinstance(value, BaseModel) else f"`{value}`"


def fields(model: type[BaseModel], link: Link) -> str:
    """The fields of a model, as they are called in manifests."""
    told = remarks(model)
    rows = []
    for name, field in model.model_fields.items():
        kind = "duration" if _is_duration(field) else _type(field.annotation, link)
        remark = field.description or told.get(name, "")
        if (field.json_schema_extra or {}) == {"x-argosy": True}:
            remark = f"*Ours.* {remark}"
        rows.append([f"`{field.alias or name}`", kind, _default(field), remark])
    return table(["field", "type", "default", ""], rows)


def _is_duration(field: FieldInfo) -> bool:
    inner = typing.get_args(Duration)[1:]
    return any(each in inner for each in field.metadata)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models_in(inner)


def referred(root: type[BaseModel]) -> set[type[BaseModel]]:
    """Every model that the fields of ``root`` refer to, directly or not."""
    found: set[type[BaseModel]] = set()
    ahead = [root]
    while ahead:
        for field in ahead.pop().model_fields.values():
            new = set(_models_in(field.annotation)) - found
            found |= new
            ahead += new
    return found


def described(models: Iterable[type[BaseModel]], link: Link) -> Iterator[str]:
    """A section for each model, by name: what it is, and its fields."""
    for model in sorted(models, key=lambda model: model.__name__):
        yield f"### {model.__name__}\n\n{inspect.getdoc(model) or ''}\n\n{fields(model, link)}"
