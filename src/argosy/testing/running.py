"""Runs trials one after the other and keeps what came of each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from argosy.errors import ArgosyError
from argosy.testing.coverage import Coverage
from argosy.testing.judging import Failure, judge
from argosy.testing.loading import Trial
from argosy.testing.simulation import simulate


@dataclass(frozen=True)
class Result:
    """What came of one trial; it passed where there is no failure. ``seconds`` are real ones."""

    trial: Trial
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return not self.failures

    def lines(self) -> list[str]:
        """The failures as text."""
        return [line for failure in self.failures for line in failure.text()]


def run(trial: Trial, *, update: bool = False, coverage: Coverage | None = None) -> Result:
    """Play one trial and judge it."""
    began = time.perf_counter()
    try:
        transcript = simulate(trial)
    except ArgosyError as error:
        return Result(trial, [Failure(f"the test cannot run: {error}")], time.perf_counter() - began)
    if coverage is not None:
        coverage.add(trial, transcript)
    failures = judge(trial, transcript, update=update)
    return Result(trial, failures, time.perf_counter() - began)


def run_all(
    trials: Iterable[Trial], *, update: bool = False, coverage: Coverage | None = None, fail_fast: bool = False
) -> Iterator[Result]:
    """Play the trials in order; with ``fail_fast`` until the first failure."""
    for trial in trials:
        result = run(trial, update=update, coverage=coverage)
        yield result
        if fail_fast and not result.passed:
            return
