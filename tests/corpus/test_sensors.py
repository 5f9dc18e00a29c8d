"""Every sensor of Argo Events' examples fires, at a real receiver or its double, and what arrived there is what the manifest says.

Those whose objects go to a Kubernetes API are fired in ``tests/kubernetes``, those that need a large server in ``tests/peers``, by
the same peers. The sensors of UnderStack are fired by ``tests/e2e/test_understack.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.corpus.sensor_clusters
import tests.corpus.sensor_services  # noqa: F401 - these enter their peers
from argosy.manifests.sensor import parse_sensor
from tests.corpus.sensor_events import Example, examples
from tests.corpus.sensor_peers import fire, fired_with, needs, stay_silent
from tests.corpus.sensor_waiting import LATER, SILENT, UNREADABLE, not_fired

if not examples():
    pytest.skip("the corpus folder ../shared/corpus is not beside this checkout", allow_module_level=True)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
    pytest.mark.filterwarnings("ignore:Session.login_data is deprecated:DeprecationWarning"),
]


@pytest.mark.parametrize("example", fired_with("", not_fired()))
async def test_an_example_fires_and_what_arrives_is_right(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fire(example, tmp_path, monkeypatch)


def test_every_example_is_fired_somewhere_or_waits_for_a_reason() -> None:
    left = {str(one) for one in examples()} - not_fired().keys()
    places = {"": "tests/corpus", "apiserver": "tests/kubernetes", "peers": "tests/peers"}
    assert {str(one): needs(one) for one in examples() if str(one) in left and needs(one) not in places} == {}
    known = {f"{one}:{name}" for one in examples() for name in one.triggers} | {str(one) for one in examples()}
    assert [name for name in (*UNREADABLE, *SILENT, *LATER) if name not in known] == []


@pytest.mark.parametrize("name", sorted(UNREADABLE))
def test_an_example_that_cannot_be_read_is_still_refused(name: str) -> None:
    (example,) = (one for one in examples() if str(one) == name)
    sensor, problems = parse_sensor(example.manifest)
    assert sensor is None
    assert any(UNREADABLE[name] in str(problem) for problem in problems)


@pytest.mark.parametrize("name", sorted(SILENT))
async def test_an_example_that_cannot_fire_still_does_not(name: str) -> None:
    (example,) = (one for one in examples() if str(one) == name)
    await stay_silent(example)
