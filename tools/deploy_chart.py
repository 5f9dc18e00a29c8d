"""The Helm chart, made of the objects that ``argosy install`` prints.

The objects are made with holes where a value goes, once for all namespaces and once for some. What is the same in both stands as it
is, the rest under ``if``; what there is once for each namespace stands in a ``range``. So the chart cannot say anything else than
``argosy install`` does.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import argosy
from argosy.cli._manifests import documents
from argosy.kubernetes.install import Installation, eventbus, objects, pods, rights
from argosy.kubernetes.install.settings import CONTROLLER

Object = dict[str, Any]
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Value:
    """A value of the chart: what it is, its default, and its JSON Schema."""

    name: str
    default: Any
    about: str
    schema: Object


_TEXT, _COUNT, _YES = {"type": "string"}, {"type": "integer", "minimum": 1}, {"type": "boolean"}
_NAMESPACE = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
_MAP, _LIST = {"type": "object"}, {"type": "array", "items": {"type": "object"}}

VALUES = [
    Value("image", "", f"The image of all pods. Empty: argosy:{argosy.__version__}.", _TEXT),
    Value("imagePullPolicy", "IfNotPresent", "", {"enum": ["Always", "IfNotPresent", "Never"]}),
    Value(
        "imagePullSecrets", [], "Secrets of the image's registry, for the controller and the admission server.", _LIST
    ),
    Value("cluster", False, "Serve the objects of all namespaces, with a ClusterRole.", _YES),
    Value(
        "managedNamespaces",
        [],
        "Serve the objects of these namespaces, with a Role in each. Empty: those of the release's own namespace.",
        {"type": "array", "items": _NAMESPACE, "uniqueItems": True},
    ),
    Value(
        "mode",
        "dedicated",
        "Pods for each object (dedicated), or runners that serve a namespace (shared); for objects and namespaces that do not"
        " say it themselves.",
        {"enum": ["dedicated", "shared"]},
    ),
    Value(
        "shards",
        1,
        "How many runners share a namespace in shared mode.",
        {"type": "integer", "minimum": 1, "maximum": 64},
    ),
    Value(
        "allowShared",
        False,
        "Let objects and namespaces choose runners though mode is dedicated. The controller may then read all Secrets of the namespaces"
        " that it serves.",
        _YES,
    ),
    Value("admission", True, "Let the API server ask before it takes an object.", _YES),
    Value("controllerReplicas", 2, "One works, the others wait for its lease.", _COUNT),
    Value("admissionReplicas", 2, "All of them answer.", _COUNT),
    Value("controllerResources", pods.SMALL, "", _MAP),
    Value("admissionResources", pods.SMALL, "", _MAP),
    Value("networkPolicies", True, "Close all ports of the two but those that they serve.", _YES),
    Value("nodeSelector", {}, "", _MAP),
    Value("tolerations", [], "", _LIST),
    Value("affinity", {}, "", _MAP),
    Value("priorityClassName", "", "", _TEXT),
    Value(
        "config",
        eventbus.configuration(),
        "What EventBuses are installed from: the versions of NATS, by the name that spec.jetstream.version gives, and the settings of"
        " their servers and streams where an EventBus says nothing.",
        _MAP,
    ),
]

_NOTICE = "# Written by `make docs`; changes made here are lost.\n"
_WATCHED = "($.Values.managedNamespaces | default (list $.Release.Namespace))"
_IMAGE = '{{ $.Values.image | default (printf "argosy:%s" $.Chart.AppVersion) | quote }}'
_OWN, _MANAGED = "xholeownx", "xholemanagedx"
"""The holes for the release's namespace, and for each one that is served."""
_REPLICAS, _RESOURCES, _CONFIG = "xholereplicasx", "xholeresourcesx", "xholeconfigx"
_FILLED = {
    _OWN: "{{ $.Release.Namespace }}",
    "xholeimagex": _IMAGE,
    "xholepullx": "{{ $.Values.imagePullPolicy }}",
    "xholemodex": "{{ $.Values.mode }}",
    "xholeshardsx": "{{ $.Values.shards | quote }}",
}
_POD = """\
{{- with $.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 8 }}
{{- end }}
{{- with $.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 8 }}
{{- end }}
{{- with $.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 8 }}
{{- end }}
{{- with $.Values.affinity }}
affinity:
  {{- toYaml . | nindent 8 }}
{{- end }}
{{- with $.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
"""


def files() -> dict[str, str]:
    """Every file of the chart but the kinds, by its path in the chart, and what it should hold."""
    return {
        "Chart.yaml": _chart(),
        "values.yaml": _values(),
        "values.schema.json": _schema(),
        "templates/NOTES.txt": _NOTES,
        **{f"templates/{name}.yaml": _NOTICE + text for name, text in _templates().items()},
    }


def _chart() -> str:
    return (
        f"{_NOTICE}apiVersion: v2\nname: argosy\ntype: application\nversion: {argosy.__version__}\n"
        f'appVersion: "{argosy.__version__}"\nkubeVersion: ">=1.28.0-0"\n'
        "description: Event-driven automation that loses nothing and can say why, on EventSource, EventBus and Sensor manifests of"
        " Argo Events.\n"
    )


def _values() -> str:
    lines = [_NOTICE.rstrip()]
    for value in VALUES:
        if value.about:
            lines += ["", *(f"# {line}" for line in _wrapped(value.about))]
        (text,) = documents([{value.name: value.default}])
        lines.append(text.removeprefix("---\n").rstrip("\n"))
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 110)


def _schema() -> str:
    properties = {
        one.name: {**({"description": one.about} if one.about else {}), **one.schema, "default": one.default}
        for one in VALUES
    }
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        # A misspelt value would be left out in silence. `global` is Helm's own.
        "properties": {**properties, "global": {"type": "object"}},
        "additionalProperties": False,
    }
    return json.dumps(whole, indent=2) + "\n"


# Templates


def _templates() -> dict[str, str]:
    some = _by_key(objects(_holed(cluster=False), kinds=False))
    all_ = _by_key(objects(_holed(cluster=True), kinds=False))
    people = {_key(one) for one in rights.for_people()}
    found: dict[str, list[str]] = {"controller": [], "admission": [], "people": []}
    for key in dict.fromkeys([*some, *all_]):
        if key[0] == "Namespace":
            continue  # Helm makes it: --create-namespace
        one = some.get(key) or all_[key]
        component = "people" if key in people else _component(one) or "admission"
        text = _merged(all_.get(key), some.get(key))
        if key[0] == "NetworkPolicy":
            text = f"{{{{- if $.Values.networkPolicies }}}}\n{text}{{{{- end }}}}\n"
        if key[2] == f"{CONTROLLER}-shared":
            text = f'{{{{- if or $.Values.allowShared (eq $.Values.mode "shared") }}}}\n{text}{{{{- end }}}}\n'
        found[component].append(text)
    joined = {name: "".join(texts) for name, texts in found.items()}
    joined["admission"] = f"{{{{- if $.Values.admission }}}}\n{joined['admission']}{{{{- end }}}}\n"
    return joined


def _holed(*, cluster: bool) -> Installation:
    return Installation(
        namespace=_OWN,
        managed=(_MANAGED,),
        cluster=cluster,
        image="xholeimagex",
        pull_policy="xholepullx",
        mode="xholemodex",
        allow_shared=True,
        shards="xholeshardsx",  # type: ignore[arg-type]
    )


def _key(one: Object) -> Key:
    return one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]


def _component(one: Object) -> str:
    return str(one["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""))


def _by_key(found: Iterable[Object]) -> dict[Key, Object]:
    return {_key(one): one for one in found}


def _merged(all_: Object | None, some: Object | None) -> str:
    """One document: what stands in both, and what stands in one of them under its condition."""
    if all_ is None or some is None:
        (one,) = (found for found in (all_, some) if found is not None)
        text = _text(one)
        if some is not None and some["metadata"].get("namespace") == _MANAGED:
            text = _each(text)
        return f"{{{{- if {'' if all_ else 'not '}$.Values.cluster }}}}\n{text}{{{{- end }}}}\n"
    left, right = _text(all_).splitlines(keepends=True), _text(some).splitlines(keepends=True)
    lines: list[str] = []
    for what, a, b, c, d in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if what == "equal":
            lines += left[a:b]
            continue
        for condition, part in (("$.Values.cluster", left[a:b]), ("not $.Values.cluster", right[c:d])):
            if part:
                lines += [f"{{{{- if {condition} }}}}\n", *part, "{{- end }}\n"]
    return "".join(lines)


def _each(text: str) -> str:
    return f"{{{{- range {_WATCHED} }}}}\n{text.replace(_MANAGED, '{{ . }}')}{{{{- end }}}}\n"


def _text(one: Object) -> str:
    """A document with its holes filled, but for those of namespaces that are served."""
    component = _component(one)
    if one["kind"] == "Deployment":
        one = json.loads(json.dumps(one))
        one["spec"]["replicas"] = _REPLICAS
        one["spec"]["template"]["spec"]["containers"][0]["resources"] = _RESOURCES
    if one["kind"] == "ConfigMap":
        one = {**one, "data": dict.fromkeys(one["data"], _CONFIG)}
    (text,) = documents([one])
    return "".join(_filled(text, component))


def _filled(text: str, component: str) -> Iterator[str]:
    # The namespaces that were asked for are told to the controller; without them it takes its own.
    text = re.sub(
        rf"^( *)- --managed-namespace\n *- {_MANAGED}\n",
        r"{{- range $.Values.managedNamespaces }}\n\1- --managed-namespace\n\1- {{ . }}\n{{- end }}\n",
        text,
        flags=re.MULTILINE,
    )
    if one_of := re.search(rf"^( *- ){_MANAGED}\n", text, flags=re.MULTILINE):
        text = text.replace(one_of[0], f"{{{{- range {_WATCHED} }}}}\n{one_of[1]}{{{{ . }}}}\n{{{{- end }}}}\n")
    for hole, expression in _FILLED.items():
        text = text.replace(hole, expression)
    for line in text.splitlines(keepends=True):
        if line.endswith(f"{_REPLICAS}\n"):
            yield line.replace(_REPLICAS, f"{{{{ $.Values.{component}Replicas }}}}")
        elif line.endswith(f" {_RESOURCES}\n"):
            depth = len(line) - len(line.lstrip()) + 2
            yield line.replace(
                f" {_RESOURCES}\n",
                f"\n{' ' * depth}{{{{- toYaml $.Values.{component}Resources | nindent {depth} }}}}\n",
            )
        elif line.endswith(f" {_CONFIG}\n"):
            yield line.replace(f" {_CONFIG}\n", " |\n    {{- toYaml $.Values.config | nindent 4 }}\n")
        else:
            yield line
        if line.startswith("      serviceAccountName: "):
            yield from (part if part.startswith("{{") else f"      {part}" for part in _POD.splitlines(keepends=True))


_NOTES = """\
Argosy {{ .Chart.AppVersion }} serves {{ if .Values.cluster }}all namespaces{{ else }}{{ join ", " (.Values.managedNamespaces | default (list .Release.Namespace)) }}{{ end }}.

Is it there?
  kubectl --namespace {{ .Release.Namespace }} rollout status deployment/argosy-controller
{{- if .Values.admission }}
  kubectl --namespace {{ .Release.Namespace }} rollout status deployment/argosy-admission
{{- end }}

Helm makes the kinds EventBus, EventSource and Sensor where they are not there, and never changes them after that. So at every
upgrade, and where Argo Events was before:
  argosy crds | kubectl apply --server-side --force-conflicts -f -

A first event:
  kubectl apply -f -   with the manifests that 'argosy new webhook' and 'argosy new log' print
  kubectl get eventbus,eventsources,sensors
"""
