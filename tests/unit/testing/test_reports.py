"""Results for machines: what JUnit, TAP and JSON readers need, whatever stands in names and texts."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from argosy.testing import reports
from argosy.testing.running import Result, run
from tests.unit.testing.bench import Bench, sensor

NAME = 'a <b> & "c" # d \u0001 ü'


@pytest.fixture
def results(bench: Bench) -> list[Result]:
    bench.manifests(sensor())
    good = run(bench.trial(name="good", fires=["ship"]))
    bad = run(bench.trial(name=NAME, fires=[], answers={"ship": {"fails": "]]> \u0002"}}))
    return [good, bad]


def test_junit_is_xml_with_the_counts_and_the_text(results: list[Result]) -> None:
    root = ElementTree.fromstring(reports.as_junit(results))

    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    good, bad = root.iter("testcase")
    assert (good.get("name"), good.find("failure")) == ("good", None)
    failure = bad.find("failure")
    assert failure is not None and failure.text is not None
    assert bad.get("name") == NAME.replace("\u0001", "\ufffd")
    assert failure.get("message") == "fires: wanted and found differ"
    assert "'ship' fired, which was not wanted:" in failure.text


def test_tap_has_a_plan_and_a_line_for_each_test(results: list[Result]) -> None:
    lines = reports.as_tap(results).splitlines()

    assert lines[:2] == ["TAP version 14", "1..2"]
    assert lines[2].startswith("ok 1 - ")
    assert lines[3].startswith("not ok 2 - ")
    assert "\\# d" in lines[3]
    assert (lines[4], lines[-1]) == ("  ---", "  ...")


def test_json_holds_everything(results: list[Result]) -> None:
    told = json.loads(reports.as_json(results, None))

    assert (told["passed"], told["failed"]) == (1, 1)
    assert told["tests"][1]["name"] == NAME
    assert told["tests"][1]["failures"][0]["sentence"] == "fires: wanted and found differ"
    assert told["tests"][0]["failures"] == []
