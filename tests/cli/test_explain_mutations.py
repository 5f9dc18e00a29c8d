"""Break one clause of a filter, and ``argosy explain`` names exactly that clause: for every clause, one at a time.

The manifests are our own and, where the corpus is at hand, those of its sensors. What a clause wants is changed so that it no longer
holds for an event that all clauses accept; nothing else is touched.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import yaml
from click.testing import CliRunner

from argosy.cli.main import main

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "understack"

Json = Any


class Broken(NamedTuple):
    """A sensor with one clause broken, and how explain should call that clause."""

    clause: str
    how: str
    sensor: Json


# -- how a clause is broken ---------------------------------------------------------------------------------------------


def _broken(sensor: Json) -> Iterator[Broken]:
    """Every way to break one clause of one dependency of the sensor."""
    for index, dependency in enumerate(sensor["spec"]["dependencies"]):
        filters = dependency.get("filters") or {}
        for clause, how, change in _changes(filters):
            mutant = copy.deepcopy(sensor)
            change(mutant["spec"]["dependencies"][index]["filters"])
            yield Broken(clause, how, mutant)


def _changes(filters: Json) -> Iterator[tuple[str, str, Any]]:
    for index, one in enumerate(filters.get("exprs") or ()):

        def negate(block: Json, index: int = index, text: str = one["expr"]) -> None:
            block["exprs"][index]["expr"] = f"!({text})"

        yield f"exprs[{index}]", "expr", negate
    for index, one in enumerate(filters.get("data") or ()):
        for how, changed in _data(one):

            def put(block: Json, index: int = index, changed: Json = changed) -> None:
                block["data"][index] = changed

            yield f"data[{index}]", how, put
    for name in ("type", "subject", "source", "datacontenttype"):
        if (filters.get("context") or {}).get(name):

            def rename(block: Json, name: str = name) -> None:
                block["context"][name] = "another"

            yield f"context.{name}", "value", rename
    if filters.get("time"):

        def turn(block: Json) -> None:
            block["time"]["start"], block["time"]["stop"] = block["time"]["stop"], block["time"]["start"]

        yield "time", "value", turn
    if filters.get("script"):

        def deny(block: Json) -> None:
            block["script"] = f"local function first()\n{block['script']}\nend\nreturn not first()"

        yield "script", "value", deny


_OPPOSITE = {"": "!=", "=": "!=", ">": "<=", ">=": "<", "<": ">=", "<=": ">"}


def _data(one: Json) -> Iterator[tuple[str, Json]]:
    comparator = one.get("comparator", "")
    if one["type"] == "string":
        yield "value", {**one, "value": [".*"] if comparator == "!=" else ["^nothing is like this$"]}
    elif one["type"] == "number":
        never = {"": "-1e300", "=": "-1e300", ">": "1e300", ">=": "1e300", "<": "-1e300", "<=": "-1e300"}
        if comparator in never:
            yield "value", {**one, "value": [never[comparator]]}
    else:
        wanted = [value.lower() in ("1", "t", "true") for value in one["value"]]
        yield "value", {**one, "value": ["false" if wanted == [True] else "true"]}
    if one["type"] != "bool" and comparator in _OPPOSITE and len(one["value"]) == 1:
        yield "operator", {**one, "comparator": _OPPOSITE[comparator]}


# -- what explain says --------------------------------------------------------------------------------------------------


def _explained(folder: Path, documents: list[Json], event: Json) -> Json:
    manifest, file = folder / "manifests.yaml", folder / "event.json"
    manifest.write_text("\n---\n".join(map(json.dumps, documents)))
    file.write_text(json.dumps(event))
    result = CliRunner().invoke(main, ["explain", str(manifest), "--event", str(file), "-o", "json"])
    assert result.exit_code in (0, 3), result.output
    (sensor,) = json.loads(result.stdout)["events"][0]["sensors"]
    return sensor


def _reasons(sensor: Json) -> list[str]:
    return [reason["clause"] for dependency in sensor["dependencies"] for reason in dependency["reasons"]]


def _event(source: str, subject: str, data: Json, **more: str) -> Json:
    head = {"specversion": "1.0", "id": "1", "type": "webhook", "time": "2026-01-05T10:30:00Z"}
    return {**head, "source": source, "subject": subject, **more, "data": data}


# -- our own manifests ---------------------------------------------------------------------------------------------------

DATA = {
    "body": {
        "kind": "order",
        "total": 120.5,
        "count": 3,
        "paid": True,
        "gift": False,
        "a.b": "dotted",
        "tags": ["new", "large"],
        "items": [{"sku": "t-1", "price": 7}, {"sku": "t-2", "price": 9}],
        "who": {"mail": "ada@example.org", "age": "36"},
        "text": "RUSH please",
    }
}

EVERYTHING = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: everything}
spec:
  dependencies:
    - name: order
      eventSourceName: shop
      eventName: orders
      transform: {jq: '.body.net = .body.total / 2'}
      filters:
        exprs:
          - expr: kind == "order" && total > 100
            fields: [{name: kind, path: body.kind}, {name: total, path: body.total}]
          - expr: count in (1, 2, 3)
            fields: [{name: count, path: body.count}]
          - expr: mail =~ "@example"
            fields: [{name: mail, path: body.who.mail}]
        data:
          - {path: body.kind, type: string, value: [order, return]}
          - {path: body.kind, type: string, value: [order]}
          - {path: body.kind, type: string, comparator: "=", value: ["^order$"]}
          - {path: body.kind, type: string, comparator: "!=", value: [return]}
          - {path: body.total, type: number, value: ["120.5"]}
          - {path: body.total, type: number, comparator: ">", value: ["100"]}
          - {path: body.count, type: number, comparator: ">=", value: ["3"]}
          - {path: body.count, type: number, comparator: "<", value: ["4"]}
          - {path: body.net, type: number, comparator: "<=", value: ["60.25"]}
          - {path: body.paid, type: bool, value: ["true"]}
          - {path: body.gift, type: bool, value: ["false"]}
          - {path: 'body.a\\.b', type: string, value: [dotted]}
          - {path: body.tags.0, type: string, value: [new]}
          - {path: 'body.items.#(sku=="t-2").price', type: number, value: ["9"]}
          - {path: 'body.items.#', type: number, value: ["2"]}
          - {path: body.text, type: string, template: '{{ .Input | lower }}', value: ["^rush"]}
        context: {type: webhook, subject: orders, source: shop, datacontenttype: application/json}
        time: {start: "09:00:00", stop: "17:00:00"}
        script: |
          local total = event.body.total
          if event.body.kind ~= "order" then
            return false
          end
          return total > 100
  triggers:
    - template: {name: log, log: {}}
"""

OWN_EVENT = _event("shop", "orders", DATA, datacontenttype="application/json")
OWN: Json = yaml.safe_load(EVERYTHING)


def test_the_manifest_accepts_the_event_before_it_is_broken(tmp_path: Path) -> None:
    sensor = _explained(tmp_path, [OWN], OWN_EVENT)
    assert (sensor["result"], _reasons(sensor)) == ("fires", [])


def test_every_clause_is_broken_at_least_once() -> None:
    filters = OWN["spec"]["dependencies"][0]["filters"]
    wanted = {f"exprs[{index}]" for index in range(len(filters["exprs"]))}
    wanted |= {f"data[{index}]" for index in range(len(filters["data"]))}
    wanted |= {f"context.{name}" for name in filters["context"]} | {"time", "script"}
    assert {one.clause for one in _broken(OWN)} == wanted


@pytest.mark.parametrize("broken", list(_broken(OWN)), ids=lambda one: f"{one.clause}-{one.how}")
def test_exactly_the_broken_clause_is_the_reason(tmp_path: Path, broken: Broken) -> None:
    # Given a sensor of which one clause does not hold any more
    sensor = _explained(tmp_path, [broken.sensor], OWN_EVENT)
    # Then that clause is the reason, and no other
    assert sensor["result"] == "rejects"
    (reason,) = sensor["dependencies"][0]["reasons"]
    stage, _, attribute = broken.clause.partition(".")
    # The context is one block; which of its attributes it was stands in the clause's name or in the sentence.
    assert reason["clause"] in (broken.clause, stage)
    assert attribute in f"{reason['clause']} {reason['reason']}"


@pytest.mark.parametrize("number", range(len(OWN["spec"]["dependencies"][0]["filters"]["exprs"])))
def test_the_reason_for_an_expression_quotes_it(tmp_path: Path, number: int) -> None:
    (broken,) = (one for one in _broken(OWN) if one.clause == f"exprs[{number}]")

    sensor = _explained(tmp_path, [broken.sensor], OWN_EVENT)

    (reason,) = sensor["dependencies"][0]["reasons"]
    assert f"`{broken.sensor['spec']['dependencies'][0]['filters']['exprs'][number]['expr']}`" in reason["reason"]


class TestClausesOfWhichOneIsEnough:
    """With ``or`` no clause decides alone: the event is rejected for all of them, or not at all."""

    def _sensor(self, **filters: Json) -> Json:
        sensor = copy.deepcopy(OWN)
        operator = {"filtersLogicalOperator": filters.pop("operator")} if "operator" in filters else {}
        sensor["spec"]["dependencies"][0] |= {"filters": filters, **operator}
        return sensor

    GOOD: ClassVar[Json] = {"path": "body.kind", "type": "string", "value": ["order"]}
    BAD: ClassVar[Json] = {"path": "body.kind", "type": "string", "value": ["return"]}

    def test_one_broken_clause_of_several_changes_nothing(self, tmp_path: Path) -> None:
        sensor = _explained(tmp_path, [self._sensor(dataLogicalOperator="or", data=[self.BAD, self.GOOD])], OWN_EVENT)
        assert (sensor["result"], _reasons(sensor)) == ("fires", [])

    def test_when_all_are_broken_all_are_the_reason(self, tmp_path: Path) -> None:
        sensor = _explained(tmp_path, [self._sensor(dataLogicalOperator="or", data=[self.BAD, self.BAD])], OWN_EVENT)
        assert _reasons(sensor) == ["data[0]", "data[1]"]

    def test_stages_may_be_alternatives_too(self, tmp_path: Path) -> None:
        late = {"start": "20:00:00", "stop": "21:00:00"}
        both = [
            _explained(tmp_path, [self._sensor(operator="or", data=[one], time=late)], OWN_EVENT)
            for one in (self.GOOD, self.BAD)
        ]
        assert [(each["result"], _reasons(each)) for each in both] == [("fires", []), ("rejects", ["data[0]", "time"])]

    def test_what_cannot_be_decided_is_the_only_reason(self, tmp_path: Path) -> None:
        # Given a path that is not there: upstream discards the event, even where another clause has failed plainly
        gone = {"path": "body.gone", "type": "string", "value": ["x"]}
        sensor = _explained(tmp_path, [self._sensor(dataLogicalOperator="or", data=[self.BAD, gone])], OWN_EVENT)
        assert _reasons(sensor) == ["data[1]"]


# -- the corpus ----------------------------------------------------------------------------------------------------------

_MADE_UP = {
    "ironic-node-update": ("ironic-node-create-end.json", {"event_type": "baremetal.node.update.end"}),
    "ironic-port-delete": ("ironic-port-update-end.json", {"event_type": "baremetal.port.delete.end"}),
}
"""Sensors of which the corpus has no event that they accept: an event of it, and what is changed in its notification."""


def _corpus_events() -> dict[str, Json]:
    """For each sensor an event that it accepts."""
    found: dict[str, Json] = {}
    cases = json.loads((CORPUS / "index.json").read_text())
    for case in cases:
        payload = json.loads((CORPUS / "events" / case["file"]).read_text())
        data = payload if case["type"] == "resource" else {"body": payload}
        event = _event(case["eventSource"], case["eventName"], data, type=case["type"])
        for sensor in case["expect"]:
            found.setdefault(sensor, event)
        for sensor, (file, changes) in _MADE_UP.items():
            if file == case["file"]:
                inner = {**json.loads(payload["oslo.message"]), **changes}
                inner["payload"]["ironic_object.data"]["physical_network"] = "physnet"
                found[sensor] = {**event, "data": {"body": {**payload, "oslo.message": json.dumps(inner)}}}
    return found


def _corpus_sensors() -> dict[str, Json]:
    sensors = {}
    for file in sorted((CORPUS / "manifests").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if isinstance(document, dict) and document.get("kind") == "Sensor":
                sensors[document["metadata"]["name"]] = document
    return sensors


_SENSORS = _corpus_sensors() if CORPUS.is_dir() else {}
_CASES = [(name, one) for name, sensor in _SENSORS.items() for one in _broken(sensor)]
needs_corpus = pytest.mark.skipif(not _SENSORS, reason="the corpus folder ../shared/corpus is not beside this checkout")


@pytest.fixture(scope="module")
def events() -> dict[str, Json]:
    return _corpus_events()


@needs_corpus
class TestTheCorpus:
    def test_every_sensor_accepts_an_event_before_it_is_broken(self, tmp_path: Path, events: dict[str, Json]) -> None:
        accepted = {
            name: _explained(tmp_path, [sensor], events[name])["dependencies"][0]["accepted"]
            for name, sensor in _SENSORS.items()
        }
        assert accepted == dict.fromkeys(_SENSORS, True)

    @pytest.mark.parametrize(("name", "broken"), _CASES, ids=[f"{n}-{one.clause}-{one.how}" for n, one in _CASES])
    def test_exactly_the_broken_clause_is_the_reason(
        self, tmp_path: Path, events: dict[str, Json], name: str, broken: Broken
    ) -> None:
        sensor = _explained(tmp_path, [broken.sensor], events[name])
        assert sensor["result"] == "rejects"
        assert _reasons(sensor) == [broken.clause]
