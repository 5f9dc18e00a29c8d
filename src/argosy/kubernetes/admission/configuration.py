"""What an API server is told about the webhook, and what the webhook's service account may do.

Only our kinds are sent, only whole objects, and of updates only those that change a spec: the API server decides that itself, by
conditions, so a webhook that is away keeps nobody from labelling an object or letting it go. Objects of another controller are
not sent either. The removal of an EventSource is only told about, never refused, so there a webhook that is away is passed over.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from argosy.kubernetes.names import OURS, RESPONSIBLE

Object = dict[str, Any]

NAME = "argosy-admission"
"""The ValidatingWebhookConfiguration, the Service and the service account of the webhook."""
SECRET = "argosy-admission-certs"
"""Where the replicas keep the certificate that they share."""
PATH = "/validate"
WEBHOOKS = ("objects.admission.argosy.dev", "removals.admission.argosy.dev")
TIMEOUT_SECONDS = 10

_GROUP, _VERSION = "argoproj.io", "v1alpha1"
_KINDS = ("eventsources", "eventbus", "sensors")
_IT = "(request.operation == 'DELETE' ? oldObject : object)"
_CONDITIONS = (
    ("whole-object", "!has(request.subResource) || request.subResource == ''"),
    (
        "ours",
        f"!has({_IT}.metadata.annotations) || !('{RESPONSIBLE}' in {_IT}.metadata.annotations)"
        f" || {_IT}.metadata.annotations['{RESPONSIBLE}'] in ['', '{OURS}']",
    ),
    (
        "another-spec",
        "request.operation != 'UPDATE' || !has(object.spec) || !has(oldObject.spec) || object.spec != oldObject.spec",
    ),
)


def configuration(
    namespace: str,
    service: str = NAME,
    ca_bundle: str = "",
    *,
    watched: Sequence[str] = (),
    url: str = "",
    port: int = 443,
    name: str = NAME,
    labels: dict[str, str] | None = None,
) -> Object:
    """The ValidatingWebhookConfiguration. ``ca_bundle`` is PEM; empty where the webhook writes it itself, or cert-manager does.

    ``watched`` are the namespaces whose objects are judged; none means all. ``url`` (``https://host:port``) is where the
    webhook is when it runs outside of the cluster.
    """
    if url:
        client: Object = {"url": url.rstrip("/") + PATH}
    else:
        client = {"service": {"namespace": namespace, "name": service, "path": PATH, "port": port}}
    if ca_bundle:
        client["caBundle"] = base64.b64encode(ca_bundle.encode()).decode()
    objects, removals = WEBHOOKS
    judged = [_rule(["CREATE", "UPDATE"], _KINDS), _rule(["DELETE"], ("eventbus",))]
    metadata: Object = {"name": name, "labels": {"app.kubernetes.io/name": NAME, **(labels or {})}}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": metadata,
        "webhooks": [
            _webhook(objects, client, judged, "Fail", watched),
            _webhook(removals, client, [_rule(["DELETE"], ("eventsources",))], "Ignore", watched),
        ],
    }


def _rule(operations: list[str], resources: tuple[str, ...]) -> Object:
    return {
        "apiGroups": [_GROUP],
        "apiVersions": [_VERSION],
        "operations": operations,
        "resources": list(resources),
        "scope": "Namespaced",
    }


def _webhook(name: str, client: Object, rules: list[Object], policy: str, watched: Sequence[str]) -> Object:
    one: Object = {
        "name": name,
        "clientConfig": dict(client),
        "rules": rules,
        "failurePolicy": policy,
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT_SECONDS,
        "admissionReviewVersions": ["v1"],
        "matchConditions": [{"name": word, "expression": text} for word, text in _CONDITIONS],
    }
    if watched:
        # The API server labels every namespace with its name.
        chosen = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(watched)}
        one["namespaceSelector"] = {"matchExpressions": [chosen]}
    return one


def ca_patch(held: Object, authorities: str) -> Object:
    """A strategic merge patch that makes ``authorities`` (PEM) those whom the API server trusts, in the webhooks of ours that ``held`` has."""
    bundle = base64.b64encode(authorities.encode()).decode()
    return {"webhooks": [{"name": one["name"], "clientConfig": {"caBundle": bundle}} for one in _webhooks(held)]}


def trusted(held: Object) -> set[str]:
    """What stands as ``caBundle`` in a configuration's webhooks of ours."""
    return {(one.get("clientConfig") or {}).get("caBundle") or "" for one in _webhooks(held)}


def _webhooks(held: Object) -> list[Object]:
    return [one for one in held.get("webhooks") or () if one.get("name") in WEBHOOKS]


def admission_rules() -> list[Object]:
    """What it asks in the namespaces whose objects it judges."""
    read = ["get", "list", "watch"]
    return [
        {"apiGroups": [_GROUP], "resources": list(_KINDS), "verbs": read},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": read},
    ]


def admission_own_rules() -> list[Object]:
    """In the namespace where it runs: its certificate. (A role cannot narrow ``create`` to a name.)"""
    return [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET], "verbs": ["get", "update"]},
    ]


def admission_cluster_rules(name: str = NAME) -> list[Object]:
    """What it asks of no namespace: its own configuration of this name, to keep there whom to trust, and how a namespace is
    served.
    """
    return [
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["validatingwebhookconfigurations"],
            "resourceNames": [name],
            "verbs": ["get", "patch"],
        },
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
    ]
