"""A dependency's transform: the event's data in, a new object out (reference: ``dependencies/transform.go`` of upstream).

``jq`` wins where both languages are given. Data must be an object before and after; a JSON ``null`` counts as an empty one. An event without any data
stays as it is. Equal transforms are one function, so that who has several sensors can use one result for all (``matching.Reading``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Protocol

from argosy.errors import LangError, NoOutput
from argosy.lang import jq, lua
from argosy.lang.gjson import Document
from argosy.manifests.fields import Json
from argosy.sensor import _reasons

Transform = Callable[[Document], Document]


class TransformSpec(Protocol):
    """What is read of a manifest's ``transform`` block."""

    @property
    def jq(self) -> str: ...

    @property
    def script(self) -> str: ...


def compile(spec: TransformSpec | None, *, strict: bool = False) -> Transform | None:
    """The transform, compiled; None where there is nothing to do. Raises LangError if the program does not parse.

    ``strict`` gives a script the arrays of the event whole (see ``lua.Script.run``). What is returned raises LangError for data that it
    cannot transform.
    """
    if spec is None or not (spec.jq or spec.script):
        return None
    return _compiled("jq", spec.jq, False) if spec.jq else _compiled("script", spec.script, strict)


@lru_cache(maxsize=1024)
def _compiled(language: str, text: str, strict: bool) -> Transform:
    run: Callable[[Any], Json]
    run = jq.compile(text).first if language == "jq" else partial(lua.compile(text).run, whole_arrays=strict)

    def transform(document: Document) -> Document:
        try:
            value = document.value
            if value is None:
                value = {}
            if not isinstance(value, dict):
                raise LangError(f"the event's data is {_reasons.kind(value)}; it must be an object")
            result = run(value)
        except NoOutput:
            raise LangError(f"transform.{language}: the program yielded nothing; it must yield an object") from None
        except LangError as error:
            sentence = f"transform.{language}: {_reasons.problem(error)}"
            raise LangError(sentence, text=error.text, offset=error.offset) from error
        except (ArithmeticError, ValueError, RecursionError) as error:
            raise LangError(f"transform.{language}: {_reasons.problem(error)}") from error
        if not isinstance(result, dict):
            raise LangError(
                f"transform.{language}: the program yielded {_reasons.kind(result)}; it must yield an object"
            )
        return Document.of(result)

    return transform
