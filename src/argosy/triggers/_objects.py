"""What the kinds that make Kubernetes objects share: the object's place and name, making it once, and
waiting for its labels.

An action that is tried again, after a crash or an answer that got lost, must not make a second object. So a
name that the server would have drawn at random (``generateName``) is derived from the action's id instead,
and the id stands on the object as an annotation: if the name is taken by an object of the same action, the
action is done. ``generateName`` stays on the object beside the name, as upstream's objects have it. Who wants the server to draw the
name all the same says so in an annotation of the object (``RANDOM_NAME``); then a try whose answer got lost may leave an object of its own.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import orjson
from pydantic import Field

from argosy.errors import Rejected
from argosy.kubernetes.client import AlreadyExists, Client, NotFound, Resource, shared
from argosy.manifests.artifacts import ArtifactLocation
from argosy.manifests.fields import OURS, K8sPolicy, TriggerParameter
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._k8s_policy import Waiting
from argosy.triggers._sources import Objects

Object = dict[str, Any]
ConfigT = TypeVar("ConfigT", bound="ObjectConfig")

ACTION_ID = "argosy.dev/action-id"
"""The annotation that says which action made the object."""
RANDOM_NAME = "argosy.dev/random-name"
"""The annotation that leaves the name to the server where it is ``"true"``."""
EVENT_IDS = "argosy.dev/event-ids"
"""The annotation that says of which events the action was: ids by dependency, as JSON."""
TRACE_ID = "argosy.dev/trace-id"
"""The annotation that says to which trace the action belongs."""
SAID_BY_OBJECT = dict.fromkeys(("group", "version", "resource"), "1.5; the object's apiVersion and kind say it")
"""What upstream's blocks of Kubernetes objects once said besides the object (``dropped``)."""
_LABELS = "events.argoproj.io/"
_LONGEST_NAME = 63  # what the API server cuts generated names to
_SUFFIX = 10  # 50 bits of the action's id; a server draws 5 characters of its own


class ObjectConfig(TriggerConfig):
    """What the blocks of the kinds that make objects share."""

    dropped: ClassVar[Mapping[str, str]] = SAID_BY_OBJECT

    source: ArtifactLocation
    """Where the object stands."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Set on the object of the source."""
    service_account_name: str = Field("", json_schema_extra=OURS)
    """Acts with the rights of this service account of the sensor's namespace. The sensor's own account needs the verb ``impersonate`` on
    it. Empty means its own rights."""
    dry_run: bool = Field(False, json_schema_extra=OURS)
    """Whether the API server only judges what would be done, and stores nothing. A label policy is then left out."""


class Target(NamedTuple):
    """An object, where it belongs, and who asks for it. ``namespace`` is None for kinds that live in none."""

    resource: Resource
    namespace: str | None
    body: Object
    client: Client

    @property
    def name(self) -> str:
        """``metadata.name``, or nothing."""
        return str(self.body["metadata"].get("name") or "")

    def __str__(self) -> str:
        where = f" in namespace {self.namespace!r}" if self.namespace else ""
        return f"{self.resource.kind} {self.name!r}{where}"


class KubernetesTrigger(Trigger[ConfigT]):
    """A trigger that asks the Kubernetes API, as the account of its sensor; the process has one client for all of them."""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._held = contextlib.AsyncExitStack()
        self._client: Client | None = None
        self.objects = Objects(ctx)

    async def __aenter__(self) -> Self:
        self._client = await self._held.enter_async_context(shared(self.ctx.account))
        await self._held.enter_async_context(self.objects)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._client = None
        await self._held.aclose()

    @property
    def client(self) -> Client:
        """The client; the trigger must have been entered."""
        if self._client is None:
            raise RuntimeError(f"trigger {self.kind!r} is used outside its context")
        return self._client

    async def target(self, found: object, config: ObjectConfig) -> Target:
        """A copy of the object ``found``, with its kind looked up and its namespace (the sensor's by
        default) set; and the client that acts as ``config`` says.

        Raises Rejected if it is no object or the cluster does not know its kind.
        """
        if not isinstance(found, dict):
            raise Rejected("the source holds no object: a Kubernetes object begins with apiVersion and kind")
        body = copy.deepcopy(found)
        version, kind = body.get("apiVersion"), body.get("kind")
        if not isinstance(version, str) or not isinstance(kind, str) or not version or not kind:
            raise Rejected("the object of the source has no apiVersion or no kind")
        if not isinstance(body.setdefault("metadata", {}), dict):
            raise Rejected(f"metadata of the {kind} in the source is not a mapping")
        resource = await self.client.discover(version, kind)
        namespace = None
        if resource.namespaced:
            namespace = str(body["metadata"].get("namespace") or self.ctx.namespace)
            body["metadata"]["namespace"] = namespace
        else:
            body["metadata"].pop("namespace", None)
        account = config.service_account_name
        user = f"system:serviceaccount:{self.ctx.namespace}:{account}" if account else ""
        return Target(resource, namespace, body, self.client.acting(user, dry_run=config.dry_run))

    async def make(self, target: Target, action: Action, *, labelled: bool = True) -> Outcome:
        """Create the object, once for this action. ``labelled`` adds upstream's three labels.

        Raises AlreadyExists if another object has the name, and what the client raises.
        """
        derived = _settle_name(target.body, action.id)
        if labelled:
            labels = _mapping(target.body, "labels")
            labels[_LABELS + "sensor"] = action.sensor
            labels[_LABELS + "trigger"] = action.trigger
            labels[_LABELS + "action-timestamp"] = str(int(self.ctx.clock.now().timestamp() * 1000))
        annotations = _mapping(target.body, "annotations")
        annotations[ACTION_ID] = action.id
        annotations[EVENT_IDS] = orjson.dumps({name: event.id for name, event in action.events.items()}).decode()
        annotations[TRACE_ID] = action.trace_id
        word = "created"
        try:
            made = await target.client.create(target.resource, target.body, target.namespace)
        except AlreadyExists:
            there = await self._there(target, derived)
            if (there["metadata"].get("annotations") or {}).get(ACTION_ID) != action.id:
                raise
            made, word = there, "already there, made by an earlier try:"
        return self.outcome(word, target._replace(body=made))

    async def _there(self, target: Target, derived: bool) -> Object:
        try:
            return await target.client.get(target.resource, target.name, target.namespace)
        except Rejected:
            # Whoever may create need not be allowed to read. A derived name can only be this action's.
            if not derived:
                raise
            return target.body

    def outcome(self, word: str, target: Target) -> Outcome:
        """What became of the object, in a line, and which one it is."""
        about = target.body["metadata"]
        return Outcome(
            f"{word} {target}{' (dry run: nothing is stored)' if target.client.dry_run else ''}",
            {
                "apiVersion": target.resource.api_version,
                "kind": target.resource.kind,
                "namespace": target.namespace or "",
                "name": target.name,
                "uid": about.get("uid", ""),
            },
        )

    async def await_policy(self, target: Target, policy: K8sPolicy) -> None:
        """Return once the object is as the policy wants it, or when the policy's patience is at its end.

        Raises TriggerError at that end if the policy wants an error then.
        """
        where = (target.client, target.resource, target.name, target.namespace)
        await Waiting(*where, policy, self.ctx.clock, str(target)).run()


def _settle_name(body: Object, action_id: str) -> bool:
    """Give the object its name, if the server would have drawn one. Whether it did."""
    about = body["metadata"]
    prefix = about.get("generateName")
    if about.get("name") or not prefix or _mapping(body, "annotations").get(RANDOM_NAME) == "true":
        return False
    about["name"] = drawn_name(str(prefix), action_id)
    return True


def drawn_name(prefix: str, action_id: str) -> str:
    """The name that an object with this ``generateName`` gets from this action: always the same."""
    digest = base64.b32encode(hashlib.sha256(action_id.encode()).digest()).decode().lower()
    return prefix[: _LONGEST_NAME - _SUFFIX] + digest[:_SUFFIX]


def _mapping(body: Object, key: str) -> Object:
    about = body["metadata"]
    if about.get(key) is None:
        about[key] = {}
    if not isinstance(about[key], dict):
        raise Rejected(f"metadata.{key} of the {body['kind']} is not a mapping")
    found: Object = about[key]
    return found


def required_name(target: Target, verb: str) -> str:
    """The object's name. Raises Rejected if it has none."""
    if not target.name:
        raise Rejected(f"to {verb} a {target.resource.kind}, its metadata.name must be given")
    return target.name


__all__ = [
    "ACTION_ID",
    "RANDOM_NAME",
    "KubernetesTrigger",
    "NotFound",
    "Object",
    "ObjectConfig",
    "Target",
    "drawn_name",
    "required_name",
]
