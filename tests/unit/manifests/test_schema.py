"""The JSON Schema says what the models say: the same fields, for every kind that is installed."""

from collections.abc import Iterator
from typing import Any

import pytest

from argosy import registry
from argosy.manifests.eventbus import EventBusSpec
from argosy.manifests.findings import aliases
from argosy.manifests.schema import KINDS, schema, schema_of_all

pytestmark = pytest.mark.usefixtures("toys")


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolved(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    return whole["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part


def spec(kind: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    whole = schema(kind)
    return whole, resolved(whole, whole["properties"]["spec"])


@pytest.mark.parametrize("whole", [*(schema(kind) for kind in KINDS), schema_of_all()], ids=[*KINDS, "all"])
def test_every_reference_leads_somewhere(whole: dict[str, Any]) -> None:
    assert {one.rpartition("/")[2] for one in references(whole)} <= set(whole["$defs"])


def test_an_event_sources_kinds_are_maps_of_their_models() -> None:
    whole, found = spec("EventSource")
    block = resolved(whole, found["properties"]["toyHook"]["additionalProperties"])
    plugin = registry.source("toyHook")
    assert plugin is not None
    assert set(block["properties"]) == set(aliases(plugin.config))
    assert block["required"] == ["endpoint", "port"]
    assert block["additionalProperties"] is False
    assert block["properties"]["quick"]["x-argosy"] is True


def test_every_kind_that_is_known_is_allowed() -> None:
    _, found = spec("EventSource")
    known = {kind for kind in registry.source_kinds() if kind != "toyBroken"}
    assert known <= set(found["properties"])
    assert found["additionalProperties"] is False


def test_a_trigger_needs_a_kind_and_may_misplace_what_examples_misplace() -> None:
    whole, _ = spec("Sensor")
    template = whole["$defs"]["TriggerTemplate"]
    assert {"required": ["toySend"]} in template["anyOf"]
    assert {"required": ["slack"]} in template["anyOf"]
    assert template["properties"]["retryStrategy"]["deprecated"] is True
    send = resolved(whole, template["properties"]["toySend"])
    assert send["properties"]["method"]["enum"] == ["", "GET", "POST"]


def test_an_event_bus_has_its_engines() -> None:
    _, found = spec("EventBus")
    assert set(found["properties"]) == set(aliases(EventBusSpec))


def test_one_schema_serves_all_kinds_and_lets_others_pass() -> None:
    whole = schema_of_all()
    assert [choice["if"]["properties"]["kind"]["const"] for choice in whole["allOf"]] == list(KINDS)
    assert "required" not in whole
    assert "properties" not in whole


def test_a_duration_is_text_or_a_number() -> None:
    whole, _ = spec("Sensor")
    kinds = {one["type"] for one in whole["$defs"]["Backoff"]["properties"]["duration"]["anyOf"]}
    assert kinds == {"string", "integer"}
