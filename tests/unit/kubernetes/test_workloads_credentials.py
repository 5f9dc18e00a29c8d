"""Credentials of a bus: made once, kept, renewed in time, so that nobody who follows the Secret ever stops trusting."""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.verification import Store, VerificationError

from argosy.errors import ConfigError
from argosy.kubernetes.workloads import Credentials, Settings, event_bus, kept, made, renewed
from tests.unit.kubernetes.objects import NOW, Object, credentials, event_bus_of

BUS = event_bus_of("{jetstream: {version: latest}}")
NAME = "eventbus-default-js-svc.shop.svc"
DAY = dt.timedelta(days=1)


def secrets_of(held: Credentials) -> tuple[Object, Object]:
    """The servers' Secret and the clients'."""
    server, client = event_bus(BUS, Settings(), held)[:2]
    return server, client


def without(entry: str) -> tuple[Object, Object]:
    """The same where the servers' Secret has lost an entry."""
    server, client = secrets_of(credentials())
    return {**server, "data": {key: text for key, text in server["data"].items() if key != entry}}, client


def trusts(authorities: str, certificate: str, now: dt.datetime, name: str = NAME) -> bool:
    """Whether a client that trusts these authorities takes this certificate for that server."""
    from cryptography.x509.verification import PolicyBuilder

    verifier = (
        PolicyBuilder()
        .store(Store(x509.load_pem_x509_certificates(authorities.encode())))
        .time(now)
        .build_server_verifier(x509.DNSName(name))
    )
    try:
        verifier.verify(x509.load_pem_x509_certificate(certificate.encode()), [])
    except VerificationError:
        return False
    return True


class TestNew:
    def test_are_trusted_by_every_name_of_the_bus_and_of_its_servers(self) -> None:
        held = credentials()

        for name in (NAME, f"{NAME}.cluster.local", f"eventbus-default-js-2.{NAME}", "eventbus-default-js-svc"):
            assert trusts(held.authorities, held.server_certificate, NOW, name)
            assert trusts(held.cluster_authorities, held.cluster_certificate, NOW, name)
        assert not trusts(held.authorities, held.server_certificate, NOW, "eventbus-other-js-svc.shop.svc")

    def test_differ_at_every_making_and_begin_with_a_letter(self) -> None:
        first, second = credentials(), made(BUS, NOW)

        for field in ("user", "password", "system_password", "encryption_key", "server_key", "authority_key"):
            assert getattr(first, field) != getattr(second, field)
        # NATS takes what looks like a number for one.
        assert all(text[0].isalpha() for text in (first.user, first.password, first.encryption_key))
        assert len(first.encryption_key) == 32


class TestKept:
    def test_are_those_of_the_secrets_and_nothing_is_due(self) -> None:
        held = credentials()

        again = kept(*secrets_of(held))

        assert again == held
        assert renewed(again, BUS, NOW) is again
        assert renewed(again, BUS, NOW + 200 * DAY) is again

    def test_the_clients_secret_alone_may_be_lost(self) -> None:
        held = credentials()

        assert kept(secrets_of(held)[0], None) == held

    def test_are_none_without_what_opens_the_store(self) -> None:
        server, client = without("encryption")

        assert kept(server, client) is None
        assert kept(None, client) is None
        assert kept(None, None) is None

    def test_what_opens_the_store_stays_whatever_else_is_lost(self) -> None:
        held = credentials()
        for lost in secrets_of(held)[0]["data"].keys() - {"encryption"}:
            found = kept(*without(lost))
            assert found

            again = renewed(found, BUS, NOW)

            # How the servers use the key of the store is part of what opens it.
            assert (again.encryption_key, again.adopted) == (held.encryption_key, False), lost
            assert (again.user, again.password) == (held.user, held.password)
            assert all(getattr(again, name) for name in ("server_key", "cluster_key", "authority_key")), lost
            assert trusts(again.authorities, again.server_certificate, NOW)
            assert trusts(again.cluster_authorities, again.cluster_certificate, NOW)
            assert renewed(again, BUS, NOW) is again

    def test_passwords_that_are_lost_are_drawn_anew(self) -> None:
        server, _ = without("auth")
        found = kept(server, None)
        assert found

        again = renewed(found, BUS, NOW)

        assert again.user and again.password and again.system_password
        assert kept(*secrets_of(again)) == again

    @pytest.mark.parametrize("entry", ["cert", "cluster-cert", "ca-cert", "authority-private-key"])
    def test_what_is_no_certificate_or_key_is_refused_with_the_secret_and_the_way_out(self, entry: str) -> None:
        server, client = secrets_of(credentials())
        nonsense = "-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n"
        server = {**server, "data": {**server["data"], entry: base64.b64encode(nonsense.encode()).decode()}}
        held = kept(server, client)
        assert held

        with pytest.raises(ConfigError, match=r"Secret 'eventbus-default-js-server' is no PEM; delete that entry"):
            # What signs is looked at when something has to be signed.
            renewed(held, BUS, NOW + 300 * DAY)


class TestRenewal:
    def test_of_a_certificate_comes_before_its_end_and_changes_no_password_and_no_authority(self) -> None:
        held = credentials()

        later = renewed(held, BUS, NOW + 280 * DAY)

        assert later.server_certificate != held.server_certificate
        assert later.cluster_certificate != held.cluster_certificate
        assert (later.password, later.encryption_key, later.authorities) == (
            held.password,
            held.encryption_key,
            held.authorities,
        )
        assert trusts(held.authorities, later.server_certificate, NOW + 500 * DAY)

    def test_over_thirty_years_every_client_trusts_every_server_though_its_view_is_a_week_old(self) -> None:
        held = credentials()
        former: list[tuple[dt.datetime, Credentials]] = [(NOW, held)]
        authorities = set[str]()

        for week in range(30 * 52):
            now = NOW + week * 7 * DAY
            held = renewed(held, BUS, now)
            authorities.update(_single(held.authorities))
            _, seen = former[-1]
            # One side has the newest Secret, the other one that is a week old, in either direction, clients and servers.
            assert trusts(seen.authorities, held.server_certificate, now)
            assert trusts(held.authorities, seen.server_certificate, now)
            assert trusts(seen.cluster_authorities, held.cluster_certificate, now)
            assert trusts(held.cluster_authorities, seen.cluster_certificate, now)
            former.append((now, held))

        assert len(authorities) >= 3  # the authority itself was replaced
        assert len(_single(held.authorities)) <= 3  # and those that expired are not trusted on
        assert held.password == credentials().password


class TestUpstreams:
    """Secrets that upstream's controller made."""

    def secrets(self) -> tuple[Object, Object]:
        theirs = credentials()
        auth = """system_account: sys
accounts: {
  "js": {
    "jetstream": true,
    "users": [
      {"user": "abcdefgh", "pass": "their-password"}
    ]
  },
  "sys": {
    "users": [
      {"user": "sys", "pass": "their-system"}
    ]
  }
}
tls { cert_file: "/etc/nats-config/server-cert.pem" }"""
        data: dict[str, Any] = {
            "auth": auth,
            "encryption": "012345678901",
            "private-key": theirs.server_key,
            "cert": theirs.server_certificate,
            "ca-cert": theirs.authorities,
            "cluster-private-key": theirs.cluster_key,
            "cluster-cert": theirs.cluster_certificate,
            "cluster-ca-cert": theirs.cluster_authorities,
        }
        client = {"client-auth": "username: abcdefgh\npassword: their-password"}
        return _secret(data), _secret(client)

    def test_are_taken_over_with_the_passwords_that_clients_have(self) -> None:
        held = kept(*self.secrets())
        assert held

        ours = renewed(held, BUS, NOW)

        assert (ours.user, ours.password, ours.system_password) == ("abcdefgh", "their-password", "their-system")
        assert trusts(ours.authorities, ours.server_certificate, NOW)
        # Servers that are replaced one by one go on trusting each other.
        assert ours.cluster_certificate == held.cluster_certificate

    def test_never_encrypted_the_store_with_the_key_that_they_hold(self) -> None:
        held = kept(*self.secrets())
        assert held
        ours = renewed(held, BUS, NOW)

        text = event_bus(BUS, Settings(), ours)[2]["data"]["nats-js"]
        assert ours.adopted and 'encryption_key: "$JS_KEY"' in text

    def test_once_taken_over_are_ours(self) -> None:
        held = kept(*self.secrets())
        assert held
        ours = renewed(held, BUS, NOW)

        again = kept(*secrets_of(ours))

        assert again == ours and again.adopted
        assert renewed(again, BUS, NOW) is again

    def test_are_those_that_have_neither_our_label_nor_the_key_of_an_authority(self) -> None:
        server, client = secrets_of(credentials())
        bare = {"kind": "Secret", "data": server["data"]}

        for one, adopted in ((server, False), (bare, False), (self.secrets()[0], True)):
            held = kept(one, client)
            assert held and held.adopted is adopted


def _single(bundle: str) -> list[str]:
    return [part for part in bundle.split("-----END CERTIFICATE-----\n") if part]


def _secret(texts: dict[str, str]) -> Object:
    return {"kind": "Secret", "data": {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}}
