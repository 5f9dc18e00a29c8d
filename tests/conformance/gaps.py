"""What a kind does not do of what its suite promises, said in its test class and not by a skip that nobody sees.

A **gap** is a promise that the kind breaks: the test runs, is expected to fail, and fails the run on the day it passes. A
promise that is **not applicable** is one that its upstream makes senseless (it takes no acknowledgement, say); only suites
decide that, by what the kind declares. One that is shown **elsewhere** names the test that shows it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NoReturn

import pytest

_TESTS = Path(__file__).resolve().parents[1]
_SUITES = ("SourceSuite", "BrokerSuite", "TriggerSuite", "PluginSuite")


def not_applicable(reason: str) -> NoReturn:
    """End a suite's test that asks for what the kind cannot have."""
    pytest.skip(f"not applicable: {reason}")


class Promises:
    """The base of all suites of kinds."""

    gaps: ClassVar[Mapping[str, str]] = {}
    """Tests of the suite that fail for this kind, each with the reason: ``test_x``, or ``test_x[parameter]``."""

    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Tests of the suite that another test shows for this kind, as ``path::name`` below ``tests``: where the server that the
    suite runs against cannot, and a double can.
    """

    @pytest.fixture(autouse=True)
    def _gap(self, request: pytest.FixtureRequest) -> None:
        if (shown := self.elsewhere.get(request.node.originalname)) is not None:
            path, _, name = shown.partition("::")
            assert f"def {name}(" in (_TESTS / path).read_text(), f"there is no test {shown}"
            pytest.skip(f"shown by {shown}")
        for name in (request.node.name, request.node.originalname):
            if name in self.gaps:
                assert self.gaps[name].strip(), f"say why {name} fails"
                request.applymarker(pytest.mark.xfail(reason=self.gaps[name], strict=True))
                return

    def shown_by_own_test(self, word: str) -> NoReturn:
        """End a test whose promise the kind shows by a test of its own, in a module of its own name and with ``word`` in the
        test's; fail if there is none.
        """
        kind = str(getattr(self, "kind", ""))
        stem = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", kind)
        texts = [path.read_text() for path in sorted(_TESTS.rglob(f"test_{stem}*.py"))]
        named = re.findall(rf"def (test_\w*{word}\w*)\(", "\n".join(texts))
        # What suites for some kinds add to that of all counts, too.
        own = [base for base in type(self).__mro__ if base.__name__ not in ("SourceSuite", "TriggerSuite", "Promises")]
        named += [name for base in own for name in vars(base) if name.startswith("test_") and word in name]
        if not named:
            pytest.fail(f"no test of {kind!r} shows it: there is none with {word!r} in its name in test_{stem}*.py")
        pytest.skip(f"shown by {named[0]}")


def hidden() -> list[str]:
    """The tests of classes that inherit a suite and skip by themselves: gaps that nobody would see."""
    found = []
    for path in sorted(_TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and {ast.unparse(base).split(".")[-1] for base in node.bases} & {
                *_SUITES
            }:
                found += [
                    f"{path.relative_to(_TESTS)}:{call.lineno}"
                    for call in ast.walk(node)
                    if isinstance(call, ast.Call) and ast.unparse(call.func) in ("pytest.skip", "pytest.xfail")
                ]
    return found
