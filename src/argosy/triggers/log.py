"""The ``log`` trigger: writes each event's data to the log, one line an event, at level INFO.

The line is upstream's: the data as the message, with the fields ``dependencyName`` and ``eventContext``.
``intervalSeconds`` lets through one action per interval. (Upstream forgets the time of the last line between
two actions, so there the field does nothing.)
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext


class LogConfig(TriggerConfig):
    """The ``log`` block."""

    interval_seconds: int = Field(0, ge=0)
    """At most one action per so many seconds is logged; 0 logs all."""


class LogTrigger(Trigger[LogConfig]):
    """Writes events to the log."""

    kind: ClassVar[str] = "log"
    config = LogConfig
    peer: ClassVar[str] = "none: its own output"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: log
spec:
  dependencies:
    - name: order
      eventSourceName: webhook
      eventName: orders
  triggers:
    - template:
        name: log-order
        log:
          intervalSeconds: 0
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._next = float("-inf")

    async def fire(self, config: LogConfig, action: Action) -> Outcome:
        now = self.ctx.clock.now().timestamp()
        if now < self._next:
            return Outcome(f"not logged: the last line is less than {config.interval_seconds} s old")
        self._next = now + config.interval_seconds
        logger, fields = self.ctx.log.logger, dict(self.ctx.log.extra or {})
        for dependency, event in action.events.items():
            logger.info(
                "%s",
                event.data.decode(errors="replace"),
                extra={
                    **fields,
                    "actionID": action.id,
                    "dependencyName": dependency,
                    "eventContext": event.context,
                },
            )
        count = len(action.events)
        return Outcome(f"logged {count} event{'' if count == 1 else 's'}")
