"""``forEach``, ``emit``, ``approval`` and failures over a real run: what a person sees of it, and what is so after the process was killed in the middle."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import threading
from typing import Any

import pytest

from tests.cli.receiving import receiving
from tests.cli.running import free_port, http
from tests.cli.test_actions import ORDERS, System, receiver, system

__all__ = ["receiver", "system"]

FOR_EACH = """\
    - template:
        name: bill
        http:
          url: {url}/bill
          payload:
            - {{src: {{dependencyName: item, dataKey: sku}}, dest: sku}}
            - {{src: {{dependencyName: order, dataKey: body.n}}, dest: order}}
      forEach: {{path: body.lines, key: sku}}
"""


def _post(system: System, body: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # killed before it answered
        http(f"http://127.0.0.1:{system.port}/in", json.dumps(body).encode())


@pytest.mark.parametrize("point", ["action.put:2", "action.fired:2"])
def test_killed_amid_the_elements_of_an_event_none_is_lost_and_none_doubled(system: System, point: str) -> None:
    # Given a run that is killed when some of the actions of an event are stored, or done
    system.triggers(FOR_EACH)
    system.run.start({"CRASH_AT": point})
    system.run.until_ready()
    lines = [{"sku": f"s{number}"} for number in range(5)]
    _post(system, {"n": 1, "lines": lines})
    system.run.until(lambda: system.run.ended, "it was not killed")
    # When it is started again
    system.start()
    done = system.until_listed(5, "--state", "done")
    # Then each element was sent under a key of its own, and the same element under the same key
    keys = {(json.loads(one.body)["sku"], one.key) for one in system.receiver.requests}
    assert sorted(sku for sku, _ in keys) == [one["sku"] for one in lines]
    assert {key for _, key in keys} == {one["id"] for one in done}
    # And a person sees which element an action is for
    page = system.argosy("actions", "show", done[0]["id"])
    assert "item: " in page


EMIT = """\
    - template:
        name: bill
        http:
          url: {url}/bill
          payload: [{{src: {{dependencyName: order, dataKey: body.n}}, dest: number}}]
      emit: {{eventName: billed}}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: parcels}}
spec:
  dependencies:
    - {{name: billed, eventSourceName: orders, eventName: billed}}
  triggers:
    - template:
        name: pack
        http:
          url: {url}/pack
          payload: [{{src: {{dependencyName: billed, dataKey: detail.status, useRawData: true}}, dest: status}}]
"""


def test_killed_before_the_end_of_an_action_its_event_is_there_once(system: System) -> None:
    # Given a run that is killed when what came of an action is on the log, and the action has not ended
    system.triggers(EMIT)
    system.run.start({"CRASH_AT": "event.emitted"})
    system.run.until_ready()
    _post(system, {"n": 1})
    system.run.until(lambda: system.run.ended, "it was not killed")
    # When it is started again
    system.start()
    (pack,) = system.until_listed(1, "--state", "done", "--sensor", "parcels")
    system.until_listed(1, "--state", "done", "--sensor", "orders")
    # Then the first was delivered twice under one key, and the second has happened once
    bills = [one for one in system.receiver.requests if one.path == "/bill"]
    packs = [one for one in system.receiver.requests if one.path == "/pack"]
    assert (len(bills), len({one.key for one in bills})) == (2, 1)
    assert [one.body for one in packs] == ['{"status":200}']
    # And the chain can be followed back
    page = system.argosy("actions", "show", pack["id"])
    assert f"billed: {bills[0].key}.done from orders/billed" in page


APPROVAL = """\
    - template:
        name: bill
        http:
          url: {url}/bill
          payload: [{{src: {{dependencyName: order, dataKey: body.n}}, dest: number}}]
      approval: {approval}
"""


def test_actions_wait_for_a_person_over_a_kill_and_the_person_is_kept(system: System) -> None:
    # Given three actions that wait for approval
    system.triggers(APPROVAL, approval="required")
    system.start()
    system.post(1, 2, 3)
    asked = system.until_listed(3, "--state", "unapproved")
    assert [one["approval"]["state"] for one in asked] == ["asked"] * 3
    assert "waits for approval, 23h left" in system.argosy("actions", "list")
    page = system.argosy("actions", "show", asked[0]["id"])
    for words in ("state    unapproved", "approval wanted until", "argosy actions approve", 'number = "1"'):
        assert words in page
    assert "it waits for approval" in system.argosy("actions", "retry", asked[0]["id"], fails=True)
    told = system.argosy("explain", asked[0]["events"][0]["id"])
    assert "waits for somebody to approve it" in told
    assert "--comment" in system.argosy("actions", "deny", asked[0]["id"], fails=True)
    # When one is approved, the process is killed, another is approved and the last one denied
    system.argosy("actions", "approve", asked[2]["id"][:10], "--comment", "go ahead", "--by", "alice")
    [done] = system.until_listed(1, "--state", "done")
    system.run.end(signal.SIGKILL)
    system.start()
    assert len(system.until_listed(2, "--state", "unapproved")) == 2
    system.argosy("actions", "deny", asked[0]["id"], "--comment", "too much", "--by", "bob")
    system.argosy("actions", "approve", "--all", "--sensor", "orders", "--by", "alice")
    # Then what was approved is done, and what was denied is not
    system.until_listed(2, "--state", "done")
    [discarded] = system.until_listed(1, "--state", "discarded")
    assert (discarded["id"], discarded["error"]) == (asked[0]["id"], "denied by bob: too much")
    assert sorted(one.body for one in system.receiver.requests) == ['{"number":"2"}', '{"number":"3"}']
    assert "approval approved by alice at" in system.argosy("actions", "show", done["id"])
    assert "is done; only what waits" in system.argosy("actions", "approve", done["id"], "--by", "alice", fails=True)


def test_what_nobody_approves_in_time_is_a_dead_letter(system: System) -> None:
    system.triggers(APPROVAL, approval="{expires: 1s}")
    system.start()
    system.post(1)

    [dead] = system.until_listed(1, "--state", "dead")

    assert dead["error"] == "nobody approved it within 1s"
    assert system.receiver.requests == []
    system.argosy("actions", "redrive", dead["id"])
    [again] = system.until_listed(1, "--state", "dead")
    assert again["at"] > dead["at"]


FAILING = """\
    - template:
        name: {name}
        http:
          url: {url}
          timeout: 1
          payload: [{{src: {{dependencyName: order, dataKey: {key}}}, dest: number}}]
      retryStrategy: {{steps: 2, duration: 10ms}}
"""


def _resetting(listener: socket.socket) -> None:
    """Answer every connection with a reset."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


def test_every_way_to_fail_ends_in_its_class_with_a_sentence_that_a_person_can_act_on(system: System) -> None:
    # Given one trigger for each way in which an http action can fail
    with (
        socket.create_server(("127.0.0.1", 0)) as resets,
        socket.create_server(("127.0.0.1", 0)) as silent,
        receiving() as missing,
        receiving() as limited,
    ):
        threading.Thread(target=_resetting, args=(resets,), daemon=True).start()
        missing.status, limited.status, system.receiver.status = 404, 429, 503
        wanted = {
            "refused": (f"http://127.0.0.1:{free_port()}/", "body.n", "exhausted", "nothing listens there"),
            "reset": (f"http://127.0.0.1:{resets.getsockname()[1]}/", "body.n", "exhausted", "POST http://127.0.0.1"),
            "silent": (f"http://127.0.0.1:{silent.getsockname()[1]}/", "body.n", "exhausted", "no answer within 1 s"),
            "missing": (f"{missing.url}/", "body.n", "rejected", "answered 404"),
            "limited": (f"{limited.url}/", "body.n", "exhausted", "answered 429"),
            "broken": (f"{system.receiver.url}/", "body.n", "exhausted", "answered 503"),
            "nameless": ("http://no-such-host.invalid/", "body.n", "exhausted", "POST http://no-such-host.invalid/: "),
            "metadata": ("http://169.254.169.254/", "body.n", "rejected", "allowLinkLocal"),
            "no-url": ("nowhere", "body.n", "rejected", "no http or https URL"),
            "no-value": (f"{system.receiver.url}/", "body.x", "rejected", "path 'body.x' does not exist"),
        }
        triggers = [FAILING.format(name=name, url=url, key=key) for name, (url, key, *_) in wanted.items()]
        system.run.write("sensor.yaml", ORDERS + "".join(triggers))
        system.start()
        system.post(1)
        # When their tries are over
        dead = {one["trigger"]: one for one in system.until_listed(len(wanted), "--state", "dead")}
    # Then each is of its class, and says what happened
    for name, (*_, kind, words) in wanted.items():
        assert (name, dead[name]["class"]) == (name, kind), dead[name]["error"]
        assert words in dead[name]["error"]
    page = system.argosy("actions", "show", dead["missing"]["id"], "--trigger", "missing")
    assert "class    rejected: another try cannot help" in page
    assert "answered 404" in page
