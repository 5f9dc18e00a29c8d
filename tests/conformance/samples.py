"""One event of each kind as it really came: ``docs/reference/sources/samples/<kind>.json``, shown on the kind's page.

The first test of ``SourceSuite`` writes the file where there is none, and else compares: a payload that has got or lost
a member, or changed a type, is found here and not by a reader of the page. Values are free, for ports and times differ.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from argosy import registry
from argosy.manifests.fields import Json

SAMPLES = Path(__file__).resolve().parents[2] / "docs" / "reference" / "sources" / "samples"


def compare(kind: str, data: Json, id: str | None) -> None:
    """Write the sample of this kind if there is none; fail if the event has another shape than the sample."""
    event = {"id": id, "type": registry.event_type(kind), "data": data}
    path = SAMPLES / f"{kind}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(event, option=orjson.OPT_INDENT_2) + b"\n")
    sample = orjson.loads(path.read_bytes())
    assert shape(event) == shape(sample), (
        f"events of {kind!r} do not look like {path} any more; if that is meant, delete it, run this test and `make docs`"
    )


def shape(value: Json) -> Json:
    """Names and types of a value, without the values; of a list the shapes that its items have."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in sorted(value.items())}
    if isinstance(value, list):
        found: list[Json] = []
        for item in map(shape, value):
            if item not in found:
                found.append(item)
        return found
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else "true or false"
    return "text" if isinstance(value, str) else "number"
