"""``argosy explain EVENT_ID`` over a real run: why an event fired or not, and what really became of its actions."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.asking import Said, ask
from tests.cli.receiving import Receiver, receiving
from tests.cli.running import Run, free_port, http

MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {{name: web}}
spec:
  webhook:
    order: {{port: "{port}", endpoint: /order, method: POST}}
    payment: {{port: "{port}", endpoint: /payment, method: POST}}
    item: {{port: "{port}", endpoint: /item, method: POST}}
    lonely: {{port: "{port}", endpoint: /lonely, method: POST}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: bill}}
spec:
  dependencies:
    - name: order
      eventSourceName: web
      eventName: order
      filters:
        data: [{{path: body.kind, type: string, value: ["new"]}}]
  triggers:
    - template:
        name: send
        http:
          url: {url}/bill
          method: POST
          secureHeaders:
            - {{name: X-Token, valueFrom: {{secretKeyRef: {{name: billing, key: token}}}}}}
          payload:
            - {{src: {{dependencyName: order, dataKey: body.kind}}, dest: kind}}
      retryStrategy: {{steps: 1, duration: 1s}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: ship}}
spec:
  dependencies:
    - {{name: order, eventSourceName: web, eventName: order}}
    - {{name: payment, eventSourceName: web, eventName: payment}}
  triggers:
    - template:
        name: pack
        conditions: order && payment
        log: {{}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: pairs}}
spec:
  dependencies:
    - {{name: item, eventSourceName: web, eventName: item}}
  triggers:
    - template: {{name: tie, log: {{}}}}
      batch: {{window: 1h, maxEvents: 2}}
---
apiVersion: v1
kind: Secret
metadata: {{name: billing}}
stringData: {{token: hunter2hunter2}}
"""


class System:
    def __init__(self, run: Run, receiver: Receiver) -> None:
        self.run = run
        self.receiver = receiver
        self.port = free_port()
        run.write("all.yaml", MANIFESTS.format(port=self.port, url=receiver.url))
        run.start()
        run.until_ready()

    def post(self, event: str, **body: Any) -> str:
        """Send; the event's id."""
        assert http(f"http://127.0.0.1:{self.port}/{event}", json.dumps(body).encode())[0] == 200
        [row] = ask(self.run, "events", "list", "--event", event, "--limit", "1", "-o", "json").lines
        return str(row["id"])

    def explain(self, id: str, *words: str, code: int = 0) -> Said:
        said = ask(self.run, "explain", id, *words, code=code)
        assert "hunter2" not in said.text + said.errors
        return said

    def until_explained(self, id: str, sensor: str, words: str) -> str:
        """The page, once it has these words."""
        pages = [""]

        def there() -> bool:
            pages.append(ask(self.run, "explain", id, sensor).text)
            return words in pages[-1]

        self.run.until(there, f"not {words!r}", seconds=20)
        return pages[-1]


@pytest.fixture(scope="module", params=["one process", "two workers"])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    options = ["--workers", "2"] if request.param == "two workers" else []
    with receiving() as receiver:
        system = System(Run(tmp_path_factory.mktemp("run"), *options), receiver)
        yield system
        system.run.end(signal.SIGKILL)


def test_an_event_that_fired_is_shown_with_what_the_receiver_answered(system: System) -> None:
    system.receiver.status = 200
    id = system.post("order", kind="new")

    page = system.until_explained(id[:8], "bill", "done 2")

    assert "✓ Fires: bill" in page
    assert "`body.kind` is `new`" in page
    assert "answered 200" in page


def test_an_event_that_did_not_fire_is_shown_with_the_clause_that_rejected_it(system: System) -> None:
    id = system.post("order", kind="old")
    page = system.explain(id, "bill", code=3).text
    assert "✗ data[0]  `body.kind` is `old`, wanted `new`" in page


def test_an_action_that_died_is_named_with_the_way_to_revive_it(system: System) -> None:
    system.receiver.status = 400
    id = system.post("order", kind="new")

    page = system.until_explained(id, "bill", "dead letter since")

    assert "answered 400" in page
    assert "argosy actions redrive" in page
    said = system.explain(id, "bill", "-o", "json").json
    [became] = said["happened"].values()
    assert became["state"] == "dead"
    assert list(said["happened"]) == [said["events"][0]["sensors"][0]["triggers"][0]["actions"][0]["id"]]


def test_a_condition_is_followed_over_the_events_before(system: System) -> None:
    # Given a payment after an order
    order = system.post("order", kind="old")
    system.post("lonely")
    payment = system.post("payment", total=1)

    # Then the payment completes the condition with the order, and the action of both is found
    page = system.until_explained(payment, "ship", "done 2")
    assert "trigger pack fires" in page

    # And the order is explained as it was when it came
    waiting = system.explain(order, "ship", code=3)
    assert "payment has not come" in waiting.text
    assert "argosy sensor pending ship" in waiting.text


def test_a_batch_of_one_dependency_is_followed_over_the_events_before(system: System) -> None:
    first, second = system.post("item", number=1), system.post("item", number=2)

    assert "trigger tie fires" in system.until_explained(second, "pairs", "done 2")
    assert "trigger tie waits" in system.explain(first, "pairs", code=3).text


def test_all_sensors_that_listen_are_explained_where_none_is_named(system: System) -> None:
    id = system.post("order", kind="old")
    names = [each["name"] for each in system.explain(id, "-o", "json", code=3).json["events"][-1]["sensors"]]
    assert sorted(names) == ["bill", "ship"]


def test_an_event_that_nobody_listens_to_says_so(system: System) -> None:
    id = system.post("lonely")
    assert "no sensor listens to web/lonely" in system.explain(id, code=3).text


def test_a_wrong_call_says_what_to_do(system: System) -> None:
    id = system.post("lonely")
    assert "no event with an id '0123456789'" in system.explain("0123456789", code=1).errors
    assert "did you mean 'bill'?" in system.explain(id, "bil", code=1).errors
    assert "say which event with --event FILE" in system.explain(str(system.run.manifests), code=2).errors
    assert "give --event FILE as well" in system.explain(id, "--raw", code=2).errors


def test_the_manifests_that_the_api_tells_hold_no_secret(system: System) -> None:
    api = json.loads((system.run.folder / "data" / "api.json").read_text())
    status, text = http(f"{api['url']}/api/v1/manifests", headers={"Authorization": f"Bearer {api['token']}"})
    assert status == 200
    assert len(json.loads(text)["sensors"]) == 3
    assert "hunter2" not in text
