"""Raw messages, wrapped without a network: the same data as the running source emits (its own tests prove that side)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from argosy import registry
from argosy.errors import ConfigError, EventInvalid
from argosy.registry import wrap
from argosy.sources._raw import Raw, Wrapped


def _wrap(kind: str, block: dict[str, Any], raw: Raw) -> Wrapped:
    plugin = registry.source(kind)
    assert plugin is not None
    return wrap(kind, plugin.config.model_validate(block), raw)


WEBHOOK = {"port": "12000", "endpoint": "/in", "method": "POST"}
AMQP = {"url": "amqp://x", "exchangeName": "e", "exchangeType": "topic", "routingKey": "r", "jsonBody": True}


class TestAWebhook:
    def test_the_body_stands_beside_its_headers_and_the_manifests_metadata(self) -> None:
        raw = Raw(b'{"n": 1.0}', {"x-who": "me", "Host": "h"})

        data, name = _wrap("webhook", {**WEBHOOK, "metadata": {"a": "b"}}, raw)

        assert data == b'{"header":{"X-Who":["me"]},"body":{"n":1.0},"metadata":{"a":"b"}}'
        assert name is None

    def test_credentials_are_masked_as_in_the_running_source(self) -> None:
        data, _ = _wrap("webhook", WEBHOOK, Raw(b"{}", {"Authorization": "Bearer hunter2"}))

        assert json.loads(data)["header"] == {"Authorization": ["*** Masked Auth Secret ***"]}

    def test_a_form_and_a_query_become_objects_of_lists(self) -> None:
        form = Raw(b"a=1&a=2", {"Content-Type": "application/x-www-form-urlencoded"})
        assert json.loads(_wrap("webhook", WEBHOOK, form).data)["body"] == {"a": ["1", "2"]}
        assert json.loads(_wrap("webhook", WEBHOOK, Raw(b"", method="get", query="q=x")).data)["body"] == {"q": ["x"]}

    def test_what_the_source_would_refuse_is_refused(self) -> None:
        with pytest.raises(EventInvalid, match="the body is not JSON"):
            _wrap("webhook", WEBHOOK, Raw(b"{"))


class TestAnAmqpMessage:
    def test_properties_have_the_names_of_events(self) -> None:
        raw = Raw(
            b'{"a":1}', {"routingKey": "k", "messageId": "m-1", "timestamp": "2026-01-02T03:04:05Z", "priority": "4"}
        )

        data, name = _wrap("amqp", AMQP, raw)

        value = json.loads(data)
        assert (name, value["body"], value["routingKey"], value["priority"]) == ("m-1", {"a": 1}, "k", 4)
        assert value["timestamp"] == "2026-01-02 03:04:05 +0000 UTC"

    def test_an_oslo_notification_is_unwrapped_where_the_manifest_says_so(self) -> None:
        inner = json.dumps({"message_id": "o-1", "event_type": "x"})
        raw = Raw(json.dumps({"oslo.version": "2.0", "oslo.message": inner}).encode())

        assert json.loads(_wrap("amqp", AMQP, raw).data)["body"]["oslo.message"] == inner
        unwrapped = _wrap("amqp", {**AMQP, "oslo": True}, raw)
        assert (json.loads(unwrapped.data)["body"], unwrapped.id) == (json.loads(inner), "o-1")

    def test_a_body_that_is_not_json_is_base64(self) -> None:
        data, _ = _wrap("amqp", {**AMQP, "jsonBody": False}, Raw(b"\xff"))
        assert json.loads(data)["body"] == base64.b64encode(b"\xff").decode()

    @pytest.mark.parametrize(
        ("headers", "said"),
        [({"routing_key": "k"}, "'routing_key' is no property of an AMQP message"), ({"priority": "high"}, "'high'")],
    )
    def test_a_property_that_is_none_is_refused(self, headers: dict[str, str], said: str) -> None:
        with pytest.raises(EventInvalid, match=said):
            _wrap("amqp", AMQP, Raw(b"{}", headers))


class TestOtherKinds:
    def test_an_object_of_a_cluster_becomes_a_change(self) -> None:
        block = {"version": "v1", "resource": "secrets", "eventTypes": ["ADD", "DELETE"]}
        about = {"oldBody": None, "group": "", "version": "v1", "resource": "secrets"}

        assert json.loads(_wrap("resource", block, Raw(b'{"kind":"Secret"}')).data) == {
            "type": "ADD",
            "body": {"kind": "Secret"},
            **about,
        }
        assert json.loads(_wrap("resource", block, Raw(b"{}", method="DELETE")).data)["type"] == "DELETE"
        with pytest.raises(EventInvalid, match="'UPDATE' is not among the eventTypes"):
            _wrap("resource", block, Raw(b"{}", method="UPDATE"))

    def test_a_message_of_a_generic_server_stands_under_body(self) -> None:
        block = {"url": "127.0.0.1:1", "config": "x", "jsonBody": True, "insecure": True}
        assert _wrap("generic", block, Raw(b'{"a":1}')).data == b'{"body":{"a":1}}'

    def test_a_kind_without_a_raw_form_says_what_to_give(self) -> None:
        with pytest.raises(ConfigError, match="'calendar' have no raw form; give the event's data"):
            _wrap("calendar", {"interval": "10s"}, Raw(b"{}"))

    def test_no_client_library_is_imported(self, tmp_path: Path) -> None:
        import subprocess
        import sys

        program = (
            "import sys\nfrom argosy import registry\nfrom argosy.registry import wrap\nfrom argosy.sources._raw import Raw\n"
            f"c = registry.source('amqp').config.model_validate({AMQP!r})\nwrap('amqp', c, Raw(b'{{}}'))\n"
            f"c = registry.source('webhook').config.model_validate({WEBHOOK!r})\nwrap('webhook', c, Raw(b'{{}}'))\n"
            "print([name for name in ('aiormq', 'uvicorn', 'httpx2') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
        assert (done.stdout, done.stderr) == ("[]\n", "")
