"""Writes the pages of ``docs/reference`` that are read off the code: kinds, commands, metrics, findings; and the
README's table of what is tested against what.

Run by ``make docs``; a test compares the pages with what this would write, so they cannot fall behind.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
import docs_sent
from docs_models import described, fields, referred, table
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel

from argosy import registry
from argosy.cli import main as cli
from argosy.kubernetes.admission import server as admission
from argosy.kubernetes.controller import metrics as controller
from argosy.manifests.checks.rules import rules
from argosy.manifests.eventbus import EventBusSpec
from argosy.manifests.eventsource import EventSourceSpec
from argosy.manifests.sensor import SensorSpec
from argosy.runtime import telemetry
from argosy.sources._base import Source
from argosy.triggers._base import Trigger

_REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
_README = _REFERENCE.parents[1] / "README.md"
_TYPES = "fields.md"
_SPECS: tuple[type[BaseModel], ...] = (EventSourceSpec, SensorSpec, EventBusSpec)
_SORTS = {
    "real": ("Real", "the real server or client"),
    "emulator": ("Emulator", "somebody else's emulator of the service"),
    "double": ("Double", "a double of ours, made after the documents"),
    "none": ("Nothing outside", "nothing outside Argosy is needed"),
}
"""What a kind's ``peer`` begins with, in words for the kind's page and for the README."""
_NAMED = ("real", "emulator")
_NOTE = "<!-- Written by `make docs`; changes made here are lost. -->\n"


def _first_sentence(plugin: type[Any]) -> str:
    return re.split(r"(?<=\.)\s", " ".join((plugin.__doc__ or "").split()), maxsplit=1)[0]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _sources() -> list[type[Source[Any]]]:
    return [plugin for kind in registry.source_kinds() if (plugin := registry.source(kind))]


def _triggers() -> list[type[Trigger[Any]]]:
    return [plugin for kind in registry.trigger_kinds() if (plugin := registry.trigger(kind))]


# The pages


@cache
def _shared() -> frozenset[type[BaseModel]]:
    """The models that stand on the page of shared types: those of the specs, and those that two kinds have."""
    kinds = Counter(model for plugin in (*_sources(), *_triggers()) for model in referred(plugin.config))
    specs = {model for spec in _SPECS for model in referred(spec)}
    return frozenset(specs | {model for model, count in kinds.items() if count > 1})


def _anchor(model: type[BaseModel]) -> str:
    return f"#{model.__name__.lower()}"


def _link(model: type[BaseModel]) -> str:
    """Where a model is described, seen from a kind's page."""
    return f"{_TYPES if model in _shared() else ''}{_anchor(model)}"


def _all_fields() -> str:
    parts = [
        f"{_NOTE}\n# Fields that kinds share\n",
        "What a manifest may say beside the fields of its kinds: each [event source](sources/index.md) and each",
        "[trigger](triggers/index.md) has a page of its own. [Manifests](manifests.md) tells how they are read.\n",
        "## EventSource `spec`\n\nBeside these fields stand the kinds: `spec.<kind>.<event name>`.\n",
        fields(EventSourceSpec, _anchor),
        f"## Sensor `spec`\n\n{fields(SensorSpec, _anchor)}",
        f"## EventBus `spec`\n\n{fields(EventBusSpec, _anchor)}",
        "## Shared types\n",
        *described(_shared(), _anchor),
    ]
    return "\n".join(parts)


# The pages of kinds


def _nearer(text: str) -> str:
    """A text of the folder above: its links lead out of this folder."""
    return re.sub(r"\]\((?!https?://|#|\.\./)", "](../", text)


def _peer(plugin: type[Any]) -> str:
    sort, _, name = plugin.peer.partition(": ")
    return f"{_SORTS[sort][0]}: {name}." if sort in _SORTS else "Nothing yet."


def _kind(plugin: type[Source[Any]] | type[Trigger[Any]], where: str, *more: str) -> str:
    """The page of one kind; ``more`` are the parts between its text and its fields."""
    table_of = fields(plugin.config, _link)
    own = described(referred(plugin.config) - _shared(), _link)
    needs = f"It needs more than the core: `pip install 'argosy[{plugin.extra}]'`.\n" if plugin.extra else ""
    parts = [
        f"{_NOTE}\n# `{plugin.kind}`\n",
        f"{inspect.getdoc(plugin)}\n",
        needs,
        *more,
        f"## Fields\n\nOf `{where}`:\n",
        table_of,
        *own,
    ]
    parts += [f"## Example\n\n`argosy new {plugin.kind}` prints it.\n", f"```yml\n{plugin.example.strip()}\n```\n"]
    return _nearer("\n".join(part for part in parts if part)) + f"\n## Tested against\n\n{_peer(plugin)}\n"


def _source(plugin: type[Source[Any]]) -> str:
    told = "The sender is told (200, ack, offset) only after the event is stored; what it was not told of is not lost."
    untold = "The other side takes no acknowledgement: what it sends while nobody can store it, it may not send again."
    alone = "Only one process may receive at a time." if plugin.exclusive else "Several processes may receive at once."
    delivery = f"## Delivery\n\n{told if plugin.acknowledges else untold} {alone}\n"
    return _kind(plugin, f"spec.{plugin.kind}.<event name>", delivery, _sample(plugin))


def _sample(plugin: type[Source[Any]]) -> str:
    """What its test received; texts that are long are cut, and what is nested deep."""
    path = _REFERENCE / "sources" / "samples" / f"{plugin.kind}.json"
    if not path.exists():
        return ""
    sample = json.loads(path.read_text())
    named = (
        "comes with the message: what is sent again under the same one is stored once."
        if sample["id"]
        else "is made by Argosy, for nothing in the message names it."
    )
    text = json.dumps(docs_sent.cut(sample["data"]), indent=2, ensure_ascii=False)
    head = f"An event's `data`, as [its test received it](sources/samples/{path.name}), and its `type`"
    return f"## Event\n\n{head} `{sample['type']}`. Its `id` {named}\n\n```json\n{text}\n```\n"


def _trigger(plugin: type[Trigger[Any]]) -> str:
    ours = "Argo Events does not have it.\n" if plugin.ours else ""
    path = _REFERENCE / "triggers" / "samples" / f"{plugin.kind}.json"
    sample = json.loads(path.read_text()) if path.exists() else {}
    parts = docs_sent.parts(plugin.kind, sample)
    return _kind(plugin, f"spec.triggers[].template.{plugin.kind}", ours, *parts)


def _linked(plugins: Iterable[type[Any]], folder: str = "") -> list[list[str]]:
    return [[f"[`{one.kind}`]({folder}{one.kind}.md)", _first_sentence(one)] for one in plugins]


def _extra(plugin: type[Any]) -> str:
    return f"`argosy[{plugin.extra}]`" if plugin.extra else ""


def _source_index() -> str:
    plugins = _sources()
    told = [[_yes(one.acknowledges), _yes(one.exclusive), _extra(one), _peer(one)] for one in plugins]
    rows = [[*row, *more] for row, more in zip(_linked(plugins), told, strict=True)]
    return f"""{_NOTE}
# Event sources

*Acknowledges*: the sender is told (200, ack, offset) only after the event is stored. *One reader*: only one
process may receive at a time. *Needs*: the extra that `pip install` must be given.

{table(["kind", "", "acknowledges", "one reader", "needs", "tested against"], rows)}"""


def _trigger_index() -> str:
    plugins = _triggers()
    rows = [
        [*row, _yes(not one.ours), _extra(one), _peer(one)] for row, one in zip(_linked(plugins), plugins, strict=True)
    ]
    return f"""{_NOTE}
# Triggers

*Needs*: the extra that `pip install` must be given. All of them have what [actions](../../explanation/actions.md) have:
retries, order, limits, dead letters.

{table(["kind", "", "in Argo Events", "needs", "tested against"], rows)}"""


def _readme() -> str:
    """The README, with the table of what is tested against what between its marks."""
    rows = []
    for sort, (_, words) in _SORTS.items():
        cells = []
        for folder, plugins in (("sources", _sources()), ("triggers", _triggers())):
            named = [(one, one.peer.partition(": ")) for one in plugins]
            cells.append(
                ", ".join(
                    f"[`{one.kind}`](docs/reference/{folder}/{one.kind}.md)" + (f" ({name})" if sort in _NAMED else "")
                    for one, (found, _, name) in named
                    if found == sort
                )
            )
        if any(cells):
            rows.append([words, *cells])
    text = _README.read_text()
    before, mark, rest = text.partition("<!-- kinds: written by `make docs` -->\n")
    _, end, after = rest.partition("<!-- end of kinds -->\n")
    assert mark and end, "the README has lost the marks of its table"
    return f"{before}{mark}{table(['tested against', 'event sources', 'triggers'], rows)}{end}{after}"


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
    return f"""{_NOTE}
# Metrics

`argosy run`, and every pod of an event source, sensor or runner, serves them at `/metrics` of its admin address (of a run
127.0.0.1:7777 unless `--admin` says otherwise), in Prometheus' text format. Those that begin with `argo_events_` are named, labelled and measured as in Argo
Events, so dashboards go on working; `argosy_` are ours. `process_…` are the usual ones: memory, processor time, open files.
[Alerts and a dashboard](../how-to/monitor.md) are made of them.

{_counted(telemetry.Metrics().registry)}
## Of the controller

{_counted(controller.Metrics(lambda: 0).registry)}
## Of the webhook

{_counted(admission.Metrics().registry)}"""


def _counted(registry: CollectorRegistry) -> str:
    rows = []
    for collector in registry._collector_to_names:
        if isinstance(collector, ProcessCollector):
            continue
        (metric,) = collector.collect()
        suffix = {"counter": "_total", "summary": "_sum`, `_count"}.get(metric.type, "")
        # prometheus_client shows the label names of a metric only once it has a value.
        names = collector._labelnames if isinstance(collector, MetricWrapperBase) else collector.labelnames
        labels = ", ".join(f"`{label}`" for label in names)
        rows.append([f"`{metric.name}{suffix}`", metric.type, labels, metric.documentation])
    return table(["name", "type", "labels", ""], rows)


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

{table(["code", "severity", ""], rows)}
{listed}"""


def pages() -> list[tuple[Path, str]]:
    """Every generated page and the text that it should have."""
    texts = {"fields": _all_fields, "cli": _commands, "metrics": _metrics, "lint": _lint}
    texts |= {"sources/index": _source_index, "triggers/index": _trigger_index}
    texts |= {f"sources/{one.kind}": partial(_source, one) for one in _sources()}
    texts |= {f"triggers/{one.kind}": partial(_trigger, one) for one in _triggers()}
    return [(_README, _readme()), *((_REFERENCE / f"{name}.md", write()) for name, write in texts.items())]


def _superseded(current: Iterable[Path]) -> list[Path]:
    """The pages of kinds that are no more."""
    there = [*(_REFERENCE / "sources").glob("*.md"), *(_REFERENCE / "triggers").glob("*.md")]
    return sorted({*there} - {*current})


def main() -> None:
    """Write the pages that are not current; with ``--check`` name them and exit with 1 instead."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="name what is not current, and exit with 1")
    asked = parser.parse_args()
    if asked.check:
        stale = [str(path) for path, text in pages() if not path.exists() or path.read_text() != text]
        stale += map(str, _superseded(path for path, _ in pages()))
        sys.exit(f"not current, run `make docs`: {', '.join(stale)}" if stale else 0)
    written = pages()
    for path in _superseded(path for path, _ in written):
        path.unlink()
    for path, text in written:
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


if __name__ == "__main__":
    main()
