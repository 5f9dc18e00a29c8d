"""A folder with manifests and a test file beside them, read and played."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from argosy.testing.loading import Loaded, Loader, Trial
from argosy.testing.running import Result, run
from argosy.testing.simulation import Transcript, simulate

WEB = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: web}
spec:
  webhook:
    order: {port: "12000", endpoint: /order, method: POST}
    payment: {port: "12000", endpoint: /payment, method: POST}
"""


def dependency(name: str, **more: Any) -> dict[str, Any]:
    """A dependency on the event of its own name."""
    return {"name": name, "eventSourceName": "web", "eventName": name, **more}


def trigger(name: str, *, conditions: str = "", reset: str = "", **more: Any) -> dict[str, Any]:
    """A trigger that sends what the order says to a web address."""
    template: dict[str, Any] = {"name": name, "http": {"url": "http://127.0.0.1:9000/"}}
    if conditions:
        template["conditions"] = conditions
    if reset:
        template["conditionsReset"] = [{"byTime": {"cron": reset}}]
    return {"template": template, **more}


def sensor(
    *triggers: dict[str, Any],
    name: str = "shop",
    namespace: str = "default",
    dependencies: list[dict[str, Any]] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A sensor; by default on the event ``web/order``."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Sensor",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "dependencies": dependencies or [dependency("order")],
            "triggers": list(triggers) or [trigger("ship")],
            **spec,
        },
    }


@dataclass
class Bench:
    """One folder. ``test`` is one test of the file; ``text`` a whole file."""

    folder: Path

    def manifests(self, *sensors: dict[str, Any], more: str = WEB) -> Bench:
        """Write the manifests."""
        (self.folder / "manifests.yaml").write_text("---\n".join([more, *map(yaml.safe_dump, sensors)]))
        return self

    def load(self, text: str) -> Loaded:
        """Read a test file."""
        path = self.folder / "it.test.yaml"
        path.write_text(text)
        return Loader().load([path])

    def said(self, text: str) -> list[str]:
        """What is wrong with a test file, the folder's name left out."""
        return [str(finding).replace(f"{self.folder}/", "") for finding in self.load(text).findings]

    def trial(self, **test: Any) -> Trial:
        """A test that is right."""
        given = {"name": "it", **({} if "events" in test else {"event": {"from": "web/order"}}), **test}
        if not {"fires", "notFires", "deadLetters", "pending"} & given.keys():
            given["notFires"] = []
        loaded = self.load(yaml.safe_dump({"tests": [given]}, sort_keys=False))
        assert not loaded.findings, "\n".join(map(str, loaded.findings))
        (trial,) = loaded.trials
        return trial

    def play(self, **test: Any) -> Transcript:
        """What happens in a test."""
        return simulate(self.trial(**test))

    def run(self, **test: Any) -> Result:
        """What came of a test."""
        return run(self.trial(**test))

    def lines(self, **test: Any) -> list[str]:
        """What a test that fails says."""
        result = self.run(**test)
        assert not result.passed
        return result.lines()


def fired(transcript: Transcript) -> list[tuple[str, list[float]]]:
    """Each firing's trigger and the times of its tries, to the millisecond."""
    return [(one.name.trigger, [round(at, 3) for at in one.tries]) for one in transcript.fired]
