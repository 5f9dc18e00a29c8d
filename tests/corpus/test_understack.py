"""The UnderStack manifests, unchanged: every event of the corpus gives exactly the objects that are written down, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from argosy.event import Event
from argosy.manifests.bundle import Bundle, load
from argosy.registry import wrap
from argosy.sensor import parameters
from argosy.sensor.matching import Matcher
from argosy.sources._raw import Raw

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "understack"
if not CORPUS.is_dir():
    pytest.skip("the corpus folder ../shared/corpus is not beside this checkout", allow_module_level=True)

CASES = [case for case in json.loads((CORPUS / "index.json").read_text()) if case["delivered"]]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load([str(CORPUS / "manifests")])


def _data(bundle: Bundle, case: dict[str, Any], payload: bytes) -> bytes:
    """What the source, configured as its manifest says, makes of the payload."""
    (config,) = (
        spec.config
        for source in bundle.event_sources
        for spec in source.events
        if (source.metadata.name, spec.name) == (case["eventSource"], case["eventName"])
    )
    if case["type"] == "amqp":
        properties = {"exchange": case["exchange"], "routingKey": case["routingKey"]}
        return wrap("amqp", config, Raw(payload, properties)).data
    if case["type"] == "webhook":
        return wrap("webhook", config, Raw(payload, {"Content-Type": "application/json"}, case["method"])).data
    # The payload is the whole document, so it says what the source should make of the object in it.
    wanted = json.loads(payload)
    data = wrap("resource", config, Raw(json.dumps(wanted["body"]).encode(), method=wanted["type"])).data
    # Only one that watches knows the object of before.
    assert json.loads(data) == {**wanted, "oldBody": None}
    assert list(json.loads(data)) == list(wanted)
    return data


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_an_event_gives_exactly_the_objects_that_are_written_down(bundle: Bundle, case: dict[str, Any]) -> None:
    payload = (CORPUS / "events" / case["file"]).read_bytes()
    event = Event(
        id="1",
        source=case["eventSource"],
        subject=case["eventName"],
        type=case["type"],
        time="2026-01-01T00:00:00Z",
        data=_data(bundle, case, payload),
    )

    made = {}
    for sensor in bundle.sensors:
        matcher = Matcher(sensor)
        for decision in matcher.decide(event):
            if decision.event is None:
                continue
            (trigger,) = sensor.triggers
            config: Any = trigger.config
            caused_by = {decision.dependency: decision.event}
            made[sensor.metadata.name] = parameters.apply_to(config.source.resource, config.parameters, caused_by)

    assert sorted(made) == sorted(case["expect"])
    for sensor_name, resource in made.items():
        name = f"{case['file'].removesuffix('.json')}--{sensor_name}.json"
        expected = json.loads((CORPUS / "expected" / name).read_text())
        # The labels and the sensor's namespace are the trigger's, when it creates the object.
        expected["metadata"].pop("labels")
        if "namespace" not in resource["metadata"]:
            expected["metadata"].pop("namespace")
        assert resource == expected
