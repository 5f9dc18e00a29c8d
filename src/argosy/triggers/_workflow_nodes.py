"""The nodes of a Workflow, as its controller keeps them in ``status``: unpacked, chosen by a selector, ended.

What is read and written here is what Argo Workflows 3.7 reads and writes (``workflow/util/util.go``, ``workflow/packer``,
``pod_name.go``). A Workflow is changed in place; callers hold a copy of their own.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson

from argosy.errors import Rejected

Object = dict[str, Any]
Nodes = dict[str, Object]

LABEL = "workflows.argoproj.io/"
_POD_NAMES = f"{LABEL}pod-name-format"  # an annotation of the Workflow: v1 or v2
_LARGEST = 2**20  # bytes of JSON that a Workflow may have before its nodes are packed
_MOST_UNPACKED = 64 * 2**20
_LONGEST_PREFIX = 253 - 10 - 1


def unpack(workflow: Object) -> Nodes:
    """The nodes by their id, unpacked where they were packed.

    Raises Rejected where they are not in the object: the Argo server keeps those of very large Workflows in a database.
    """
    status = workflow.setdefault("status", {})
    if status.get("offloadNodeStatusVersion"):
        raise Rejected(
            f"the nodes of Workflow {workflow['metadata'].get('name')!r} are kept in the database of the Argo server;"
            " only that server can do this operation"
        )
    packed = status.pop("compressedNodes", None)
    if packed and not status.get("nodes"):
        try:
            unpacking = zlib.decompressobj(wbits=31)
            text = unpacking.decompress(base64.b64decode(packed, validate=True), _MOST_UNPACKED)
            status["nodes"] = orjson.loads(text)
        except (ValueError, zlib.error) as error:
            raise Rejected(f"status.compressedNodes of the Workflow cannot be unpacked: {error}") from error
    if status.get("nodes") is None:
        status["nodes"] = {}
    nodes: Nodes = status["nodes"]
    return nodes


def pack(workflow: Object) -> None:
    """Pack the nodes, as the controller does, where the object would be too large with them."""
    status = workflow["status"]
    if len(orjson.dumps(workflow)) > _LARGEST:
        packed = gzip.compress(orjson.dumps(status.pop("nodes")), mtime=0)
        status["compressedNodes"] = base64.b64encode(packed).decode()


def failed(node: Object) -> bool:
    """Whether it ended badly."""
    return node.get("phase") in ("Failed", "Error")


def template_of(node: Object) -> str:
    """The template that the node runs."""
    reference = node.get("templateRef")
    return str((reference.get("template") if reference else node.get("templateName")) or "")


def node_id(workflow: str, name: str) -> str:
    """The id of the node of this name in the Workflow of that name."""
    return workflow if name == workflow else f"{workflow}-{_fnv32a(name)}"


def pod_name(workflow: Object, node: Object) -> str:
    """The pod that ran the node."""
    about = workflow["metadata"]
    if (about.get("annotations") or {}).get(_POD_NAMES) == "v1":
        return str(node["id"])
    name = str(about["name"])
    if node["name"] == name:
        return name
    template = template_of(node)
    prefix = f"{name}-{template}" if template else name
    return f"{prefix[:_LONGEST_PREFIX]}-{_fnv32a(node['name'])}"


def _fnv32a(text: str) -> int:
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def selector(text: str) -> Callable[[Object], bool]:
    """The field selector ``--node-field-selector``: ``displayName=approve,phase!=Failed``; all must hold.

    Raises Rejected if it is none.
    """
    terms = [_term(part) for part in _split(text)]

    def chosen(node: Object) -> bool:
        fields = _fields(node)
        return all((fields.get(key, "") == value) is equal for key, equal, value in terms)

    return chosen


def _fields(node: Object) -> dict[str, str]:
    found = {
        "displayName": node.get("displayName") or "",
        "templateName": template_of(node),
        "phase": node.get("phase") or "",
        "name": node.get("name") or "",
        "id": node.get("id") or "",
    }
    if reference := node.get("templateRef"):
        found["templateRef.name"] = reference.get("name") or ""
        found["templateRef.template"] = reference.get("template") or ""
    for each in (node.get("inputs") or {}).get("parameters") or ():
        value = each.get("value")
        found[f"inputs.parameters.{each['name']}.value"] = "" if value is None else str(value)
    return found


def _split(text: str) -> list[str]:
    parts, current, escaped = [], "", False
    for letter in text:
        if letter == "," and not escaped:
            parts.append(current)
            current = ""
            continue
        current += letter
        escaped = letter == "\\" and not escaped
    return [part for part in (*parts, current) if part]


def _term(part: str) -> tuple[str, bool, str]:
    for at, letter in enumerate(part):
        for sign, equal in (("!=", False), ("==", True), ("=", True)):
            if letter == sign[0] and part.startswith(sign, at):
                return part[:at], equal, _unescaped(part, part[at + len(sign) :])
    raise Rejected(f"args: --node-field-selector wants FIELD=VALUE or FIELD!=VALUE, not {part!r}")


def _unescaped(part: str, value: str) -> str:
    found, rest = "", iter(value)
    for letter in rest:
        if letter == "\\":
            letter = next(rest, "")
            if letter not in ("\\", ",", "="):
                raise Rejected(
                    f"args: --node-field-selector {part!r}: a backslash stands before a comma, '=' or '\\' only"
                )
        elif letter == "=":
            raise Rejected(f"args: --node-field-selector {part!r}: write '\\=' for an equals sign in a value")
        found += letter
    return found


def waiting(nodes: Nodes) -> list[Object]:
    """The nodes that wait to be resumed."""
    return [node for node in nodes.values() if node.get("type") == "Suspend" and node.get("phase") == "Running"]


def resume(workflow: Object, only: str, now: datetime) -> bool:
    """Let it go on: as a whole, and where it waits for a word. ``only`` chooses of the waiting nodes. Whether anything changed.

    Raises Rejected where a waiting node wants an output that nobody gave and that has no default.
    """
    nodes = unpack(workflow)
    changed = False
    if not only and (workflow.get("spec") or {}).pop("suspend", None):
        changed = True
    for node in _chosen(nodes, only):
        for each in (node.get("outputs") or {}).get("parameters") or ():
            source = each.get("valueFrom") or {}
            if only or "supplied" not in source:
                continue
            if source.get("default") is None:
                raise Rejected(
                    f"node {node.get('displayName') or node['name']!r} waits for its output {each['name']!r}, which has no default;"
                    " give it with: argo node set"
                )
            each["value"] = source["default"]
            del each["valueFrom"]
        node["phase"] = "Succeeded"
        node["finishedAt"] = stamp(now)
        changed = True
    return changed


def fail(workflow: Object, only: str, message: str, now: datetime) -> None:
    """End the waiting nodes that ``only`` chooses as failed. Raises Rejected if it chooses none."""
    for node in _chosen(unpack(workflow), only):
        node["phase"] = "Failed"
        node["finishedAt"] = stamp(now)
        if message:
            node["message"] = message


def _chosen(nodes: Nodes, only: str) -> list[Object]:
    found = waiting(nodes)
    if only:
        chosen = selector(only)
        found = [node for node in found if chosen(node)]
        if not found:
            raise Rejected(f"no node of the Workflow that waits to be resumed fits --node-field-selector {only!r}")
    return found


def stamp(now: datetime) -> str:
    """A time as Kubernetes writes it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
