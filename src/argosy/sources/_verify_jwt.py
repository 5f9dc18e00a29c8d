"""JSON Web Tokens that senders show (``verify.jwt``): by whom they are issued, for whom, until when, and what they claim.

The issuer's keys come from its discovery document, from a URL, or from Secrets and ConfigMaps. They are fetched anew
when a token names a key that is not known, at most every half a minute whatever anybody sends; while the issuer is away
the old ones serve for a day. Only signatures by public keys are taken, so a token without one, or one that is keyed with
a public key's text, has no way in. A token proves who sends, not what. Source: RFC 7515, 7517, 7519, 8037, 8725; OpenID
Connect Discovery 1.0.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from argosy.clock import Clock
from argosy.errors import ExtraMissing, SourceError
from argosy.manifests.fields import Duration, Model, SecretKeySelector, TLSConfig, ValueFrom
from argosy.sources._http_routes import header_name

if TYPE_CHECKING:
    from argosy.sources._base import SourceContext
    from argosy.sources._http import Request

_FETCH_SECONDS = 4.0
_FETCH_BYTES = 1024 * 1024
_LIFETIME_SECONDS = 3600.0
_STALE_SECONDS = 86400.0
_PAUSE_SECONDS = 30.0
_LONGEST_TOKEN = 16 * 1024
_MOST_KEYS = 100
_SHORTEST_RSA = 2048
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class Jwt(Model):
    """A token, signed by a key of its issuer, in a header."""

    issuer: str = Field(min_length=1)
    """Who issues it: ``iss``, to the letter. Its keys are found by discovery, unless ``jwksUrl`` or ``keys`` say where."""
    audience: list[str] = Field(min_length=1)
    """For whom it is: one of these is in ``aud``."""
    jwks_url: str = ""
    """Where the issuer's keys are, as a JSON Web Key Set."""
    keys: list[ValueFrom] = Field(default_factory=list)
    """Or the keys: PEM public keys or JSON Web Key Sets; name two while one is rotated."""
    algorithms: list[Algorithm] = Field(default_factory=lambda: cast("list[Algorithm]", ["RS256", "ES256", "EdDSA"]))
    """What a token may be signed with."""
    claims: dict[str, list[str]] = Field(default_factory=dict)
    """Claims that must be there, each with the values that will do; of a list, one must be among them."""
    header: str = "Authorization"
    """Where it is: after ``Bearer`` in ``Authorization``, by itself in any other. Events do not show it."""
    leeway: Duration = Field(60.0, ge=0)
    """How far the issuer's clock may be from ours."""
    tls: TLSConfig | None = None
    """TLS to the issuer."""

    @field_validator("algorithms")
    @classmethod
    def _some(cls, algorithms: list[Algorithm]) -> list[Algorithm]:
        if not algorithms:
            raise ValueError("is empty, so no token could ever pass")
        return algorithms

    @model_validator(mode="after")
    def _complete(self) -> Jwt:
        if self.jwks_url and self.keys:
            raise ValueError("'jwksUrl' and 'keys' say the same; keep one of them")
        where = self.jwks_url or ("" if self.keys else self.issuer)
        if where and (urlsplit(where).scheme not in ("http", "https") or not urlsplit(where).hostname):
            raise ValueError(f"{where!r} is no http or https URL, so there are no keys; give 'jwksUrl' or 'keys'")
        for each in self.keys:
            if (each.secret_key_ref is None) == (each.config_map_key_ref is None):
                raise ValueError("each of 'keys' needs one of secretKeyRef and configMapKeyRef")
        if any(not values for values in self.claims.values()):
            raise ValueError("each of 'claims' needs a list with at least one value")
        return self


class _Key(NamedTuple):
    """A public key of the issuer. ``id`` and ``algorithm`` are empty where it does not say."""

    id: str
    algorithm: str
    key: Any

    def fits(self, id_: str, algorithm: str) -> bool:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

        if (id_ and self.id and id_ != self.id) or self.algorithm not in ("", algorithm):
            return False
        if algorithm in _CURVES:
            return isinstance(self.key, ec.EllipticCurvePublicKey) and self.key.curve.name == _CURVES[algorithm]
        if algorithm == "EdDSA":
            return isinstance(self.key, ed25519.Ed25519PublicKey)
        return isinstance(self.key, rsa.RSAPublicKey) and self.key.key_size >= _SHORTEST_RSA


class JwtCheck:
    """The check of one route."""

    def __init__(self, rule: Jwt, ctx: SourceContext[Any], text: Callable[[ValueFrom], str]) -> None:
        try:
            import cryptography  # noqa: F401
            import jwt
        except ImportError as error:
            raise ExtraMissing("'verify.jwt'", "crypto") from error
        if not rule.keys and importlib.util.find_spec("httpx2") is None:
            raise ExtraMissing("'verify.jwt' without 'keys'", "http")
        self._jws = jwt.PyJWS()
        self._rule = rule
        self._clock = ctx.clock
        self._keys: _Fetched | _Given = _Given(rule, text) if rule.keys else _Fetched(rule, ctx)

    async def fault(self, request: Request) -> str:
        """Why the token of a request does not do, in a sentence; empty where it does.

        Raises SourceError where that cannot be said, because the issuer's keys cannot be had.
        """
        token = self._token(request)
        if not token:
            return "there is no token"
        header = _part(token, 0)
        algorithm, id_ = header.get("alg"), header.get("kid", "")
        if algorithm not in self._rule.algorithms:
            return "the token is not signed by an algorithm that is allowed"
        if "crit" in header or not isinstance(id_, str):
            return "the header of the token asks for what is not understood"
        payload = await self._verified(token, id_, str(algorithm))
        if payload is None:
            return "the signature of the token is wrong, or by a key that its issuer does not have"
        return claims_fault(self._rule, payload, self._clock)

    def masked(self, request: Request) -> Request:
        """The request as events show it."""
        from argosy.sources._http_messages import MASK

        name = header_name(self._rule.header)
        return request if name == "Authorization" else replace(request, headers={**request.headers, name: [MASK]})

    def _token(self, request: Request) -> str:
        if header_name(self._rule.header) != "Authorization":
            token = request.header(header_name(self._rule.header)).strip()
        else:
            scheme, _, token = request.credentials.partition(" ")
            token = token.strip() if scheme.lower() == "bearer" else ""
        return token if len(token) <= _LONGEST_TOKEN and token.count(".") == 2 else ""

    async def _verified(self, token: str, id_: str, algorithm: str) -> bytes | None:
        import jwt

        for anew in (False, True):
            keys = await self._keys.get(anew)
            if keys is None:
                break
            for key in keys:
                if key.fits(id_, algorithm):
                    try:
                        return bytes(self._jws.decode_complete(token, key.key, algorithms=[algorithm])["payload"])
                    except jwt.PyJWTError:
                        continue  # the next key may be the one
            if id_ and any(key.id == id_ for key in keys):
                break  # it is not for want of a key
        return None


def claims_fault(rule: Jwt, payload: bytes, clock: Clock) -> str:
    """Why the claims of a token whose signature is right do not do; empty where they do."""
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        return "the token claims nothing"
    if claims.get("iss") != rule.issuer:
        return "the token is of another issuer"
    audience = claims.get("aud")
    if not set(rule.audience) & {each for each in _listed(audience) if isinstance(each, str)}:
        return "the token is for another audience"
    now = clock.now().timestamp()
    if (until := _seconds(claims.get("exp"))) is None or now >= until + rule.leeway:
        return "the token has expired, or does not say when it does"
    for name in ("nbf", "iat"):
        since = _seconds(claims.get(name))
        if name in claims and (since is None or now < since - rule.leeway):
            return "the token is not valid yet"
    for name, wanted in rule.claims.items():
        if not any(_spelt(each) in wanted for each in _listed(claims.get(name))):
            return f"claim {name!r} of the token is not what it must be"
    return ""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _spelt(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _part(token: str, index: int) -> dict[str, Any]:
    import base64

    text = token.split(".")[index]
    try:
        found = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


class _Given:
    """Keys out of Secrets and ConfigMaps, read at each request."""

    def __init__(self, rule: Jwt, text: Callable[[ValueFrom], str]) -> None:
        self._rule = rule
        self._text = text

    async def get(self, anew: bool) -> list[_Key] | None:
        return None if anew else [key for each in self._rule.keys for key in parsed(self._text(each))]


class _Fetched:
    """Keys out of the issuer's key set."""

    def __init__(self, rule: Jwt, ctx: SourceContext[Any]) -> None:
        self._rule = rule
        self._clock = ctx.clock
        self._log = ctx.log
        self._secret: Callable[[SecretKeySelector], str] = ctx.secret
        self._keys: list[_Key] = []
        self._fetched = self._tried = -math.inf
        self._why = "they were not fetched in time"
        self._one = asyncio.Lock()

    async def get(self, anew: bool) -> list[_Key] | None:
        """The keys; ``anew`` fetches them again, if the last try is long enough ago, else there are none."""
        async with self._one:
            now = self._clock.now().timestamp()
            wanted = anew or abs(now - self._fetched) > _LIFETIME_SECONDS
            if wanted and abs(now - self._tried) > _PAUSE_SECONDS:
                await self._fetch(now)
            elif anew:
                return None
            if abs(now - self._fetched) > _STALE_SECONDS:
                raise SourceError(f"the keys of issuer {self._rule.issuer!r} cannot be had: {self._why}")
            return self._keys

    async def _fetch(self, now: float) -> None:
        self._tried = now
        try:
            where = self._rule.jwks_url or await self._discover()
            self._keys, self._fetched = parsed((await self._got(where)).decode("utf-8", "replace")), now
        except SourceError as error:
            self._why = str(error)
            self._log.warning(
                "the keys of issuer %r cannot be had: %s", self._rule.issuer, error, extra={"action": "verify.keys"}
            )

    async def _discover(self) -> str:
        issuer = self._rule.issuer
        body = await self._got(issuer.rstrip("/") + "/.well-known/openid-configuration")
        try:
            told = json.loads(body)
            where = told["jwks_uri"]
            if told["issuer"] != issuer:
                raise SourceError(f"the discovery document of {issuer!r} is that of another issuer")
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(f"the discovery document of {issuer!r} does not name issuer and jwks_uri") from error
        if not isinstance(where, str) or urlsplit(where).scheme not in ("https", urlsplit(issuer).scheme):
            raise SourceError(f"the discovery document of {issuer!r} names keys that are not behind https")
        return where

    async def _got(self, url: str) -> bytes:
        from argosy.sources._poll_client import Bounds, Call, PollClient, shown
        from argosy.tls import client_context

        tls = await asyncio.to_thread(client_context, self._rule.tls, self._secret)
        async with PollClient(tls) as client:
            bounds = Bounds(_FETCH_SECONDS, _FETCH_BYTES, redirects=False, origins=())
            answer = await client.ask(Call("GET", url, {"Accept": "application/json"}), bounds, url)
        if answer.status != 200:
            raise SourceError(f"GET {shown(url)} answered {answer.status}")
        return answer.body


def parsed(text: str) -> list[_Key]:
    """The public keys of a key set, or of PEM texts one behind the other. Raises SourceError where it is neither."""
    if not text.lstrip().startswith("{"):
        return _of_pem(text)
    try:
        found = json.loads(text)
        keys = found.get("keys", [found])
        return [key for each in keys[:_MOST_KEYS] if (key := _of_jwk(each)) is not None]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SourceError("the keys are no JSON Web Key Set") from error


def _of_jwk(jwk: Any) -> _Key | None:
    """A key that may verify, or None for any other: sets hold keys for other uses, and of kinds to come."""
    import jwt

    if not isinstance(jwk, dict):
        return None
    operations = jwk.get("key_ops")
    if jwk.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return None
    if jwk.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        key = jwt.PyJWK({name: value for name, value in jwk.items() if name != "alg"}).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    public = key.public_key() if hasattr(key, "private_bytes") else key
    return _Key(str(jwk.get("kid") or ""), str(jwk.get("alg") or ""), public)


def _of_pem(text: str) -> list[_Key]:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    end = "-----END PUBLIC KEY-----"
    found = []
    for part in text.split(end)[:-1]:
        try:
            found.append(_Key("", "", load_pem_public_key(f"{part.strip()}\n{end}\n".encode())))
        except ValueError as error:
            raise SourceError("a key is no PEM public key") from error
    if not found:
        raise SourceError("the keys are neither PEM public keys nor a JSON Web Key Set")
    return found
