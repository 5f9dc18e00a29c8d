"""Manifests that nobody in this project wrote are admitted, and those of one set in any order."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.kubernetes.admission.known import KINDS, known
from argosy.kubernetes.admission.review import review
from argosy.manifests._yaml import Fault, documents
from tests.unit.kubernetes.asking import BUS, NAMESPACE, SENSOR, SOURCE, Object, of, question

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
REFUSED = ("tutorials/09-http-trigger/sensor-01.yaml", "tutorials/09-http-trigger/sensor-02.yaml")
"""Upstream's controller refuses these too: the field that they give has been called 'url' since 0.14."""

SET = [
    BUS,
    SOURCE,
    SENSOR,
    of("EventBus quick\njetstream: {version: latest}"),
    of(
        "EventSource payments\neventBusName: quick\nwebhook: {received: {port: '12000', endpoint: /created, method: POST}}"
    ),
    of("""Sensor books
eventBusName: quick
dependencies: [{name: paid, eventSourceName: payments, eventName: received}]
triggers: [{template: {name: booked, log: {}}, emit: {}}]
"""),
    of("""Sensor letters
eventBusName: quick
dependencies: [{name: booked, eventSourceName: books, eventName: booked}]
triggers: [{template: {name: thanks, log: {}}}]
"""),
]


def ours(folder: Path) -> list[tuple[str, Object]]:
    """The objects of our kinds below a folder, with their files."""
    found = []
    for path in sorted(folder.rglob("*.y*ml")):
        for one in documents(path.read_text()):
            if not isinstance(one, Fault) and isinstance(one.value, dict) and one.value.get("kind") in KINDS:
                item = copy.deepcopy(one.value)
                item["metadata"] = {**item.get("metadata", {}), "namespace": NAMESPACE}
                found.append((path.relative_to(folder).as_posix(), item))
    return found


def response(item: Object, there: list[Object]) -> Any:
    return review(question(item), known(NAMESPACE, there, accounts=["default"], about={}))["response"]


def admitted_in_order(items: list[Object]) -> None:
    """Assert that each is admitted where those before it are there."""
    for number, item in enumerate(items):
        answer = response(item, items[:number])
        assert answer["allowed"], answer
    # And once all are there, nothing is missing
    for item in items:
        warnings = response(item, items).get("warnings", [])
        assert not [one for one in warnings if "unknown-event" in one], warnings


@settings(max_examples=25, deadline=None)
@given(items=st.permutations(SET))
def test_a_set_is_admitted_in_any_order(items: list[Object]) -> None:
    admitted_in_order(items)


needs_corpus = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the corpus of real manifests is not there (../shared/corpus beside the checkout)"
)


@needs_corpus
def test_every_example_of_upstream_is_admitted() -> None:
    found = ours(CORPUS / "argo-events-examples")
    assert len(found) >= 120
    refused = sorted({file for file, item in found if not response(item, [])["allowed"]})
    assert refused == sorted(REFUSED)


@needs_corpus
def test_a_whole_installation_is_admitted_in_the_order_of_its_files_and_backwards() -> None:
    found = [item for _, item in ours(CORPUS / "understack" / "manifests")]
    once = list({(item["kind"], item["metadata"]["name"]): item for item in found}.values())
    assert len(once) >= 20
    admitted_in_order(once)
    admitted_in_order(once[::-1])
