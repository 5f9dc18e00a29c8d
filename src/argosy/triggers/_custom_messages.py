"""The messages of the ``custom`` contract, declared here instead of generated.

The contract is upstream's (``pkg/sensors/triggers/trigger.proto``, printed in its document "Build Your Own Trigger"): service
``triggers.Trigger`` with ``FetchResource``, ``Execute`` and ``ApplyPolicy``. The descriptor pool is our own, so that a program that
has the generated module beside us can be in the same process. Imported when the trigger runs: needs protobuf.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_FIELDS: dict[str, tuple[tuple[str, Any], ...]] = {
    "FetchResourceRequest": (("resource", _FIELD.TYPE_BYTES),),
    "FetchResourceResponse": (("resource", _FIELD.TYPE_BYTES),),
    "ExecuteRequest": (("resource", _FIELD.TYPE_BYTES), ("payload", _FIELD.TYPE_BYTES)),
    "ExecuteResponse": (("response", _FIELD.TYPE_BYTES),),
    "ApplyPolicyRequest": (("request", _FIELD.TYPE_BYTES),),
    "ApplyPolicyResponse": (("success", _FIELD.TYPE_BOOL), ("message", _FIELD.TYPE_STRING)),
}


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="trigger.proto", package="triggers", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            message.field.add(name=field, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"triggers.{name}")) for name in _FIELDS}


_made = _messages()


def method(name: str) -> tuple[str, Any, Any]:
    """The full name of a method, what it takes and what it answers."""
    return f"/triggers.Trigger/{name}", _made[f"{name}Request"], _made[f"{name}Response"]
