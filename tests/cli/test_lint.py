"""``argosy lint``, from the call to the exit code."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argosy.cli.main import main
from argosy.manifests.checks.rules import rules

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
    assert said["counts"] == {"error": 2, "warning": 0, "info": 0}
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
        "fix": "Write the name that was meant, or remove the field.",
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


def test_what_to_do_stands_below_the_first_finding_of_a_code(folder: Path) -> None:
    (folder / "a.yaml").write_text(BAD.replace('port: "1"', 'prot: "1"'))
    lines = lint(str(folder)).stdout.splitlines()
    fixes = [
        number for number, line in enumerate(lines) if line == "    Write the name that was meant, or remove the field."
    ]
    assert len([line for line in lines if "[unknown-field]" in line]) == 2
    assert len(fixes) == 1
    assert "[unknown-field]" in lines[fixes[0] - 1]


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        (GOOD, []),
        (GOOD.replace("order:", "or.der:"), ["info"]),
        (WARNED, ["warning", "info"]),
        (BAD, ["error", "warning", "info"]),
    ],
    ids=["clean", "note", "warning", "error"],
)
def test_the_mildest_severity_that_fails_is_a_choice(folder: Path, text: str, fails: list[str]) -> None:
    (folder / "a.yaml").write_text(text)
    failed = [one for one in ("error", "warning", "info") if lint("--fail-on", one, str(folder)).exit_code]
    assert failed == fails


def test_colour_is_for_terminals_only_and_can_be_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.yaml").write_text(BAD)
    arguments = ["lint", str(folder)]
    monkeypatch.delenv("NO_COLOR", raising=False)
    # Given output that is no terminal, then one that is, then one whose user wants none
    assert "\x1b[" not in CliRunner().invoke(main, arguments).stdout
    coloured = CliRunner().invoke(main, arguments, color=True).stdout
    assert "\x1b[31m" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = CliRunner().invoke(main, arguments, color=True).stdout
    # Then colour is all that differs
    assert "\x1b[" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_a_code_is_explained_with_its_example() -> None:
    result = lint("--explain", "unknown-parameter")
    assert result.exit_code == 0
    assert "To mend it: Write the name as the template has it." in result.stdout
    assert "- name: order_id  # <- unknown-parameter" in result.stdout


def test_an_unknown_code_is_told_with_the_one_that_was_meant() -> None:
    result = lint("--explain", "unknown-paramter")
    assert result.exit_code == 2
    assert "there is no code 'unknown-paramter'; did you mean 'unknown-parameter'?" in result.stderr


def test_a_start_imports_no_client_and_no_language_that_is_not_used(folder: Path) -> None:
    # Given manifests without programs
    code = (
        "import sys; from argosy.cli.main import main\n"
        "try: main(['lint', sys.argv[1]])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(*sorted(sys.modules), sep='\\n')"
    )
    (folder / "a.yaml").write_text(rules()["unused-event"].example)
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    # Then what only a run or a program needs is not there
    heavy = {"jq", "lupa", "re2", "aio_pika", "grpclib", "httpx2", "lightkube", "nats", "uvicorn", "opentelemetry"}
    assert not heavy & set(done.stdout.split())
    assert not {name for name in done.stdout.split() if name.startswith("argosy.lang.")} & {
        "argosy.lang.gjson",
        "argosy.lang.jq",
        "argosy.lang.lua",
        "argosy.lang.expr",
        "argosy.lang.govaluate",
        "argosy.lang.gotemplate",
    }


def test_help_teaches() -> None:
    text = lint("--help").stdout
    assert "Exit codes" in text
    assert "argosy lint manifests/" in text
