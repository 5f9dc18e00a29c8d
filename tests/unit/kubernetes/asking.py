"""Questions as an API server asks them, for tests of the webhook's pure core."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import yaml

from argosy.kubernetes.admission.known import Known, known
from argosy.kubernetes.admission.review import review

Object = dict[str, Any]
NAMESPACE = "shop"


def of(text: str, namespace: str = NAMESPACE) -> Object:
    """An object of ours: kind and name in the first line, its spec below."""
    head, _, spec = text.strip().partition("\n")
    kind, name = head.split()
    metadata = {"name": name, "namespace": namespace}
    api = "argoproj.io/v1alpha1"
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": yaml.safe_load(spec)}


def question(item: Object | None, operation: str = "CREATE", before: Object | None = None, **more: Any) -> Object:
    """The AdmissionReview; for a deletion ``before`` is what goes."""
    shown = item or before
    assert shown is not None
    request = {
        "uid": "1f2e",
        "kind": {"group": "argoproj.io", "version": "v1alpha1", "kind": shown["kind"]},
        "name": shown["metadata"].get("name", ""),
        "namespace": NAMESPACE,
        "operation": operation,
        "object": item,
        "oldObject": before,
        **more,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def cluster(*items: Object, **more: Any) -> Known:
    """What is known of a namespace that holds these, and a bus."""
    more.setdefault("accounts", ["default", "sensors"])
    return known(NAMESPACE, [BUS, *items], **more)


def answered(asked: Object, there: Known | None = None) -> Object:
    """The response."""
    answer = review(asked, cluster() if there is None else there)
    response = answer["response"]
    assert answer["apiVersion"] == "admission.k8s.io/v1"
    assert answer["kind"] == "AdmissionReview"
    assert response["uid"] == "1f2e"
    assert all(len(one.encode()) <= 256 for one in response.get("warnings", ()))
    assert isinstance(response, dict)
    return response


def fields(response: Object) -> list[str]:
    """The places of what a refusal says."""
    assert response["allowed"] is False, response
    return [one["field"] for one in response["status"]["details"]["causes"]]


def warned(response: Object) -> str:
    """All warnings of an admitted object, a line each."""
    assert response["allowed"] is True, response
    return "\n".join(response.get("warnings", ()))


def changed(item: Object, **spec: Any) -> Object:
    """The object with other fields in its spec."""
    other = copy.deepcopy(item)
    other["spec"] |= spec
    return other


def names(items: Iterable[Object]) -> list[str]:
    """What the objects are called."""
    return [one["metadata"]["name"] for one in items]


BUS = of("EventBus default\njetstream: {version: latest}")
SOURCE = of("""EventSource orders
webhook:
  created: {port: "12000", endpoint: /created, method: POST}
  paid: {port: "12000", endpoint: /paid, method: POST}
""")
SENSOR = of("""Sensor billing
template: {serviceAccountName: sensors}
dependencies:
  - {name: order, eventSourceName: orders, eventName: created}
triggers:
  - template:
      name: bill
      http: {url: "http://billing.shop/bills", method: POST}
""")
