"""Whatever is done to a manifest, lint says what is wrong and never fails itself."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy.cli._lint_formats import FORMATS, Report
from argosy.manifests._yaml import Fault, documents
from argosy.manifests.additions import additions
from argosy.manifests.bundle import Bundle, from_objects, loads
from argosy.manifests.checks.rules import rules

TEXTS = [rule.example for rule in rules().values() if rule.example]
SETS: list[list[Any]] = [
    [document.value for document in documents(text) if not isinstance(document, Fault)] for text in TEXTS
]

WORDS = st.sampled_from(
    (
        "",
        "a",
        ".",
        "..0",
        "-1",
        "99999999999",
        "metadata",
        "spec",
        "spec.arguments.parameters.7.value",
        "k8s.source.resource.spec.arguments.parameters.0.name",
        "#(a",
        "{{",
        "(",
        "a && b",
        "order",
        "shop",
        "${x}",
        "\u0000",
        "2006-01-02T15:04:05Z",
        "NaN",
        "0x1p-2",
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | WORDS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [at] if at else []
    for key, item in inner:
        found += places(item, (*at, key))
    return found


def holder(value: Any, at: tuple[Any, ...]) -> Any:
    for part in at[:-1]:
        value = value[part]
    return value


@st.composite
def mutated(draw: st.DrawFn) -> list[Any]:
    objects = copy.deepcopy(draw(st.sampled_from(SETS)))
    for _ in range(draw(st.integers(1, 4))):
        everywhere = places(objects)
        if not everywhere:
            break
        at = draw(st.sampled_from(everywhere))
        parent = holder(objects, at)
        match draw(st.sampled_from(("remove", "replace", "rename", "move", "repeat"))):
            case "remove":
                del parent[at[-1]]
            case "replace":
                parent[at[-1]] = draw(VALUES)
            case "rename" if isinstance(parent, dict):
                parent[draw(WORDS | st.text(max_size=8))] = parent.pop(at[-1])
            case "move":
                other = draw(st.sampled_from(everywhere))
                value = holder(objects, other)[other[-1]]
                parent[at[-1]] = copy.deepcopy(value)
            case "repeat" if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[at[-1]]))
    return objects


def assert_said(bundle: Bundle) -> None:
    findings = bundle.findings + additions(bundle)
    for finding in findings:
        rule = rules()[finding.code]
        assert finding.severity in rule.severities
        assert finding.message
    for write in FORMATS.values():
        assert "".join(write(Report(bundle, findings, verbose=True))).encode("utf-8", "surrogatepass")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(objects=mutated())
def test_an_object_that_was_changed_anyhow_is_read_to_the_end(objects: list[Any]) -> None:
    assert_said(from_objects(objects))


@settings(max_examples=150, deadline=None)
@given(
    text=st.sampled_from(TEXTS),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.text(max_size=4)), min_size=1, max_size=4),
)
def test_a_text_that_was_changed_anyhow_is_read_to_the_end(text: str, cuts: list[tuple[float, int, str]]) -> None:
    for where, length, new in cuts:
        at = int(where * len(text))
        text = text[:at] + new + text[at + length :]
    assert_said(loads(text.encode("utf-8", "surrogatepass")))
