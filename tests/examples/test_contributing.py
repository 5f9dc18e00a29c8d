"""CONTRIBUTING.md keeps its word: its four files, put into a copy of the tree, are a source and a trigger.

The copy holds our product and its suites and nothing of the new kinds but one product file each. Whatever
then knows them has read those files.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.examples import snippets
from tests.examples.snippets import ROOT

_FILES = snippets.files(ROOT / "CONTRIBUTING.md")
_PRODUCT = sorted(name for name in _FILES if name.startswith("src/"))
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.egg-info")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the files of CONTRIBUTING.md in it."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("src", "tests", "tools"):
        shutil.copytree(ROOT / name, clone / name, ignore=_NOT_COPIED)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, clone)
    for name, text in _FILES.items():
        assert not (clone / name).exists(), f"{name} of CONTRIBUTING.md is there already"
        (clone / name).write_text(text)
    return clone


def _environment(clone: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(clone / "src"), "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _python(clone: Path, *arguments: str, folder: Path | None = None) -> str:
    """Run a Python module in the copy and return what it prints; fails if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder or clone,
        env=_environment(clone),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}"
    return done.stdout


def _argosy(clone: Path, *arguments: str, folder: Path | None = None) -> str:
    return _python(clone, "argosy.cli.main", *arguments, folder=folder)


@pytest.fixture
def manifests(clone: Path, tmp_path: Path) -> Path:
    """A folder with what ``argosy new`` prints of both kinds."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    for kind in ("udp", "append"):
        (folder / f"{kind}.yaml").write_text(_argosy(clone, "new", kind))
    return folder


def test_each_kind_is_one_product_file() -> None:
    assert _PRODUCT == ["src/argosy/sources/udp.py", "src/argosy/triggers/append.py"]


def test_lint_knows_both_kinds_and_their_fields(clone: Path, manifests: Path) -> None:
    # Given the examples, when they are linted, then nothing is wrong
    _argosy(clone, "lint", ".", folder=manifests)
    # When a field is misspelt, then lint knows what was meant
    source = manifests / "udp.yaml"
    source.write_text(source.read_text().replace("port:", "prot:"))
    with pytest.raises(AssertionError, match=r"udp\.yaml:8:7: .*'port'"):
        _argosy(clone, "lint", ".", folder=manifests)


def test_the_schema_describes_both_kinds(clone: Path) -> None:
    schema = _argosy(clone, "schema")
    json.loads(schema)
    assert '"udp"' in schema
    assert '"append"' in schema


def test_new_lists_both_kinds(clone: Path) -> None:
    listed = [line.split()[0] for line in _argosy(clone, "new", "--list").splitlines() if line.strip()]
    assert {"udp", "append"} <= set(listed)


def test_the_generated_pages_describe_both_kinds(clone: Path) -> None:
    (clone / "docs" / "reference").mkdir(parents=True, exist_ok=True)
    done = subprocess.run([sys.executable, "tools/docs.py"], cwd=clone, env=_environment(clone), check=False)
    assert done.returncode == 0
    page = (clone / "docs" / "reference" / "sources" / "udp.md").read_text()
    assert "| `port` | integer | **required** | The port to receive on. |" in page
    assert "UDP sockets" in page
    assert "# `append`" in (clone / "docs" / "reference" / "triggers" / "append.md").read_text()


@pytest.mark.parametrize("tool", [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)], ids=" ".join)
def test_the_files_are_as_make_check_wants_them(clone: Path, tool: tuple[str, ...]) -> None:
    if tool[0] == "mypy":
        # Only what mypy says of these files: the rest of the tree is for `make check`.
        _python(clone, *tool, "--follow-imports=silent", "--cache-dir", str(ROOT / ".mypy_cache"), *_PRODUCT)
    else:
        _python(clone, *tool, *_FILES)


def test_the_suites_prove_both_kinds(clone: Path) -> None:
    # When the tests of the page are run, and the suite for all plug-ins
    own = [name for name in _FILES if name.startswith("tests/")]
    printed = _python(clone, "pytest", "-q", "-p", "no:cacheprovider", *own)
    assert "passed" in printed
    every = _python(
        clone,
        "pytest",
        "-v",
        "-p",
        "no:cacheprovider",
        "tests/conformance/test_plugins.py",
        "-k",
        "udp or append",
    )
    # Then that suite picked both up by itself
    for kind in ("udp", "append"):
        assert [line for line in every.splitlines() if f"[{kind}]" in line and "PASSED" in line], every


def test_a_datagram_becomes_a_line_in_the_file(clone: Path, manifests: Path) -> None:
    # Given the two examples, on a port that is free here
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = manifests / "udp.yaml"
    source.write_text(source.read_text().replace("5514", str(port)))
    log = manifests.parent / "run.log"
    command = [
        sys.executable,
        "-m",
        "argosy.cli.main",
        "run",
        "manifests",
        "--bus",
        "memory",
        "--admin",
        "off",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=manifests.parent, env=_environment(clone), stdout=output, stderr=output)
    try:
        # When a datagram is sent until somebody says that it is kept
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.settimeout(0.2)
            sender.connect(("127.0.0.1", port))
            _until(lambda: _said_kept(sender), process, log)
        # Then its text stands in the file, with the id of the action
        written = manifests.parent / "messages.jsonl"
        _until(lambda: written.exists() and written.read_text().endswith("\n"), process, log)
        line = json.loads(written.read_text().splitlines()[0])
        assert line["payload"] == {"text": "hello"}
        assert line["id"]
    finally:
        process.terminate()
        process.wait(30)


def _said_kept(sender: socket.socket) -> bool:
    try:
        sender.send(b"hello")
        return sender.recv(100) == b"kept"
    except (TimeoutError, ConnectionRefusedError):
        return False


def _until(condition: object, process: subprocess.Popen[bytes], log: Path) -> None:
    assert callable(condition)
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
