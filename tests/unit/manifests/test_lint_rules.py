"""Every code has an example that produces it and nothing else, and every code that is produced is explained."""

from __future__ import annotations

import ast
import re
import socket
from pathlib import Path

import pytest

from argosy import registry
from argosy.manifests.additions import additions
from argosy.manifests.bundle import Finding, load, loads
from argosy.manifests.checks.rules import rules
from tests.manifest_toys import toys

__all__ = ["toys"]

SOURCES = Path(__file__).parents[3] / "src" / "argosy" / "manifests"
EXAMPLES = SOURCES / "checks" / "examples"
NOT_IN_A_TEXT = {"encoding", "no-file", "plugin-broken", "too-large", "unreadable"}
"""Codes of what no YAML can show; each has a test below."""
_MARK = re.compile(r"# <- ([a-z-]+)")


def marks(text: str) -> list[tuple[str, int]]:
    return [(mark[1], number) for number, line in enumerate(text.splitlines(), 1) for mark in _MARK.finditer(line)]


def findings(text: str, code: str) -> list[Finding]:
    bundle = loads(text)
    return bundle.findings + (additions(bundle) if code == "argosy-only" else [])


@pytest.mark.parametrize("code", sorted(set(rules()) - NOT_IN_A_TEXT))
def test_a_planted_mistake_is_found_at_its_line_and_nothing_else(code: str) -> None:
    # Given manifests with one mistake, on the line that is marked
    text = rules()[code].example
    planted = marks(text)
    assert [one for one, _ in planted] == [code]
    # When they are read
    found = findings(text, code)
    # Then it is found there, and nothing else, not even a note
    assert [(one.code, one.line) for one in found] == planted, [str(one) for one in found]
    # And it is as loud as its rule says
    assert found[0].severity in rules()[code].severities


def test_manifests_without_the_mistake_are_clean() -> None:
    # Given the example that has a template, an account, a role and a binding, with its mistake mended
    text = rules()["unknown-workflow-template"].example.replace(
        "name: pakc  # <- unknown-workflow-template", "name: pack"
    )
    assert loads(text).findings == []


def test_there_is_no_example_of_what_is_no_code() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.yaml")} <= set(rules())


def emitted() -> set[str]:
    """Every code that the source text of ``argosy.manifests`` can give to a finding."""
    codes: set[str] = set()
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in ("Problem", "Finding", "Fault"):
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    codes.add(str(first.value))
                elif isinstance(first, ast.JoinedStr):
                    codes.add("bad-*")
                else:
                    codes.add(ast.unparse(first))
            elif name == "_faults":
                codes.add(f"bad-{ast.literal_eval(node.args[0])}" if isinstance(node.args[0], ast.Constant) else "?")
    return codes


def test_every_code_that_can_be_produced_is_explained_and_the_other_way_round() -> None:
    passed_on = {"bad-*", "self.code", "problem.code", "document.code", "odd.code"}
    assert emitted() - passed_on == set(rules())


@pytest.mark.parametrize("code", sorted(rules()))
def test_a_rule_is_complete(code: str) -> None:
    rule = rules()[code]
    assert rule.severities
    for sentence in (rule.means, rule.why, rule.fix):
        assert sentence[0].isupper() or not sentence[0].isalpha()
        assert sentence.endswith(".")


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"name: \xff\n")
    assert [one.code for one in load([file]).findings] == ["encoding"]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    assert [one.code for one in load([tmp_path / "a.yaml"]).findings] == ["no-file"]


def test_what_is_too_large_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    with file.open("wb") as stream:
        stream.truncate(16 * 1024 * 1024 + 1)
    assert [one.code for one in load([file]).findings] == ["too-large"]


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    # Given a name under which there is a socket and no file: it cannot be opened, whoever asks
    file = tmp_path / "a.yaml"
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(file))
        assert [one.code for one in load([file]).findings] == ["unreadable"]


@pytest.mark.usefixtures("toys")
def test_a_kind_whose_code_is_broken_is_told() -> None:
    assert registry.source_kinds()
    text = "apiVersion: argoproj.io/v1alpha1\nkind: EventSource\nmetadata: {name: a}\nspec: {toyBroken: {e: {}}}\n"
    assert [one.code for one in loads(text).findings] == ["plugin-broken"]
