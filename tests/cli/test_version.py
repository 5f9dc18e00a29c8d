"""``argosy version`` tells what runs here."""

import json
import platform

from click.testing import CliRunner

from argosy import __version__
from argosy.cli.main import main


def test_the_versions_are_printed() -> None:
    result = CliRunner().invoke(main, ["version", "-o", "json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["argosy"] == __version__
    assert found["python"] == platform.python_version()
    assert found["nats-server"][0].isdigit()


def test_text_says_the_same() -> None:
    result = CliRunner().invoke(main, ["version"])
    assert result.exit_code == 0
    assert result.stdout.split()[:2] == ["argosy", __version__]
