"""Writes the pages of ``docs/reference`` that are read off the code: kinds, what runs, commands, metrics, findings.

Run by ``make docs``; a test compares the pages with what this would write, so they cannot fall behind.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from argosy import registry
from argosy.cli import main as cli
from argosy.manifests.checks.rules import rules
from argosy.manifests.eventbus import EventBusSpec
from argosy.manifests.eventsource import EventSourceSpec
from argosy.manifests.fields import Duration
from argosy.manifests.sensor import SensorSpec
from argosy.runtime.telemetry import Metrics, Tally
from argosy.sources._base import Source
from argosy.triggers._base import Trigger

_REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
_NOTE = "<!-- Written by `make docs`; changes made here are lost. -->\n"


def _first_sentence(plugin: type[Any]) -> str:
    return " ".join((plugin.__doc__ or "").strip().split("\n\n")[0].split())


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _sources() -> list[type[Source[Any]]]:
    return [plugin for kind in registry.source_kinds() if (plugin := registry.source(kind))]


def _triggers() -> list[type[Trigger[Any]]]:
    return [plugin for kind in registry.trigger_kinds() if (plugin := registry.trigger(kind))]


# The pages


def _support() -> str:
    sources = [
        [
            f"[`{plugin.kind}`](fields.md#event-source-{plugin.kind.lower()})",
            _first_sentence(plugin),
            _yes(plugin.acknowledges),
            _yes(plugin.exclusive),
            f"`argosy[{plugin.extra}]`" if plugin.extra else "",
        ]
        for plugin in _sources()
    ]
    triggers = [
        [
            f"[`{plugin.kind}`](fields.md#trigger-{plugin.kind.lower()})",
            _first_sentence(plugin),
            _yes(not plugin.ours),
            f"`argosy[{plugin.extra}]`" if plugin.extra else "",
        ]
        for plugin in _triggers()
    ]
    later_sources = ", ".join(f"`{kind}`" for kind in sorted(registry.LATER_SOURCES, key=str.lower))
    later_triggers = ", ".join(f"`{kind}`" for kind in sorted(registry.LATER_TRIGGERS, key=str.lower))
    return f"""{_NOTE}
# What runs

A manifest that uses a kind which comes later is still read: `argosy lint` names the kind as one that does not
run yet, and `argosy run` leaves that one event or trigger out and runs the rest.

## Event sources that run

*Acknowledges*: the sender is told (200, ack, offset) only after the event is stored. *One reader*: only one
process may receive at a time. *Needs*: the extra that `pip install` must be given.

{_table(["kind", "", "acknowledges", "one reader", "needs"], sources)}
## Event sources that come later

{later_sources}

## Triggers that run

{_table(["kind", "", "in Argo Events", "needs"], triggers)}
## Triggers that come later

{later_triggers}
"""


def _type(annotation: Any) -> str:
    """A field's type in words that a manifest's author uses."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(each) for each in inner if each is not type(None)))
    if origin is typing.Literal:
        return " or ".join(f"`{each}`" if each else '""' for each in inner)
    if origin in (list, tuple, set, frozenset):
        return f"list of {_type(inner[0])}" if inner else "list"
    if origin is dict:
        return f"map of {_type(inner[1])}"
    names = {
        str: "text",
        int: "integer",
        float: "number",
        bool: "true or false",
        dict: "object",
        bytes: "text",
    }
    if annotation is Any:
        return "any value"
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
        return names.get(annotation, annotation.__name__)
    return "any value"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == "" or (isinstance(value, list | dict | tuple) and not value):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "" if isinstance(value, BaseModel) else f"`{value}`"


def _remarks(model: type[BaseModel]) -> dict[str, str]:
    """The text under each field in the source, by field, as ``Field(description=…)`` would hold it."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not issubclass(owner, BaseModel) or owner is BaseModel:
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(body, ast.ClassDef)
        for field, text in itertools.pairwise(body.body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                found.pop(field.target.id, None)
                if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                    found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def _fields(model: type[BaseModel]) -> str:
    """The fields of a model, as they are called in manifests."""
    remarks = _remarks(model)
    rows = []
    for name, field in model.model_fields.items():
        kind = "duration" if _is_duration(field) else _type(field.annotation)
        rows.append([f"`{field.alias or name}`", kind, _default(field), field.description or remarks.get(name, "")])
    return _table(["field", "type", "default", ""], rows)


def _is_duration(field: FieldInfo) -> bool:
    inner = typing.get_args(Duration)[1:]
    return any(each in inner for each in field.metadata)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models_in(inner)


def _referred(roots: list[type[BaseModel]]) -> list[type[BaseModel]]:
    """Every model that the fields of ``roots`` refer to, directly or not, and that is no root; by name."""
    found: dict[str, type[BaseModel]] = {}
    ahead = list(roots)
    while ahead:
        for field in ahead.pop().model_fields.values():
            for model in _models_in(field.annotation):
                if model not in roots and model.__name__ not in found:
                    found[model.__name__] = model
                    ahead.append(model)
    return [found[name] for name in sorted(found)]


def _kind(head: str, plugin: type[Source[Any]] | type[Trigger[Any]]) -> str:
    about = inspect.getdoc(plugin) or ""
    example = f"```yaml\n{plugin.example.strip()}\n```\n"
    return f"## {head} `{plugin.kind}`\n\n{about}\n\n{_fields(plugin.config)}\n{example}"


def _all_fields() -> str:
    roots: list[type[BaseModel]] = [EventSourceSpec, SensorSpec, EventBusSpec]
    roots += [plugin.config for plugin in _sources()] + [plugin.config for plugin in _triggers()]
    parts = [
        f"{_NOTE}\n# Every field\n",
        "What a manifest may say, kind by kind. [Manifests](manifests.md) tells how they are read.\n",
        "## EventSource `spec`\n\nBeside these fields stand the kinds: `spec.<kind>.<event name>`.\n",
        _fields(EventSourceSpec),
        *(_kind("Event source", plugin) for plugin in _sources()),
        f"## Sensor `spec`\n\n{_fields(SensorSpec)}",
        *(_kind("Trigger", plugin) for plugin in _triggers()),
        f"## EventBus `spec`\n\n{_fields(EventBusSpec)}",
        "## Shared types\n",
        *(f"### {each.__name__}\n\n{inspect.getdoc(each) or ''}\n\n{_fields(each)}" for each in _referred(roots)),
    ]
    return "\n".join(parts)


def _commands() -> str:
    parts = [f"{_NOTE}\n# Commands\n"]
    for names in [(), *((name,) for name in cli.COMMANDS)]:
        command: click.Command | None = cli.main
        context = click.Context(cli.main, info_name="argosy", max_content_width=100, terminal_width=100)
        for name in names:
            assert isinstance(command, click.Group)
            command = command.get_command(context, name)
            assert command is not None
            context = click.Context(command, info_name=name, parent=context, max_content_width=100, terminal_width=100)
        text = command.get_help(context) if command else ""
        parts.append(f"## `{' '.join(('argosy', *names))}`\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def _metrics() -> str:
    rows = []
    for collector in vars(Metrics()).values():
        if not isinstance(collector, MetricWrapperBase | Tally):
            continue
        (metric,) = collector.collect()
        suffix = {"counter": "_total", "summary": "_sum`, `_count"}.get(metric.type, "")
        # prometheus_client shows the label names of a metric only once it has a value.
        names = collector.labelnames if isinstance(collector, Tally) else collector._labelnames
        labels = ", ".join(f"`{label}`" for label in names)
        rows.append([f"`{metric.name}{suffix}`", metric.type, labels, metric.documentation])
    return f"""{_NOTE}
# Metrics

`argosy run` serves them at `/metrics` of its admin address (127.0.0.1:7777 unless `--admin` says otherwise),
in Prometheus' text format. Those that begin with `argo_events_` are named, labelled and measured as in Argo
Events, so dashboards go on working; `argosy_` are ours. `process_…` are the usual ones: memory, processor time, open files.

{_table(["name", "type", "labels", ""], rows)}"""


def _lint() -> str:
    rows = [[f"[`{one.code}`](#{one.code})", ", ".join(one.severities), one.means] for one in rules().values()]
    parts = []
    for one in rules().values():
        parts.append(f"### {one.code}\n\n{one.means} {one.why}\n\n*To mend it*: {one.fix}\n")
        documents = [text for text in one.example.split("---\n") if f"# <- {one.code}" in text]
        if documents:
            parts.append(f"```yml\n{documents[0]}```\n")
    listed = "\n".join(parts)
    return f"""{_NOTE}
# What lint finds

`argosy lint` reads manifests as a run and a cluster do and says what is wrong with them, each finding with a
code, file, line and column, the path in the object, and what to do. `argosy lint --explain CODE` prints what stands here,
with the whole set of manifests that shows it.

Give it everything that belongs together: a name that leads to another object can only be checked where that object is.
Where the manifests hold nothing of a kind at all (no Secret in the namespace, no WorkflowTemplate, no Role), they are
kept elsewhere, and little or nothing is said of what is missing.

## In a pipeline

The exit code is 1 if there is a finding of the severity that `--fail-on` says (`error`, `warning` or `info`), or a worse one.

```yml
# .pre-commit-config.yaml, with this repository as repo and a release as rev
hooks:
  - id: argosy-lint
    args: [manifests/]
```

* `-o github` writes annotations into the log of a GitHub workflow.
* `-o sarif` writes SARIF 2.1.0 for code scanners; a finding keeps its fingerprint when lines above it change.
* `-o json` is for everything else.
* `--strict-upstream` also warns of what Argo Events would not run as it stands.

## Codes

{_table(["code", "severity", ""], rows)}
{listed}"""


def pages() -> list[tuple[Path, str]]:
    """Every generated page and the text that it should have."""
    texts = {"support": _support, "fields": _all_fields, "cli": _commands, "metrics": _metrics, "lint": _lint}
    return [(_REFERENCE / f"{name}.md", write()) for name, write in texts.items()]


def main() -> None:
    """Write the pages that are not current; with ``--check`` name them and exit with 1 instead."""
    if "--check" in sys.argv[1:]:
        stale = [str(path) for path, text in pages() if not path.exists() or path.read_text() != text]
        sys.exit(f"not current, run `make docs`: {', '.join(stale)}" if stale else 0)
    for path, text in pages():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


if __name__ == "__main__":
    main()
