"""JSON Web Tokens (``verify.jwt``): the examples of the RFCs, an issuer that is a real HTTP server, and tokens that must
not pass.

Longer than 400 lines, for the vectors and the many tokens that must not pass share one issuer.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, ClassVar

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import ValidationError

from argosy import registry
from argosy.sources._http import MASK
from argosy.sources._verify_jwt import parsed
from tests.conformance.source import Stage, VirtualClock, free_port, on_stage
from tests.unit.sources.hook_sender import deliver
from tests.unit.sources.poll_site import Reply, Seen, Site, told

NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
SECONDS = int(NOW.timestamp())
AUDIENCE = "https://events.example"


class Issuer:
    """An identity provider: its discovery document, its keys, and the tokens that it signs."""

    def __init__(self) -> None:
        self.site = Site(self._answer)
        self.keys: dict[str, Any] = {"one": ec.generate_private_key(ec.SECP256R1())}
        self.away = False
        self.document: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return self.site.origin

    @property
    def fetched(self) -> int:
        """How often the keys were fetched."""
        return sum(seen.path == "/keys" for seen in self.site.seen)

    def _answer(self, seen: Seen) -> Reply:
        if self.away:
            return Reply(503)
        if seen.path == "/keys":
            return told({"keys": [jwk(key, kid=name, use="sig") for name, key in self.keys.items()]})
        return told({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.document})

    def token(self, name: str = "one", *, algorithm: str = "ES256", headers: Any = None, **claims: Any) -> str:
        """A token that is good, but for what the arguments say; a claim of None is left out."""
        given = {"iss": self.url, "aud": AUDIENCE, "exp": SECONDS + 60, "sub": "robot", **claims}
        given = {claim: value for claim, value in given.items() if value is not None}
        head = {"kid": name, **(headers or {})}
        return signed(self.keys[name], head, given, algorithm)


def signed(key: Any, head: dict[str, Any], claims: Any, algorithm: str) -> str:
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jwt.PyJWS().encode(body, key, algorithm, {name: text for name, text in head.items() if text is not None})


def jwk(key: Any, **more: Any) -> dict[str, Any]:
    public = key.public_key()
    algorithm: Any = {
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }[
        next(
            each
            for each in (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)
            if isinstance(key, each)
        )
    ]
    return {**algorithm.to_jwk(public, as_dict=True), **more}


def pem(key: Any) -> str:
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return str(public.decode())


Receiving = Callable[..., Any]


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    async with issuer.site:
        yield issuer


@pytest.fixture
async def receiving(issuer: Issuer) -> AsyncIterator[Receiving]:
    async with AsyncExitStack() as stack:

        async def make(**rule: Any) -> Stage:
            given = {name: rule.pop(name) for name in ("secrets", "config_maps") if name in rule}
            rule = {"issuer": issuer.url, "audience": [AUDIENCE], **rule}
            block = {"port": str(free_port()), "endpoint": "/in", "method": "POST", "verify": {"jwt": rule}}
            stage = on_stage("webhook", block, clock=VirtualClock(NOW), **given)
            return await stack.enter_async_context(stage)

        yield make


async def answered(stage: Stage, token: str, header: str = "Authorization", scheme: str = "Bearer ") -> tuple[int, str]:
    """Status and text; asserts that only 200 leaves an event, and that no answer or line shows the token."""
    before, refused = len(stage.offered), len(stage.refused)
    answer = await deliver(stage, b"{}", {header: f"{scheme}{token}"})
    assert len(stage.offered) - before == (answer.status_code == 200)
    assert len(stage.refused) - refused == (answer.status_code != 200)
    assert not token or token not in answer.text + "".join(stage.refused)
    return answer.status_code, answer.text


async def passes(stage: Stage, token: str) -> bool:
    status, text = await answered(stage, token)
    assert status in (200, 401), text
    return status == 200


async def test_a_good_token_passes_by_discovery_and_the_event_does_not_show_it(
    issuer: Issuer, receiving: Receiving
) -> None:
    stage = await receiving()
    assert await passes(stage, issuer.token())
    assert stage.emitted[0].data["header"]["Authorization"] == [MASK]
    # And the keys are fetched once
    assert await passes(stage, issuer.token(sub="another"))
    assert [seen.path for seen in issuer.site.seen] == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"iss": ["x"]}, "another issuer"),
        ({"aud": "https://other.example"}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": {AUDIENCE: 1}}, "another audience"),
        ({"exp": SECONDS - 60}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": "tomorrow"}, "expired"),
        ({"exp": True}, "expired"),
        ({"exp": float("nan")}, "expired"),
        ({"exp": float("inf")}, "expired"),
        ({"exp": 10**400}, "expired"),
        ({"nbf": SECONDS + 61}, "not valid yet"),
        ({"nbf": "soon"}, "not valid yet"),
        ({"iat": SECONDS + 61}, "not valid yet"),
        ({"repository": "acme/other"}, "claim 'repository'"),
        ({"repository": None}, "claim 'repository'"),
        ({"groups": ["visitors"]}, "claim 'groups'"),
    ],
)
async def test_a_claim_that_is_not_as_it_must_be(
    claims: dict[str, Any], said: str, issuer: Issuer, receiving: Receiving
) -> None:
    stage = await receiving(claims={"repository": ["acme/app", "acme/lib"], "groups": ["ops"], "admin": ["true"]})
    good = {"repository": "acme/lib", "groups": ["dev", "ops"], "admin": True}
    assert await passes(stage, issuer.token(**good))
    assert await answered(stage, issuer.token(**{**good, **claims})) == (
        401,
        stage.refused[0].removeprefix("answered 401: "),
    )
    assert said in stage.refused[0]


async def test_clocks_may_be_apart_by_the_leeway_and_no_more(issuer: Issuer, receiving: Receiving) -> None:
    stage = await receiving(leeway="5s")
    assert await passes(stage, issuer.token(exp=SECONDS - 4, nbf=SECONDS + 4, iat=SECONDS + 5))
    assert not await passes(stage, issuer.token(exp=SECONDS - 5))
    assert not await passes(stage, issuer.token(nbf=SECONDS + 6))
    assert await passes(stage, issuer.token(aud=["a", AUDIENCE], exp=SECONDS + 0.5))


class TestAlgorithms:
    @pytest.mark.parametrize(
        ("algorithm", "generate"),
        [
            ("RS256", lambda: rsa.generate_private_key(65537, 2048)),
            ("PS512", lambda: rsa.generate_private_key(65537, 2048)),
            ("ES384", lambda: ec.generate_private_key(ec.SECP384R1())),
            ("ES512", lambda: ec.generate_private_key(ec.SECP521R1())),
            ("EdDSA", ed25519.Ed25519PrivateKey.generate),
        ],
    )
    async def test_only_those_of_the_list_pass(
        self, algorithm: str, generate: Callable[[], Any], issuer: Issuer, receiving: Receiving
    ) -> None:
        issuer.keys["it"] = generate()
        stage = await receiving(algorithms=[algorithm])
        assert await passes(stage, issuer.token("it", algorithm=algorithm))
        assert not await passes(stage, issuer.token("one"))
        assert "not signed by an algorithm that is allowed" in stage.refused[-1]

    async def test_none_and_keyed_hashes_have_no_way_in(self, issuer: Issuer, receiving: Receiving) -> None:
        issuer.keys["rsa"] = rsa.generate_private_key(65537, 2048)
        stage = await receiving(algorithms=["RS256", "ES256"])
        good = issuer.token()
        _, body, signature = good.split(".")
        unsigned = [
            f"{encoded({'alg': name, 'kid': 'one'})}.{body}.{rest}"
            for name in ("none", "None", "nOnE", "HS256", "", None, ["ES256"])
            for rest in ("", signature)
        ]
        # A hash that is keyed with the public key's text, which everybody has
        public = pem(issuer.keys["rsa"]).encode()
        import hashlib
        import hmac

        confused = f"{encoded({'alg': 'HS256', 'kid': 'rsa'})}.{body}"
        mac = (
            base64.urlsafe_b64encode(hmac.new(public, confused.encode(), hashlib.sha256).digest()).decode().rstrip("=")
        )
        for token in (*unsigned, f"{confused}.{mac}"):
            assert not await passes(stage, token)
        # And by the name of an allowed one, none of them is signed
        assert not await passes(stage, f"{encoded({'alg': 'RS256', 'kid': 'rsa'})}.{body}.{mac}")
        assert not await passes(stage, f"{encoded({'alg': 'RS256', 'kid': 'one'})}.{body}.{signature}")
        assert await passes(stage, good)

    async def test_bent_tokens(self, issuer: Issuer, receiving: Receiving) -> None:
        stage = await receiving()
        good = issuer.token()
        head, body, signature = good.split(".")
        other = encoded({"iss": issuer.url, "aud": AUDIENCE, "exp": SECONDS + 9999})
        for token in (
            ".", "..", "a.b.c", good[:-4], f"{good}.", f"{head}.{other}.{signature}", f"{head}.{body}.",
            f"{head}.{body}.{signature}x", f"{encoded([])}.{body}.{signature}", f"{'A' * 20000}.{body}.{signature}",
            f"{encoded({'alg': 'ES256', 'kid': 7})}.{body}.{signature}",
            issuer.token(headers={"crit": ["b64"], "b64": False}),
            issuer.token(headers={"crit": []}),
            issuer.token(headers={"kid": "none-such"}),
            signed(issuer.keys["one"], {"kid": "one"}, b"[1]", "ES256"),
            signed(issuer.keys["one"], {"kid": "one"}, b"no claims", "ES256"),
            # Keys that a token brings along are nobody's word
            signed(mine := ec.generate_private_key(ec.SECP256R1()), {"jwk": jwk(mine)}, {"iss": issuer.url, "aud": AUDIENCE, "exp": SECONDS + 60}, "ES256"),
        ):  # fmt: skip
            assert not await passes(stage, token), token
        assert (await answered(stage, good, scheme=""))[0] == 401
        assert (await answered(stage, good, scheme="Basic "))[0] == 401
        assert (await answered(stage, good, scheme="bearer "))[0] == 200

    def test_keys_that_are_for_something_else_are_left_out(self) -> None:
        key, small = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 1024)
        found = parsed(
            json.dumps(
                {
                    "keys": [
                        jwk(key, use="enc"),
                        jwk(key, key_ops=["sign"]),
                        {"kty": "oct", "k": "c2VjcmV0"},
                        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
                        {"kty": "future"},
                        "nothing",
                        jwk(key, kid="good", alg="ES256"),
                        jwk(small, kid="small"),
                    ]
                }
            )
        )
        assert [each.id for each in found] == ["good", "small"]
        assert found[0].fits("good", "ES256") and found[0].fits("", "ES256")
        assert not found[0].fits("other", "ES256") and not found[0].fits("good", "ES384")
        assert not found[1].fits("small", "RS256")  # RFC 8725: 2048 bits at least


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


class TestRotation:
    async def test_a_new_key_is_fetched_and_nobody_can_make_us_fetch_often(
        self, issuer: Issuer, receiving: Receiving
    ) -> None:
        stage = await receiving()
        assert await passes(stage, issuer.token())
        # When tokens name keys that are not there, then the issuer is asked no more than now and then
        stranger = ec.generate_private_key(ec.SECP256R1())
        for number in range(20):
            assert not await passes(stage, signed(stranger, {"kid": f"k{number}"}, {}, "ES256"))
        assert issuer.fetched == 1
        # And when the issuer has a new key, then its tokens pass half a minute later
        issuer.keys = {"two": ec.generate_private_key(ec.SECP256R1()), **issuer.keys}
        assert not await passes(stage, issuer.token("two"))
        await stage.clock.advance(31)  # type: ignore[attr-defined]
        assert await passes(stage, issuer.token("two", exp=SECONDS + 600))
        assert await passes(stage, issuer.token("one", exp=SECONDS + 600))
        assert issuer.fetched == 2
        # And a key that it withdraws is withdrawn within the hour
        del issuer.keys["one"]
        old = signed(ec.generate_private_key(ec.SECP256R1()), {"kid": "one"}, {}, "ES256")
        await stage.clock.advance(3601)  # type: ignore[attr-defined]
        assert not await passes(stage, old)
        assert issuer.fetched == 3

    async def test_a_token_that_names_no_key_is_tried_with_all(self, issuer: Issuer, receiving: Receiving) -> None:
        issuer.keys["two"] = ec.generate_private_key(ec.SECP256R1())
        stage = await receiving()
        assert await passes(stage, issuer.token("two", headers={"kid": None}))

    async def test_while_the_issuer_is_away_old_keys_serve_for_a_day(
        self, issuer: Issuer, receiving: Receiving, caplog: pytest.LogCaptureFixture
    ) -> None:
        stage = await receiving()
        assert await passes(stage, issuer.token())
        issuer.away = True
        await stage.clock.advance(7200)  # type: ignore[attr-defined]
        assert await passes(stage, issuer.token(exp=SECONDS + 9000))
        assert "answered 503" in caplog.text
        await stage.clock.advance(86400)  # type: ignore[attr-defined]
        assert (await answered(stage, issuer.token(exp=SECONDS + 99999)))[0] == 503

    async def test_an_issuer_that_was_never_there_is_503_and_asked_now_and_then(
        self, issuer: Issuer, receiving: Receiving
    ) -> None:
        issuer.away = True
        stage = await receiving()
        for _ in range(5):
            assert await answered(stage, issuer.token()) == (503, "the sender cannot be verified now")
        assert len(issuer.site.seen) == 1
        issuer.away = False
        await stage.clock.advance(31)  # type: ignore[attr-defined]
        assert await passes(stage, issuer.token())

    @pytest.mark.parametrize(
        ("document", "said"),
        [
            ({"issuer": "https://other.example"}, "that of another issuer"),
            ({"jwks_uri": None}, "not behind https"),
            ({"jwks_uri": "file:///etc/passwd"}, "not behind https"),
            ({"jwks_uri": "http://127.0.0.1:9/keys"}, "cannot be reached"),
        ],
    )
    async def test_discovery_that_lies(
        self, document: dict[str, Any], said: str, issuer: Issuer, receiving: Receiving
    ) -> None:
        issuer.document = document
        stage = await receiving()
        assert (await answered(stage, issuer.token()))[0] == 503
        assert said in stage.refused[0]


class TestWhereKeysAre:
    async def test_a_url_of_keys_without_discovery(self, issuer: Issuer, receiving: Receiving) -> None:
        stage = await receiving(issuer="joe", jwksUrl=f"{issuer.url}/keys")
        assert await passes(stage, issuer.token(iss="joe"))
        assert not await passes(stage, issuer.token())
        assert [seen.path for seen in issuer.site.seen] == ["/keys"]

    async def test_two_keys_of_secrets_and_config_maps_and_a_third_at_the_next_request(
        self, issuer: Issuer, receiving: Receiving
    ) -> None:
        one, two, three = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
        stage = await receiving(
            keys=[{"secretKeyRef": {"name": "k", "key": "pem"}}, {"configMapKeyRef": {"name": "k", "key": "jwks"}}],
            secrets={("k", "pem"): f"# ours\n{pem(one)}{pem(three)}"},
            config_maps={("k", "jwks"): json.dumps(jwk(two, kid="two"))},
        )
        issuer.keys = {"one": one, "two": two, "three": three}
        assert all([await passes(stage, issuer.token(name)) for name in issuer.keys])
        stage.secrets["k", "pem"] = pem(one)
        assert not await passes(stage, issuer.token("three"))
        assert issuer.site.seen == []

    async def test_another_header_is_read_without_a_scheme_and_masked(
        self, issuer: Issuer, receiving: Receiving, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        stage = await receiving(header="X-Goog-IAP-JWT-Assertion")
        token = issuer.token()
        assert (await answered(stage, token, "x-goog-iap-jwt-assertion", ""))[0] == 200
        assert stage.emitted[0].data["header"]["X-Goog-Iap-Jwt-Assertion"] == [MASK]
        assert token not in caplog.text
        assert (await answered(stage, token))[0] == 401


class TestTheRfcs:
    BODY: ClassVar = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    KEYS: ClassVar = [
        {  # RFC 7515, A.2.1
            "kty": "RSA",
            "e": "AQAB",
            "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS"
            "-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665x"
            "smtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        },
        {  # RFC 7515, A.3.1
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        },
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},  # RFC 8037, A.2
        {  # RFC 7515, A.1.1
            "kty": "oct",
            "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        },
    ]
    RS256 = (
        f"eyJhbGciOiJSUzI1NiJ9.{BODY}."
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQ"
        "jbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqt"
        "FZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    )
    ES256 = f"eyJhbGciOiJFUzI1NiJ9.{BODY}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    HS256 = f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{BODY}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    NONE = f"eyJhbGciOiJub25lIn0.{BODY}."  # RFC 7519, 6.1
    EDDSA = (  # RFC 8037, A.4; what it signs are no claims
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )

    @pytest.mark.parametrize(
        ("token", "said"),
        [
            # The examples are for no audience, so a signature that is right is one that comes to this
            (RS256, "the token is for another audience"),
            (ES256, "the token is for another audience"),
            (EDDSA, "the token claims nothing"),
            (HS256, "not signed by an algorithm that is allowed"),
            (NONE, "not signed by an algorithm that is allowed"),
            (f"{RS256[:-3]}AAA", "the signature of the token is wrong"),
            (f"{ES256[:-3]}AAA", "the signature of the token is wrong"),
        ],
    )
    async def test_their_examples(self, token: str, said: str, receiving: Receiving) -> None:
        stage = await receiving(
            issuer="joe",
            keys=[{"configMapKeyRef": {"name": "rfc", "key": "keys"}}],
            config_maps={("rfc", "keys"): json.dumps({"keys": self.KEYS})},
        )
        assert not await passes(stage, token)
        assert said in stage.refused[0]


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({"audience": ["a"]}, "issuer"),
        ({"issuer": "https://i"}, "audience"),
        ({"issuer": "https://i", "audience": []}, "audience"),
        ({"issuer": "joe", "audience": ["a"]}, "jwksUrl"),
        ({"issuer": "joe", "audience": ["a"], "jwksUrl": "ftp://x"}, "ftp://x"),
        (
            {"issuer": "joe", "audience": ["a"], "jwksUrl": "http://x", "keys": [{"secretKeyRef": {"key": "k"}}]},
            "jwksUrl",
        ),
        ({"issuer": "https://i", "audience": ["a"], "algorithms": []}, "algorithms"),
        ({"issuer": "https://i", "audience": ["a"], "algorithms": ["HS256"]}, "algorithms"),
        ({"issuer": "https://i", "audience": ["a"], "algorithms": ["none"]}, "algorithms"),
        ({"issuer": "https://i", "audience": ["a"], "claims": {"sub": []}}, "claims"),
        ({"issuer": "https://i", "audience": ["a"], "keys": [{}]}, "keys"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule: dict[str, Any], named: str) -> None:
    webhook = registry.source("webhook")
    assert webhook is not None
    with pytest.raises(ValidationError) as raised:
        webhook.config.model_validate({"port": "1", "endpoint": "/", "verify": {"jwt": rule}})
    assert named in str(raised.value)


def test_two_that_want_the_same_header_are_refused() -> None:
    webhook = registry.source("webhook")
    assert webhook is not None
    rule = {"jwt": {"issuer": "https://i", "audience": ["a"]}}
    basic = [{"username": {"key": "u"}, "password": {"key": "p"}}]
    block: dict[str, Any] = {"port": "1", "endpoint": "/"}
    with pytest.raises(ValidationError, match="'basic' and 'jwt' want the same header"):
        webhook.config.model_validate({**block, "verify": {**rule, "basic": basic}})
    with pytest.raises(ValidationError, match=r"'authSecret' and 'verify\.jwt'"):
        webhook.config.model_validate({**block, "verify": rule, "authSecret": {"key": "t"}})
    other = {"jwt": {**rule["jwt"], "header": "X-Token"}}
    webhook.config.model_validate({**block, "verify": other, "authSecret": {"key": "t"}})
