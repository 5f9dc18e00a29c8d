"""``sns``: each notification of an AWS SNS topic becomes one event, named by its message id.

Where ``webhook.url`` is given, the URL is subscribed to the topic, the subscription is confirmed, and taken back
by the last process that ends. With ``validateSignature`` the signature (versions 1 and 2) is checked by the
certificate that the message names, which must come from AWS over HTTPS.
Sources: docs.aws.amazon.com "Verifying the signatures of Amazon SNS messages", "HTTP/HTTPS notification JSON
format"; upstream ``pkg/eventsources/sources/awssns``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from argosy.aws.client import REGION
from argosy.errors import EventInvalid, ExtraMissing, SourceError
from argosy.manifests.fields import SecretKeySelector
from argosy.sources import _hooked
from argosy.sources._base import Source, SourceContext
from argosy.sources._hooked import NAMESPACE_DROPPED, HookedConfig
from argosy.sources._http_body import raw_json
from argosy.sources._raw import Raw, Wrapped

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

    from argosy.sources._aws import Aws
    from argosy.sources._http import Request, Response

_CERTIFICATE_HOST = re.compile(r"sns\.[a-zA-Z0-9\-]{3,}\.amazonaws\.com(\.cn)?")
_NOTIFICATION, _CONFIRMATION = "Notification", "SubscriptionConfirmation"
_SIGNED = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SIGNED_OTHERS = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_CERTIFICATES = 16


class SnsConfig(HookedConfig):
    """One topic."""

    dropped: ClassVar[Mapping[str, str]] = NAMESPACE_DROPPED

    topic_arn: str = Field(min_length=1)
    """The topic."""
    region: str = Field(pattern=f"^{REGION}$")
    """The topic's region."""
    access_key: SecretKeySelector | None = None
    """The access key by which the URL is subscribed; without it the usual places are looked at."""
    secret_key: SecretKeySelector | None = None
    """The secret key that belongs to it."""
    role_arn: str = Field("", alias="roleARN")
    """A role to take, with the process's own credentials; with the keys where it has none."""
    validate_signature: bool = False
    """Check that AWS has signed the message; needs ``argosy[crypto]``."""
    endpoint: str = ""
    """The API's URL, where it is not AWS's own."""


class Sns(Source[SnsConfig]):
    """Receives the notifications of an SNS topic over HTTP. Its ``Message`` stays text, as SNS sends it."""

    kind: ClassVar[str] = "sns"
    config = SnsConfig
    exclusive: ClassVar[bool] = False
    acknowledges: ClassVar[bool] = True
    peer: ClassVar[str] = "double: documented deliveries with their signatures, and a double of the API"
    example: ClassVar[str] = """\
apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata:
  name: sns
spec:
  sns:
    example:
      topicArn: arn:aws:sns:us-east-1:123456789012:my-topic
      region: us-east-1
      webhook:
        port: "12000"
        endpoint: /
        method: POST
        url: https://argosy.example.com
      accessKey:
        name: aws-secret
        key: accesskey
      secretKey:
        name: aws-secret
        key: secretkey
      validateSignature: true
"""

    @classmethod
    def wrap(cls, config: SnsConfig, raw: Raw) -> Wrapped:
        from argosy.sources._http_messages import recorded

        request = recorded(raw, "POST")
        body = _hooked.document(request.body)
        if body.get("Type") != _NOTIFICATION:
            raise EventInvalid(f"the message is no {_NOTIFICATION}; the source answers it and makes no event")
        return _event(config, request, body)

    async def run(self, ctx: SourceContext[SnsConfig]) -> None:
        from argosy.sources._aws import Aws, Named
        from argosy.sources._http import SUCCESS, Response

        config = ctx.config
        named = Named(config.access_key, config.secret_key, role_arn=config.role_arn)
        async with Aws(ctx, "sns", config.region, named, config.endpoint) as aws:
            signatures = _Signatures(aws)
            hooks = None
            if config.webhook.url:
                from argosy.sources._hooks_sns import SnsHooks

                hooks = SnsHooks(ctx, aws)

            async def answer(request: Request) -> Response:
                body = _hooked.document(request.body)
                kind = _hooked.text(body, "Type")
                if not kind:
                    raise EventInvalid("the message has no Type; turn raw message delivery off for the subscription")
                if config.validate_signature:
                    await signatures.check(body)
                if kind == _CONFIRMATION:
                    if _hooked.text(body, "TopicArn") != config.topic_arn:
                        raise EventInvalid("the subscription is one of another topic")
                    # By our own call, and not by the URL that the message names: nobody sends us anywhere. The
                    # token is the proof, so no credentials are wanted.
                    token = _hooked.text(body, "Token")
                    await aws.call_unsigned("ConfirmSubscription", TopicArn=config.topic_arn, Token=token)
                    return Response(200)
                if kind != _NOTIFICATION:
                    return Response(200)
                data, name = _event(config, request, body)
                await ctx.emit(data, id=name)
                return SUCCESS

            await _hooked.serve(ctx, answer, hooks, delete=True)


class _Signatures:
    """Checks signatures by AWS's certificates, each of which is fetched once."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._keys: dict[str, rsa.RSAPublicKey] = {}

    async def check(self, body: Mapping[str, Any]) -> None:
        """Raise EventInvalid unless AWS has signed the message."""
        try:
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives import hashes
            from cryptography.hazmat.primitives.asymmetric import padding
        except ImportError as error:
            raise ExtraMissing("'validateSignature'", "crypto") from error
        algorithms: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}
        algorithm = algorithms.get(_hooked.text(body, "SignatureVersion"))
        if algorithm is None:
            raise EventInvalid("the signature is of a version that is not known; there is 1 and 2")
        try:
            signature = base64.b64decode(_hooked.text(body, "Signature"), validate=True)
        except binascii.Error as error:
            raise EventInvalid("the signature is no base64") from error
        key = await self._key(_hooked.text(body, "SigningCertURL"))
        try:
            key.verify(signature, signed_text(body), padding.PKCS1v15(), algorithm)
        except InvalidSignature as error:
            raise EventInvalid("the signature is wrong; this message is not from AWS") from error

    async def _key(self, url: str) -> rsa.RSAPublicKey:
        if url in self._keys:
            return self._keys[url]
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import rsa

        parts = urlsplit(url)
        if parts.scheme != "https" or not _CERTIFICATE_HOST.fullmatch(parts.netloc):
            raise EventInvalid("the certificate of the signature is not one of AWS's own host")
        try:
            key = x509.load_pem_x509_certificate(await self._aws.fetch(url)).public_key()
        except ValueError as error:
            raise SourceError("AWS's certificate is no certificate") from error
        if not isinstance(key, rsa.RSAPublicKey):
            raise EventInvalid("the certificate of the signature has no RSA key")
        while len(self._keys) >= _CERTIFICATES:
            del self._keys[next(iter(self._keys))]
        self._keys[url] = key
        return key


def signed_text(body: Mapping[str, Any]) -> bytes:
    """What AWS signs of a message."""
    names = _SIGNED if body.get("Type") == _NOTIFICATION else _SIGNED_OTHERS
    return "".join(f"{name}\n{_hooked.text(body, name)}\n" for name in names if name in body).encode()


def _event(config: SnsConfig, request: Request, body: Mapping[str, Any]) -> Wrapped:
    data = _hooked.envelope(config, request, raw_json(request.body), headers="header")
    return _hooked.named(data, _hooked.text(body, "MessageId"))
