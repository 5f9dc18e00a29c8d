"""The documentation tells the truth: manifests lint, commands run, links lead somewhere, generated pages
are current."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.examples import snippets
from tests.examples.snippets import ROOT, Snippet

_MANIFESTS = [s for s in snippets.all_snippets() if s.language == "yaml" and "apiVersion: argoproj.io" in s.text]
_RUNNABLE = [s for s in snippets.all_snippets() if s.language == "console" and s.mark == "runs"]
_LINK = re.compile(r"\]\((?!https?://|mailto:|#)(?P<target>[^)#\s]+)(?:#[^)]*)?\)")


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("argosy_docs_generator", ROOT / "tools" / "docs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _environment() -> dict[str, str]:
    """The environment of somebody who has activated ``.venv``."""
    here = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([here, os.environ["PATH"]]),
        "COLUMNS": "110",
        "NO_COLOR": "1",
    }


@pytest.mark.parametrize("snippet", _MANIFESTS, ids=str)
def test_a_manifest_in_the_docs_lints(snippet: Snippet, tmp_path: Path) -> None:
    # Given the manifest as a file
    (tmp_path / "manifest.yaml").write_text(snippet.text)
    # When it is linted as a reader would
    argosy = [sys.executable, "-m", "argosy.cli.main", "lint", "manifest.yaml"]
    done = subprocess.run(argosy, cwd=tmp_path, env=_environment(), capture_output=True, text=True)
    # Then there is nothing to say against it
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("snippet", _RUNNABLE, ids=str)
def test_commands_in_the_docs_do_what_they_show(snippet: Snippet, tmp_path: Path) -> None:
    # Given a reader in a clone, with the files that the page holds
    for name in ("examples", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name, text in snippets.files(snippet.page).items():
        if not (tmp_path / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    for step in snippets.steps(snippet):
        # When a command is typed
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=tmp_path,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
        )
        # Then it works and prints what the page shows
        assert done.returncode == 0, f"{step.command}\n{done.stdout}"
        line = snippets.missing(step.shows, done.stdout)
        assert line is None, f"{step.command} does not print {line!r}:\n{done.stdout}"


@pytest.mark.parametrize("page", snippets.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [found["target"] for found in _LINK.finditer(page.read_text())]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_can_be_reached_from_the_index() -> None:
    # Given the pages that links lead to, beginning with the index
    found: set[Path] = set()
    ahead = [ROOT / "docs" / "index.md"]
    while ahead:
        page = ahead.pop().resolve()
        if page in found or page.suffix != ".md" or not page.exists():
            continue
        found.add(page)
        ahead += [page.parent / link["target"] for link in _LINK.finditer(page.read_text())]
    # Then no page of ours is missing
    assert sorted(set((ROOT / "docs").rglob("*.md")) - found) == []


def test_generated_pages_are_current() -> None:
    # In a process of its own: plug-ins that other tests registered must not show in the pages.
    check = subprocess.run([sys.executable, str(ROOT / "tools" / "docs.py"), "--check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


def test_the_page_of_every_trigger_shows_what_it_sends_and_how_it_fails() -> None:
    folder = ROOT / "docs" / "reference" / "triggers"
    held = {path.stem: json.loads(path.read_text()) for path in (folder / "samples").glob("*.json")}
    assert held.keys() == {path.stem for path in folder.glob("*.md")} - {"index"}
    assert [kind for kind, sample in held.items() if "sent" not in sample] == []
    # What asks nobody and refuses nothing has nothing that fails
    assert [kind for kind, sample in held.items() if kind != "log" and "failures.denied" not in sample] == []


class TestSnippets:
    """What the tests above rely on."""

    def test_output_is_compared_in_order_and_may_be_left_out(self) -> None:
        printed = "one\ntwo 17\nthree\n"
        assert snippets.missing(("one", "three"), printed) is None
        assert snippets.missing(("two …",), printed) is None
        assert snippets.missing(("three", "one"), printed) == "one"
        assert snippets.missing(("two 1",), printed) == "two 1"

    def test_commands_are_split_from_what_they_print(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("text\n\n<!-- runs -->\n```console\n$ a \\\n  b\nout\n$ c\n```\n```yaml\nx: 1\n```\n")
        console, yaml = snippets.read(page)
        assert [(step.command, step.shows) for step in snippets.steps(console)] == [
            ("a \\\n  b", ("out",)),
            ("c", ()),
        ]
        assert (console.mark, yaml.mark, yaml.language, yaml.line) == ("runs", "", "yaml", 10)
