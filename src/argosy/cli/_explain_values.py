"""Values as an explanation shows them: short, on few lines, and with what changed in view."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from argosy.cli._page import one_line
from argosy.errors import Rejected
from argosy.lang import gojson
from argosy.manifests.fields import Json
from argosy.sensor.explaining_stories import hidden, payload_value
from argosy.sensor.rendering import Rehearsal
from argosy.triggers._http_url import filled


def short(value: Json, most: int = 60) -> str:
    """A value as compact JSON, cut; of an object the keys, where its values do not fit."""
    text = gojson.dumps(value, sort_keys=False, escape_html=False).decode()
    if len(text) <= most:
        return text
    if isinstance(value, dict):
        return one_line("{" + ", ".join(map(str, value)) + "}", most)
    if isinstance(value, list):
        return f"[{len(value)} {'value' if len(value) == 1 else 'values'}]"
    return one_line(text, most)


def diff(before: Json, after: Json, path: str = "") -> list[tuple[str, str]]:
    """What is new (``+``), other (``~``) and gone (``-``), by path; objects that are in both are looked into."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return [] if _same(before, after) else [("~", f"{path}: {short(before)} → {short(after)}")]
    changes: list[tuple[str, str]] = []
    for key, value in after.items():
        here = _joined(path, key)
        if key not in before:
            changes.append(("+", f"{here}: {short(value)}"))
        else:
            changes += diff(before[key], value, here)
    gone = [_joined(path, key) for key in before if key not in after]
    if gone:
        changes.append(("-", one_line(", ".join(gone), 100)))
    return sorted(changes, key=lambda change: "+~-".index(change[0]))


def _same(one: Json, other: Json) -> bool:
    return gojson.dumps(one) == gojson.dumps(other)


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


class _Dumper(yaml.SafeDumper):
    """YAML with several-line texts as blocks, and lists set in."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text.strip("\n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def yaml_lines(value: Json) -> list[str]:
    """The value as YAML."""
    plain = json.loads(gojson.dumps(value, sort_keys=False, escape_html=False))
    text: str = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("\n...\n").splitlines()


def lines_of(lines: Sequence[str], paths: Sequence[str]) -> set[int]:
    """The numbers of the lines of a YAML text on which the values at these sjson paths stand."""
    found: set[int] = set()
    root = yaml.compose("\n".join(lines))
    for path in paths:
        node: Any = root
        for part in _parts(path):
            node = _child(node, part)
        if node is not None:
            end = node.end_mark.line + (1 if node.end_mark.column else 0)
            found.update(range(node.start_mark.line, max(end, node.start_mark.line + 1)))
    return found


def _parts(path: str) -> list[str]:
    parts = re.findall(r"(?:\\.|[^.\\])+", path)
    return [re.sub(r"\\(.)", r"\1", part.removeprefix(":")) for part in parts]


def _child(node: Any, part: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    if isinstance(node, yaml.SequenceNode) and node.value:
        if part == "-1":
            return node.value[-1]
        return node.value[int(part)] if part.isdigit() and int(part) < len(node.value) else None
    return None


def what(kind: str, block: Mapping[str, Json]) -> str:
    """The kind and what it does, in a word or two: ``k8s create``, ``http POST``."""
    if kind == "http":
        return f"http {block.get('method') or 'POST'}"
    default = {"k8s": "create", "argoWorkflow": "submit"}.get(kind, "")
    return f"{kind} {block.get('operation') or default}".rstrip()


def sent(done: Rehearsal) -> tuple[list[str], set[int]]:
    """What the trigger would send, line by line, and which lines parameters have written."""
    if done.kind == "http":
        return _request(done), set()
    if done.resource is not None:
        lines = yaml_lines(done.resource)
        return lines, lines_of(
            lines, [each.parameter.dest for each in done.trace if each.place == "object" and each.step]
        )
    lines = yaml_lines(hidden(done.block)) if done.block else []
    bright = lines_of(lines, [each.parameter.dest for each in done.trace if each.place == "block" and each.step])
    if done.payload:
        lines += [*([""] if lines else []), *_pretty(done.payload)]
    return lines, bright


def _request(done: Rehearsal) -> list[str]:
    block = hidden(done.block)
    lines = [f"{block.get('method') or 'POST'} {_url(block)}"]
    headers = {**(block.get("headers") or {}), **(block.get("dynamicHeaders") or {})}
    lines += [f"{name}: {value}" for name, value in headers.items()]
    for secure in block.get("secureHeaders") or ():
        lines.append(f"{secure.get('name')}: {_reference(secure.get('valueFrom') or {})}")
    if block.get("basicAuth"):
        lines.append("Authorization: Basic (out of a Secret)")
    if isinstance(auth := block.get("auth"), dict):
        lines.append(f"Authorization: {_authorization(auth)}")
    if isinstance(event := block.get("cloudEvent"), dict):
        lines.append(f"(a CloudEvent in {event.get('mode') or 'binary'} mode)")
    return [*lines, "", *_pretty(done.payload)] if done.payload else lines


def _url(block: Mapping[str, Json]) -> str:
    path, query = block.get("pathParameters") or {}, block.get("queryParameters") or {}
    url = str(block.get("url", ""))
    if not isinstance(path, dict) or not isinstance(query, dict):
        return url
    try:
        return filled(url, path.items(), query.items())
    except Rejected as error:
        return f"{url} ({error})"


def _authorization(auth: Mapping[str, Json]) -> str:
    if isinstance(bearer := auth.get("bearer"), dict):
        return f"Bearer {_reference({'secretKeyRef': bearer.get('tokenSecret')})}"
    if isinstance(oauth := auth.get("oauth2"), dict):
        return f"Bearer (a token that is asked for at {oauth.get('tokenUrl')})"
    aws = auth.get("aws") or {}
    return f"AWS4-HMAC-SHA256 (a signature for {aws.get('service')} in {aws.get('region')})"


def _reference(place: Mapping[str, Json]) -> str:
    for kind, word in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        if isinstance(found := place.get(kind), dict):
            return f"(key '{found.get('key')}' of {word} '{found.get('name')}')"
    return "(nothing)"


def _pretty(payload: bytes) -> list[str]:
    value = payload_value(payload)
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return list(_cut(text.splitlines()))


def _cut(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield line if len(line) <= 500 else line[:500] + "…"
