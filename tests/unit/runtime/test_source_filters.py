"""``filter.expression`` on event sources: what is dropped, how it is counted and said, and that the source goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, ClassVar

import pytest
import yaml

from argosy import registry
from argosy.bus.memory import MemoryBus
from argosy.clock import SystemClock
from argosy.errors import LangError
from argosy.lang import expr
from argosy.manifests.eventsource import EventSource, EventSpec, parse_event_source
from argosy.manifests.fields import Json, Model
from argosy.runtime.secrets import Secrets
from argosy.runtime.sources import SourceDuties, SourceRunner
from argosy.runtime.telemetry import Metrics
from argosy.sources._base import Source, SourceConfig, SourceContext
from argosy.sources._filter import decision, environment
from argosy.sources._http import HttpServers


class _Messages(Source[SourceConfig]):
    """Emits what it is told to, and notes what it acknowledged."""

    kind: ClassVar[str] = "messages"
    config = SourceConfig
    exclusive = False
    acknowledges = True
    example = ""
    messages: ClassVar[list[Json | bytes]] = []
    acknowledged: ClassVar[int] = 0
    done: ClassVar[asyncio.Event]

    async def run(self, ctx: SourceContext[SourceConfig]) -> None:
        for message in type(self).messages:
            await ctx.emit(message)
            type(self).acknowledged += 1
        type(self).done.set()
        await asyncio.Event().wait()


_EMPTY = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "EventSource",
    "metadata": {"name": "es", "namespace": "ns"},
    "spec": {},
}


class _Outcome:
    def __init__(self, published: list[Any], acknowledged: int, metrics: Metrics) -> None:
        self.published = published
        self.acknowledged = acknowledged
        self._metrics = metrics

    def counted(self, result: str) -> float | None:
        labels = {"namespace": "ns", "eventsource_name": "es", "event_name": "ev", "result": result}
        return self._metrics.registry.get_sample_value("argosy_source_events_filtered_total", labels)

    @property
    def sent(self) -> float | None:
        labels = {"namespace": "ns", "eventsource_name": "es", "event_name": "ev"}
        return self._metrics.registry.get_sample_value("argo_events_events_sent_total", labels)


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a source that emits the messages, under a filter; gives what came of them."""

    async def receive(expression: str, *messages: Json | bytes) -> _Outcome:
        monkeypatch.setattr(registry, "source", lambda kind: _Messages)
        _Messages.messages, _Messages.acknowledged, _Messages.done = list(messages), 0, asyncio.Event()
        block = {"filter": {"expression": expression}}
        spec = EventSpec("messages", "ev", SourceConfig.model_validate(block), block)
        source, problems = parse_event_source(_EMPTY)
        assert isinstance(source, EventSource), problems
        metrics, clock = Metrics(), SystemClock()
        http = HttpServers()
        duties = SourceDuties(http=http, secrets=Secrets(), clock=clock, metrics=metrics, listening=lambda where: None)
        published: list[Any] = []
        async with MemoryBus() as bus:
            publish = bus.publish

            async def note(event: Any) -> None:
                published.append(event.data)
                await publish(event)

            monkeypatch.setattr(bus, "publish", note)
            task = asyncio.create_task(SourceRunner(source, spec, bus, duties).run())
            async with asyncio.timeout(20):
                await _Messages.done.wait()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return _Outcome(published, _Messages.acknowledged, metrics)

    return receive


async def test_what_the_filter_accepts_is_published_and_the_rest_is_dropped_and_acknowledged(received: Any) -> None:
    # Given a filter, and messages as values and as text
    outcome = await received(
        "body.n > 1", {"body": {"n": 1}}, {"body": {"n": 2}}, b'{"body": {"n": 3}}', b'{"body": {"n": 0.5}}'
    )
    # Then only what is true is on the bus
    assert outcome.published == [b'{"body":{"n":2}}', b'{"body": {"n": 3}}']
    # And upstream is told of all that it is done
    assert outcome.acknowledged == 4
    # And it is counted
    assert (outcome.sent, outcome.counted("rejected"), outcome.counted("failed")) == (2, 2, 0)


async def test_what_fails_is_dropped_with_one_warning_and_acknowledged(
    received: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "argosy.source"):
        outcome = await received("body.user.name == 'joe'", *[{"body": {}}] * 50, {"body": {"user": {"name": "joe"}}})
    assert outcome.acknowledged == 51
    assert len(outcome.published) == 1
    assert (outcome.counted("failed"), outcome.counted("rejected")) == (50, 0)
    lines = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [getattr(record, "action", "") for record in lines] == ["event.filter.failed"]
    assert "'es/ev'" in lines[0].getMessage()
    assert "'name' is wanted of nil (at » in: body.user.»name == 'joe')" in lines[0].getMessage()


async def test_a_rejected_event_is_a_line_at_debug(received: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "argosy.source"):
        await received("false", {"body": {}})
    assert [r.levelno for r in caplog.records if getattr(r, "action", "") == "event.filtered"] == [logging.DEBUG]


@pytest.mark.parametrize(
    ("expression", "data"),
    [
        ("body.n", {"body": {"n": 1}}),
        ("nothing", {}),
        ("true", [1]),
        ("true", "text"),
        ("2 in map(1..1000000000, #)", {}),
    ],
)
async def test_what_is_neither_true_nor_false_is_a_failure(received: Any, expression: str, data: Json) -> None:
    outcome = await received(expression, data)
    assert (outcome.published, outcome.acknowledged) == ([], 1)
    assert outcome.counted("failed") == 1


@pytest.mark.parametrize("depth", [400, 900, 5000, 100_000])
async def test_data_that_are_nested_deep_are_decided_or_dropped_and_never_end_the_source(
    received: Any, depth: int
) -> None:
    text = b'{"body": ' + b"[" * depth + b"]" * depth + b"}"
    for expression in ("len(body) == 1", "toJSON(body) != ''", "body == body", "jsonpath(toJson(body), '$..x') == nil"):
        outcome = await received(expression, text, {"body": [1]})
        assert outcome.acknowledged == 2
        assert len(outcome.published) + (outcome.counted("failed") or 0) + (outcome.counted("rejected") or 0) == 2


def _kinds() -> list[str]:
    return sorted(kind for kind in registry.source_kinds())


@pytest.mark.parametrize("kind", _kinds())
def test_every_kind_takes_a_filter_expression(kind: str) -> None:
    # Given the kind's example with a filter
    plugin = registry.source(kind)
    assert plugin is not None
    raw = next(one for one in yaml.safe_load_all(plugin.example) if one["kind"] == "EventSource")
    (name,) = list(raw["spec"][kind])[:1]
    block = raw["spec"][kind][name]
    block["filter"] = {**block.get("filter", {}), "expression": "body.x == 1"}
    # When it is read
    source, problems = parse_event_source(raw)
    # Then the event runs, and decides
    assert source is not None, problems
    spec = next(event for event in source.events if event.name == name)
    decided = decision(spec.config)
    assert decided is not None
    assert decided.accepts(b'{"body": {"x": 1}}') is True
    assert decided.accepts(b'{"body": {"x": 2}}') is False


def test_a_kind_cannot_forget_the_filter_expression() -> None:
    # Given a kind with a filter of its own sort, when it has no expression, then there is no such kind
    with pytest.raises(TypeError, match="expression"):

        class _Config(SourceConfig):
            filter: Model | None = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("data", "expression"),
    [
        ({"content-type": "a"}, "content_type == 'a'"),
        ({"body": {"content-type": "a"}}, "body['content-type'] == 'a'"),
        ({"a.b": 1, "a": 2}, "a.b == 1"),
        ({"a.b.c": 1, "a.d": 2}, "a.b.c + a.d == 3"),
        ({"a-b.c": 1}, "a_b.c == 1"),
        ({"n": 9007199254740993}, "n == 9007199254740992"),
        ({"n": 4}, "n == 4 && n == 4.0 && type(n) == 'float'"),
        ({}, "nothing == nil && (nothing?.x ?? 'd') == 'd'"),
        ({"sprig": 1, "asInt": 2}, "asInt('7') == 7 && sprig.upper('a') == 'A'"),
        ({"body": {"t": '{"a": [1, 2]}'}}, "jsonpath(body.t, '$.a[1]') == 2 && toJson([1]) == '[1]'"),
    ],
)
def test_the_names_are_those_of_upstream(data: dict[str, Any], expression: str) -> None:
    compiled = expr.compile(expression)
    assert compiled.decide(environment(data, compiled.names)) is True
    assert compiled.decide(environment(data)) is True


def test_a_parent_of_a_dotted_name_is_left_out_and_the_data_stay_as_they_are() -> None:
    data = {"a.b": 1, "a.c.d": 2, "a": 3, "ab": 4, "abb": 5}
    env = environment(data)
    assert {name: env[name] for name in ("a", "ab", "abb")} == {"a": {"b": 1.0, "c": {"d": 2.0}}, "ab": 4.0, "abb": 5.0}
    assert data == {"a.b": 1, "a.c.d": 2, "a": 3, "ab": 4, "abb": 5}


@pytest.mark.parametrize("name", ["env", "expandenv"])
def test_the_environment_of_the_process_cannot_be_read(name: str) -> None:
    with pytest.raises(LangError):
        expr.compile(f"sprig.{name}('HOME') != ''").decide(environment({}))
    with pytest.raises(LangError, match="getHostByName"):
        expr.compile("sprig.getHostByName('localhost') == ''").decide(environment({}))
