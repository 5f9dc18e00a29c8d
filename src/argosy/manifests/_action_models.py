"""The blocks of a trigger that say what becomes of its actions, all of them ours: ``forEach``, ``emit``, ``approval``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from argosy.manifests.fields import Duration, Model

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


class Emit(Model):
    """What an action came to becomes an event (ours)."""

    event_source_name: str = ""
    """Under which name sensors depend on it; the sensor's own if nothing is said. No EventSource needs to have it."""
    event_name: str = ""
    """The event's name; the trigger's if nothing is said."""
    after: list[Literal["done", "dead", "asked", "denied"]] = Field(["done"], min_length=1)
    """When: the action is ``done`` (it succeeded), ``dead`` (it was given up); with ``approval``: somebody is ``asked``, or has ``denied`` it."""
    max_depth: int = Field(8, ge=1, le=1000)
    """How long a chain of actions may become of which each is caused by the event of the one before. An action beyond that is not
    performed: it becomes a dead letter, which says so.
    """

    def pair(self, sensor: str, trigger: str) -> tuple[str, str]:
        """The event of this trigger's actions: source and name."""
        return self.event_source_name or sensor, self.event_name or trigger


class Approval(Model):
    """An action waits until a person lets it run (ours)."""

    expires: Duration = Field(86400.0, gt=0)
    """How long it waits; then it becomes a dead letter. A day if nothing is said."""


def _required(value: object) -> object:
    if isinstance(value, str):
        if value != "required":
            raise ValueError("is neither 'required' nor a block; write for example required, or {expires: 4h}")
        return {}
    return value


ApprovalOrWord = Annotated[Approval, BeforeValidator(_required, json_schema_input_type=Literal["required"] | Approval)]
"""The block, or the word ``required`` alone."""
