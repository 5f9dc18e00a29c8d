"""The pytest plug-in: collects ``*.test.yaml`` files, one item a test, with the text of ``argosy test`` where one fails.

pytest loads this module in every run where Argosy is installed, so everything else is imported only when there is such a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from argosy.testing.loading import Trial

_SUFFIXES = (".test.yaml", ".test.yml")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a file with tests of manifests."""
    if not file_path.name.endswith(_SUFFIXES):
        return None
    return ManifestTests.from_parent(parent, path=file_path)


class ManifestTests(pytest.File):
    """One ``*.test.yaml`` file."""

    def collect(self) -> Iterable[pytest.Item]:
        from argosy.testing.loading import Loader

        loader = self.session.stash.setdefault(_LOADER, Loader())
        loaded = loader.load([_near(self.path)])
        if loaded.errors:
            raise self.CollectError("\n".join(map(str, loaded.errors)))
        for trial in loaded.trials:
            yield ManifestTest.from_parent(self, name=trial.name, trial=trial)


_LOADER = pytest.StashKey[Any]()


def _near(path: Path) -> Path:
    """The path as short as it is unambiguous, for what is said about it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


class _Failed(Exception):
    """A test of manifests failed; the text says how."""


class ManifestTest(pytest.Item):
    """One test in it."""

    def __init__(self, *, trial: Trial, **more: Any) -> None:
        super().__init__(**more)
        self._trial = trial

    def runtest(self) -> None:
        """Play and judge it."""
        from argosy.testing.running import run

        result = run(self._trial)
        if not result.passed:
            raise _Failed("\n".join(result.lines()))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The failures without a traceback, which would show only our own code."""
        if isinstance(excinfo.value, _Failed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the test stands."""
        return self.path, self._trial.line - 1, self.name
