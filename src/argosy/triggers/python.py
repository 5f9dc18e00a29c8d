"""The ``python`` trigger (ours): calls a Python function with the events of an action.

``handler: package.module:function`` names it; an ``async def`` is awaited, any other function runs in a
thread. It is called as ``handler(events, **args)``, each argument as its annotation wants it (``_typed_args``), and may return
nothing, a line of text, or anything that JSON can hold (dataclasses and models, too), which is kept with the action and published
by ``emit``. Whatever it raises is a failed try, tried again like any other;
``argosy.errors.Rejected`` says that another try cannot help, ``RetryAfter`` says when. The function is
loaded at the first action and then kept.

A thread cannot be stopped from outside: a function that is not ``async`` and outlives its time goes on by
itself, and the try counts as failed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import msgspec
from pydantic import BaseModel, Field, field_validator

from argosy import functions
from argosy.errors import ArgosyError, ConfigError, Rejected, TriggerError
from argosy.event import Event
from argosy.functions import Handler
from argosy.manifests.fields import Json, TriggerParameter
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._typed_args import Arguments


@dataclass(frozen=True)
class SeenEvent:
    """One event as a handler sees it. ``data`` is parsed when first asked for, and the handler's own."""

    id: str
    source: str
    subject: str
    type: str
    time: str
    _event: Event = field(repr=False)

    @cached_property
    def data(self) -> Json:
        """The event's data: a JSON value, bytes where it is not JSON, None where the event has none."""
        if not self._event.data:
            return None
        if self._event.datacontenttype.split(";")[0].strip() not in ("application/json", ""):
            return self._event.data
        try:
            return msgspec.json.decode(self._event.data)
        except msgspec.DecodeError as error:
            raise Rejected(f"the data of event {self.id!r} is not JSON: {error}") from error


class Events(Mapping[str, SeenEvent]):
    """The events of an action by dependency name, and the action itself.

    ``action_id`` is the same at every try: use it to recognise a repetition.
    """

    def __init__(self, action: Action) -> None:
        self.action_id = action.id
        self.attempt = action.attempt
        self.namespace = action.namespace
        self.sensor = action.sensor
        self.trigger = action.trigger
        self._seen = {
            name: SeenEvent(event.id, event.source, event.subject, event.type, event.time, event)
            for name, event in action.events.items()
        }

    def __getitem__(self, dependency: str) -> SeenEvent:
        return self._seen[dependency]

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen)

    def __len__(self) -> int:
        return len(self._seen)


class PythonConfig(TriggerConfig):
    """The ``python`` block."""

    handler: str
    """``package.module:function``."""
    path: str = ""
    """A folder in which the module is looked for first."""
    args: dict[str, Json] = Field(default_factory=dict)
    """Passed to the function by name, each as the function's annotation wants it."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Set on this block; ``dest: args.name`` sets an argument."""
    timeout_seconds: float = Field(60.0, gt=0)
    """How long a call may take. A function that is not ``async`` goes on by itself then, and the try counts as failed."""

    @field_validator("handler")
    @classmethod
    def _two_names(cls, handler: str) -> str:
        return functions.two_names(handler)


def load(config: PythonConfig) -> Handler:
    """Import the handler. Raises Rejected, naming module and function, if it cannot be had; good for lint
    too.
    """
    try:
        return functions.load(config.handler, config.path)
    except ConfigError as error:
        raise Rejected(str(error)) from error


class PythonTrigger(Trigger[PythonConfig]):
    """Calls a Python function."""

    kind: ClassVar[str] = "python"
    config = PythonConfig
    ours: ClassVar[bool] = True
    peer: ClassVar[str] = "none: Python functions"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: python
spec:
  dependencies:
    - name: order
      eventSourceName: webhook
      eventName: orders
  triggers:
    - template:
        name: bill-order
        python:
          handler: billing.orders:bill
          path: ./handlers
          args:
            currency: EUR
            amount: 0
          parameters:
            - src:
                dependencyName: order
                dataKey: body.amount
                useRawData: true
              dest: args.amount
          timeoutSeconds: 30
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._loaded: dict[tuple[str, str], tuple[Handler, Arguments]] = {}
        self._loading = asyncio.Lock()

    async def fire(self, config: PythonConfig, action: Action) -> Outcome:
        handler, arguments = await self._handler(config)
        what = f"handler {config.handler!r}"
        events = Events(action)
        # Each try has arguments of its own, whatever the function does to them.
        own = arguments.of(events, msgspec.json.decode(msgspec.json.encode(config.args)))
        try:
            async with asyncio.timeout(config.timeout_seconds) as limit:
                answer = await _call(handler, events, own)
        except ArgosyError:
            raise
        except (Exception, SystemExit) as error:
            if isinstance(error, TimeoutError) and limit.expired():
                raise TriggerError(f"{what} did not end within {config.timeout_seconds:g} s") from error
            raise TriggerError(f"{what} raised {functions.told(error)}") from error
        return _outcome(what, answer)

    async def _handler(self, config: PythonConfig) -> tuple[Handler, Arguments]:
        key = (config.handler, config.path)
        async with self._loading:
            if key not in self._loaded:
                handler = await asyncio.to_thread(load, config)
                self._loaded[key] = (handler, Arguments(handler, f"handler {config.handler!r}"))
            return self._loaded[key]


async def _call(handler: Handler, events: Events, own: Mapping[str, Any]) -> object:
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__):
        return await handler(events, **own)
    answer, error = await functions.in_thread(lambda: handler(events, **own))
    if error is not None:
        raise error
    return await answer if inspect.isawaitable(answer) else answer


def _outcome(what: str, answer: object) -> Outcome:
    if answer is None:
        return Outcome(f"{what} is done")
    if isinstance(answer, Outcome):
        return answer
    if isinstance(answer, str):
        return Outcome(answer)
    # The work is done, so nothing here is a failure: another try would do it twice.
    try:
        if isinstance(answer, BaseModel):
            answer = answer.model_dump(mode="json", by_alias=True)
        detail = msgspec.json.decode(msgspec.json.encode(answer))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return Outcome(f"{what} is done; it returned a {type(answer).__name__} that is not JSON and was not kept")
    return Outcome(f"{what} is done", detail if isinstance(detail, dict) else {"result": detail})
