"""The records: what has to hold for every one, and what is known of each."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from git_credential_forge import forges, origin
from git_credential_forge.forges import FORGEJO, KINDS, OTHER, Kind
from tests import forges as table
from tests.support.surroundings import ROOT, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.key)


def test_keys_find_their_records() -> None:
    """A session names its kind by key; no key, host or realm is anybody's twice."""
    assert {kind.key: kind for kind in (*KINDS, OTHER)} == forges.BY_KEY
    assert len(forges.BY_KEY) == len(KINDS) + 1
    for names in ([h for kind in KINDS for h in kind.hosts], [r for kind in KINDS for r in kind.realms]):
        assert len(names) == len(set(names))


@every
def test_addresses(kind: Kind) -> None:
    """Relative, so that they hold below any base; or whole, by https."""
    pages = (kind.applications, kind.registration)
    for address in (kind.authorize, kind.token, kind.device, kind.revoke, kind.whoami, *pages):
        whole = (address or "").replace("{host}", "x.example")
        assert address is None or origin.parse(whole if "://" in whole else f"https://forge.example/{whole}")
        assert address is None or not address.startswith(("/", "http:"))
    assert kind.authorize
    assert kind.token
    assert kind.registration


@every
def test_a_whole_address_is_for_named_hosts_alone(kind: Kind) -> None:
    """A kind that is recognised by its challenge sends nothing elsewhere: a challenge is anybody's word."""
    addresses = (kind.authorize, kind.token, kind.device, kind.revoke, kind.whoami)
    if kind.realms:
        assert not any("://" in (address or "") for address in addresses)


@every
def test_hosts_are_spelt_as_they_are_compared(kind: Kind) -> None:
    """Lower case, no port, no scheme: as `Origin.netloc` has them."""
    for host in kind.hosts:
        place = origin.of_request("https", host.lstrip("."))
        assert place
        assert place.netloc == host.lstrip(".")
        assert not host.startswith(".") or host.count(".") > 1, "not below a top-level domain"


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
    fields = ("preferred_username", "nickname", "login", "username")
    standard = {"bearer": True, "hint": "login_hint", "whoami_fields": fields}
    assert Kind(key="other", name="OAuth server", authorize="", token="", **standard) == OTHER  # type: ignore[arg-type]


# docs/forges.md


def test_the_page_is_what_the_records_say() -> None:
    """Printed anew: python3 -m tests.forges."""
    assert table.PAGE.read_text() == table.page()


def test_every_kind_has_a_row() -> None:
    """And no row promises a device flow or a revocation that the record has not."""
    assert {row.kind for row in table.ROWS} == {*KINDS, OTHER}
    for row in table.ROWS:
        assert row.kind is OTHER or row.kind.device or "device" not in row.tests
        ends = row.kind.revoke or row.kind.deletes_tokens
        assert row.kind is OTHER or ends or "revoke" not in row.tests
        assert set(row.tests) <= set(table.COLUMNS)


def test_no_yes_without_a_test(home: Path) -> None:
    """Each test that the page names can be run."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *table.tests()]
    environment = clean_environment(home, PYTHONPATH=str(ROOT / "src"))
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(table.tests()) <= set(done.stdout.splitlines())
