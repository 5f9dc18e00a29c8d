"""The ``resource`` event sources of the corpus run, against an API server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.players import Example, played_with, run
from tests.kubernetes.apiserver import ApiServer


@pytest.mark.parametrize("example", played_with("apiserver"))
async def test_an_example_runs_and_a_change_becomes_an_event(
    example: Example, apiserver: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig(tmp_path / "kubeconfig")))
    await run(example, tmp_path, monkeypatch, apiserver)
