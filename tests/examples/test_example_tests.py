"""The examples' own tests: they pass, they decide everything, and a broken filter or parameter is noticed."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from argosy.testing import format as test_format
from argosy.testing.coverage import Coverage
from argosy.testing.loading import Loader, Trial
from argosy.testing.running import run, run_all
from tests.examples.snippets import ROOT

EXAMPLES = ROOT / "examples"
FOLDERS = ["quickstart", "openstack"]

_loaded = Loader().load([EXAMPLES])


def test_every_test_file_of_the_examples_can_be_read() -> None:
    assert [str(finding) for finding in _loaded.findings] == []
    assert {Path(file).relative_to(EXAMPLES).parts[0] for file in _loaded.files} == set(FOLDERS)


@pytest.mark.parametrize("trial", _loaded.trials, ids=[f"{Path(one.file).stem}: {one.name}" for one in _loaded.trials])
def test_it_passes(trial: Trial) -> None:
    result = run(trial)

    assert result.passed, "\n".join(result.lines())


def test_nothing_in_the_examples_is_left_undecided() -> None:
    coverage = Coverage()

    assert all(result.passed for result in run_all(_loaded.trials, coverage=coverage))

    count, gaps = coverage.gaps()
    assert count > 0
    assert [str(gap) for gap in gaps] == []


@pytest.mark.parametrize("file", _loaded.files, ids=lambda file: str(Path(file).relative_to(EXAMPLES)))
def test_an_editor_finds_nothing_wrong(file: str) -> None:
    schema = Draft202012Validator(test_format.schema())

    assert [error.message for error in schema.iter_errors(yaml.safe_load(Path(file).read_text()))] == []


def _never(clause: dict[str, Any]) -> None:
    clause["value"] = ["0.5"] if clause["type"] == "number" else ["^never$"]


def _always(clause: dict[str, Any]) -> None:
    clause["value"] = ["."]


def _clauses(document: dict[str, Any]) -> list[dict[str, Any]]:
    dependencies = document["spec"]["dependencies"]
    return [clause for one in dependencies for clause in (one.get("filters") or {}).get("data", ())]


def _breaks() -> Iterator[Any]:
    """Each clause of each sensor, made to refuse everything, and made to take everything."""
    for folder in ("openstack/in-process", "openstack/workflows"):
        for path in sorted((EXAMPLES / folder).glob("*.yaml")):
            if path.name.endswith(".test.yaml"):
                continue
            for number, document in enumerate(yaml.safe_load_all(path.read_text())):
                if not document or document["kind"] != "Sensor":
                    continue
                for index in range(len(_clauses(document))):
                    for change in (_never, _always):
                        name = f"{folder}/{document['metadata']['name']}[{index}]{change.__name__}"
                        yield pytest.param(folder, path.name, number, index, change, id=name)


@pytest.mark.parametrize(("folder", "file", "number", "index", "change"), list(_breaks()))
def test_a_broken_clause_is_noticed(
    folder: str, file: str, number: int, index: int, change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    # Given the example with one clause of one filter changed
    place = tmp_path / "it"
    shutil.copytree(EXAMPLES / "openstack", place)
    path = place / Path(folder).name / file
    documents = copy.deepcopy(list(yaml.safe_load_all(path.read_text())))
    change(_clauses(documents[number])[index])
    path.write_text("---\n".join(json.dumps(document) + "\n" for document in documents))
    # When its tests are run
    loaded = Loader().load([path.parent])
    results = list(run_all(loaded.trials, fail_fast=True))
    # Then one of them fails
    assert not loaded.errors
    assert not results[-1].passed
