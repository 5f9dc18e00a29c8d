"""The ``storageGrid`` source: the suite of every source, NetApp's documented notification, and the registration."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar
from urllib.parse import urlencode

import httpx2
import pytest

from argosy.errors import EventInvalid
from argosy.sources import _hooks
from tests.conformance.source import SourceSuite, eventually, on_stage
from tests.unit.sources.hook_api import hook_api
from tests.unit.sources.hook_sender import Delivery, HookSender, deliver, webhook, wrapped

TOKEN = {"name": "grid", "key": "token"}
FIELDS: dict[str, Any] = {
    "events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
    "topicArn": "urn:mytopic:sns:us-east::my_topic",
    "bucket": "bucket1",
    "authToken": TOKEN,
    "apiURL": "https://grid.example/api/v3",
}


def record(key: str) -> dict[str, Any]:
    # The example of NetApp's page on event notifications.
    return {
        "eventVersion": "2.0",
        "eventSource": "sgws:s3",
        "eventTime": "2017-08-08T23:52:38Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "1111111111111111111"},
        "requestParameters": {"sourceIPAddress": "193.51.100.20"},
        "responseElements": {"x-amz-request-id": "122047343"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "Create-Event",
            "bucket": {"name": "bucket1", "ownerIdentity": {"principalId": "1111"}, "arn": "arn:sgws:s3:::bucket1"},
            "object": {
                "key": key,
                "size": 0,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "sequencer": "14D90402421461C7",
            },
        },
    }


def delivery(*keys: str, **fields: str) -> Delivery:
    message = json.dumps({"Records": [record(key) for key in keys]})
    form = {"Action": "Publish", "Message": message, "TopicArn": FIELDS["topicArn"], "Version": "2010-03-31", **fields}
    return urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"}


class _Grid(HookSender):
    def text_of(self, data: Any) -> str:
        assert set(data) <= {"notification", "metadata"}
        assert set(data["notification"]) == {"Action", "Message", "TopicArn", "Version"}
        (found,) = data["notification"]["Message"]["Records"]
        return str(found["s3"]["object"]["key"])


class TestStorageGrid(SourceSuite):
    kind = "storageGrid"
    bad_blocks: ClassVar[list[tuple[dict[str, Any], str]]] = [
        (FIELDS, "webhook"),
        *(
            ({"webhook": webhook(), **{name: value for name, value in FIELDS.items() if name != missing}}, missing)
            for missing in FIELDS
        ),
        ({"webhook": webhook(), **FIELDS, "filter": {"prefixes": "a"}}, "prefixes"),
    ]

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[_Grid]:
        sender = _Grid(lambda text: delivery(text), **FIELDS)
        yield sender
        await sender.close()


async def test_a_notification_is_answered_as_sns_answers_and_named_by_its_record() -> None:
    async with on_stage("storageGrid", {"webhook": webhook(), **FIELDS}) as stage:
        body, headers = delivery("a&b=c.txt")
        response = await deliver(stage, body, headers)
        assert response.status_code == 200
        assert response.text.startswith("<PublishResponse") and "success" not in response.text
        (event,) = stage.emitted
        # Then a key with characters of forms is whole, and the record has the member of upstream's events, too
        (found,) = event.data["notification"]["Message"]["Records"]
        assert (found["s3"]["object"]["key"], found["eventSource"]) == ("a&b=c.txt", "sgws:s3")
        assert found["storageGridEventSource"] == "sgws:s3"
        assert event.id and event.id.startswith("ObjectCreated:Put-") and event.id.endswith("-14D90402421461C7")
        assert wrapped(stage, body, headers) == (event.raw, event.id)
        # And another key with the same sequencer is another event
        await deliver(stage, *delivery("other"))
        assert stage.emitted[1].id != event.id


async def test_records_are_left_out_by_their_keys() -> None:
    block = {"webhook": webhook(), **FIELDS, "filter": {"prefix": "in/", "suffix": ".csv"}}
    async with on_stage("storageGrid", block) as stage:
        response = await deliver(stage, *delivery("out/a.csv", "in/b.csv", "in/c.txt"))
        assert response.status_code == 200
        records = stage.emitted[0].data["notification"]["Message"]["Records"]
        assert [each["s3"]["object"]["key"] for each in records] == ["in/b.csv"]
        # And where nothing is left there is no event, and the sender is told that all is well
        assert (await deliver(stage, *delivery("in/c.txt"))).status_code == 200
        assert (len(stage.offered), stage.refused) == (1, [])
        with pytest.raises(EventInvalid, match="filter"):
            wrapped(stage, *delivery("in/c.txt"))


async def test_a_head_request_is_answered_and_changes_no_later_answer() -> None:
    async with on_stage("storageGrid", {"webhook": webhook(), **FIELDS}) as stage:
        await stage.start()
        async with httpx2.AsyncClient() as client:
            assert (await client.head(stage.listening[0])).status_code == 200
        assert (await deliver(stage, *delivery("a"))).text.startswith("<PublishResponse")


@pytest.mark.parametrize("body", [b"", b"Action=Publish", b"Message=%7B", b"Message=[]", b"Message=%zz"])
async def test_what_is_no_notification_is_refused_and_not_said_to_be_kept(body: bytes) -> None:
    async with on_stage("storageGrid", {"webhook": webhook(), **FIELDS}) as stage:
        assert (await deliver(stage, body, {})).status_code == 400
        assert (stage.offered, len(stage.refused)) == ([], 1)


async def test_endpoint_and_notification_are_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"_FIRST_SECONDS": 0.0, "_LOOK_SECONDS": 0.02, "_CHECK_SECONDS": 0.1}.items():
        monkeypatch.setattr(_hooks, name, seconds)
    with hook_api("storageGrid") as api:
        api.answers["PUT", "/api/v3/org/containers/bucket1/notification"] = {"status": "success"}
        block = {"webhook": webhook(url="https://argosy.example"), **FIELDS, "apiURL": f"{api.url}/api/v3"}
        async with on_stage("storageGrid", block, secrets={("grid", "token"): "grid-token"}) as stage:
            await stage.start()
            await eventually(lambda: len(api.changes()) == 2, "registered")
            endpoint = api.last("POST")
            assert endpoint.body == {
                "displayName": "example",
                "endpointURI": "https://argosy.example/hook",
                "endpointURN": FIELDS["topicArn"],
                "authType": "anonymous",
                "insecureTLS": True,
            }
            assert endpoint.headers["Authorization"] == "Bearer grid-token"
            notification = api.last("PUT").body["notification"]
            assert "<Topic>urn:mytopic:sns:us-east::my_topic</Topic><Event>s3:ObjectCreated:*</Event>" in notification
            # And looking again changes nothing
            looked = len(api.asked)
            await eventually(lambda: len(api.asked) > looked + 3, "looked again")
            assert len(api.changes()) == 2
            # And a new token puts the notification again
            stage.secrets["grid", "token"] = "rotated"
            await eventually(lambda: len(api.changes()) == 3, "put again")
            assert api.last("PUT").headers["Authorization"] == "Bearer rotated"
