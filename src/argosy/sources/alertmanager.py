"""``alertmanager`` (ours): each alert in a notification of Prometheus's Alertmanager becomes one event.

A notification is about a group; its alerts come as ``alert``, all the rest as ``group``. Alertmanager repeats
what is still firing, and several of a cluster send the same: an alert is told again only when it fires anew or is
resolved, unless ``repeats: true`` asks for every notification. What was told is kept on the bus.
Source: prometheus.io "Alertmanager configuration: webhook_config", data format version 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from argosy.errors import ConfigError, EventInvalid
from argosy.lang import gojson
from argosy.sources import _hooked
from argosy.sources._base import Source, SourceContext
from argosy.sources._hooked import HookedConfig
from argosy.sources._raw import Raw, Wrapped, tail

if TYPE_CHECKING:
    from argosy.sources._http import Request, Response


class AlertmanagerConfig(HookedConfig):
    """One endpoint, the ``url`` of a ``webhook_config``."""

    repeats: bool = False
    """Whether an alert that was told already becomes an event again at each notification."""


class Alertmanager(Source[AlertmanagerConfig]):
    """Receives Alertmanager's notifications. An event's id names the alert, its state and since when."""

    kind: ClassVar[str] = "alertmanager"
    config = AlertmanagerConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "double: documented notifications of Alertmanager, sent over HTTP"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: alertmanager
spec:
  alertmanager:
    example:
      webhook:
        port: "12000"
        endpoint: /alerts
        method: POST
      filter:
        expression: alert.labels.severity == "critical"
"""

    @classmethod
    def wrap(cls, config: AlertmanagerConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        alerts = _alerts(config, recorded(raw, "POST"))
        if len(alerts) != 1:
            raise ConfigError(f"the notification makes {len(alerts)} events; give a recording with one alert")
        return Wrapped(alerts[0].data, None if config.repeats else alerts[0].id)

    async def run(self, ctx: SourceContext[AlertmanagerConfig]) -> None:
        from argosy.sources._http import SUCCESS

        async def answer(request: Request) -> Response:
            for alert in _alerts(ctx.config, request):
                await _tell(ctx, alert)
            return SUCCESS

        await _hooked.serve(ctx, answer)


class _Alert(NamedTuple):
    fingerprint: str
    firing: bool
    id: str
    data: bytes


async def _tell(ctx: SourceContext[AlertmanagerConfig], alert: _Alert) -> None:
    if ctx.config.repeats:
        await ctx.emit(alert.data)
        return
    key = f"told/{alert.fingerprint}"
    told = await ctx.bucket.get(key)
    if told is not None and told.value.decode() == alert.id:
        return
    await ctx.emit(alert.data, id=alert.id)
    if alert.firing:
        await ctx.bucket.put(key, alert.id.encode())
    elif told is not None:
        # Of what is over nothing need be kept: a second report of the end has the same id.
        await ctx.bucket.delete(key)


def _alerts(config: AlertmanagerConfig, request: Request) -> list[_Alert]:
    body: dict[str, Any] = _hooked.document(request.body)
    alerts = body.pop("alerts", None)
    if not isinstance(alerts, list):
        raise EventInvalid("the body has no 'alerts', so it is no notification of Alertmanager")
    end, group = tail(config.metadata), gojson.dumps(body)
    found = []
    for alert in alerts:
        if not isinstance(alert, dict) or alert.get("status") not in ("firing", "resolved"):
            raise EventInvalid("an alert is neither firing nor resolved")
        data = b'{"alert":%b,"group":%b%b}' % (gojson.dumps(alert), group, end)
        found.append(_Alert(_fingerprint(alert), alert["status"] == "firing", _id(alert), data))
    return found


def _id(alert: Mapping[str, Any]) -> str:
    parts = [_fingerprint(alert), alert["status"], str(alert.get("startsAt", ""))]
    return "-".join(parts if alert["status"] == "firing" else [*parts, str(alert.get("endsAt", ""))])


def _fingerprint(alert: Mapping[str, Any]) -> str:
    """Alertmanager's own name of the labels; of old ones, which do not tell it, ours."""
    given = alert.get("fingerprint")
    if isinstance(given, str) and given:
        return given
    return hashlib.sha256(gojson.dumps(alert.get("labels"))).hexdigest()[:16]
