"""``argosy explain``: what it says of an event, to people and to programs, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from argosy.cli.main import main

MANIFESTS = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: shop}
spec:
  webhook:
    order: {port: "12000", endpoint: /order, method: POST}
    paid: {port: "12000", endpoint: /paid, method: POST}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: ship}
spec:
  dependencies:
    - name: order
      eventSourceName: shop
      eventName: order
      transform: {jq: ".body.total = (.body.price * .body.count)"}
      filters:
        data:
          - {path: body.country, type: string, value: ["^(DE|FR)$"]}
          - {path: body.total, type: number, comparator: ">=", value: ["100"]}
    - {name: paid, eventSourceName: shop, eventName: paid}
  triggers:
    - template:
        name: parcel
        conditions: order && paid
        k8s:
          operation: create
          source:
            resource:
              apiVersion: v1
              kind: ConfigMap
              metadata: {generateName: parcel-}
              data: {item: none, note: none}
          parameters:
            - {src: {dependencyName: order, dataKey: body.item}, dest: data.item}
            - {src: {dependencyName: paid, dataKey: body.note, value: cash}, dest: data.note}
    - template:
        name: tell
        conditions: order
        http:
          url: http://user:hunter2@127.0.0.1:9/told
          method: POST
          headers: {Authorization: Bearer hunter2, X-Shop: one}
          parameters:
            - {src: {dependencyName: order, value: hunter2}, dest: headers.X-Token}
          secureHeaders:
            - {name: X-Key, valueFrom: {secretKeyRef: {name: keys, key: told}}}
          payload:
            - {src: {dependencyName: order, dataKey: body.total, useRawData: true}, dest: total}
---
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: other}
spec:
  dependencies:
    - {name: tick, eventSourceName: clock, eventName: tick}
  triggers:
    - template: {name: log, log: {}}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {told: hunter2}
"""

ORDER = {"body": {"country": "DE", "price": 60, "count": 2, "item": "tea"}}


def _event(name: str = "order", data: Any = ORDER, source: str = "shop", **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"id-{name}",
        "source": source,
        "subject": name,
        "type": "webhook",
        "time": "2026-01-01T12:00:00Z",
        "data": data,
        **more,
    }


class _Folder:
    """Manifests and events as files, and the command run on them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("manifests/all.yaml", MANIFESTS)

    def write(self, name: str, text: str) -> str:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return str(file)

    def event(self, *events: Any) -> str:
        return self.write("event.json", "\n".join(json.dumps(each) for each in events))

    def run(self, *arguments: str, given: str | bytes | None = None) -> Result:
        return CliRunner().invoke(main, ["explain", str(self.path / "manifests"), *arguments], input=given)

    def json(self, *arguments: str, given: str | bytes | None = None) -> dict[str, Any]:
        result = self.run(*arguments, "-o", "json", given=given)
        assert result.exit_code in (0, 1, 3), result.output
        told: dict[str, Any] = json.loads(result.stdout)
        return told

    def sensor(self, *arguments: str, given: str | bytes | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.json(*arguments, given=given)["events"][-1]["sensors"][0]
        return found


@pytest.fixture
def folder(tmp_path: Path) -> _Folder:
    return _Folder(tmp_path)


class TestAnEventThatIsRejected:
    def test_the_clause_that_rejected_it_is_named_with_value_and_wanted_value(self, folder: _Folder) -> None:
        # Given an order from a country that the filter does not have
        event = folder.event(_event(data={"body": {**ORDER["body"], "country": "US"}}))
        # When it is explained
        result = folder.run("--event", event)
        # Then the answer comes first, and the clause after it
        assert result.exit_code == 3
        assert "✗ Nothing fires: the one sensor that listens rejects it\n" in result.output
        assert "✗ data[0]  `body.country` is `US`, wanted" in result.output
        assert "· data[1] not asked" in result.output

    def test_programs_read_the_same(self, folder: _Folder) -> None:
        event = folder.event(_event(data={"body": {**ORDER["body"], "count": 1}}))

        told = folder.json("--event", event)

        (sensor,) = told["events"][0]["sensors"]
        assert (told["fires"], sensor["name"], sensor["result"]) == (False, "ship", "rejects")
        (dependency,) = sensor["dependencies"]
        assert [each["clause"] for each in dependency["reasons"]] == ["data[1]"]
        assert dependency["transform"]["after"]["body"]["total"] == 60
        assert [part["passed"] for part in dependency["filters"]["parts"][0]["parts"]] == [True, False]

    def test_a_transform_that_fails_is_the_reason_and_its_input_is_shown(self, folder: _Folder) -> None:
        event = folder.event(_event(data={"body": {"price": {}, "count": 1}}))

        result = folder.run("--event", event)

        assert result.exit_code == 3
        assert 'given {"body":{"price":{},"count":1}}' in result.output
        assert "✗ transform  " in result.output


class TestAnEventThatFires:
    def test_parameters_and_object_are_shown(self, folder: _Folder) -> None:
        # Given an order and then its payment
        events = folder.event(_event(), _event("paid", {"body": {}}))
        # When the payment is explained
        result = folder.run("--event", events)
        # Then it says that the condition holds, where each value came from, and what would be made
        assert result.exit_code == 0
        assert "✓ Fires: ship\n" in result.output
        lines = [line.strip() for line in result.output.splitlines()]
        assert "trigger parcel fires · k8s create" in lines
        assert '✓ data.item ← "tea"  dataKey body.item of order' in lines
        assert "✓ data.note ← \"cash\"  value in the manifest of paid (path 'body.note' does not exist)" in lines
        assert "│   item: tea" in lines

    def test_a_request_is_shown_as_it_would_be_sent_but_for_its_secrets(self, folder: _Folder) -> None:
        result = folder.run("--event", folder.event(_event()))

        lines = [line.strip() for line in result.output.splitlines()]
        at = lines.index("│ POST http://***@127.0.0.1:9/told")
        assert lines[at : at + 9] == [
            "│ POST http://***@127.0.0.1:9/told",
            "│ Authorization: ***",
            "│ X-Shop: one",
            "│ X-Token: ***",
            "│ X-Key: (key 'told' of Secret 'keys')",
            "│",
            "│ {",
            '│   "total": 120',
            "│ }",
        ]

    def test_no_secret_stands_in_any_form_of_the_answer(self, folder: _Folder) -> None:
        event = folder.event(_event())
        for form in ((), ("-v",), ("-o", "json")):
            assert "hunter2" not in folder.run("--event", event, *form).output

    def test_a_transform_is_told_by_what_it_changed(self, folder: _Folder) -> None:
        assert "      + body.total: 120\n" in folder.run("--event", folder.event(_event())).output

    def test_the_action_has_the_id_that_the_running_sensor_gives_it(self, folder: _Folder) -> None:
        from argosy import event as events
        from argosy.sensor.actions import action_id

        trigger = next(
            each for each in folder.sensor("--event", folder.event(_event()))["triggers"] if each["name"] == "tell"
        )

        event = events.decode(json.dumps(_event()).encode())
        assert trigger["actions"][0]["id"] == action_id("default", "ship", "tell", {"order": event})


class TestACondition:
    def test_it_says_what_it_has_and_what_it_waits_for(self, folder: _Folder) -> None:
        result = folder.run("--event", folder.event(_event("paid", {"body": {}})))

        assert result.exit_code == 3
        assert "Nothing fires: the one sensor that listens waits for another event" in result.output
        assert "    ✓ paid is here\n    … order has not come\n" in result.output

    def test_a_rejected_event_is_not_held(self, folder: _Folder) -> None:
        bad = _event(data={"body": {**ORDER["body"], "country": "US"}})

        sensor = folder.sensor("--event", folder.event(bad, _event("paid", {"body": {}})))

        parcel = sensor["triggers"][0]
        assert (parcel["result"], parcel["held"], parcel["waitingFor"]) == ("waits", ["paid"], ["order"])

    def test_events_may_come_in_several_files_and_each_be_explained(self, folder: _Folder) -> None:
        first = folder.write("1.json", json.dumps(_event()))
        second = folder.write("2.json", json.dumps(_event("paid", {"body": {}})))

        told = folder.json("--event", first, "--event", second, "--each")

        results = [[each["result"] for each in event["sensors"][0]["triggers"]] for event in told["events"]]
        assert results == [["waits", "fires"], ["fires", "idle"]]

    def test_a_reset_between_two_events_forgets_the_first(self, folder: _Folder) -> None:
        text = MANIFESTS.replace(
            "conditions: order && paid",
            "conditions: order && paid\n        conditionsReset: [{byTime: {cron: '0 13 * * *'}}]",
        )
        folder.write("manifests/all.yaml", text)
        late = _event("paid", {"body": {}}, time="2026-01-01T13:30:00Z")

        parcel = folder.sensor("--event", folder.event(_event(), late))["triggers"][0]

        assert (parcel["result"], parcel["held"]) == ("waits", ["paid"])


class TestAnActionThatWouldFail:
    def test_the_parameter_without_a_value_is_named(self, folder: _Folder) -> None:
        body = {key: value for key, value in ORDER["body"].items() if key != "item"}
        events = folder.event(_event("paid", {"body": {}}), _event(data={"body": body}))
        told = folder.sensor("--event", events)

        parcel, tell = told["triggers"]
        assert (parcel["result"], tell["result"], told["result"]) == ("fails", "fires", "fires")
        assert [each["state"] for each in parcel["actions"][0]["parameters"]] == ["failed"]
        assert "path 'body.item' does not exist" in parcel["because"]

    def test_the_trigger_that_gets_it_then_is_named(self, folder: _Folder) -> None:
        text = MANIFESTS.replace("dataKey: body.total, useRawData", "dataKey: body.gone, useRawData").replace(
            "dest: total}\n",
            "dest: total}\n      dlqTrigger: {template: {name: rescue, log: {}}, atLeastOnce: true}\n"
            "      atLeastOnce: true\n",
        )
        folder.write("manifests/all.yaml", text)

        assert "then its dlqTrigger rescue gets the action" in folder.run("--event", folder.event(_event())).output

    def test_where_every_trigger_would_fail_nothing_fires(self, folder: _Folder) -> None:
        text = MANIFESTS.replace("dataKey: body.total, useRawData", "dataKey: body.gone, useRawData")
        folder.write("manifests/all.yaml", text)

        result = folder.run("--event", folder.event(_event()))

        assert result.exit_code == 3
        assert "the one sensor that listens would fire and fail" in result.output


class TestAnEventThatNobodyListensTo:
    def test_the_event_that_was_meant_is_named(self, folder: _Folder) -> None:
        result = folder.run("--event", folder.event(_event("ordr")))

        assert result.exit_code == 3
        assert "no sensor listens to shop/ordr, and EventSource 'shop' has no event 'ordr'." in result.output
        assert "  Did you mean shop/order? ship listens to it.\n" in result.output

    def test_a_slip_in_the_sensor_is_found_from_the_event(self, folder: _Folder) -> None:
        # Given a sensor that has waited for an event that never comes, ever since somebody mistyped its source
        folder.write("manifests/all.yaml", MANIFESTS.replace("eventSourceName: shop", "eventSourceName: shopp"))
        # When an event of the right name is explained
        result = folder.run("--event", folder.event(_event()))
        # Then both names stand there (and the sensor's error, which lint finds too)
        assert "no sensor listens to shop/order, although EventSource 'shop' has this event." in result.output

    def test_without_anything_near_it_says_what_sensors_listen_to(self, folder: _Folder) -> None:
        told = folder.json("--event", folder.event(_event(source="mail", name="in")))

        event = told["events"][0]
        assert event["nobody"] == "no sensor listens to mail/in, and no EventSource is called 'mail'"
        assert [(each["source"], each["name"], each["sensors"]) for each in event["listenedTo"]] == [
            ("clock", "tick", ["other"]),
            ("shop", "order", ["ship"]),
            ("shop", "paid", ["ship"]),
        ]

    def test_manifests_without_any_sensor_are_told(self, folder: _Folder) -> None:
        folder.write("manifests/all.yaml", "")
        result = folder.run("--event", folder.event(_event()))
        assert "Nothing fires: there is no sensor among these manifests." in result.output

    def test_a_sensor_that_was_asked_for_says_what_it_listens_to(self, folder: _Folder) -> None:
        result = folder.run("--event", folder.event(_event()), "--sensor", "other")

        assert "'other' does not listen to shop/order; 'ship' does" in result.output
        assert "  other listens to:\n    clock/tick" in result.output

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            (
                "metadata: {name: shop}",
                "metadata: {name: shop, namespace: web}",
                "it is in namespace 'default' and the event",
            ),
            (
                "  webhook:\n",
                "  eventBusName: big\n  webhook:\n",
                "it reads EventBus 'default', and the event source writes",
            ),
        ],
    )
    def test_a_sensor_that_listens_where_the_event_never_comes_is_told(
        self, folder: _Folder, old: str, new: str, said: str
    ) -> None:
        folder.write("manifests/all.yaml", MANIFESTS.replace(old, new, 1))

        sensor = folder.sensor("--event", folder.event(_event()))

        assert sensor["result"] == "deaf"
        assert said in sensor["because"]


class TestAnEventThatItsSourceDrops:
    def _dropping(self, folder: _Folder, expression: str) -> None:
        block = 'port: "12000", endpoint: /order, method: POST'
        text = MANIFESTS.replace(block, f"{block}, filter: {{expression: '{expression}'}}")
        folder.write("manifests/all.yaml", text)

    def test_the_expression_is_quoted_and_no_sensor_is_asked(self, folder: _Folder) -> None:
        self._dropping(folder, "body.price > 100")

        result = folder.run("--event", folder.event(_event()))

        assert result.exit_code == 3
        said = "✗ Nothing fires: the filter `body.price > 100` of EventSource 'shop' is not true for it, so it never leaves"
        assert said in result.output
        assert folder.json("--event", folder.event(_event()))["events"][0]["sensors"] == []

    def test_an_expression_that_fails_drops_too(self, folder: _Folder) -> None:
        self._dropping(folder, "body.price + 1")
        assert "fails on it, so it never leaves the source: " in folder.run("--event", folder.event(_event())).output

    def test_an_event_that_passes_is_explained_as_ever(self, folder: _Folder) -> None:
        self._dropping(folder, "body.price == 60")
        assert folder.run("--event", folder.event(_event())).exit_code == 0


class TestFilesOfEvents:
    def test_yaml_and_standard_input_are_read(self, folder: _Folder) -> None:
        text = "source: shop\nsubject: order\ndata: {body: {country: DE, price: 60, count: 2, item: tea}}\n"
        assert folder.run("--event", "-", given=text).exit_code == 0

    def test_a_list_and_lines_of_events_are_read_in_order(self, folder: _Folder) -> None:
        for given in (
            json.dumps([_event(), _event("paid")]),
            f"{json.dumps(_event())}\n\n{json.dumps(_event('paid'))}\n",
        ):
            assert [
                each["event"]["subject"] for each in folder.json("--event", "-", "--each", given=given)["events"]
            ] == [
                "order",
                "paid",
            ]

    def test_numbers_keep_their_text(self, folder: _Folder) -> None:
        text = json.dumps({**_event(), "id": ""}).replace('"tea"', "1.50")

        sensor = folder.sensor("--event", "-", given=text + json.dumps(_event("paid", {"body": {}})))

        # dataKey yields the number as upstream shows it, and not what Python made of it
        assert sensor["triggers"][0]["actions"][0]["object"]["data"]["item"] == "1.5"

    def test_bare_data_needs_a_name_and_the_only_event_of_a_source_is_found(self, folder: _Folder) -> None:
        file = folder.write("data.json", json.dumps(ORDER))

        assert "it has no 'source' (the EventSource) and 'subject'" in folder.run("--event", file).output
        assert "'shop' has several events: order, paid" in folder.run("--event", file, "--source", "shop").output
        assert folder.run("--event", file, "--source", "shop", "--event-name", "order").exit_code == 0
        assert folder.run("--event", file, "--from", "shop/order").exit_code == 0
        assert folder.run("--event", file, "--from", "shop/order", "--source", "shop").exit_code == 2

    def test_a_raw_body_is_wrapped_as_its_source_does(self, folder: _Folder) -> None:
        file = folder.write("body.json", json.dumps(ORDER["body"]))
        arguments = ("--event", file, "--source", "shop", "--event-name", "order")

        told = folder.json(*arguments, "--raw", "-H", "x-shop: one")

        assert told["events"][0]["event"]["data"] == {"header": {"X-Shop": ["one"]}, "body": ORDER["body"]}
        assert told["fires"] is True
        assert "add --raw" in folder.run(*arguments).output

    def test_an_oslo_notification_gives_its_own_id(self, folder: _Folder) -> None:
        source = """
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: nova}
spec:
  amqp:
    notes: {url: "amqp://x", exchangeName: nova, exchangeType: topic, routingKey: "n.*", jsonBody: true, oslo: true}
"""
        folder.write("manifests/nova.yaml", source)
        inner = json.dumps({"message_id": "m-1", "event_type": "x"})
        raw = json.dumps({"oslo.version": "2.0", "oslo.message": inner})

        event = folder.json("--event", "-", "--source", "nova", "--raw", given=raw)["events"][0]["event"]

        assert (event["id"], event["type"], event["data"]["body"]["event_type"]) == ("m-1", "amqp", "x")


def test_a_cloud_event_that_is_taken_for_data_is_hinted_at(folder: _Folder) -> None:
    (hint,) = folder.json("--event", folder.event(_event()), "--from", "shop/order")["hints"]

    assert hint.startswith("the data looks like a whole CloudEvent; if it is one, leave out --source")


class TestTheCall:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "say which event with --event FILE"),
            (("--event", "gone.json"), "'gone.json' does not exist"),
            (
                ("--event", "-", "--sensor", "shp"),
                "There is no sensor 'shp' among these manifests, and no file or folder of this name; did you mean 'ship'?",
            ),
            (("--event", "-", "--raw"), "--raw need --source NAME"),
            (("--event", "-", "--source", "shop", "-H", "a:b"), "add --raw"),
            (("--event", "-", "--source", "shop", "--raw", "-H", "a"), "--header 'a' is not NAME:VALUE"),
            (("--event", "-", "--time", "noon"), "'noon' is not an RFC 3339 time; write for example"),
            (("--event", "-"), "-: there is no event in it"),
            (("--event", "-", "--source", "sohp", "--raw"), "names 'sohp'; did you mean 'shop'?"),
            (
                ("--event", "-", "--from", "mail", "--raw"),
                "names 'mail'; there is shop. If it is right, give --event-name",
            ),
            (("--event", "-", "--source", "shopp", "--event-name", "order", "--raw"), "did you mean 'shop'?"),
            (("--event", "-", "--source", "shop", "--event-name", "order", "--raw"), "the body is empty"),
        ],
    )
    def test_a_wrong_call_is_2_and_says_what_to_do(
        self, folder: _Folder, arguments: tuple[str, ...], said: str
    ) -> None:
        result = folder.run(*arguments, given="")

        assert result.exit_code == 2
        assert said in " ".join(result.output.split())

    @pytest.mark.parametrize(
        "text", ["{", "[1", "\x00", "- : :", '{"source":1}', "[1]", "12", '{"source":"shop","subject":"order","data":']
    )
    def test_what_is_no_event_is_2_and_no_traceback(self, folder: _Folder, text: str) -> None:
        result = folder.run("--event", "-", given=text)
        assert result.exit_code == 2, result.output
        assert "Error: -: " in result.output

    def test_bytes_that_are_no_text_are_refused_unless_raw(self, folder: _Folder) -> None:
        assert "for a message of bytes add --raw" in folder.run("--event", "-", given=b"\xff\xfe").output


class TestManifestsInError:
    BROKEN = """
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {name: broken}
spec:
  dependencies:
    - {name: order, eventSourceName: EVENTSOURCE, eventName: order, filtres: {}}
  triggers:
    - template: {name: log, log: {}}
"""

    def test_an_error_in_a_sensor_that_listens_is_1_and_is_shown(self, folder: _Folder) -> None:
        folder.write("manifests/broken.yaml", self.BROKEN.replace("EVENTSOURCE", "shop"))

        result = folder.run("--event", folder.event(_event()))

        assert result.exit_code == 1
        assert "These manifests have errors" in result.output
        assert "'filtres'" in result.output

    def test_an_error_elsewhere_does_not_matter(self, folder: _Folder) -> None:
        folder.write("manifests/broken.yaml", self.BROKEN.replace("EVENTSOURCE", "elsewhere"))

        assert folder.run("--event", folder.event(_event())).exit_code == 0
        assert folder.run("--event", folder.event(_event()), "--sensor", "broken").exit_code == 1

    def test_a_file_that_cannot_be_read_always_does(self, folder: _Folder) -> None:
        folder.write("manifests/torn.yaml", "kind: Sensor\n  x: {")
        assert folder.run("--event", folder.event(_event())).exit_code == 1


class TestWords:
    """The arguments: paths, and sensors where no path has the name."""

    def test_without_a_path_the_manifests_are_those_of_the_folder(
        self, folder: _Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(folder.path / "manifests")
        event = folder.event(_event())

        told = [CliRunner().invoke(main, ["explain", "--event", event, *more]) for more in ((), ("ship",), ("other",))]

        assert [each.exit_code for each in told] == [0, 0, 3]
        assert "'other' does not listen to shop/order" in told[2].output

    def test_a_path_that_is_not_there_is_taken_for_neither(self, folder: _Folder) -> None:
        result = folder.run("manifsts", "--event", folder.event(_event()))
        assert result.exit_code == 2
        assert (
            "There is no sensor 'manifsts' among these manifests, and no file or folder of this name" in result.output
        )


class TestHostileEvents:
    """An event is anybody's text; it must not reach past the line on which it is shown."""

    @pytest.mark.parametrize(
        "text", ["\x1b[2J\x1b]0;owned\x07", "a\nb\r", "\x9b31m", "\u202eevil", "\u2028", "\x00", "x" * 100_000]
    )
    def test_control_characters_are_shown_and_not_obeyed(self, folder: _Folder, text: str) -> None:
        body = {**ORDER["body"], "item": text, text[:50]: 1}
        bad = {**body, "country": text}
        events = folder.event(_event("paid", {"body": {}}), _event(data={"body": body}), _event(data={"body": bad}))
        for more in ((), ("-v",)):
            shown = folder.run("--event", events, "--each", *more, "--sensor", "ship").output
            assert not {character for character in shown if not character.isprintable()} - {"\n"}

    def test_names_of_the_event_are_cleaned_too(self, folder: _Folder) -> None:
        shown = folder.run("--event", folder.event(_event("\x1b[31m", source="\x07", id="\x1bc", type="\r"))).output
        assert "\x1b" not in shown and "\x07" not in shown and "\r" not in shown

    def test_halves_of_characters_do_not_crash(self, folder: _Folder) -> None:
        text = json.dumps(_event()).replace("DE", "\\ud800")
        result = folder.run("--event", "-", given=text)
        assert result.exit_code in (2, 3), result.output

    @pytest.mark.parametrize("deep", ["[" * 200_000, '{"a":' * 200_000])
    def test_nesting_without_end_is_refused(self, folder: _Folder, deep: str) -> None:
        result = folder.run("--event", "-", given=deep)
        assert result.exit_code == 2, result.output[-300:]


class TestATerminal:
    def _shown(self, folder: _Folder, **environment: str) -> str:
        """What a terminal gets."""
        event = folder.event(_event())
        command = [sys.executable, "-m", "argosy.cli.main", "explain", str(folder.path / "manifests"), "--event", event]
        parent, child = pty.openpty()
        environ = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        with subprocess.Popen(command, stdout=child, env={**environ, "TERM": "xterm", **environment}) as process:
            os.close(child)
            shown = b""
            while True:
                try:
                    piece = os.read(parent, 65536)
                except OSError:  # how Linux says that the other side is closed
                    break
                shown += piece
        os.close(parent)
        assert process.returncode == 0
        return shown.decode()

    def test_it_has_colours_unless_they_are_not_wanted(self, folder: _Folder) -> None:
        assert "\x1b[32m" in self._shown(folder)
        assert "\x1b" not in self._shown(folder, NO_COLOR="1")

    def test_a_pipe_has_none_and_a_narrow_encoding_gets_plain_letters(self, folder: _Folder) -> None:
        command = [sys.executable, "-m", "argosy.cli.main", "explain", str(folder.path / "manifests")]
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run([*command, "--event", folder.event(_event())], capture_output=True, env=environment)

        assert done.returncode == 0, done.stderr
        assert b"\x1b" not in done.stdout
        assert b"+ Fires: ship" in done.stdout


class TestTheShapeForPrograms:
    OPEN = ("data", "after", "block", "object", "payload", "source")
    """Fields that hold what manifests and events say."""

    def _keys(self, value: Any) -> set[str]:
        if isinstance(value, list):
            return {key for each in value for key in self._keys(each)}
        if not isinstance(value, dict):
            return set()
        inner = {key for name, each in value.items() if name not in self.OPEN for key in self._keys(each)}
        return set(value) | inner

    def test_every_field_stands_in_the_reference(self, folder: _Folder) -> None:
        # Given answers of every sort
        bad = _event(data={"body": {**ORDER["body"], "country": "US"}})
        body = {key: value for key, value in ORDER["body"].items() if key != "item"}
        events = folder.event(
            bad, _event(data={"body": body}), _event("paid"), _event("ordr"), _event("paid", {"body": {}})
        )
        told = folder.json("--event", events, "--each")
        # Then the reference page explains every field
        page = (Path(__file__).parents[2] / "docs" / "reference" / "explain.md").read_text()
        for event in told["events"]:
            for sensor in event["sensors"]:
                for trigger in sensor["triggers"]:
                    for action in trigger["actions"]:
                        assert set(action["events"]) <= {"order", "paid"}  # names of dependencies, not of fields
                        action["events"] = {}
        keys = self._keys(told)
        assert {"notAsked", "failure", "complaints", "didYouMean", "waitingFor"} <= keys
        assert (
            sorted(key for key in keys if f"`{key}`" not in page and f"{key}," not in page and f"{key}}}" not in page)
            == []
        )
