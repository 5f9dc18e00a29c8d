"""The sensors of Argo Events' examples whose triggers' receivers are large or slow fire, and what arrived is what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.corpus.sensor_clusters
import tests.corpus.sensor_services  # noqa: F401 - these enter their peers
from tests.corpus.sensor_events import Example
from tests.corpus.sensor_peers import fire, fired_with
from tests.corpus.sensor_waiting import not_fired


@pytest.mark.parametrize("example", fired_with("peers", not_fired()))
async def test_an_example_fires_and_what_arrives_is_right(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fire(example, tmp_path, monkeypatch)
