"""The webhook's certificates: at no moment does anybody who trusts what was said meet one that is not trusted."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import ssl

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from argosy.errors import ConfigError
from argosy.kubernetes.admission.certificates import Held, Lives, expires, from_files, names, renewed, to_files
from argosy.kubernetes.admission.presenting import Presented, kept

START = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
DAY, MINUTE = dt.timedelta(days=1), dt.timedelta(minutes=1)
NAMES = names("argosy-admission", "argo-events", ["127.0.0.1"])


def trusts(authorities: str, certificate: str, now: dt.datetime, name: str = NAMES[0]) -> bool:
    """Whether a client that trusts these accepts the certificate of a server of this name."""
    store = Store(x509.load_pem_x509_certificates(authorities.encode()))
    verifier = PolicyBuilder().store(store).time(now).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(x509.load_pem_x509_certificate(certificate.encode()), [])
    except x509.verification.VerificationError:
        return False
    return True


def count(authorities: str) -> int:
    return authorities.count("BEGIN CERTIFICATE")


def test_what_is_made_can_be_shown_and_is_trusted_by_its_names() -> None:
    held = renewed(None, NAMES, START)
    for name in ("argosy-admission.argo-events.svc", "argosy-admission.argo-events"):
        assert trusts(held.authorities, held.certificate, START, name)
    assert not trusts(held.authorities, held.certificate, START, "argosy-admission.other.svc")
    assert expires(held.certificate) == START + 30 * DAY
    shown = Presented()
    assert shown.show(held.certificate, held.key)
    assert isinstance(shown.context, ssl.SSLContext)
    assert not shown.show(held.certificate, held.key)
    # And a pair that is none leaves it
    with pytest.raises(ConfigError, match=r"tls\.crt and tls\.key"):
        shown.show(held.certificate, renewed(None, NAMES, START).key)
    assert shown.certificate == held.certificate


def test_nothing_is_done_before_it_is_due() -> None:
    held = renewed(None, NAMES, START)
    assert renewed(held, NAMES, START + 19 * DAY) == held
    assert renewed(from_files(to_files(held)), NAMES, START + 19 * DAY) == held


def test_a_certificate_is_renewed_after_two_thirds_by_the_same_authority() -> None:
    held = renewed(None, NAMES, START)
    now = START + 20 * DAY
    later = renewed(held, NAMES, now)
    assert (later.authorities, later.authority_key) == (held.authorities, held.authority_key)
    assert later.certificate != held.certificate
    assert expires(later.certificate) == now + 30 * DAY
    assert trusts(held.authorities, later.certificate, now)


def test_a_new_authority_is_trusted_before_it_signs() -> None:
    # Given certificates that were kept for two thirds of the authority's life
    held = renewed(None, NAMES, START)
    before = START + 365 * DAY * 2 / 3 - MINUTE
    held = renewed(held, NAMES, before)
    # When the authority is due
    due = before + 2 * MINUTE
    both = renewed(held, NAMES, due)
    # Then both are trusted, and the certificate is the old one
    assert count(both.authorities) == 2
    assert both.certificate == held.certificate
    # And whatever comes next is signed by the new one, which everybody knows by then
    next_ = renewed(both, NAMES, due + 25 * DAY)
    new = both.authorities[: both.authorities.index("END") + len("END CERTIFICATE-----\n")]
    assert trusts(new, next_.certificate, due + 25 * DAY)
    assert not trusts(held.authorities, next_.certificate, due + 25 * DAY)
    # And the old one is forgotten when it ends
    assert count(renewed(next_, NAMES, START + 366 * DAY).authorities) == 1


def test_who_heard_some_time_ago_whom_to_trust_never_meets_a_stranger() -> None:
    # Given somebody who is told whom to trust some time after it was decided
    lives = Lives(DAY, DAY / 12, 10 * MINUTE)
    held: Held | None = None
    told: list[tuple[dt.datetime, str]] = []
    made = set()
    for step in range(600):
        now = START + step * MINUTE * 3
        held = renewed(held, NAMES, now, lives)
        made.add(held.certificate)
        told.append((now, held.authorities))
        # Then who heard of it up to nine minutes ago, or just now, accepts what is shown
        for _, authorities in told[-4:]:
            assert trusts(authorities, held.certificate, now), step
        assert count(held.authorities) <= 3
    assert len(made) > 15
    assert sum(one[1] != other[1] for one, other in itertools.pairwise(told)) >= 2


def test_other_names_want_another_certificate() -> None:
    held = renewed(None, NAMES, START)
    other = names("argosy-admission", "elsewhere")
    now = START + DAY
    assert trusts(held.authorities, renewed(held, other, now).certificate, now, other[0])


@pytest.mark.parametrize("key", ["ca.crt", "ca.key", "tls.crt", "tls.key"])
@pytest.mark.parametrize("text", ["", "nonsense", "swapped"])
def test_what_somebody_broke_is_made_anew(key: str, text: str) -> None:
    held, stranger = (to_files(renewed(None, NAMES, START)) for _ in range(2))
    broken = {**held, key: stranger[key] if text == "swapped" else text}
    mended = renewed(from_files(broken), NAMES, START)
    shown = Presented()
    assert shown.show(mended.certificate, mended.key)
    assert trusts(mended.authorities, mended.certificate, START)


def test_an_end_that_was_slept_through_is_made_up_for() -> None:
    held = renewed(None, NAMES, START)
    for later in (40 * DAY, 400 * DAY):
        now = START + later
        mended = renewed(held, NAMES, now)
        assert trusts(mended.authorities, mended.certificate, now)


def test_nothing_secret_shows() -> None:
    assert repr(renewed(None, NAMES, START)) == "<certificates>"


async def test_a_defect_ends_no_renewing(caplog: pytest.LogCaptureFixture) -> None:
    # Given a certificate that comes after two looks that failed for a reason that nobody thought of
    shown, shows = Presented(), asyncio.Event()

    class Late:
        pause_seconds = 0.0
        looks = 0

        async def step(self, presented: Presented) -> None:
            self.looks += 1
            if self.looks <= 2:
                raise ZeroDivisionError
            held = renewed(None, NAMES, START)
            presented.show(held.certificate, held.key)
            shows.set()

    renewing = asyncio.create_task(kept(Late(), shown))
    await shows.wait()
    renewing.cancel()
    assert shown.certificate
    assert [one.getMessage() for one in caplog.records] == [
        "the certificate stays as it was: ZeroDivisionError, which is a defect of Argosy"
    ]
