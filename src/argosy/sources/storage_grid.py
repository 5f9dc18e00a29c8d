"""``storageGrid``: each bucket notification of NetApp StorageGRID becomes one event.

StorageGRID speaks to us as to AWS SNS: a form with a JSON ``Message``, answered with XML once the event is kept.
``filter.prefix`` and ``filter.suffix`` leave records out by their key. Where ``webhook.url`` is given, endpoint and
bucket notification are registered. Sources: docs.netapp.com "Event notifications for buckets"; upstream
``pkg/eventsources/sources/storagegrid``.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from argosy.errors import EventInvalid
from argosy.lang import gojson
from argosy.manifests.fields import OURS, EventFilter, SecretKeySelector, TLSConfig
from argosy.sources import _hooked
from argosy.sources._base import Source, SourceContext
from argosy.sources._hooked import HookedConfig
from argosy.sources._raw import Raw, Wrapped, tail

if TYPE_CHECKING:
    from argosy.sources._hooks import Hooks
    from argosy.sources._http import Request, Response


class StorageGridFilter(EventFilter):
    """Which objects count, by their keys."""

    expression: str = Field("", json_schema_extra=OURS)
    """An [expr](languages/expr.md) expression over the event's data, as every other kind has it."""
    prefix: str = ""
    """How the key begins."""
    suffix: str = ""
    """How the key ends."""


class StorageGridConfig(HookedConfig):
    """The notifications of one bucket."""

    dropped: ClassVar[Mapping[str, str]] = {}

    filter: StorageGridFilter | None = None
    """Which objects count."""
    events: list[str]
    """Such as ``s3:ObjectCreated:*``. Counts where the notification is registered."""
    topic_arn: str = Field(min_length=1)
    """The topic that the notification names."""
    bucket: str = Field(min_length=1)
    """The bucket whose changes are told."""
    region: str = ""
    """Without meaning; S3's configurations have it."""
    auth_token: SecretKeySelector
    """The token of the management API."""
    api_url: str = Field(min_length=1, alias="apiURL")
    """The management API, such as ``https://grid.example.com/api/v3``."""
    tls: TLSConfig | None = None
    """How the management API is reached."""


class StorageGrid(Source[StorageGridConfig]):
    """Receives bucket notifications."""

    kind: ClassVar[str] = "storageGrid"
    type: ClassVar[str] = "storagegrid"
    config = StorageGridConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "double: documented deliveries, and a double of the management API"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: storage-grid
spec:
  storageGrid:
    example:
      webhook:
        port: "8080"
        endpoint: /
        method: POST
      events:
        - s3:ObjectCreated:*
      topicArn: urn:mytopic:sns:us-east::my_topic
      bucket: my-bucket
      apiURL: https://grid.example.com/api/v3
      authToken:
        name: storage-grid
        key: token
"""

    @classmethod
    def wrap(cls, config: StorageGridConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        found = _event(config, recorded(raw, "POST"))
        if found is None:
            raise EventInvalid("the filter leaves every record out; the source drops the notification")
        return found

    async def run(self, ctx: SourceContext[StorageGridConfig]) -> None:
        from argosy.sources._http import Response

        async def answer(request: Request) -> Response:
            if request.method == "HEAD":
                return Response(200)
            found = _event(ctx.config, request)
            if found is not None:
                await ctx.emit(found.data, id=found.id)
            return Response(200, _receipt())

        await _hooked.serve(ctx, answer, _hooks(ctx))


def _hooks(ctx: SourceContext[StorageGridConfig]) -> Hooks[StorageGridConfig] | None:
    """What to register, if the manifest wants that."""
    if not ctx.config.webhook.url:
        return None
    from argosy.sources._hooks_storage_grid import StorageGridHooks

    return StorageGridHooks(ctx)


def _receipt() -> str:
    """What SNS answers to who publishes."""
    return (
        '<PublishResponse xmlns="http://argoevents-sns-server/">'
        f"<PublishResult><MessageId>{uuid.uuid4()}</MessageId></PublishResult>"
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
        "</PublishResponse>\n"
    )


def _event(config: StorageGridConfig, request: Request) -> Wrapped | None:
    """The event; None where the filter leaves nothing."""
    form = _hooked.form(request)
    fields = {name: form.get(name, "") for name in ("Action", "Message", "TopicArn", "Version")}
    if not fields["Message"]:
        raise EventInvalid("the form has no Message, so it is no bucket notification")
    message: dict[str, Any] = _hooked.document(fields["Message"].encode())
    records = message.get("Records")
    if isinstance(records, list):
        records = [_told(record) for record in records if _passes(config.filter, record)]
        if not records:
            return None
        message = {**message, "Records": records}
    elif config.filter is not None and (config.filter.prefix or config.filter.suffix):
        return None
    data = b'{"notification":%b%b}' % (gojson.dumps({**fields, "Message": message}), tail(config.metadata))
    return _hooked.named(data, *_names(records))


def _passes(rule: StorageGridFilter | None, record: Any) -> bool:
    key = _place(record).get("key", "")
    return rule is None or (str(key).startswith(rule.prefix) and str(key).endswith(rule.suffix))


def _told(record: Any) -> Any:
    """The record with the member that upstream's events have for ``eventSource``."""
    return {"storageGridEventSource": record.get("eventSource", ""), **record} if isinstance(record, dict) else record


def _names(records: Any) -> list[str]:
    """What names a notification of one record: the event, the object, and its place in the order of changes."""
    if not isinstance(records, list) or len(records) != 1:
        return [""]
    place, sequence = _place(records[0]), _place(records[0]).get("sequencer", "")
    if not sequence:
        return [""]
    key = hashlib.sha256(str(place.get("key", "")).encode()).hexdigest()[:16]
    return [str(records[0].get("eventName", "")), key, str(sequence)]


def _place(record: Any) -> Mapping[str, Any]:
    """``s3.object`` of a record; empty where there is none."""
    for name in ("s3", "object"):
        record = record.get(name) if isinstance(record, dict) else None
    return record if isinstance(record, dict) else {}
