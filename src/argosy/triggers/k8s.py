"""The ``k8s`` trigger: creates, updates, patches or deletes any object of a Kubernetes API.

Plural and scope of a kind are asked of the server, so every kind it serves can be used (upstream guesses
them). ``create`` makes one object per action however often it is tried; the other operations may be repeated
without harm. The rights that it needs are those of the operation: create; get, update and create; get, patch
and create; delete; patch and create for apply. A policy needs get, and watch where it shall see at once.
"""

from __future__ import annotations

import contextlib
from typing import ClassVar, Literal, get_args

from argosy.errors import Rejected
from argosy.kubernetes.client import AlreadyExists, Conflict, NotFound, PatchStrategy
from argosy.kubernetes.rights import Asking, Rights
from argosy.manifests.fields import Json
from argosy.triggers._base import Action, Outcome
from argosy.triggers._objects import KubernetesTrigger, Object, ObjectConfig, Target, required_name
from argosy.triggers._rights import about, acted, made

_APPLY: PatchStrategy = "application/apply-patch+yaml"
_MERGE: PatchStrategy = "application/merge-patch+json"
_UPDATE_TRIES = 5  # of reading, merging and writing, when others write at the same time


class K8sConfig(ObjectConfig):
    """The ``k8s`` block."""

    operation: Literal["", "create", "update", "patch", "delete", "apply"] = ""
    """Empty means create. ``apply`` is server-side apply: only the fields that the object names are set, and taken over from who owned
    them; an addition to Argo Events."""
    patch_strategy: Literal["", PatchStrategy] = ""
    """Empty means a JSON merge patch."""
    live_object: bool = False
    """With ``update``: parameters are set on the object as the cluster has it."""


class K8sTrigger(KubernetesTrigger[K8sConfig]):
    """Creates, updates, patches or deletes an object."""

    kind: ClassVar[str] = "k8s"
    config = K8sConfig
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "kubernetes"
    peer: ClassVar[str] = "real: kube-apiserver with etcd"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: k8s
spec:
  template:
    serviceAccountName: config-writer
  dependencies:
    - name: release
      eventSourceName: webhook
      eventName: releases
  triggers:
    - template:
        name: note-release
        k8s:
          operation: create
          source:
            resource:
              apiVersion: v1
              kind: ConfigMap
              metadata:
                generateName: release-
              data:
                version: unknown
          parameters:
            - src:
                dependencyName: release
                dataKey: body.version
              dest: data.version
"""

    @classmethod
    def rights(cls, config: K8sConfig, asking: Asking) -> Rights:
        what = about(config, asking)
        if isinstance(what, str):
            return acted(Rights(unknown=[what]), config, asking)
        creates = what.right("create", named=False)
        operation = config.operation or "create"
        if operation == "delete":
            return acted(Rights([what.right("delete")]), config, asking)
        if operation == "create":
            rights = made(what)
        elif operation == "apply" or (operation == "patch" and config.patch_strategy == _APPLY):
            rights = Rights([what.right("patch")], [creates])
        else:
            rights = Rights([what.right("get"), what.right(operation)], [creates])
        if asking.policy is not None and not config.dry_run:
            rights.required.append(what.right("get"))
            rights.sometimes.append(what.right("watch"))
        return acted(rights, config, asking)

    async def fetch(self, config: K8sConfig) -> Json | None:
        found = await self.objects.fetch(config.source)
        if not (config.live_object and config.operation == "update"):
            return found
        given = (found.get("metadata") or {}).get("namespace")
        target = await self.target(found, config)
        if target.resource.namespaced and not given:
            raise Rejected(f"liveObject needs metadata.namespace of the {target.resource.kind} in the source")
        return await target.client.get(
            target.resource, required_name(target, "update with liveObject"), target.namespace
        )

    async def fire(self, config: K8sConfig, action: Action) -> Outcome:
        target = await self.target(action.resource, config)
        if config.operation == "delete":
            return await self._delete(target)
        if config.operation == "update":
            outcome = await self._update(target, action)
        elif config.operation == "patch":
            outcome = await self._patch(target, action, config.patch_strategy or _MERGE)
        elif config.operation == "apply":
            outcome = await self._apply(target)
        else:
            outcome = await self.make(target, action)
        if action.policy is not None and action.policy.k8s is not None and not config.dry_run:
            about = {"name": outcome.detail["name"]}
            await self.await_policy(target._replace(body={"metadata": about}), action.policy.k8s)
        return outcome

    async def _update(self, target: Target, action: Action) -> Outcome:
        name = required_name(target, "update")
        pinned = "resourceVersion" in target.body["metadata"]
        for tried in range(1, _UPDATE_TRIES + 1):
            try:
                current = await target.client.get(target.resource, name, target.namespace)
            except NotFound:
                with contextlib.suppress(AlreadyExists):  # made by someone else meanwhile: then it is updated
                    return await self.make(target, action, labelled=False)
                continue
            try:
                merged = _merged(current, target.body)
                stored = await target.client.replace(target.resource, name, merged, target.namespace)
            except Conflict:
                # An object that names its version wants to be refused when that version is gone.
                if pinned or tried == _UPDATE_TRIES:
                    raise
                continue
            return self.outcome("updated", target._replace(body=stored))
        raise Conflict(f"{target} is made and removed by others all the time; it could not be updated")

    async def _patch(self, target: Target, action: Action, strategy: PatchStrategy) -> Outcome:
        name = required_name(target, "patch")
        if strategy == "application/json-patch+json":
            raise Rejected(
                f"patchStrategy {strategy} wants a list of changes, the source holds an object; use one of "
                + ", ".join(each for each in get_args(PatchStrategy) if each != strategy)
            )
        if strategy != _APPLY:  # which creates what is missing
            try:
                await target.client.get(target.resource, name, target.namespace)
            except NotFound:
                with contextlib.suppress(AlreadyExists):
                    return await self.make(target, action, labelled=False)
        stored = await target.client.patch(target.resource, name, target.body, target.namespace, strategy=strategy)
        return self.outcome("patched", target._replace(body=stored))

    async def _apply(self, target: Target) -> Outcome:
        name = required_name(target, "apply")
        applied = await target.client.patch(target.resource, name, target.body, target.namespace, strategy=_APPLY)
        return self.outcome("applied", target._replace(body=applied))

    async def _delete(self, target: Target) -> Outcome:
        name = required_name(target, "delete")
        try:
            await target.client.delete(target.resource, name, target.namespace)
        except NotFound:
            return self.outcome("nothing to delete, there is no", target)
        return self.outcome("deleted", target)


def _merged(old: Object, new: Object) -> Object:
    """``new`` laid over ``old``: mappings are merged, everything else (lists too) is replaced."""
    merged = dict(old)
    for key, value in new.items():
        before = merged.get(key)
        merged[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
