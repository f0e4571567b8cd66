"""What is held, and for how long, in the memory of git's real cache daemon."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from git_credential_forge import daemon, index, protocol
from git_credential_forge.errors import VaultError
from git_credential_forge.index import Row
from git_credential_forge.origin import HIDDEN, Origin
from git_credential_forge.protocol import Answer, Request
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session
from git_credential_forge.vault import TIMEOUT, Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 20.0  # seconds for what is to end after two
FORGE = Origin("https", "forge.example", 443)


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name)


@pytest.fixture
def vault() -> Vault:
    return Vault(daemon.place(), 600)


def session(account: str = "alice", base: str = "", lifetime: int = 3600, token: str = "") -> Session:
    """A sign-in of now, whose token has a margin of a minute."""
    now = int(time.time())
    return Session(
        account=account,
        access_token=Secret(token or f"token-of-{account}{base}"),
        expiry=now + lifetime,
        margin=60,
        refresh_token=Secret(f"refresh-of-{account}{base}"),
        client_id="id",
        kind="forgejo",
        base=base,
        issuer=None,
        token_url="https://forge.example/login/oauth/access_token",
        scopes="",
        signed_in_at=now,
        issued_at=now,
    )


def password(answer: Answer | None) -> str | None:
    return answer.password.reveal() if answer else None


def raw(vault: Vault, host: str = "forge.example", account: str = "alice", protocol: str = "https") -> bytes:
    """What the daemon itself has."""
    return daemon.ask(vault.place, f"protocol={protocol}\nhost={host}\nusername={account}\n".encode())


def test_nothing_held(vault: Vault) -> None:
    """No sign-in, no daemon, no error."""
    assert vault.row(FORGE, "", None) is None
    assert vault.answer(FORGE, "", None) is None
    assert vault.session(FORGE, "", "alice") is None
    vault.forget(FORGE, "", "alice")
    assert vault.pass_get(Request(protocol="https", host="forge.example")) == b""
    vault.pass_erase(Request(protocol="https", host="forge.example"))
    assert not os.path.exists(vault.place.socket)


def test_save(vault: Vault) -> None:
    """The answer is exactly what git will be given, the session all that was saved."""
    saved = session()
    vault.save(FORGE, saved)
    assert vault.session(FORGE, "", None) == saved
    for asked in (None, "alice", "Alice"):
        answer = vault.answer(FORGE, "", asked)
        assert answer
        assert (answer.username, answer.password) == ("alice", saved.access_token)
        assert answer.expiry in (saved.expiry, None), "git before 2.40 does not keep it"
    held = protocol.parse(raw(vault))
    assert (held.username, held.password) == ("alice", saved.access_token)
    assert held.oauth_refresh_token is None


def test_long_tokens(vault: Vault) -> None:
    """200 kB of them."""
    saved = session(token="x" * 200_000)
    vault.save(FORGE, saved)
    assert vault.session(FORGE, "", None) == saved
    assert password(vault.answer(FORGE, "", None)) == "x" * 200_000


def test_no_secret_in_a_file(vault: Vault) -> None:
    """Beside the socket lie names and times."""
    vault.save(FORGE, session())
    vault.refuse(FORGE, session("bob"))
    vault.pass_store(Request(protocol="https", host="other.example", username="u", password=Secret("token-of-u")))
    files = [path for path in Path(vault.place.directory).rglob("*") if path.is_file()]
    assert files
    assert not any(word in path.read_bytes() for path in files for word in (b"token-of", b"refresh-of"))


def test_the_session_is_under_a_host_of_nobody(vault: Vault) -> None:
    """Whoever asks the cache for the forge's host, with or without a name, is not given what it can be renewed with."""
    vault.save(FORGE, session())
    vault.refuse(FORGE, session())
    for request in (b"protocol=https\nhost=forge.example\n", b"protocol=https\nhost=forge.example\nusername=alice\n"):
        assert daemon.ask(vault.place, request) == b""
    assert b"refresh-of-alice" in raw(vault, f"forge.example.{HIDDEN}")


@pytest.mark.parametrize(
    ("timeout", "lifetime", "answer", "kept"),
    [
        (600, 3600, 600, 1200),
        (600, 300, 240, 840),
        (600, 660, 600, 1200),
        (600, 90, 30, 630),
        (600, 60, 0, 600),
        (600, -5, 0, 600),
        (TIMEOUT, 3600, 3540, 10_740),
    ],
)
def test_lifetimes(timeout: int, lifetime: int, answer: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer: the timeout, or what is left of the token but its margin; a session: that, and the timeout more."""
    now = int(time.time())
    monkeypatch.setattr(time, "time", lambda: float(now))
    vault = Vault(daemon.place(), timeout)
    vault.save(FORGE, session(lifetime=lifetime))
    assert vault.row(FORGE, "", "alice") == Row(now + answer, now + kept, "", "alice")
    due = os.stat(vault.place.path("account-https-forge.example")).st_mtime
    assert due == now + (answer or kept), "when the launcher has to ask Python"
    assert (raw(vault) == b"") == (answer == 0)


def until_forgotten(vault: Vault) -> Iterator[tuple[bool, bool]]:
    """What the daemon holds, looked at until it is nothing: (the answer, the session)."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        seen = bool(raw(vault)), bool(raw(vault, f"forge.example.{HIDDEN}"))
        yield seen
        if not any(seen):
            return
        time.sleep(0.02)
    pytest.fail("it was never forgotten")


def test_git_forgets_by_itself(home: Path) -> None:
    """First the answer, then the session, after real seconds; never the other way about."""
    vault = Vault(daemon.place(str(home / "own" / "socket")), 2)
    vault.save(FORGE, session())
    seen = list(dict.fromkeys(until_forgotten(vault)))
    assert seen[0] == (True, True)
    assert (True, False) not in seen
    assert seen[1:] == [(False, True), (False, False)]


def test_times_are_checked_by_us(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that was asleep forgets late: what the names file says has ended is not given."""
    saved = session()
    vault.save(FORGE, saved)
    row = vault.row(FORGE, "", None)
    assert row
    for at, answer, kept in (
        (row.answer_end - 1, True, True),
        (row.answer_end, False, True),
        (row.session_end, False, False),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda at=at: float(at))
            assert (vault.answer(FORGE, "", None) is not None) is answer
            assert (vault.session(FORGE, "", None) is not None) is kept


def test_saving_again_starts_anew(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session slides while somebody works; reading alone moves nothing."""
    saved = session()
    vault.save(FORGE, saved)
    first = vault.row(FORGE, "", None)
    vault.answer(FORGE, "", None)
    assert vault.row(FORGE, "", None) == first
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 500)
    vault.save(FORGE, saved)
    second = vault.row(FORGE, "", None)
    assert first
    assert second
    assert (second.answer_end - first.answer_end, second.session_end - first.session_end) in ((500, 500), (501, 501))


def test_refuse(vault: Vault) -> None:
    """The answer goes, the session stays to be refreshed, and another account's answer is not touched."""
    vault.save(FORGE, session())
    vault.save(FORGE, session("bob"))
    refused = vault.refuse(FORGE, session())
    assert refused.refused
    assert vault.session(FORGE, "", "alice") == refused
    assert vault.answer(FORGE, "", "alice") is None
    assert raw(vault) == b""
    assert password(vault.answer(FORGE, "", "bob")) == "token-of-bob"
    vault.save(FORGE, session(token="fresh"))
    assert password(vault.answer(FORGE, "", "alice")) == "fresh"


def test_who_has_signed_out_meanwhile_stays_so(vault: Vault) -> None:
    """What a slow process read before is not kept again, nor refused, whatever it wants to keep."""
    old = session()
    vault.save(FORGE, old)
    vault.forget(FORGE, "", "alice")
    vault.save(FORGE, old, after=old, unchanged=True)
    vault.refuse(FORGE, old)
    assert (vault.rows(FORGE, None), vault.session(FORGE, "", "alice")) == ([], None)
    assert vault.answer(FORGE, "", None) is None


def test_who_has_signed_in_anew_meanwhile_stays_so(vault: Vault) -> None:
    old, new = session(), session(token="newer")
    vault.save(FORGE, old)
    vault.save(FORGE, new)
    for late in (old, session(token="refreshed")):
        vault.save(FORGE, late, after=old)
    vault.refuse(FORGE, old)
    assert vault.session(FORGE, "", "alice") == new
    assert password(vault.answer(FORGE, "", None)) == "newer"


def test_forget(vault: Vault) -> None:
    """One sign-in, and nothing of any other: account, path or origin."""
    other = FORGE._replace(port=8443)
    vault.save(FORGE, session())
    vault.save(FORGE, session("bob"))
    vault.save(FORGE, session(base="/sub"))
    vault.save(other, session())
    vault.forget(FORGE, "/sub", "alice")
    assert vault.session(FORGE, "/sub", "alice") is None
    assert raw(vault, f"forge.example.{HIDDEN}") != b""
    assert password(vault.answer(FORGE, "", "alice")) == "token-of-alice"
    vault.forget(FORGE, "", "alice")
    assert raw(vault) == b""
    assert raw(vault, f"forge.example.{HIDDEN}") == b""
    assert [row.account for row in vault.rows(FORGE, None)] == ["bob"]
    assert password(vault.answer(FORGE, "", "bob")) == "token-of-bob"
    assert password(vault.answer(other, "", "alice")) == "token-of-alice"
    vault.forget(FORGE, "", "bob")
    assert not os.path.exists(vault.place.path("account-https-forge.example"))


@pytest.mark.parametrize(
    ("base", "asked", "account"),
    [
        ("", None, "Bob"),
        ("", "bob", "bob"),
        ("", "Bob", "Bob"),
        ("", "BOB", "Bob"),
        ("", "alice", "alice"),
        ("", "carol", None),
        ("", "STRAßE", "straße"),
        ("", "strasse", None),
        ("", "\N{KELVIN SIGN}ay", None),
        ("", "ali", None),
        ("", "", None),
        ("/sub", None, "alice"),
        ("/sub", "bob", None),
        ("/other", None, None),
    ],
)
def test_row(base: str, asked: str | None, account: str | None, vault: Vault) -> None:
    """The account that is named, exactly before alike, else the first; never one of another path."""
    far = int(time.time()) + 1000
    rows = [
        Row(far, far, "/sub", "alice"),
        Row(far, far, "", "Bob"),
        Row(far, far, "", "bob"),
        Row(far, far, "", "alice"),
        Row(far, far, "", "straße"),
        Row(far, far, "", "kay"),
    ]
    index.write(vault.place, FORGE, rows, time.time())
    found = vault.row(FORGE, base, asked)
    assert (found.account if found else None) == account
    assert found is None or found.base == base


def test_accounts_side_by_side(vault: Vault) -> None:
    """The first stays the default; a further sign-in of the same account takes its own place."""
    for account in ("alice", "bob", "alice"):
        vault.save(FORGE, session(account))
    assert [row.account for row in vault.rows(FORGE, None)] == ["alice", "bob"]
    assert password(vault.answer(FORGE, "", None)) == "token-of-alice"
    assert password(vault.answer(FORGE, "", "bob")) == "token-of-bob"


def test_forges_of_one_host(vault: Vault) -> None:
    """A token of one path is no answer for the host, which git would send to the other path too."""
    vault.save(FORGE, session(base="/one"))
    vault.save(FORGE, session(base="/two"))
    assert raw(vault) == b""
    assert vault.answer(FORGE, "/one", None) is None
    for base in ("/one", "/two"):
        held = vault.session(FORGE, base, None)
        assert held
        assert held.access_token == Secret(f"token-of-alice{base}")
    assert vault.session(FORGE, "", None) is None
    assert os.stat(vault.place.path("account-https-forge.example")).st_mtime == 0, "the launcher asks Python"


def test_refusing_one_path_leaves_the_host_alone(vault: Vault) -> None:
    """The same account may be signed in to the host and to a path of it."""
    vault.save(FORGE, session())
    vault.save(FORGE, session(base="/sub"))
    vault.refuse(FORGE, session(base="/sub"))
    assert password(vault.answer(FORGE, "", None)) == "token-of-alice"


def test_what_has_ended_leaves_the_names_file(vault: Vault) -> None:
    """When something is saved; so it does not grow for ever."""
    past = int(time.time()) - 10
    index.write(vault.place, FORGE, [Row(past, past, "", "old")], time.time())
    vault.save(FORGE, session())
    assert [row.account for row in vault.rows(FORGE, None)] == ["alice"]


def test_names_file_without_memory(vault: Vault) -> None:
    """After a reboot the names are there and what they name is not: nothing is answered, nothing raised."""
    far = int(time.time()) + 1000
    index.write(vault.place, FORGE, [Row(far, far, "", "alice")], time.time())
    assert vault.answer(FORGE, "", None) is None
    assert vault.session(FORGE, "", None) is None


def test_a_session_of_another_version(vault: Vault) -> None:
    """Not read, and no error: one more sign-in."""
    vault.save(FORGE, session())
    entry = f"protocol=https\nhost=forge.example.{HIDDEN}\nusername=alice\npassword=%s\n"
    for text in ('{"version":2}', "{}", "[]", "nonsense", '{"version":1}'):
        daemon.store(vault.place, (entry % text).encode(), 60)
        assert vault.session(FORGE, "", None) is None


def test_memory_that_cannot_be_used(vault: Vault) -> None:
    """Said as such, with the place."""
    os.mkdir(vault.place.path("account-https-forge.example"))
    with pytest.raises(VaultError) as caught:
        vault.save(FORGE, session())
    assert caught.value.message.startswith(f"nothing is kept in memory: {vault.place.directory}: ")


# What is not ours


def request(**fields: object) -> Request:
    return Request(**{"protocol": "https", "host": "other.example", **fields})  # type: ignore[arg-type]


def test_pass_through(vault: Vault) -> None:
    """A password that somebody typed is kept and given again, to who asks for its host, and no other."""
    vault.pass_store(request(username="u", password=Secret("typed")))
    for asked in (request(), request(username="u")):
        found = vault.pass_get(asked)
        assert protocol.parse(found)[:5] == (None, None, None, "u", Secret("typed"))
        assert found.endswith(b"\n\n")
    for asked in (request(username="v"), request(host="else.example"), request(protocol="http")):
        assert vault.pass_get(asked) == b""


@pytest.mark.parametrize(
    ("asked", "username"),
    [
        ({"protocol": "cert", "host": "", "path": "/key.pem"}, ""),
        ({"protocol": "smtp", "host": "mail.example:587"}, "u"),
        ({"protocol": "http", "host": "proxy.example:3128"}, "u"),
        ({"path": "a.git"}, "u"),
        ({}, "u\udcff"),
    ],
)
def test_pass_through_whatever_it_is(asked: dict[str, object], username: str, vault: Vault) -> None:
    """Certificates, mail, proxies, paths and odd bytes go as they came."""
    vault.pass_store(request(**asked, username=username, password=Secret("secret")))
    found = protocol.parse(vault.pass_get(request(**asked)))
    assert found.password == Secret("secret")
    assert found.username == username


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"username": "u", "password": Secret("one")}, {"v"}),
        ({"username": "u"}, {"v"}),
        ({"username": "u", "password": Secret("older")}, {"u", "v"}),
        ({"username": "w", "password": Secret("one")}, {"u", "v"}),
        ({}, set()),
        ({"host": "else.example"}, {"u", "v"}),
        ({"path": "a.git"}, {"u", "v"}),
    ],
)  # fmt: skip
def test_pass_erase(fields: dict[str, object], left: set[str], vault: Vault) -> None:
    """What is named, if its password is the one that was refused, and nobody else's; without a name, all there is."""
    vault.pass_store(request(username="u", password=Secret("one")))
    vault.pass_store(request(username="v", password=Secret("two")))
    vault.pass_erase(request(**fields))
    assert {name for name in ("u", "v") if vault.pass_get(request(username=name))} == left


def test_pass_lifetime(home: Path) -> None:
    """As long as the timeout says, in real seconds."""
    vault = Vault(daemon.place(str(home / "own" / "socket")), 1)
    vault.pass_store(request(username="u", password=Secret("typed")))
    deadline = time.monotonic() + DEADLINE
    while vault.pass_get(request()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
