"""The ``awsLambda`` trigger: one invocation of a function of AWS Lambda per action.

The function is waited for (``RequestResponse``, the default, for as long as Lambda lets it run: 15 minutes), or handed the
payload (``Event``), or only asked whether it could be invoked (``DryRun``). Connections are kept open between
actions. Each invocation carries the action's id in its client context (``custom.actionId``), the same at every
try, so a function can tell a repetition; Lambda shows a client context to functions that are waited for only.

Different from upstream: a function that fails, fails the action, with its own words; credentials, region and role
that parameters change count for that action. Source: docs.aws.amazon.com "AWS Lambda API Reference", Invoke.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self
from urllib.parse import quote

from pydantic import Field, model_validator

from argosy.aws.client import REGION, AwsError, Client, endpoint
from argosy.aws.credentials import Chains, Named
from argosy.errors import ConfigError, Rejected, RetryAfter, TriggerError
from argosy.manifests.fields import OWN_NAMESPACE, Json, SecretKeySelector, TriggerParameter
from argosy.triggers import _responses
from argosy.triggers._base import Action, Outcome, Trigger, TriggerConfig, TriggerContext

if TYPE_CHECKING:
    import httpx2

_WAITED_SECONDS = 15 * 60 + 20.0  # Lambda ends a function after 15 minutes
_HANDED_SECONDS = 30.0
_TRY_AGAIN = frozenset((408, 409, 425, 429))
"""4xx that pass: 409 is a function that is being made or changed."""
_EXCERPT = 500
_LARGEST_RESULT = 64 * 1024


class AwsLambdaConfig(TriggerConfig):
    """The ``awsLambda`` block."""

    dropped: ClassVar[Mapping[str, str]] = {"namespace": f"1.0; {OWN_NAMESPACE}"}

    function_name: str = Field(pattern=r"^[A-Za-z0-9_:$-]{1,170}$")
    """The function's name or ARN, with ``:`` and a version or an alias at its end where it should be one."""
    region: str = Field(pattern=f"^{REGION}$")
    """The function's region."""
    payload: list[TriggerParameter] = Field(min_length=1)
    """The document that the function gets, as in an ``http`` trigger."""
    parameters: list[TriggerParameter] = Field(default_factory=list)
    """Change this block for each action: ``dest: functionName`` makes the function depend on the event."""
    invocation_type: Literal["", "RequestResponse", "Event", "DryRun"] = ""
    """Empty means RequestResponse: the function is waited for."""
    access_key: SecretKeySelector | None = None
    """With ``secretKey``; without both, the process's own credentials count."""
    secret_key: SecretKeySelector | None = None
    """The secret key."""
    role_arn: str = Field("", alias="roleARN")
    """A role to take, with the process's own credentials; with the keys where it has none."""

    @model_validator(mode="after")
    def _paired(self) -> AwsLambdaConfig:
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("accessKey and secretKey go together")
        return self


class AwsLambda(Trigger[AwsLambdaConfig]):
    """Invokes a function. What it returns is kept with the action; a function that fails is tried again."""

    kind: ClassVar[str] = "awsLambda"
    config = AwsLambdaConfig
    requires: ClassVar[tuple[str, ...]] = ("httpx2",)
    extra: ClassVar[str] = "http"
    peer: ClassVar[str] = "emulator: moto"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata:
  name: lambda
spec:
  dependencies:
    - name: message
      eventSourceName: webhook
      eventName: example
  triggers:
    - template:
        name: greet
        awsLambda:
          functionName: hello
          region: us-east-1
          accessKey:
            name: aws-secret
            key: accesskey
          secretKey:
            name: aws-secret
            key: secretkey
          payload:
            - src:
                dependencyName: message
                dataKey: body.name
              dest: name
"""

    def __init__(self, ctx: TriggerContext) -> None:
        super().__init__(ctx)
        self._held = contextlib.AsyncExitStack()
        self._client: Client | None = None
        self._chains: Chains | None = None

    async def __aenter__(self) -> Self:
        self._client = await self._held.enter_async_context(Client("'awsLambda'", self.ctx.clock))
        self._chains = Chains(self._client, self.ctx.secret, self.ctx.clock)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._client = self._chains = None
        await self._held.aclose()

    async def fire(self, config: AwsLambdaConfig, action: Action) -> Outcome:
        kind = config.invocation_type or "RequestResponse"
        what = f"function {config.function_name!r} in {config.region}"
        try:
            answer = await self._invoke(config, action, kind)
        except AwsError as error:
            raise _meaning(error, what) from error
        except ConfigError as error:
            raise Rejected(f"{what} cannot be invoked: {error}") from error
        status = answer.status_code
        # A function that failed has answered all the same: the status does not show it.
        failure = answer.headers.get("X-Amz-Function-Error", "")
        if failure:
            raise TriggerError(f"{what} failed ({failure}): {_words(answer.text)}")
        policy = action.policy.status if action.policy else None
        if policy is not None and status not in policy.allow:
            allowed = ", ".join(map(str, policy.allow))
            raise TriggerError(f"{what} answered {status}, which policy.status does not allow ({allowed})")
        said = {"Event": "has the payload", "DryRun": "could be invoked"}.get(kind, "returned")
        body = _result(answer.text)
        if kind == "RequestResponse":  # else the function has not run yet
            _responses.require(action.policy, f"{what} answered {status}", body)
        return Outcome(f"{what} {said} ({status})", {"status": status, "body": body})

    async def _invoke(self, config: AwsLambdaConfig, action: Action, kind: str) -> httpx2.Response:
        assert self._client is not None and self._chains is not None, "the trigger must have been entered"
        named = Named(config.access_key, config.secret_key, role_arn=config.role_arn)
        place = quote(config.function_name, safe="")
        context = json.dumps({"custom": {"actionId": action.id}}).encode()
        return await self._client.request(
            "lambda",
            config.region,
            "POST",
            f"{endpoint('lambda', config.region)}2015-03-31/functions/{place}/invocations",
            {
                "Content-Type": "application/json",
                "X-Amz-Invocation-Type": kind,
                "X-Amz-Client-Context": base64.b64encode(context).decode(),
            },
            action.payload or b"",
            self._chains.of(named, config.region),
            action="Invoke",
            seconds=_WAITED_SECONDS if kind == "RequestResponse" else _HANDED_SECONDS,
        )


def _meaning(error: AwsError, what: str) -> TriggerError:
    """What becomes of the action that Lambda, or the way there, refused."""
    sentence = f"{what}: {error}"
    if 400 <= error.status < 500 and error.status not in _TRY_AGAIN and not error.code.startswith("Expired"):
        return Rejected(sentence)
    if error.wait_seconds is not None:
        return RetryAfter(sentence, error.wait_seconds)
    return TriggerError(sentence)


def _words(text: str) -> str:
    """What a function that failed says, as one line: type and message where it says them."""
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict) and found.get("errorMessage"):
            text = ": ".join(str(found[name]) for name in ("errorType", "errorMessage") if found.get(name))
    return " ".join(text.split())[:_EXCERPT] or "without a word"


def _result(text: str) -> Json:
    """What a function returned: a JSON value, or the beginning of a text that is none, or is too large to be kept."""
    if len(text) <= _LARGEST_RESULT:
        with contextlib.suppress(ValueError, RecursionError):
            found: Any = json.loads(text)
            return found
    return " ".join(text.split())[:_EXCERPT]
