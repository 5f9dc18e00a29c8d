"""The commands inside pods: what they take from the environment, and what they say where it does not fit."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from argosy.cli.main import COMMANDS, IN_PODS, main


def encoded(value: object) -> str:
    """As a controller writes it."""
    return base64.b64encode(json.dumps(value).encode()).decode()


def ended(command: str, folder: Path, **env: str) -> tuple[int, str]:
    """Exit code and words of a command that cannot run with this environment."""
    own = ("ARGOSY_", "EVENT", "SENSOR_", "KUBE", "POD_", "LOG_")
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(
        [sys.executable, "-m", "argosy.cli.main", command],
        env={**inherited, "HOME": str(folder), **env},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


def test_an_object_that_cannot_run_is_named_with_its_fault(tmp_path: Path) -> None:
    block = {"hello": {"port": "12000", "endpint": "/", "method": "POST"}}
    source = {"metadata": {"name": "front", "namespace": "team"}, "spec": {"webhook": block}}
    code, said = ended(
        "eventsource-service",
        tmp_path,
        EVENTSOURCE_OBJECT=encoded(source),
        EVENTBUS_CONFIG=encoded({"jetstream": {"url": "nats://127.0.0.1:1"}}),
        ARGOSY_LOG_FORMAT="text",
        LOG_LEVEL="loud",
    )

    assert code == 1
    assert "EventSource team/front" in said and "did you mean 'endpoint'" in said
    assert said.splitlines()[-1] == (
        "argosy eventsource-service: there is no EventSource and no Sensor that can run in"
        " the variables EVENTSOURCE_OBJECT and EVENTBUS_CONFIG"
    )


def test_a_runner_without_a_cluster_says_what_is_missing(tmp_path: Path) -> None:
    code, said = ended("runner-service", tmp_path, POD_NAMESPACE="team")

    assert code == 1
    assert said.startswith("argosy runner-service: there is no way to a Kubernetes API server")


@pytest.mark.parametrize(("command", "env"), [("sensor-service", {}), ("runner-service", {"ARGOSY_SHARD": "2/2"})])
def test_a_variable_that_is_missing_or_wrong_is_named(
    command: str, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("argosy.runtime.logs.configure", lambda *_: None)
    monkeypatch.delenv("SENSOR_OBJECT", raising=False)

    done = CliRunner().invoke(main, [command], env=env)

    assert done.exit_code == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"argosy {command}: ")
    assert ("SENSOR_OBJECT is not set" in said) or ("ARGOSY_SHARD" in said and "'2/2'" in said)


def test_what_is_for_pods_stands_apart_in_the_help() -> None:
    done = CliRunner().invoke(main, ["--help"])

    people, pods = done.output.split("Inside pods of a cluster:")
    assert "  run " in people and "  runner-service " in pods
    assert not [name for name in IN_PODS if f"  {name} " in people]
    assert {"eventsource-service", "sensor-service", "runner-service"} <= COMMANDS.keys()


def test_the_page_about_pods_names_each_variable_with_its_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "pods.md").read_text()
    told = set(re.findall(r"^\| `([A-Z_]+)` \| `(--[a-z-]+)` \|", page, re.MULTILINE))

    there: set[tuple[str, str]] = set()
    with click.Context(main) as ctx:
        for name in ("eventsource-service", "sensor-service", "runner-service"):
            assert f"| `argosy {name}` |" in page
            command = main.get_command(ctx, name)  # type: ignore[attr-defined]
            options = [option for option in command.params if isinstance(option, click.Option) and option.envvar]
            there |= {(str(option.envvar), option.opts[0]) for option in options}
    assert told == there
