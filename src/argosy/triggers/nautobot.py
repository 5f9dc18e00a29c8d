"""The ``nautobot`` trigger (ours): brings one object of Nautobot into the state that the block describes, or removes it.

The object is found by ``key``: the fields that identify it. What is there is compared with what is wanted, and only what differs is written; so an
action that is performed again, after its answer or its end got lost, changes nothing and leaves nothing in Nautobot's change log. What is made gets an id that
follows from its key, so that two actions at once do not make it twice where Nautobot would let them. Connections are kept between actions.

Source: docs.nautobot.com "REST API" (overview, filtering, authentication), and Nautobot 3.2 itself. What is done is in ``_nautobot_object``, the
comparison in ``_nautobot_state``, the requests in ``_nautobot_api``.
"""

from __future__ import annotations

import re
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from argosy.errors import Rejected
from argosy.manifests.fields import Json, SecretKeySelector, TLSConfig, TriggerParameter
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext
from argosy.triggers._egress import Egress, EgressConfig
from argosy.triggers._http_clients import Clients, Tls, of_environment
from argosy.triggers._nautobot_api import Api
from argosy.triggers._nautobot_object import Key, Wanted

_ENDPOINT = re.compile(r"[a-z0-9_-]+(/[a-z0-9_-]+)+")
_KEY = re.compile(r"\w+(=\w+(\.\w+)*)?")
_KNOWN_SECONDS = 300.0
"""How long the fields of an endpoint are believed to stay."""
_MOST_KNOWN = 64


class NautobotConfig(TriggerConfig):
    """The ``nautobot`` block."""

    url: str
    """Where Nautobot is, for example ``https://nautobot.example.com``."""
    token: SecretKeySelector
    """A token of a user who may look at such objects and at what they refer to, and do what the block says."""
    endpoint: str
    """What kind of object, by the path of its API: ``dcim/locations``, ``ipam/ip-addresses``, ``plugins/…``."""
    operation: Literal["upsert", "create", "update", "delete"] = "upsert"
    """``upsert`` makes the object, or changes what differs. ``create`` makes it where it is not there, and leaves it alone where it is. ``update``
    changes it, and fails where it is not there. ``delete`` removes it; one that is not there is as good.
    """
    key: list[str] = Field(default_factory=list)
    """The fields of ``object`` that identify it, such as ``name``. Where Nautobot's filter is called otherwise than the field, or the value is inside of a
    reference, write ``filter=path``: ``location=location.name``. ``create`` may do without; then each action makes an object.
    """
    object: dict[str, Json] = Field(default_factory=dict)
    """The fields as Nautobot's API takes them. A reference to another object is its id, or what identifies it: ``location_type: {name: Site}``; of
    ``custom_fields`` and ``relationships`` those that are not named stay as they are. ``delete`` needs only what ``key`` names.
    """
    defaults: dict[str, Json] = Field(default_factory=dict)
    """Fields that an object gets when it is made here, and that are not looked at afterwards."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Change this block for each action: ``dest: object.name`` takes a field from an event."""
    dry_run: bool = False
    """Look, and say what would be done, but write nothing."""
    tls: TLSConfig | None = None
    """Whom to trust, and our certificate. Left out, whom the machine trusts."""
    egress: EgressConfig | None = None
    """Where requests may go; everywhere but to link-local and metadata addresses if nothing is said."""
    timeout: int = Field(0, ge=0)
    """Seconds for each request; 0 means 30."""

    @field_validator("url")
    @classmethod
    def _reachable(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("is no address such as https://nautobot.example.com")
        if parts.username is not None or parts.password is not None:
            raise ValueError("names a user or a password; whoever has the token is known by it")
        return url

    @field_validator("endpoint")
    @classmethod
    def _path(cls, endpoint: str) -> str:
        if not _ENDPOINT.fullmatch(endpoint.strip("/").removeprefix("api/")):
            raise ValueError(f"is {endpoint!r}; write the path of the API, for example dcim/locations")
        return endpoint

    @field_validator("key")
    @classmethod
    def _readable(cls, key: list[str]) -> list[str]:
        for entry in key:
            if not _KEY.fullmatch(entry):
                raise ValueError(f"holds {entry!r}; write the name of a field, or filter=path.in.object")
        return key

    @model_validator(mode="after")
    def _together(self) -> NautobotConfig:
        if not self.key and self.operation != "create":
            raise ValueError(f"{self.operation} needs 'key': the fields that identify the object, such as name")
        if self.defaults and self.operation in ("update", "delete"):
            raise ValueError(f"{self.operation} makes no object that could have 'defaults'")
        return self


class NautobotTrigger(Trigger[NautobotConfig]):
    """Makes, changes or removes an object of Nautobot."""

    kind: ClassVar[str] = "nautobot"
    config = NautobotConfig
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "http"
    peer: ClassVar[str] = "real: Nautobot 3.2"
    ours: ClassVar[bool] = True
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: nautobot
spec:
  dependencies:
    - name: project
      eventSourceName: keystone
      eventName: projects
  triggers:
    - template:
        name: keep-tenant
        nautobot:
          url: https://nautobot.example.com
          token:
            name: nautobot
            key: token
          endpoint: tenancy/tenants
          key:
            - name
          object:
            tenant_group:
              name: OpenStack
            tags:
              - name: from-keystone
          defaults:
            comments: Made when the project was.
          parameters:
            - src:
                dependencyName: project
                dataKey: body.name
              dest: object.name
            - src:
                dependencyName: project
                dataKey: body.description
                value: ""
              dest: object.description
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._clients = Clients()
        self._known: dict[tuple[str, str], tuple[float, dict[str, Json]]] = {}

    async def __aexit__(self, *exc: object) -> None:
        self._known.clear()
        await self._clients.close()

    async def fire(self, config: NautobotConfig, action: Action) -> Outcome:
        token = self.ctx.secret(config.token)
        if not token:
            raise Rejected(f"the token is empty: key {config.token.key!r} of secret {config.token.name!r}")
        endpoint = config.endpoint.strip("/").removeprefix("api/")
        base = config.url.rstrip("/").removesuffix("/api") + "/api"
        keys = [Key.of(entry, config.object) for entry in config.key]
        proxy = of_environment(base)
        egress = Egress.of(config.egress, link_local=False, proxied=bool(proxy.url))
        async with self._clients.use(Tls.of(config.tls, self.ctx.secret), proxy, egress.digest) as client:
            api = Api(client, base, token, action.traceparent, egress, float(config.timeout or 30))
            fields = {} if config.operation == "delete" else await self._fields(api, endpoint)
            wanted = Wanted(api, endpoint, keys, config.object, config.defaults, action.id, fields, config.dry_run)
            match config.operation:
                case "upsert":
                    return await wanted.upsert()
                case "create":
                    return await wanted.create()
                case "update":
                    return await wanted.update()
                case "delete":
                    return await wanted.delete()

    async def _fields(self, api: Api, endpoint: str) -> dict[str, Json]:
        """What Nautobot tells of an endpoint's fields, asked for anew from time to time."""
        key, now = (api.base, endpoint), self.ctx.clock.now().timestamp()
        at, fields = self._known.get(key, (None, {}))
        if at is None or now - at > _KNOWN_SECONDS:
            fields = await api.fields(endpoint)
            self._known.pop(key, None)
            self._known[key] = now, fields
            while len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return fields
