"""``argosy lint``, from the call to the exit code."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argosy.cli.main import main

pytestmark = pytest.mark.usefixtures("toys")

GOOD = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: shop}
spec:
  toyHook:
    order: {endpoint: /order, port: "1"}
"""
BAD = GOOD.replace("endpoint", "endpiont").replace("shop", "bad")
WARNED = GOOD.replace("spec:", "spec:\n  type: webhook")
LATER = GOOD.replace("toyHook", "github")


def lint(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["lint", *arguments], input=stdin)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(GOOD)
    return tmp_path


def test_clean_manifests_end_with_0(folder: Path) -> None:
    result = lint(str(folder))
    assert result.exit_code == 0
    assert result.stdout == "1 file with 1 EventSource: clean\n"


def test_errors_end_with_1_and_stand_with_file_line_and_column(folder: Path) -> None:
    (folder / "b.yaml").write_text(BAD)
    result = lint(str(folder))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert (
        f"{folder}/b.yaml:6:13: error: unknown field 'endpiont'; did you mean 'endpoint'? [unknown-field]"
        " (spec.toyHook.order.endpiont)"
    ) in lines
    assert lines[-1] == "2 files with 2 EventSources: 2 errors"


def test_warnings_count_only_when_asked(folder: Path) -> None:
    (folder / "a.yaml").write_text(WARNED)
    assert lint(str(folder)).exit_code == 0
    result = lint("--strict", str(folder))
    assert result.exit_code == 1
    assert "warning: 'type' has no effect since" in result.stdout


def test_kinds_that_are_not_run_yet_are_told_and_do_not_fail(folder: Path) -> None:
    (folder / "a.yaml").write_text(LATER)
    result = lint("--strict", str(folder))
    assert result.exit_code == 0
    assert "later: kind 'github' is not run by this version; event 'order' is left out" in result.stdout
    assert result.stdout.endswith("1 file with 1 EventSource: 1 not run by this version\n")


def test_notes_are_shown_when_asked(folder: Path) -> None:
    (folder / "a.yaml").write_text(GOOD.replace("order:", "or.der:"))
    assert "routing-name" not in lint(str(folder)).stdout
    assert "1 note (--verbose shows them)" in lint(str(folder)).stdout
    assert "info: 'or.der'" in lint("-v", str(folder)).stdout


def test_additions_of_ours_are_named_when_asked(folder: Path) -> None:
    assert lint(str(folder)).exit_code == 0
    result = lint("--strict-upstream", str(folder))
    assert result.exit_code == 0
    assert "kind 'toyHook' is Argosy's own" in result.stdout
    assert lint("--strict", "--strict-upstream", str(folder)).exit_code == 1


def test_json_says_the_same_to_machines(folder: Path) -> None:
    (folder / "b.yaml").write_text(BAD)
    result = lint("-o", "json", str(folder))
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert said["counts"] == {"error": 2, "warning": 0, "later": 0, "info": 0}
    assert said["objects"] == {"EventSource": 2, "EventBus": 0, "Sensor": 0}
    finding = next(one for one in said["findings"] if one["code"] == "unknown-field")
    assert finding == {
        "code": "unknown-field",
        "severity": "error",
        "message": "unknown field 'endpiont'; did you mean 'endpoint'?",
        "file": f"{folder}/b.yaml",
        "line": 6,
        "column": 13,
        "path": "spec.toyHook.order.endpiont",
        "object": "EventSource default/bad",
    }


def test_standard_input_is_read() -> None:
    result = lint("-", stdin=BAD)
    assert result.exit_code == 1
    assert result.stdout.startswith("<stdin>:6:")


def test_several_paths_are_one_set(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "bus.yaml"
    other.write_text(
        "apiVersion: argoproj.io/v1alpha1\nkind: EventBus\nmetadata: {name: default}\nspec: {jetstream: {version: x}}\n"
    )
    assert lint(str(folder), str(other)).stdout == "2 files with 1 EventSource, 1 EventBus: clean\n"


def test_a_folder_without_manifests_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Deployment\napiVersion: apps/v1\n")
    result = lint(str(tmp_path))
    assert result.exit_code == 0
    assert "no EventSource, EventBus or Sensor" in result.stdout


@pytest.mark.parametrize("arguments", [[], ["/no/such/path"], ["--strickt", "."], ["-o", "xml", "."]])
def test_a_wrong_call_ends_with_2(arguments: list[str]) -> None:
    assert lint(*arguments).exit_code == 2


def test_help_teaches() -> None:
    text = lint("--help").stdout
    assert "Exit codes" in text
    assert "argosy lint manifests/" in text
