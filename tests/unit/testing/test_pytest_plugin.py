"""The pytest plug-in, in a pytest of its own: the same files, one item a test, the same text."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.unit.testing.bench import Bench, sensor

TESTS = """\
tests:
  - name: it ships
    event: {from: web/order}
    fires: [ship]
  - name: it does not
    event: {from: web/order}
    fires: []
"""


def _pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    # The plug-in is named, so that the test does not depend on how Argosy was installed.
    plugins = ["-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "argosy.testing.pytest_plugin"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "pytest", *plugins, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def shop(bench: Bench) -> Bench:
    bench.manifests(sensor())
    (bench.folder / "it.test.yaml").write_text(TESTS)
    return bench


def test_each_test_is_an_item_and_a_failure_says_why(shop: Bench) -> None:
    done = _pytest(shop.folder, "-q")

    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "'ship' fired, which was not wanted:\n  ship at 0s for event-1 (order)" in done.stdout
    assert "FAILED it.test.yaml::it does not" in done.stdout
    assert "Traceback" not in done.stdout


def test_items_are_chosen_by_name(shop: Bench) -> None:
    done = _pytest(shop.folder, "-q", "it.test.yaml::it ships")

    assert (done.returncode, "1 passed" in done.stdout) == (0, True)


def test_a_file_with_a_mistake_is_an_error_with_its_place(shop: Bench) -> None:
    (shop.folder / "it.test.yaml").write_text(TESTS.replace("fires: [ship]", "fires: [shpi]"))

    done = _pytest(shop.folder, "-q")

    assert done.returncode == 2
    assert "it.test.yaml:4:13: error: no sensor here has a trigger 'shpi'; did you mean 'ship'?" in done.stdout


def test_where_there_is_no_such_file_nothing_of_argosy_is_loaded(tmp_path: Path) -> None:
    # Given a project that has nothing to do with Argosy but a test that looks at what is loaded
    (tmp_path / "test_it.py").write_text(
        "import sys\n\n\ndef test_it():\n"
        "    loaded = {name for name in sys.modules if name.partition('.')[0] in ('argosy', 'pydantic', 'yaml')}\n"
        "    assert loaded == {'argosy', 'argosy.testing', 'argosy.testing.pytest_plugin'}\n"
    )

    done = _pytest(tmp_path, "-q")

    assert done.returncode == 0, done.stdout


def test_whoever_installs_argosy_has_the_plugin() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]

    assert project["entry-points"]["pytest11"] == {"argosy": "argosy.testing.pytest_plugin"}
