"""In which line an action stands: that of its ``queue.key``."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping

from argosy.manifests.fields import TriggerParameterSource
from argosy.runtime.lines import Taken
from argosy.runtime.story import short
from argosy.sensor import parameters

_log = logging.getLogger("argosy.trigger")
_REASONS_TOLD = 32


class Keys:
    """The lines of one trigger. Why a key has no value is told once for each reason."""

    def __init__(self, key: TriggerParameterSource | None, sensor: str, fields: Mapping[str, str]) -> None:
        self._key = key
        self._sensor = sensor
        self._fields = fields
        self._told: set[str] = set()

    def __call__(self, one: Taken) -> Hashable:
        """The line of an action: its key's value; without one a line of its own, or the line of those that have no value."""
        if self._key is None:
            return ("id", one.lease.id)
        if one.record is None or one.record.unusable:
            return ("none",)
        found = parameters.look_up(self._key, one.record.events)
        if found.value is not None:
            return ("key", found.value.text)
        why = "; ".join(found.complaints)
        if why not in self._told and len(self._told) < _REASONS_TOLD:
            self._told.add(why)
            _log.warning(
                "trigger '%s' of sensor '%s': queue.key has no value for action %s (%s); such actions run one after the other",
                self._fields["triggerName"],
                self._sensor,
                short(one.lease.id),
                why,
                extra={"action": "action.keyless", "actionID": one.lease.id, **self._fields},
            )
        return ("none",)
