"""What a trigger of each kind sends, as it really came, and what becomes of it when something goes wrong:
``docs/reference/triggers/samples/<kind>.json``, shown on the kind's page.

Tests of ``TriggerSuite`` write the parts of the file that are not there, and else compare: a request that has got or lost a header, a
failure that has changed its class, is found here and not by a reader of the page. Other values are free, for ports and times differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

import orjson

from argosy.manifests.fields import Json
from argosy.triggers._base import TELLING
from tests.conformance.samples import shape

SAMPLES = Path(__file__).resolve().parents[2] / "docs" / "reference" / "triggers" / "samples"
ACTION = "0123456789abcdef0123456789abcdef"
"""The action whose request is shown; a real id looks like this."""
_HIDDEN = "…"


def compare_sent(kind: str, block: Json, arrived: Json, private: Collection[str], *, deduplicates: bool) -> None:
    """Compare what arrived for the action ``ACTION`` and this block with the sample; fail if it has another shape."""
    texts = {"block": without(block, private), "arrived": without(arrived, private)}
    shown = {"action": ACTION, **texts, "deduplicates": deduplicates}
    _compare(kind, "sent", shown, lambda value: [shape(value["arrived"]), value["deduplicates"]])


def compare_failure(kind: str, how: str, when: str, means: str, says: str, private: Collection[str]) -> None:
    """Compare the class of a failure with the sample's; the sentence may change."""
    _compare(
        kind,
        f"failures.{how}",
        {"when": when, "class": means, "says": without(says, private)},
        lambda value: value["class"],
    )


def without(value: Json, private: Collection[str]) -> Json:
    """The value without secrets: neither these texts nor what stands under a name that tells of a secret."""
    if isinstance(value, dict):
        return {
            name: _HIDDEN if TELLING.search(name) and isinstance(one, str) else without(one, private)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [without(item, private) for item in value]
    if isinstance(value, str) and private:
        longest_first = sorted(private, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), _HIDDEN, value)
    return value


def text_of(body: bytes) -> Json:
    """A body as a page shows it: what it is if it is JSON, else its text."""
    try:
        found: Json = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")
    return found


def _compare(kind: str, part: str, value: Json, looks: Callable[[Json], Json]) -> None:
    path = SAMPLES / f"{kind}.json"
    held = orjson.loads(path.read_bytes()) if path.exists() else {}
    if part not in held:
        path.parent.mkdir(parents=True, exist_ok=True)
        held[part] = value
        ordered = dict(sorted(held.items(), key=lambda one: (one[0] != "sent", one[0])))
        path.write_bytes(orjson.dumps(ordered, option=orjson.OPT_INDENT_2) + b"\n")
    assert looks(value) == looks(held[part]), (
        f"{part!r} of {kind!r} is not as {path} has it any more; if that is meant, delete the part, run this test and `make docs`"
    )
