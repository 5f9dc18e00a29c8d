"""The two protobuf messages of the ``generic`` contract, declared here instead of generated.

The contract is upstream's (``pkg/eventsources/sources/generic/generic.proto``): service ``generic.Eventing``,
method ``StartEventSource(EventSource) returns (stream Event)``. The descriptor pool is our own, so that a
program that has the generated module beside us can be in the same process. Imported when the source runs:
needs protobuf."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

METHOD = "/generic.Eventing/StartEventSource"
"""The full name of the one method."""

_STRING, _BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_STRING, descriptor_pb2.FieldDescriptorProto.TYPE_BYTES


def _messages() -> tuple[Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="generic.proto", package="generic", syntax="proto3")
    for name, fields in (
        ("EventSource", (("name", _STRING), ("config", _BYTES))),
        ("Event", (("name", _STRING), ("payload", _BYTES))),
    ):
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            message.field.add(
                name=field, number=number, type=kind, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"generic.{name}"))
        for name in ("EventSource", "Event")
    )
    return tuple(made)  # type: ignore[return-value]


EventSource, Event = _messages()
"""``EventSource(name, config)`` is what we ask for; ``Event(name, payload)`` is what comes."""
