"""``argosy schema`` prints a schema that an editor can take."""

import json

import pytest
from click.testing import CliRunner

from argosy.cli.main import main

pytestmark = pytest.mark.usefixtures("toys")


@pytest.mark.parametrize("kind", ["EventSource", "EventBus", "Sensor", "sensor"])
def test_one_kinds_schema_is_printed(kind: str) -> None:
    result = CliRunner().invoke(main, ["schema", kind])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["properties"]["kind"]["const"].lower() == kind.lower()


@pytest.mark.parametrize("arguments", [[], ["--all"]])
def test_without_a_kind_the_schema_is_of_all(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["schema", *arguments])
    assert result.exit_code == 0
    whole = json.loads(result.stdout)
    assert {"EventSource", "EventBus", "Sensor"} <= set(whole["$defs"])
    assert "toyHook" in whole["$defs"]["EventSourceSpec"]["properties"]


@pytest.mark.parametrize("arguments", [["Deployment"], ["Sensor", "--all"]])
def test_a_wrong_call_ends_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["schema", *arguments]).exit_code == 2


@pytest.mark.parametrize("kind", ["Test", "test"])
def test_the_schema_of_tests_is_printed(kind: str) -> None:
    result = CliRunner().invoke(main, ["schema", kind])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["required"] == ["tests"]
