"""The sensors that Argo Events ships as examples, the events that each of them waits for, and what its triggers should make of
them, worked out without the code that is tested.

An event's data is what a source of its kind really sent (the sample of the kind's page), with what filters and parameters of the
manifest ask for put in where it is not there. What no rule can guess (expressions, scripts, templates) is written down here,
example by example.
"""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from argosy import registry
from argosy.event import Event
from argosy.manifests.fields import Json
from argosy.manifests.sensor import TRIGGER_ORDER
from tests.conformance.samples import SAMPLES

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "argo-events-examples"

GIVEN: Mapping[str, Mapping[str, Mapping[str, Json]]] = {
    "complete-trigger-parameterization.yaml": {
        "test-dep": {"name": "named-by-event", "bucket": "workflows", "key": "hello-world.yaml", "port": ""}
    },
    "email-trigger.yaml": {"test-dep": {"body.to": "luke@example.com", "body.name": "Luke"}},
    "filter-script.yaml": {"test-dep": {"body.a": "b", "body.d.e": "z"}},
    "filter-with-expressions.yaml": {"test-dep": {"a": "b", "a-longer-name": 1, "nested.path.can-get.longer": False}},
    "filter-with-multiple-expr-filters-in-or.yaml": {
        "test-dep": {"a": "z", "a-longer-name": 11, "nested.path.can-get.longer": True}
    },
    "filter-with-multiple-filters-in-or.yaml": {"test-dep": {"a": "b", "c": 10, "d.e": True}},
    "filter-with-multiple-filters-mixed.yaml": {"test-dep": {"a": "b", "c": 21, "d.e": False}},
    "filter-with-multiple-filters.yaml": {"test-dep": {"a": "b", "c": 10, "d.e": False}},
    "github.yaml": {"test-dep": {"body.pull_request.number": 21500, "body.pull_request.head.sha": "2c065a1f9e4b7d8c"}},
    "sensor-05.yaml": {
        "test-dep": {
            "body.dependencyName": "test-dep",
            "body.dataKey": "body.message",
            "body.dest": "spec.arguments.parameters.0.value",
            "body.message": "chosen by the event",
        }
    },
    "slack-trigger.yaml": {"test-dep": {"body.channel": "random", "body.message": "from an event"}},
    "transform.yaml": {"test-dep": {"body": {"message": "old"}}, "test-dep-foo": {"body": {"message": 21}}},
    "trigger-with-template.yaml": {"test-dep": {"body.message": "a message", "body.name": "Big Name"}},
}
"""By example and dependency: what stands where in the event."""

TRANSFORMED: Mapping[str, Mapping[str, Mapping[str, Json]]] = {
    "transform.yaml": {"test-dep": {"body.message": "updated"}, "test-dep-foo": {"body.message": 42}},
}
"""What the dependency's own transform makes of it."""

TEMPLATES: Mapping[str, str] = {
    "{{ .Input.body.pull_request.head.sha | substr 0 7 }}": "2c065a1",
    "{{ .Input.body.pull_request.number }}-{{ .Input.body.pull_request.head.sha | substr 0 7 }}": "21500-2c065a1",
    "{{ .Input.body.message | title }}": "A Message",
    "{{ .Input.subject | title }}": "Example",
    "{{ .Input.body.name | nospace | lower }}-": "bigname-",
    "Hi {{.Input.body.name}},\n\n\tHello There.\n\nThanks,\nObi": "Hi Luke,\n\n\tHello There.\n\nThanks,\nObi",
}
"""What a template makes of the event of its example."""


@dataclass(frozen=True)
class Example:
    """One sensor of one file, as it stands there."""

    path: Path
    manifest: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return str(self.path.relative_to(CORPUS))

    @property
    def triggers(self) -> dict[str, str]:
        """The kind of each trigger by the trigger's name."""
        templates = [trigger["template"] for trigger in self.manifest["spec"]["triggers"]]
        # Argo Events reads words as Go reads JSON, in letters of either case.
        known = {kind.lower(): kind for kind in (*registry.trigger_kinds(), *TRIGGER_ORDER)}
        return {one["name"]: next(known[word.lower()] for word in one if word.lower() in known) for one in templates}


@cache
def examples() -> tuple[Example, ...]:
    """Every Sensor of the corpus; none where the corpus is not here."""
    return tuple(Example(path, one) for path, one in _manifests() if one["kind"] == "Sensor")


@cache
def _manifests() -> tuple[tuple[Path, dict[str, Any]], ...]:
    paths = sorted({*CORPUS.rglob("*.yaml"), *CORPUS.rglob("*.yml")})
    return tuple((path, one) for path in paths for one in yaml.safe_load_all(path.read_text()) if one)


@cache
def _kinds() -> Mapping[str, str]:
    """The kind of each EventSource of the corpus, by its name."""
    found = {}
    for _, one in _manifests():
        if one["kind"] == "EventSource":
            found[one["metadata"]["name"]] = next(word for word in one["spec"] if word in registry.source_kinds())
    return found


def events(example: Example) -> dict[str, Event]:
    """An event for each dependency, by the dependency's name, in the manifest's order."""
    found = {}
    for at, dependency in enumerate(example.manifest["spec"]["dependencies"]):
        name, source = dependency["name"], dependency["eventSourceName"]
        kind = _kinds().get(source, "webhook")
        found[name] = Event(
            id=f"event-{at}",
            source=source,
            subject=dependency["eventName"],
            type=registry.event_type(kind),
            time=_time(dependency.get("filters") or {}).isoformat(timespec="seconds").replace("+00:00", "Z"),
            data=json.dumps(_data(example, dependency, kind)).encode(),
        )
    return found


def _data(example: Example, dependency: Mapping[str, Any], kind: str) -> Json:
    data = json.loads((SAMPLES / f"{kind}.json").read_text())["data"]
    given = GIVEN.get(example.path.name, {}).get(dependency["name"], {})
    for path, value in given.items():
        put(data, path, value)
    for source in _sources(example.manifest):
        key, here = source.get("dataKey"), source.get("dependencyName") == dependency["name"]
        if here and key and "value" not in source and dig(data, key) is MISSING:
            put(data, key, f"text-of-{key.rpartition('.')[2]}")
    for clause in (dependency.get("filters") or {}).get("data", ()):
        if clause["path"] not in given:
            value = _passing(clause)
            put(data, clause["path"], [value] if isinstance(dig(data, clause["path"]), list) else value)
    return data


def _sources(value: Any) -> list[dict[str, Any]]:
    """Every ``src`` of parameters and payloads below a value."""
    if isinstance(value, list):
        return [one for item in value for one in _sources(item)]
    if not isinstance(value, dict):
        return []
    own = [value["src"]] if isinstance(value.get("src"), dict) else []
    return own + [one for item in value.values() for one in _sources(item)]


def _passing(clause: Mapping[str, Any]) -> Json:
    """A value that a data filter lets pass."""
    text = clause["value"][0]
    if clause["type"] == "number":
        return float(text) + {">": 1, "<": -1, "!=": 1}.get(clause.get("comparator", ""), 0)
    if clause["type"] == "bool":
        return bool(text == "true")
    return str(text)


def _time(filters: Mapping[str, Any]) -> dt.datetime:
    """A minute after a time filter's window opens; without one, now."""
    now = dt.datetime.now(dt.UTC)
    if "time" not in filters:
        return now
    opens = dt.time.fromisoformat(filters["time"]["start"])
    zone = ZoneInfo(filters["time"].get("timezone", "UTC"))
    return dt.datetime.combine(now.date(), opens, zone).astimezone(dt.UTC) + dt.timedelta(minutes=1)


# What should arrive


class _Any:
    """Equal to whatever arrived: what stands there is compared by itself."""


ANY = _Any()
MISSING = object()


@dataclass
class Given:
    """What an example's triggers are given: the data of each event as the dependency hands it on."""

    example: Example
    events: Mapping[str, Event]

    def data(self, dependency: str) -> Json:
        data = json.loads(self.events[dependency].data)
        for path, value in TRANSFORMED.get(self.example.path.name, {}).get(dependency, {}).items():
            put(data, path, value)
        return data

    def value(self, source: Mapping[str, Any]) -> Json:
        """What a parameter's ``src`` leads to."""
        for word in ("dataTemplate", "contextTemplate"):
            if word in source:
                return TEMPLATES[source[word]]
        if "contextKey" in source:
            return str(getattr(self.events[source["dependencyName"]], source["contextKey"]))
        if not source.get("dataKey"):
            return self.whole(source["dependencyName"])
        found = dig(self.data(source["dependencyName"]), source["dataKey"])
        return source["value"] if found is MISSING else found

    def whole(self, dependency: str) -> Json:
        """What stands for the event as a whole, as Argo Events writes it: its data are the base64 of a byte slice."""
        event = self.events[dependency]
        context = {"specversion": "1.0", "datacontenttype": "application/json"}
        context |= {name: getattr(event, name) for name in ("id", "source", "type", "subject", "time")}
        return {"context": context, "data": base64.b64encode(event.data).decode()}

    def payload(self, described: list[dict[str, Any]]) -> Json:
        """The document of a ``payload``."""
        document: dict[str, Any] = {}
        for one in described:
            put(document, one["dest"], self.value(one["src"]))
        return document


def differences(given: Given, source: Json, parameters: list[dict[str, Any]], arrived: Json) -> list[str]:
    """What is not as ``source`` with its parameters says; what the other side added does not count."""
    wanted, found = copy.deepcopy(source), []
    for one in parameters:
        dest, value = one["dest"], given.value(one["src"])
        before, there = dig(source, dest), dig(arrived, dest)
        if one.get("operation") in ("append", "prepend"):
            old = "" if before is MISSING else str(before)
            value = f"{old}{value}" if one["operation"] == "append" else f"{value}{old}"
        if not same(there, value):
            found.append(f"{dest} is {there!r} and not {value!r}")
        put(wanted, dest, ANY)
    return found + _lacking(wanted, arrived, "")


def same(arrived: Any, value: Json) -> bool:
    """Whether this value arrived, as itself or as JSON text."""
    if isinstance(arrived, str) and not isinstance(value, str):
        return bool(json.loads(arrived) == value)
    return bool(arrived == value)


def _lacking(wanted: Any, arrived: Any, where: str) -> list[str]:
    if wanted is ANY:
        return []
    if isinstance(wanted, dict) and isinstance(arrived, dict):
        return [one for key in wanted for one in _lacking(wanted[key], arrived.get(key, MISSING), f"{where}.{key}")]
    if isinstance(wanted, list) and isinstance(arrived, list) and len(wanted) == len(arrived):
        return [one for at, item in enumerate(wanted) for one in _lacking(item, arrived[at], f"{where}.{at}")]
    return [] if wanted == arrived else [f"{where} is {arrived!r} and not {wanted!r}"]


def dig(value: Any, path: str) -> Any:
    """What stands at a dotted path; MISSING where nothing does."""
    for word in path.split("."):
        if isinstance(value, list) and word.isdigit() and int(word) < len(value):
            value = value[int(word)]
        elif isinstance(value, dict) and word in value:
            value = value[word]
        else:
            return MISSING
    return value


def put(value: Any, path: str, new: Any) -> None:
    """Let ``new`` stand at a dotted path; what is in the way goes."""
    head, _, rest = path.partition(".")
    key: Any = head
    if isinstance(value, list):
        key = int(head)
        value += [None] * (key + 1 - len(value))
    if not rest:
        value[key] = new
        return
    below = value[key] if isinstance(value, list) else value.get(key)
    if not isinstance(below, dict | list) or (isinstance(below, list) and not rest.partition(".")[0].isdigit()):
        below = value[key] = [] if rest.partition(".")[0].isdigit() else {}
    put(below, rest, new)
