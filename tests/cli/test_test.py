"""``argosy test``, from the call to the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argosy.cli.main import main

MANIFESTS = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: web}
spec:
  webhook:
    hello: {port: "12000", endpoint: /hello, method: POST}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: greet}
spec:
  dependencies:
    - name: hello
      eventSourceName: web
      eventName: hello
      filters:
        data:
          - {path: body.name, type: string, value: ["^[A-Za-z]+$"]}
  triggers:
    - template:
        name: say-hello
        http:
          url: http://127.0.0.1:9000/
          payload:
            - src: {dependencyName: hello, dataKey: body.name}
              dest: greet
"""
GOOD = """\
tests:
  - name: Ada is greeted
    event: {from: web/hello, raw: {name: Ada}}
    fires: [say-hello]
"""
BAD = """\
tests:
  - name: a robot is greeted
    event: {from: web/hello, raw: {name: R2-D2}}
    fires: [say-hello]
  - name: nobody is greeted
    event: {from: web/hello, raw: {}}
    fires: [say-hello]
"""
GOLDEN = """\
tests:
  - name: golden
    event: {from: web/hello, raw: {name: Ada}}
    fires: [{trigger: say-hello, golden: greeting.yaml}]
"""


def test(*arguments: str, color: bool = False) -> Result:
    return CliRunner().invoke(main, ["test", *arguments], color=color)


test.__test__ = False  # type: ignore[attr-defined]  # the command's name, not a test


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.yaml").write_text(MANIFESTS)
    (tmp_path / "good.test.yaml").write_text(GOOD)
    return tmp_path


def test_all_that_pass_end_with_0(folder: Path) -> None:
    result = test(".")

    assert result.exit_code == 0
    assert result.stdout.startswith("ok    good.test.yaml: Ada is greeted\n1 test: 1 passed in ")


def test_one_that_fails_ends_with_1_and_says_why(folder: Path) -> None:
    (folder / "bad.test.yaml").write_text(BAD)

    result = test(".")

    assert result.exit_code == 1
    assert (
        "FAIL  bad.test.yaml:2: a robot is greeted\n    fires: wanted and found differ\n      --- wanted"
        in result.stdout
    )
    assert "data[0]: `body.name` is `R2-D2`, wanted `^[A-Za-z]+$`" in result.stdout
    assert "3 tests: 1 passed, 2 failed in " in result.stdout


def test_fail_fast_stops_there(folder: Path) -> None:
    (folder / "bad.test.yaml").write_text(BAD)

    result = test("--fail-fast", ".")

    assert result.exit_code == 1
    assert "3 tests: 0 passed, 1 failed, 2 not run in " in result.stdout


def test_tests_are_chosen_by_name_and_file(folder: Path) -> None:
    (folder / "bad.test.yaml").write_text(BAD)

    assert "1 test: 1 passed" in test("-k", "ADA", ".").stdout
    assert "1 test: 1 passed" in test("-k", "good.test", ".").stdout
    assert "1 test: 0 passed, 1 failed" in test("-k", "robot", ".").stdout


@pytest.mark.parametrize(
    "arguments", [[], ["gone"], ["-o", "xml", "."], ["--updat", "."], ["-k", "nothing", "."], ["m.yaml"]]
)
def test_a_wrong_call_ends_with_2(folder: Path, arguments: list[str]) -> None:
    assert test(*arguments).exit_code == 2


def test_a_folder_without_tests_ends_with_2(tmp_path: Path) -> None:
    result = test(str(tmp_path))

    assert result.exit_code == 2
    assert "argosy test: there is no test in " in result.stderr


def test_a_file_with_a_mistake_ends_with_2_and_runs_nothing(folder: Path) -> None:
    (folder / "bad.test.yaml").write_text(GOOD.replace("fires", "fiers"))

    result = test(".")

    assert result.exit_code == 2
    assert "bad.test.yaml:4:5: error: unknown field 'fiers'; did you mean 'fires'? [unknown-field]" in result.stderr
    assert result.stdout == ""


def test_golden_files_are_written_when_asked(folder: Path) -> None:
    (folder / "golden.test.yaml").write_text(GOLDEN)

    assert test(".").exit_code == 1
    assert test("--update", ".").exit_code == 0
    assert "payload:\n  greet: Ada\n" in (folder / "greeting.yaml").read_text()
    assert test(".").exit_code == 0
    (folder / "golden.test.yaml").write_text(GOLDEN.replace("Ada", "Bob"))
    result = test(".")
    assert result.exit_code == 1
    assert "-  greet: Ada" in result.stdout and "+  greet: Bob" in result.stdout


def test_coverage_names_what_no_test_decided(folder: Path) -> None:
    result = test("--coverage", ".")

    assert "coverage: 3 of 4 points of 1 sensor were decided\n" in result.stdout
    assert "  m.yaml:18: sensor 'greet': dependency 'hello': data[0] never refused an event\n" in result.stdout


def test_json_says_the_same_to_machines(folder: Path) -> None:
    (folder / "bad.test.yaml").write_text(BAD)

    result = test("-o", "json", "--coverage", ".")

    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["passed"], told["failed"], len(told["tests"])) == (1, 2, 3)
    assert told["coverage"] == {"points": 4, "decided": 4, "gaps": []}


@pytest.mark.parametrize(("output", "begins"), [("junit", "<?xml version"), ("tap", "TAP version 14\n1..1\nok 1 - ")])
def test_other_machines_get_their_own(folder: Path, output: str, begins: str) -> None:
    result = test("-o", output, "--coverage", ".")

    assert result.exit_code == 0
    assert result.stdout.startswith(begins)
    assert "coverage:" in result.stderr


def test_on_a_terminal_a_diff_has_colours(folder: Path) -> None:
    (folder / "bad.test.yaml").write_text(BAD)

    assert "\x1b[32m+[]" in test(".", color=True).stdout
    assert "\x1b[" not in test(".").stdout


def test_what_the_triggers_log_stays_out_of_the_way(folder: Path) -> None:
    (folder / "good.test.yaml").write_text(GOOD + "    answers: {say-hello: fails}\n")

    result = test(".")

    assert (result.exit_code, result.stderr) == (0, "")


def test_help_teaches() -> None:
    text = test("--help").stdout

    assert "Exit codes" in text
    assert "fires: [say-hello]" in text
