"""What every plug-in owes its reader, said once and checked without running it.

A kind is one file: whatever the rest of Argosy knows of it (validation, schema, lint, docs, help) is read
from there. So the file must say it: what the kind is, which fields it has, an example that works. And
somebody must have bound the suite that proves what it does. ``test_plugins`` runs this over every kind that
the registry finds.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import click.testing
import pytest

from argosy.cli.main import main
from argosy.manifests import bundle
from argosy.sources._base import Source
from argosy.triggers._base import Trigger
from tests.conformance.gaps import Promises

_TESTS = Path(__file__).resolve().parents[1]

Plugin = type[Source[Any]] | type[Trigger[Any]]


class PluginSuite(Promises):
    """Inherit it, and parametrise ``plugin`` with every kind's class."""

    suite: ClassVar[str]
    """The suite that the kind's own test must inherit."""
    decides: ClassVar[tuple[str, ...]]
    """What each kind must say for itself, because no default would be safe."""

    @pytest.fixture
    def plugin(self) -> Plugin:
        raise NotImplementedError("parametrise the plug-ins")

    def test_the_file_is_named_by_the_kind(self, plugin: Plugin) -> None:
        name = inspect.getmodule(plugin).__name__.rsplit(".", 1)[-1]  # type: ignore[union-attr]
        head, *rest = name.split("_")
        assert head + "".join(word.capitalize() for word in rest) == plugin.kind

    def test_module_class_and_configuration_say_what_they_are_for(self, plugin: Plugin) -> None:
        for each in (inspect.getmodule(plugin), plugin, plugin.config):
            assert (each.__doc__ or "").strip(), f"{each} has no docstring"

    def test_it_decides_for_itself(self, plugin: Plugin) -> None:
        assert [name for name in self.decides if name not in vars(plugin)] == []

    def test_what_it_needs_has_a_name_to_install_it_by(self, plugin: Plugin) -> None:
        assert bool(plugin.requires) == bool(plugin.extra)

    def test_fields_are_written_as_in_manifests(self, plugin: Plugin) -> None:
        names = [field.alias or name for name, field in plugin.config.model_fields.items()]
        assert [name for name in names if "_" in name] == []
        assert plugin.config.model_config["extra"] == "forbid"
        assert plugin.config.model_config["frozen"]

    def test_it_says_what_it_was_tested_against(self, plugin: Plugin) -> None:
        assert re.fullmatch(r"(real|emulator|double|none): \S.*[^.]", plugin.peer), plugin.peer

    def test_the_example_is_without_fault_and_shows_the_kind(self, plugin: Plugin) -> None:
        # Given the example, when it is linted on its own
        found = bundle.loads(plugin.example, f"{plugin.kind}.yaml")
        # Then there is nothing to mend
        assert [str(finding) for finding in found.findings if finding.severity == "error"] == []
        # And the kind runs in it
        kinds = {event.kind for source in found.event_sources for event in source.events}
        kinds |= {trigger.kind for sensor in found.sensors for trigger in sensor.triggers}
        assert plugin.kind in kinds

    def test_new_prints_the_example(self, plugin: Plugin) -> None:
        only = "--source" if issubclass(plugin, Source) else "--trigger"
        printed = click.testing.CliRunner().invoke(main, ["new", only, plugin.kind])
        assert printed.exit_code == 0, printed.output
        assert printed.output.strip() == plugin.example.strip()

    def test_client_libraries_are_imported_only_when_it_runs(self, plugin: Plugin) -> None:
        # Given an interpreter that has loaded nothing, when all kinds' modules are read
        loaded = _loaded_with_all_kinds()
        # Then what this one needs beyond the core is not there yet
        assert inspect.getmodule(plugin).__name__ in loaded  # type: ignore[union-attr]
        assert sorted(set(plugin.requires) & loaded) == []

    def test_its_own_test_inherits_the_suite(self, plugin: Plugin) -> None:
        assert plugin.kind in _bound(self.suite), f"no test class inherits {self.suite} with kind = {plugin.kind!r}"


@cache
def _loaded_with_all_kinds() -> frozenset[str]:
    script = """
import sys
from argosy import registry
for kinds, plugin in ((registry.source_kinds(), registry.source), (registry.trigger_kinds(), registry.trigger)):
    for kind in kinds:
        plugin(kind)
print(*sys.modules, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())


@cache
def _bound(suite: str) -> set[str]:
    """The kinds of the test classes that inherit ``suite``, read off the tests' text: binding may need
    servers."""
    found = set()
    for path in _TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and suite in {ast.unparse(base).split(".")[-1] for base in node.bases}:
                found |= {value for name, value in _assigned(node) if name == "kind"}
    return found


def _assigned(node: ast.ClassDef) -> list[tuple[str, str]]:
    pairs = []
    for each in node.body:
        targets = (
            each.targets if isinstance(each, ast.Assign) else [each.target] if isinstance(each, ast.AnnAssign) else []
        )
        value = each.value if isinstance(each, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            pairs += [(target.id, value.value) for target in targets if isinstance(target, ast.Name)]
    return pairs
