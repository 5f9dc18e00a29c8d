"""A dependency's transform: the event's data in, a new object out (reference: ``dependencies/transform.go`` of upstream).

``jq`` wins where both languages are given. Data that is null stays as it is; other data must be an object, before and after.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from argosy.errors import LangError, NoOutput
from argosy.lang import jq, lua
from argosy.lang.gjson import Document
from argosy.manifests.fields import Json

Transform = Callable[[Document], Document]


class TransformSpec(Protocol):
    """What is read of a manifest's ``transform`` block."""

    @property
    def jq(self) -> str: ...

    @property
    def script(self) -> str: ...


def _kind(value: Json) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, bool):
        return "a boolean"
    return "null" if value is None else "a number"


def compile(spec: TransformSpec | None) -> Transform | None:
    """The transform, compiled; None where there is nothing to do. Raises LangError if the program does not parse."""
    if spec is None or not (spec.jq or spec.script):
        return None
    run: Callable[[Any], Json]
    if spec.jq:
        language, run = "jq", jq.compile(spec.jq).first
    else:
        language, run = "script", lua.compile(spec.script).run

    def transform(document: Document) -> Document:
        value = document.value
        if value is None:
            return document
        if not isinstance(value, dict):
            raise LangError(f"transform.{language}: the event's data is {_kind(value)}; it must be an object")
        try:
            result = run(value)
        except NoOutput:
            raise LangError(f"transform.{language}: the program yielded nothing; it must yield an object") from None
        except LangError as error:
            raise LangError(f"transform.{language}: {error.message}", text=error.text, offset=error.offset) from error
        if not isinstance(result, dict):
            raise LangError(f"transform.{language}: the program yielded {_kind(result)}; it must yield an object")
        return Document.of(result)

    return transform
