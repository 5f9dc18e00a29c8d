"""What ``argosy explain`` says of elements, approval, events that are emitted, and requests whose address is put together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from argosy.cli.main import main

MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: monitoring}
spec:
  webhook:
    alerts: {port: "12000", endpoint: /alerts, method: POST}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: tickets}
spec:
  dependencies:
    - {name: group, eventSourceName: monitoring, eventName: alerts}
  triggers:
    - template:
        name: open
        http:
          method: PUT
          url: https://tickets.example.com/{team}/new
          pathParameters: [{src: {dependencyName: group, dataKey: body.team}, dest: team}]
          queryParameters: [{src: {dependencyName: item, dataKey: name}, dest: title}]
          auth: AUTH
      forEach: {path: body.alerts, key: name}
      approval: required
      emit: {eventName: opened}
"""
SECRET = "{name: tickets, key: token}"


def _explain(folder: Path, auth: str, data: Any, *words: str) -> str:
    (folder / "manifests.yaml").write_text(MANIFESTS.replace("AUTH", auth))
    event = {
        "specversion": "1.0",
        "id": "e1",
        "source": "monitoring",
        "subject": "alerts",
        "type": "webhook",
        "time": "2026-11-25T10:00:00Z",
        "data": {"body": data},
    }
    (folder / "event.json").write_text(json.dumps(event))
    done = CliRunner().invoke(
        main, ["explain", str(folder / "manifests.yaml"), "--event", str(folder / "event.json"), *words]
    )
    return done.output


BEARER = f"{{bearer: {{tokenSecret: {SECRET}}}}}"


def test_each_element_is_shown_with_the_request_that_it_becomes(tmp_path: Path) -> None:
    text = _explain(tmp_path, BEARER, {"team": "a/b", "alerts": [{"name": "disk full"}, {"name": "load"}]})

    assert "trigger open fires · http PUT · 2 times" in text
    assert "item disk full" in text
    assert "│ PUT https://tickets.example.com/a%2Fb/new?title=disk%20full" in text
    assert "│ PUT https://tickets.example.com/a%2Fb/new?title=load" in text
    assert "│ Authorization: Bearer (key 'token' of Secret 'tickets')" in text
    assert "and waits for somebody to approve it: argosy actions approve" in text
    assert "then tickets/opened tells what became of it" in text


def test_of_many_elements_the_first_are_shown(tmp_path: Path) -> None:
    data = {"team": "a", "alerts": [{"name": f"n{number}"} for number in range(15)]}

    assert "… 5 more actions (-v shows them)" in _explain(tmp_path, BEARER, data)
    assert "item n14" in _explain(tmp_path, BEARER, data, "-v")


def test_no_element_is_no_action_and_says_why(tmp_path: Path) -> None:
    text = _explain(tmp_path, BEARER, {"team": "a", "alerts": []})

    assert "trigger 'open' does nothing: forEach: the array at 'body.alerts' is empty" in " ".join(text.split())


def test_a_path_that_cannot_be_put_together_says_why(tmp_path: Path) -> None:
    text = _explain(tmp_path, BEARER, {"team": "..", "alerts": [{"name": "x"}]})

    assert "{team} is '..', which leads elsewhere" in " ".join(text.split())


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        (
            f"{{oauth2: {{tokenUrl: 'https://login.example.com/t', clientId: {SECRET}, clientSecret: {SECRET}}}}}",
            "Bearer (a token that is asked for at https://login.example.com/t)",
        ),
        ("{aws: {region: eu-west-1, service: lambda}}", "AWS4-HMAC-SHA256 (a signature for lambda in eu-west-1)"),
    ],
)
def test_how_a_request_says_who_it_is(tmp_path: Path, auth: str, words: str) -> None:
    assert words in _explain(tmp_path, auth, {"team": "a", "alerts": [{"name": "x"}]})
