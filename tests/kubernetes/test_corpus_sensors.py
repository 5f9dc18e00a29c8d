"""Every sensor of Argo Events' examples that makes objects makes them, in a real API server, and they are what the manifest says."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.corpus.sensor_clusters
import tests.corpus.sensor_services  # noqa: F401 - these enter their peers
from tests.corpus.sensor_events import Example
from tests.corpus.sensor_peers import fire, fired_with
from tests.corpus.sensor_waiting import LATER, not_fired
from tests.kubernetes.apiserver import ApiServer


@pytest.mark.parametrize("example", fired_with("apiserver", not_fired()))
async def test_an_example_fires_and_its_object_is_there(
    example: Example, apiserver: ApiServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fire(example, tmp_path, monkeypatch, server=apiserver, namespace=namespace, waits=LATER)
