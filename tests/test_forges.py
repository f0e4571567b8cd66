"""The records: what has to hold for every one, and what is known of each."""

from __future__ import annotations

import pytest

from git_credential_forge import forges, origin
from git_credential_forge.forges import FORGEJO, KINDS, OTHER, Kind

every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.key)


def test_keys_find_their_records() -> None:
    """A session names its kind by key; no key, host or realm is anybody's twice."""
    assert {kind.key: kind for kind in (*KINDS, OTHER)} == forges.BY_KEY
    assert len(forges.BY_KEY) == len(KINDS) + 1
    for names in ([h for kind in KINDS for h in kind.hosts], [r for kind in KINDS for r in kind.realms]):
        assert len(names) == len(set(names))


@every
def test_addresses_are_relative(kind: Kind) -> None:
    """So that they hold below any base; the token path ends no other kind's."""
    for address in (kind.authorize, kind.token, kind.whoami, kind.applications):
        assert address is None or origin.parse(f"https://forge.example/{address}")
        assert address is None or not address.startswith(("/", "http")) or address == ""
    assert kind.authorize
    assert not any(kind.token.endswith("/" + other.token) for other in KINDS if other is not kind)


@every
def test_hosts_are_spelt_as_they_are_compared(kind: Kind) -> None:
    """Lower case, no port, no scheme: as `Origin.netloc` has them."""
    for host in kind.hosts:
        place = origin.of_request("https", host)
        assert place
        assert place.netloc == host


@every
def test_redirect_is_this_machine(kind: Kind) -> None:
    """A code is sent to no other (RFC 8252, section 7.3)."""
    redirect = origin.parse(kind.redirect)
    assert redirect
    assert redirect.origin.loopback
    assert redirect.origin.scheme == "http"


@every
def test_a_built_in_client_has_a_name(kind: Kind) -> None:
    """The consent page shows one, and people are told which."""
    assert bool(kind.client_id) == bool(kind.shown_as)


def test_forgejo() -> None:
    """What every Forgejo and Gitea registers at start-up, and nothing that it would refuse (reference forges.md, 1)."""
    assert FORGEJO.client_id == "a4792ccc-144e-407e-86c9-5e7d8d9c3269"
    assert FORGEJO.scopes == ""
    assert FORGEJO.redirect == "http://127.0.0.1", "any path or another spelling ends on a page without a way back"
    assert FORGEJO.shown_as == "git-credential-oauth"
    assert set(FORGEJO.hosts) == {"codeberg.org", "gitea.com", "code.forgejo.org"}
    assert (FORGEJO.authorize, FORGEJO.token) == ("login/oauth/authorize", "login/oauth/access_token")


def test_the_unknown_server_knows_nothing() -> None:
    """No id, no scope, no address, no host: all comes from the configuration or its metadata."""
    assert Kind(key="other", name="OAuth server", authorize="", token="") == OTHER
