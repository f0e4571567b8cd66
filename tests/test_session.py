"""A session: when its token is given, renewed, and given all the same."""

from __future__ import annotations

import time

import pytest

from git_credential_forge import forges, recognise, session
from git_credential_forge.client import Client
from git_credential_forge.forges import Kind
from git_credential_forge.oauth.wire import Token
from git_credential_forge.origin import Origin
from git_credential_forge.recognise import Registration
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session
from git_credential_forge.settings import Settings

DAY = 86_400
OWN = Registration("http://127.0.0.1:4711/", "https://coder.example/oauth2/clients/an-id", Secret("hush-registration"))


def made(kind: Kind, lifetime: int | None, refresh: str | None = "hush-r", own: Registration | None = None) -> Session:
    forge = recognise.build(kind, Origin("https", "coder.example", 443), "", Settings(), certain=True)
    forge = forge._replace(client_id="an-id", client_secret=Secret("hush-client"), own=own)
    token = Token(Secret("hush-access"), Secret(refresh) if refresh else None, lifetime)
    return session.make(forge, "alice", token, None)


@pytest.mark.parametrize(
    ("kind", "lifetime", "refresh", "given_until", "alive_until"),
    [
        (forges.FORGEJO, 3600, "r", 3540, 3540),
        (forges.FORGEJO, 100, "r", 90, 90),
        (forges.CODER, DAY, "r", DAY // 2, DAY - 60),
        (forges.CODER, 100, "r", 50, 90),
        (forges.CODER, DAY, None, DAY - 60, DAY - 60),
        (forges.CODER, None, "r", session.FOR_EVER - 60, session.FOR_EVER - 60),
    ],
)
def test_until_when(kind: Kind, lifetime: int | None, refresh: str | None, given_until: int, alive_until: int) -> None:
    """A Coder's is renewed from the half of its life on, where it can be; it lives longer, to its true end."""
    held = made(kind, lifetime, refresh)
    now = held.issued_at
    assert held.expiry == now + (lifetime or session.FOR_EVER)
    for at, usable in ((given_until - 1, True), (given_until, False)):
        assert held.usable(now + at) is usable
    for at, alive in ((alive_until - 1, True), (alive_until, False)):
        assert held.alive(now + at) is alive
    assert not held._replace(refused=True).alive(time.time())


@pytest.mark.parametrize(
    ("at", "pause", "given_until"),
    [(DAY // 2, 60, DAY // 2 + 60), (DAY // 2, 0, DAY // 2), (DAY - 90, 60, DAY - 60), (DAY // 2, DAY, DAY - 60)],
)
def test_a_renewal_that_is_put_off(at: int, pause: int, given_until: int) -> None:
    """It is given for the pause, but no longer than it lives, and is the same token."""
    held = made(forges.CODER, DAY)
    put_off = held.put_off(held.issued_at + at, pause)
    assert put_off == held._replace(margin=put_off.margin)
    assert put_off.usable(held.issued_at + given_until - 1)
    assert not put_off.usable(held.issued_at + given_until)
    assert put_off.alive(held.issued_at + DAY - 61)


def test_a_client_of_its_own() -> None:
    """It is kept with the session, and comes back with it; that of the configuration is not kept."""
    held = made(forges.CODER, DAY, own=OWN)
    assert held.client() == Client(held.client_id, Secret("hush-client"), held.token_url, OWN)
    assert "hush" not in repr(held)
    assert session.decode(session.encode(held)) == held
    configured = made(forges.CODER, DAY)
    assert (configured.client_secret, configured.client()) == (None, None)


def test_an_older_one() -> None:
    """Written before there were clients of its own: read as ever; without a token it is none."""
    text = session.encode(made(forges.FORGEJO, DAY)).reveal()
    older = text
    for name in ("redirect", "client_secret", "registration_url", "registration_token"):
        older = older.replace(f',"{name}":null', "").replace(f',"{name}":""', "")
    assert older != text
    found = session.decode(Secret(older))
    assert found is not None
    assert found.client() is None
    assert session.decode(Secret(text.replace('"hush-access"', "null"))) is None
