"""The page about what manifests become says what they become: its manifests are made into objects, its tables are looked up in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from argosy.kubernetes.workloads import Settings, event_bus, event_source, parse, runners, sensor
from argosy.manifests.eventbus import parse_event_bus
from argosy.manifests.eventsource import parse_event_source
from argosy.manifests.sensor import parse_sensor
from tests.unit.kubernetes.objects import BUS, Object, credentials

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "workloads.md").read_text()
_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
_FIELD = re.compile(r"^\| `([^`]+)` \| `([^|]+)` \|", re.MULTILINE)


class Section(NamedTuple):
    """A section with tables: its text and the objects that it is about."""

    title: str
    text: str
    objects: list[Object]


def _objects(text: str) -> list[Object]:
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    raw = yaml.safe_load(found[1]) if found else {}
    if raw.get("kind") == "EventSource":
        source, _ = parse_event_source(raw)
        assert source
        return event_source(source, BUS, Settings())
    if raw.get("kind") == "Sensor":
        one, _ = parse_sensor(raw)
        assert one
        return sensor(one, BUS, Settings())
    if raw.get("kind") == "EventBus":
        bus, _ = parse_event_bus(raw)
        assert bus
        return event_bus(bus, Settings(), credentials())
    return runners("shop", 1, Settings())


def _sections() -> list[Section]:
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)[1:]
    return [
        Section(title, text, _objects(text))
        for title, text in zip(parts[::2], parts[1::2], strict=True)
        if "| object |" in text
    ]


@pytest.mark.parametrize("section", _sections(), ids=lambda section: section.title)
def test_the_objects_are_those_of_the_table(section: Section) -> None:
    table = section.text.partition("| object | name |")[2].partition("\n\n")[0]

    told = [(kind.strip(), name.strip().strip("`")) for kind, name in _ROW.findall(table) if not kind.startswith("-")]

    assert told == [(one["kind"], one["metadata"]["name"]) for one in section.objects]


@pytest.mark.parametrize("section", _sections(), ids=lambda section: section.title)
def test_the_fields_have_the_values_of_the_tables(section: Section) -> None:
    tables = re.split(r"^\| in the (\w+) \| is \|", section.text, flags=re.MULTILINE)[1:]
    looked_up = 0
    for kind, table in zip(tables[::2], tables[1::2], strict=True):
        (one,) = (each for each in section.objects if each["kind"] == kind)
        for path, told in _FIELD.findall(table.partition("\n\n")[0]):
            assert _value(one, path) == yaml.safe_load(told), path
            looked_up += 1
    rows = section.text.partition("| in the ")[2].count("\n| `")
    assert looked_up == rows > 2


def test_the_configuration_is_one() -> None:
    text = re.search(r"<!-- parsed -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert text

    settings = parse(text[1])

    assert settings.image == "registry.example/argosy:1.0"
    assert settings.jetstream.settings == "max_file_store: 50GB\n"


def _value(one: Any, path: str) -> Any:
    for part in path.split("."):
        one = one[int(part)] if isinstance(one, list) else one[part]
    return one
