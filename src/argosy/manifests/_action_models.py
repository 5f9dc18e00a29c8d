"""The blocks of a trigger that say what becomes of its actions, all of them ours: ``forEach``, ``emit``, ``approval``."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from argosy.manifests.fields import Model

MOST_ELEMENTS = 10_000
"""The largest ``maxItems``: so many actions one event may become."""


class ForEach(Model):
    """One action for each element of an array (ours)."""

    path: str = Field(min_length=1)
    """Where the array stands in the event's (transformed) data: a gjson path such as ``body.alerts``; ``@this`` for the whole."""
    dependency_name: str = ""
    """Whose event; may be left out where the trigger waits for one dependency."""
    key: str = ""
    """A gjson path into an element. Its value names the element in the action's id; without it its place in the array does."""
    item: str = Field("item", min_length=1)
    """The name under which parameters find the element, as if it were the event of a dependency: ``dependencyName: item``."""
    max_items: int = Field(1000, ge=1, le=MOST_ELEMENTS)
    """An event with more elements becomes no actions but one dead letter, which says so."""


def _path_alone(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


ForEachOrPath = Annotated[ForEach, BeforeValidator(_path_alone, json_schema_input_type=str | ForEach)]
"""The block, or the path alone."""
