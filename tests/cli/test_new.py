"""``argosy new`` prints what plug-ins give as their example."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from argosy import registry
from argosy.cli.main import main
from argosy.manifests.bundle import loads


def new(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["new", *arguments])


@pytest.mark.parametrize("kind", registry.source_kinds())
def test_an_event_sources_example_is_a_manifest_that_loads(kind: str) -> None:
    result = new(kind, "--source")
    assert result.exit_code == 0
    bundle = loads(result.stdout)
    assert [str(one) for one in bundle.findings if one.severity == "error"] == []
    assert kind in {event.kind for one in bundle.event_sources for event in one.events}


@pytest.mark.parametrize("kind", registry.trigger_kinds())
def test_a_triggers_example_is_a_manifest_that_loads(kind: str) -> None:
    result = new(kind, "--trigger")
    assert result.exit_code == 0
    bundle = loads(result.stdout)
    assert [str(one) for one in bundle.findings if one.severity == "error"] == []
    assert kind in {trigger.kind for one in bundle.sensors for trigger in one.triggers}


@pytest.mark.usefixtures("toys")
def test_a_third_partys_example_is_printed_whole() -> None:
    result = new("toySend")
    assert result.exit_code == 0
    assert result.stdout == "# a sensor\n"
    assert new("toyHook").stdout.endswith("\n")


@pytest.mark.usefixtures("toys")
def test_every_kind_is_listed_with_a_word_on_it() -> None:
    result = new("--list")
    assert result.exit_code == 0
    sources, _, triggers = result.stdout.partition("Triggers:\n")
    assert ["toyHook", "a", "toy"] in [line.split() for line in sources.splitlines()]
    assert "toyBroken" in sources
    assert "cannot be used" in sources
    assert all(f"  {kind} " in triggers for kind in registry.trigger_kinds())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["webhok"], "did you mean 'webhook'?"),
        (["webhook", "--trigger"], "There is no kind 'webhook'"),
        (["xyzzy"], "argosy new --list"),
        ([], "Give a KIND"),
    ],
)
def test_a_wrong_call_ends_with_2_and_helps(arguments: list[str], words: str) -> None:
    result = new(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.usefixtures("toys")
def test_a_plug_in_that_cannot_be_imported_is_said() -> None:
    result = new("toyBroken")
    assert result.exit_code == 2
    assert "cannot be imported" in result.stderr


def test_a_kind_that_is_both_must_be_chosen(toys: Path) -> None:
    # Given a package that gives a trigger the name of its source
    points = toys / "argosy_toys-1.dist-info" / "entry_points.txt"
    module = toys / "argosy_toys.py"
    points.write_text(points.read_text() + "toyHook = argosy_toys:Both\n")
    module.write_text(module.read_text() + "\n\nclass Both(Send):\n    kind = 'toyHook'\n    example = '# both\\n'\n")
    assert "add --source or --trigger" in new("toyHook").stderr
    assert new("toyHook", "--trigger").stdout == "# both\n"
