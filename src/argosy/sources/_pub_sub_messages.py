"""The messages of Google Cloud Pub/Sub that a subscriber needs, declared here instead of generated.

The contract is public (``google/pubsub/v1/pubsub.proto``, ``google/iam/v1/iam_policy.proto``); fields that are not read or
written here are left out, and protobuf passes over them. The descriptor pool is our own, so that a program that has
Google's modules beside us can be in the same process. Imported when the source runs: needs protobuf.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2, message_factory, timestamp_pb2

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "google.pubsub.v1"

SUBSCRIBER = "/google.pubsub.v1.Subscriber"
PUBLISHER = "/google.pubsub.v1.Publisher"
IAM = "/google.iam.v1.IAMPolicy"

_TEXT, _NUMBER, _BYTES = _Field.TYPE_STRING, _Field.TYPE_INT32, _Field.TYPE_BYTES
# Name of the message, then its fields: number, name, type (or the message that it is), and whether there are many.
_DECLARED: dict[str, tuple[tuple[int, str, int | str, bool], ...]] = {
    "Topic": ((1, "name", _TEXT, False),),
    "Subscription": (
        (1, "name", _TEXT, False),
        (2, "topic", _TEXT, False),
        (5, "ack_deadline_seconds", _NUMBER, False),
    ),
    "GetSubscriptionRequest": ((1, "subscription", _TEXT, False),),
    "DeleteSubscriptionRequest": ((1, "subscription", _TEXT, False),),
    "PubsubMessage": (
        (1, "data", _BYTES, False),
        (2, "attributes", ".google.pubsub.v1.PubsubMessage.AttributesEntry", True),
        (3, "message_id", _TEXT, False),
        (4, "publish_time", ".google.protobuf.Timestamp", False),
        (5, "ordering_key", _TEXT, False),
    ),
    "ReceivedMessage": (
        (1, "ack_id", _TEXT, False),
        (2, "message", ".google.pubsub.v1.PubsubMessage", False),
        (3, "delivery_attempt", _NUMBER, False),
    ),
    "PullRequest": ((1, "subscription", _TEXT, False), (3, "max_messages", _NUMBER, False)),
    "PullResponse": ((1, "received_messages", ".google.pubsub.v1.ReceivedMessage", True),),
    "AcknowledgeRequest": ((1, "subscription", _TEXT, False), (2, "ack_ids", _TEXT, True)),
    "ModifyAckDeadlineRequest": (
        (1, "subscription", _TEXT, False),
        (3, "ack_deadline_seconds", _NUMBER, False),
        (4, "ack_ids", _TEXT, True),
    ),
    "TestIamPermissionsRequest": ((1, "resource", _TEXT, False), (2, "permissions", _TEXT, True)),
    "TestIamPermissionsResponse": ((1, "permissions", _TEXT, True),),
}


def _messages() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    timestamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(timestamp)
    pool.Add(timestamp)
    file = descriptor_pb2.FileDescriptorProto(
        name="argosy_pub_sub.proto", package=_PACKAGE, syntax="proto3", dependency=[timestamp.name]
    )
    for name, fields in _DECLARED.items():
        message = file.message_type.add(name=name)
        for number, field, kind, many in fields:
            label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = _Field.TYPE_MESSAGE, kind
            else:
                added.type = kind  # type: ignore[assignment]
        if name == "PubsubMessage":
            entry = message.nested_type.add(name="AttributesEntry")
            entry.options.map_entry = True
            for number, field in enumerate(("key", "value"), 1):
                entry.field.add(name=field, number=number, type=_TEXT, label=_Field.LABEL_OPTIONAL)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _DECLARED
    }


TYPES = _messages()
"""The classes of the messages, by their names in the contract."""
TYPES["Empty"] = empty_pb2.Empty

ANSWERS = {
    f"{SUBSCRIBER}/CreateSubscription": "Subscription",
    f"{SUBSCRIBER}/GetSubscription": "Subscription",
    f"{SUBSCRIBER}/DeleteSubscription": "Empty",
    f"{SUBSCRIBER}/Pull": "PullResponse",
    f"{SUBSCRIBER}/Acknowledge": "Empty",
    f"{SUBSCRIBER}/ModifyAckDeadline": "Empty",
    f"{PUBLISHER}/CreateTopic": "Topic",
    f"{IAM}/TestIamPermissions": "TestIamPermissionsResponse",
}
"""What each method answers with."""
