"""How ``argosy controller`` may be called; what it does is tested on a cluster (``tests/cluster/test_controller*.py``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from argosy.cli.controller import controller
from argosy.kubernetes.controller import process


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[process.Options]:
    """The options of each process that would have run."""
    found: list[process.Options] = []

    class Process:
        def __init__(self, options: process.Options) -> None:
            found.append(options)

        async def run(self) -> int:
            return 0

    monkeypatch.setattr(process, "Process", Process)
    return found


def _call(*words: str, **env: str) -> Any:
    return CliRunner().invoke(controller, list(words), env={"NAMESPACE": "", "POD_NAMESPACE": "", **env})


def test_without_a_word_it_sees_to_the_whole_cluster_and_takes_turns(asked: list[process.Options]) -> None:
    assert _call().exit_code == 0
    (options,) = asked
    assert (options.namespaces, options.namespace, options.elect) == (None, "argo-events", True)
    assert (options.metrics, options.health, options.over) == ("0.0.0.0:7777", "0.0.0.0:8081", {})


def test_namespaces_are_its_own_or_those_that_are_named(asked: list[process.Options]) -> None:
    _call("--namespaced", NAMESPACE="tools")
    _call("--namespaced", "--managed-namespace", "a", "--managed-namespace", "b", "--managed-namespace", "a")
    assert [one.namespaces for one in asked] == [("tools",), ("a", "b")]
    refused = _call("--managed-namespace", "a")
    assert refused.exit_code == 2 and "--namespaced" in refused.output


@pytest.mark.parametrize("words", [["--leader-election=false"], ["--no-leader-election"]])
def test_it_works_alone_in_upstreams_words_and_in_ours(asked: list[process.Options], words: list[str]) -> None:
    assert _call(*words).exit_code == 0
    assert _call("--leader-election", "--mode", "shared").exit_code == 0
    assert [one.elect for one in asked] == [False, True]


def test_what_the_environment_says_of_pods_is_taken_and_its_log_level_never_refused(
    asked: list[process.Options],
) -> None:
    _call("--shards", "3", ARGO_EVENTS_IMAGE="a:1", IMAGE_PULL_POLICY="Never", LOG_LEVEL="VERBOSE")
    assert asked[0].over == {"image": "a:1", "image_pull_policy": "Never", "shards": 3}
    refused = _call(IMAGE_PULL_POLICY="Now")
    assert refused.exit_code == 1 and "IMAGE_PULL_POLICY" in refused.output


def test_a_configuration_that_is_wrong_is_said_before_anything_is_done(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("argosy: {imag: x}")
    refused = _call("--config", str(file))
    assert refused.exit_code == 1 and "did you mean 'image'" in refused.output
