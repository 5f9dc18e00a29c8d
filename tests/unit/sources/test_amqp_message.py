"""Which messages of a queue are the same event: what an AMQP message becomes, without a broker."""

from __future__ import annotations

import orjson

from argosy.sources._amqp_message import Reading, read, recorded
from argosy.sources._raw import Raw


def name_of(body: object, *, message_id: str | None = None, oslo: bool = False) -> str | None:
    """The id that the event of a message with this body gets."""
    message = recorded(Raw(orjson.dumps(body), {"messageId": message_id} if message_id else {}))
    return read(message, Reading(json_body=True, oslo=oslo, metadata={}))[1]


def envelope(**notification: str) -> dict[str, str]:
    return {"oslo.version": "2.0", "oslo.message": orjson.dumps(notification).decode()}


def test_a_notification_that_comes_again_is_the_same_event() -> None:
    body = envelope(message_id="m-1", event_type="a")
    assert name_of(body) == name_of(body) is not None


def test_two_notifications_that_differ_are_two_events_whatever_they_carry_for_an_id() -> None:
    # Given a source whose manifest does not say what the bodies are
    first, second = envelope(message_id="m-1", event_type="a"), envelope(message_id="m-1", event_type="b")
    # Then different bodies are different events
    assert name_of(first) != name_of(second)
    # And with 'oslo' the id is the notification's own
    assert name_of(first, oslo=True) == name_of(second, oslo=True) == "m-1"


def test_the_property_names_the_message_before_anything_in_the_body() -> None:
    assert name_of(envelope(message_id="m-1"), message_id="p-1") == "p-1"
    assert name_of(envelope(message_id="m-1"), message_id="p-1", oslo=True) == "m-1"


def test_a_message_without_a_name_has_none() -> None:
    assert name_of({"a": 1}) is None
    assert name_of(envelope(event_type="a")) is None
    assert name_of({"oslo.message": "no JSON"}) is None
