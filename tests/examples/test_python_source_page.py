"""The functions on the page about sources in Python do what the page says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.conformance.source import eventually, on_stage
from tests.examples import snippets
from tests.examples.snippets import ROOT

_PAGE = ROOT / "docs" / "how-to" / "sources-in-python.md"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page, which is where we are."""
    for name, text in snippets.files(_PAGE).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "letters").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "inbox", raising=False)
    return tmp_path


async def test_a_letter_is_deleted_once_its_event_is_kept(written: Path) -> None:
    # Given the source of the page, and a bus that does not answer
    block = yaml.safe_load((written / "inbox.yaml").read_text())["spec"]["python"]["letters"]
    block["args"]["pause"] = 0.01
    async with on_stage("python", block) as stage:
        await stage.start()
        stage.close_gate()
        # When a letter comes, then it stays until its event is kept
        letter = written / "letters" / "one.json"
        letter.with_suffix(".part").write_text(json.dumps({"from": "ann"}))
        letter.with_suffix(".part").rename(letter)
        await eventually(lambda: stage.under_way == 1)
        assert letter.exists()
        stage.open_gate()
        await eventually(lambda: not letter.exists())
        assert stage.emitted[0].data == {"body": {"from": "ann"}}
        assert str(stage.emitted[0].id).startswith("one.json@")


async def test_the_numbers_go_on_after_a_restart(written: Path) -> None:
    block = yaml.safe_load((written / "inbox.yaml").read_text())["spec"]["python"]["numbers"]
    async with on_stage("python", block) as stage:
        await stage.start()
        await stage.events(3)
        await stage.stop()
        await stage.start()
        await stage.events(6)
        assert [event.data["body"]["number"] for event in stage.emitted] == [10, 20, 30, 40, 50, 60]
