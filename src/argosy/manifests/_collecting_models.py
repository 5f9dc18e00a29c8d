"""The blocks of a trigger that say how events are collected, all of them ours: ``absent``, ``batch``, ``debounce``."""

from __future__ import annotations

from pydantic import Field, model_validator

from argosy.manifests.fields import Duration, Model, TriggerParameterSource

MOST_COUNTED = 1000
"""The largest ``count``: so many events of a dependency may have to be remembered."""
MOST_GATHERED = 10_000
"""The largest ``maxEvents`` of a batch."""


class Absent(Model):
    """What must not follow (ours)."""

    dependency: str = Field(min_length=1)
    """A dependency that the condition does not name."""
    after: Duration = Field(gt=0)
    """How long it has time, from the event on that completed the condition."""


class Batch(Model):
    """One action for many events (ours)."""

    window: Duration = Field(gt=0)
    """How long events are gathered, from the first one on."""
    max_events: int = Field(default=100, ge=1, le=MOST_GATHERED)
    """The action runs at once when so many have come."""
    key: TriggerParameterSource | None = None
    """A value of the events, such as ``{dependencyName: order, dataKey: body.customer}``: each value has a batch of its own."""


class Debounce(Model):
    """One action for the last of several events, when no more come (ours)."""

    quiet: Duration = Field(gt=0)
    """The action runs when so much time passed without another event."""
    at_most: Duration | None = Field(default=None, gt=0)
    """The action runs so long after the first event at the latest, however many follow."""
    key: TriggerParameterSource | None = None
    """A value of the events, such as ``{dependencyName: push, dataKey: body.branch}``: each value is waited for by itself."""

    @model_validator(mode="after")
    def _in_order(self) -> Debounce:
        if self.at_most is not None and self.at_most < self.quiet:
            raise ValueError("'atMost' is shorter than 'quiet'")
        return self
