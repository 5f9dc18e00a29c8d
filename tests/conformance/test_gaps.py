"""A gap of a kind is seen: it is expected to fail, and must not be said where the promise is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conformance.gaps import hidden

_KIND = """
from tests.conformance.gaps import Promises


class Suite(Promises):
    def test_kept(self):
        assert True

    def test_broken(self):
        raise AssertionError("it is broken")


class TestHonest(Suite):
    gaps = {"test_broken": "the server does not say it"}


class TestOutdated(Suite):
    gaps = {"test_broken": "the server does not say it", "test_kept": "it was so once"}


class TestSilent(Suite):
    pass
"""


def test_a_gap_is_an_expected_failure_and_a_promise_that_is_kept_no_gap(tmp_path: Path) -> None:
    # Given a kind that says its gap, one that says one too many, and one that says none
    (tmp_path / "test_kind.py").write_text(_KIND)
    # When their tests run
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-o", "addopts=", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True)
    lines = [line.partition("test_kind.py::") for line in done.stdout.splitlines() if "test_kind.py::" in line]
    found = {
        name.split(" ")[0]: word.split()[0] for word, _, name in lines if word.strip().isupper() or "[" not in word
    }
    # Then the first is expected, and the others fail
    assert found["TestHonest::test_kept"] == "PASSED"
    assert found["TestHonest::test_broken"] == "XFAIL"
    assert found["TestOutdated::test_kept"] == "FAILED"
    assert found["TestSilent::test_broken"] == "FAILED"
    assert "the server does not say it" in done.stdout


def test_no_kind_hides_a_gap_in_a_skip() -> None:
    assert hidden() == [], "say it in `gaps`, as an expected failure with its reason"
