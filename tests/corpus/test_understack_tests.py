"""Every event of the UnderStack corpus as a ``*.test.yaml`` file: which of the 14 sensors fire, and with exactly which objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from argosy.manifests.bundle import load
from argosy.testing.loading import Loader, Trial
from argosy.testing.running import run

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "understack"
if not CORPUS.is_dir():
    pytest.skip("the corpus folder ../shared/corpus is not beside this checkout", allow_module_level=True)

# What is not delivered goes to a queue that no event source is bound to, so there is nothing for a sensor to decide.
CASES = [case for case in json.loads((CORPUS / "index.json").read_text()) if case["delivered"]]


def _event(case: dict[str, Any]) -> dict[str, Any]:
    """The payload as it enters its source: an AMQP body, a web request, or a changed object of the cluster."""
    file = str(CORPUS / "events" / case["file"])
    event: dict[str, Any] = {"from": f"{case['eventSource']}/{case['eventName']}"}
    if case["type"] == "resource":
        change = json.loads(Path(file).read_text())
        return {**event, "raw": change["body"], "method": change["type"]}
    if case["type"] == "amqp":
        return {**event, "rawFile": file, "headers": {"exchange": case["exchange"], "routingKey": case["routingKey"]}}
    return {**event, "rawFile": file, "headers": {"Content-Type": "application/json"}}


def _object(case: dict[str, Any], sensor: str) -> dict[str, Any]:
    made = json.loads((CORPUS / "expected" / f"{case['file'].removesuffix('.json')}--{sensor}.json").read_text())
    # The labels are set when the object is created, and so is the namespace of one that names none.
    made["metadata"].pop("labels")
    if not _SENSORS[sensor].triggers[0].config_raw["source"]["resource"]["metadata"].get("namespace"):
        made["metadata"].pop("namespace")
    return made


def _file(case: dict[str, Any], folder: Path) -> Path:
    written: dict[str, Any] = {
        "manifests": [str(CORPUS / "manifests")],
        "tests": [
            {
                "name": case["file"],
                "event": _event(case),
                "fires": [
                    {"trigger": f"{sensor}/{_trigger(sensor)}", "object": _object(case, sensor)}
                    for sensor in case["expect"]
                ],
                "deadLetters": [{"trigger": f"{sensor}/{_trigger(sensor)}"} for sensor in case["expectTriggerError"]],
            }
        ],
    }
    path = folder / "case.test.yaml"
    path.write_text(json.dumps(written, indent=1))
    return path


def _trigger(sensor: str) -> str:
    return _SENSORS[sensor].triggers[0].name


_SENSORS = {sensor.metadata.name: sensor for sensor in load([CORPUS / "manifests"]).sensors}


@pytest.fixture(scope="module")
def loader() -> Loader:
    return Loader()


def _trial(loader: Loader, path: Path) -> Trial:
    loaded = loader.load([path])
    assert not loaded.errors, "\n".join(map(str, loaded.errors))
    (trial,) = loaded.trials
    return trial


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_a_test_of_an_event_passes(case: dict[str, Any], loader: Loader, tmp_path: Path) -> None:
    # Given the event and the objects that are written down, as a test file
    trial = _trial(loader, _file(case, tmp_path))
    # When it is run against the unchanged manifests
    result = run(trial)
    # Then it passes
    assert result.passed, "\n".join(result.lines())


def test_a_wrong_object_is_noticed(loader: Loader, tmp_path: Path) -> None:
    # Given the test of an event whose object is not what it was
    case = next(case for case in CASES if case["expect"])
    path = _file(case, tmp_path)
    text = path.read_text()
    path.write_text(text.replace('"kind": "Workflow"', '"kind": "Workflows"'))
    assert path.read_text() != text
    # When it is run
    result = run(_trial(loader, path))
    # Then it fails and shows the difference
    assert "-kind: Workflows" in "\n".join(line.strip() for line in result.lines())
