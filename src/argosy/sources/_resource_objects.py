"""What a ``resource`` source reads of an object of the Kubernetes API, and what it leaves of one."""

from __future__ import annotations

from argosy.lang import gojson
from argosy.sources._resource_filter import Object

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which ``kubectl apply`` keeps a copy of all that it wrote, a Secret's data too."""


def uid_of(item: Object) -> str:
    """The identity of an object."""
    # Few kinds have objects without an identity of their own (componentstatuses); their name must do.
    metadata = item["metadata"]
    return str(metadata.get("uid") or f"{metadata.get('namespace', '')}/{metadata.get('name', '')}")


def version_of(item: Object) -> str:
    """The resource version of an object."""
    return str(item["metadata"].get("resourceVersion") or "")


def about_of(item: Object) -> str:
    """The object without what it holds: annotations, too, may have a copy of all that."""
    kept = ("creationTimestamp", "labels", "name", "namespace", "resourceVersion", "uid")
    metadata = {key: item["metadata"][key] for key in kept if key in item["metadata"]}
    return gojson.dumps({**_named(item), "metadata": metadata}).decode()


def metadata_only(item: Object) -> Object:
    """The object's ``metadata`` under its name, without the copy of the rest that ``kubectl`` keeps there."""
    metadata = dict(item.get("metadata") or {})
    if _APPLIED in (metadata.get("annotations") or {}):
        metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if key != _APPLIED}
    return {**_named(item), "metadata": metadata}


def _named(item: Object) -> Object:
    return {key: item[key] for key in ("apiVersion", "kind") if key in item}
