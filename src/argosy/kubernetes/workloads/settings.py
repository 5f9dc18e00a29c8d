"""What a cluster's administrator decides about the pods of Argosy, and of the buses that it installs.

``parse`` reads the text of upstream's ``controller-config.yaml`` (ConfigMap ``argo-events-controller-config``) as it is, and in
it a block ``argosy`` with what is ours. ``eventBus.nats`` is read over: NATS Streaming is not installed any more.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

import yaml
from pydantic import Field

from argosy.errors import ConfigError
from argosy.kubernetes.names import Mode
from argosy.manifests.eventbus import stream_remarks
from argosy.manifests.fields import Json, Model
from argosy.manifests.findings import check

_OLDEST = (2, 10)
"""NATS before this lacks what the bus needs (``argosy.bus.jetstream``)."""
LIMITS = "maxMsgs: -1\nmaxAge: 168h\nmaxBytes: -1\nreplicas: 3\nduplicates: 300s\nretention: 0\ndiscard: 0\n"
"""Argo Events' limits of the event log, but for the count: its 50 000 messages would take events away that no sensor has read, after
minutes of a busy source. A bus that is full refuses, so that sources wait.
"""
_NUMBER = re.compile(r"v?(\d+)\.(\d+)")
_IMAGE_TAG = re.compile(r":v?(\d+)\.(\d+)")


class JetStreamVersion(Model):
    """One version of NATS that an EventBus may name, and the images that make it up."""

    version: str = Field(min_length=1)
    """The word in the EventBus."""
    nats_image: str = Field(min_length=1)
    """The server."""
    metrics_exporter_image: str = ""
    """The exporter of metrics; empty: none runs."""
    config_reloader_image: str = ""
    """What tells the server that its files changed; empty: a new certificate counts after a restart only."""
    start_command: str = "/nats-server"
    """The program in the server's image."""

    @property
    def number(self) -> tuple[int, int] | None:
        """Major and minor version, from the image's tag or else from the word; None if neither tells. The word of an old version may
        be served by a newer server."""
        found = _IMAGE_TAG.search(self.nats_image) or _NUMBER.match(self.version)
        return (int(found[1]), int(found[2])) if found else None


def _versions() -> list[JetStreamVersion]:
    images = {
        "nats_image": "nats:2.10.29",
        "metrics_exporter_image": "natsio/prometheus-nats-exporter:0.14.0",
        "config_reloader_image": "natsio/nats-server-config-reloader:0.14.0",
    }
    return [JetStreamVersion(version=word, **images) for word in ("latest", "2.10.29")]


class JetStreamDefaults(Model):
    """What holds for every JetStream that is installed, where its EventBus says nothing else."""

    settings: str = ""
    """Lines for the ``jetstream`` block of the server's configuration. Without limits the server takes three quarters of its volume."""
    stream_config: str = LIMITS
    """Limits of the event log as YAML text, such as ``maxAge: 72h``."""
    versions: list[JetStreamVersion] = Field(default_factory=_versions, min_length=1)
    """The versions that an EventBus may name."""

    @property
    def newest(self) -> JetStreamVersion:
        """What an EventBus gets that names no version: ``latest``, or the first that Argosy can use. Raises ConfigError if there is none."""
        usable = [one for one in self.versions if (one.number or _OLDEST) >= _OLDEST]
        if not usable:
            raise ConfigError("the controller's configuration has no NATS of version 2.10 or newer")
        return next((one for one in usable if one.version == "latest"), usable[0])

    def version(self, word: str) -> JetStreamVersion:
        """The version of this name. Raises ConfigError with those that there are."""
        fit = [one.version for one in self.versions if (one.number or _OLDEST) >= _OLDEST]
        known = ", ".join(fit) or "none"
        for one in self.versions:
            if one.version == word:
                if one.version not in fit:
                    raise ConfigError(
                        f"NATS {word!r} is older than 2.10, which Argosy needs; write one of: {known}",
                        path="spec.jetstream.version",
                    )
                return one
        raise ConfigError(
            f"the controller's configuration has no NATS version {word!r}; write one of: {known}",
            path="spec.jetstream.version",
        )


class _EventBus(Model):
    nats: Json = None
    jetstream: JetStreamDefaults = Field(default_factory=JetStreamDefaults)


class Settings(Model):
    """What all pods have in common. The names in a configuration file are camelCase: ``imagePullPolicy``."""

    image: str = "argosy:latest"
    """The image of all pods of ours."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When it is pulled, where an object's template says nothing."""
    image_pull_secrets: list[str] = Field(default_factory=list)
    """Secrets to pull it with, which must be in each namespace; added to those of the templates."""
    mode: Mode = "dedicated"
    """How objects are served that do not say it themselves."""
    shards: int = Field(default=1, ge=1, le=64)
    """How many runners share the objects of a namespace that does not say it itself."""
    resources: dict[str, Json] = Field(default_factory=lambda: {"requests": {"cpu": "10m", "memory": "64Mi"}})
    """What a pod of one object asks for, where its template says nothing."""
    runner_resources: dict[str, Json] = Field(default_factory=lambda: {"requests": {"cpu": "50m", "memory": "128Mi"}})
    """What a runner asks for."""
    run_as_user: int = Field(default=9731, ge=0)
    """User and group of all pods; 0 leaves it to the cluster, as OpenShift wants it."""
    grace_seconds: float = Field(default=20.0, ge=0)
    """What work under way gets when a pod ends; the pod itself gets more, for all steps of the end."""
    network_policy: bool = True
    """Whether an installed bus is closed to all pods but those that use it."""
    jetstream: JetStreamDefaults = Field(default_factory=JetStreamDefaults)
    """How JetStream is installed; in a file this is ``eventBus.jetstream``."""

    @property
    def termination_seconds(self) -> int:
        """How long a pod has time to end: its sources, its sensors and its connections, one after the other."""
        return int(3 * self.grace_seconds) + 15


class _File(Model):
    event_bus: _EventBus = Field(default_factory=_EventBus)
    argosy: dict[str, Json] = Field(default_factory=dict)


def parse(text: str, *, where: str = "controller-config.yaml") -> Settings:
    """The settings that the text holds. Raises ConfigError with everything that is wrong with it."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not YAML: {error}") from error
    if not isinstance(document, dict | None):
        raise ConfigError(f"{where} is not a mapping; write for example eventBus: {{jetstream: {{versions: […]}}}}")
    file, problems = check(_File, document or {})
    ours: Settings | None = None
    if file is not None:
        ours, wrong = check(Settings, file.argosy)
        problems += [problem.inside("argosy") for problem in wrong]
        if "jetstream" in file.argosy:
            raise ConfigError(f"{where}: 'jetstream' belongs into 'eventBus', not into 'argosy'")
        limits = stream_remarks(file.event_bus.jetstream.stream_config)
        # A warning would be read by nobody here, and a setting without an effect is a slip.
        problems += [replace(one, severity="error").inside("eventBus", "jetstream", "streamConfig") for one in limits]
    errors = [problem for problem in problems if problem.severity == "error"]
    if file is None or ours is None or errors:
        told = "; ".join(f"{'.'.join(map(str, one.loc))}: {one.message}" if one.loc else one.message for one in errors)
        raise ConfigError(f"{where} cannot be used: {told}")
    return ours.model_copy(update={"jetstream": file.event_bus.jetstream})
