"""Sessions in a keychain: what is written there, what is read, and what one is that fails."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from git_credential_forge import daemon, index, keychain, operations, settings
from git_credential_forge.keychain import MOST, PIECE
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import Request
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session
from git_credential_forge.settings import Settings
from git_credential_forge.vault import Vault
from tests.support.keychain import Keychain

if TYPE_CHECKING:
    from pathlib import Path

FORGE = Origin("https", "forge.example", 443)
NOW = int(time.time())
HOST = "protocol=https host=forge.example.git-credential-forge.invalid"
NOT_USED = "forge: credential.forgeStore is not used, sign-ins are kept in memory: "


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(home)


@pytest.fixture
def box(tmp_path: Path) -> Keychain:
    return Keychain(tmp_path / "a box")


@pytest.fixture
def ours(box: Keychain) -> keychain.Keychain:
    found = keychain.chosen(Settings(store=f"!'{box.helper}'"))
    assert found
    return found


def session(account: str = "alice", base: str = "", token: str = "token", *, refused: bool = False) -> Session:
    return Session(
        account=account,
        access_token=Secret(token),
        expiry=NOW + 3600,
        margin=60,
        refresh_token=Secret("refresh"),
        client_id="id",
        kind="forgejo",
        base=base,
        issuer=None,
        token_url="https://forge.example/login/oauth/access_token",
        scopes="",
        signed_in_at=NOW,
        issued_at=NOW,
        refused=refused,
    )


# -- the entries ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [5, PIECE, 3 * PIECE])
def test_put_get_erase(length: int, ours: keychain.Keychain, box: Keychain) -> None:
    """What is put is got; no line is longer than the 1023 bytes at which git before 2.42 cuts; nothing is left."""
    for text in ("old" * length, "n" * length):
        saved = session(token=text)
        assert ours.put(FORGE, saved)
        assert ours.get(FORGE, "alice", "") == saved
    assert all(len(line) < 1000 for line in box.contents().values())
    assert set(box.contents()) == {f"{HOST} path={n} username=alice" for n in range(1, len(box.contents()) + 1)}
    assert ours.erase(FORGE, "alice", "")
    assert box.contents() == {}


def test_a_shorter_one_leaves_nothing_of_the_longer(ours: keychain.Keychain, box: Keychain) -> None:
    """Pieces of an older writing are secrets too."""
    assert ours.put(FORGE, session(token="x" * 5 * PIECE))
    assert ours.put(FORGE, session())
    assert list(box.contents()) == [f"{HOST} path=1 username=alice"]


def test_each_account_and_path_has_its_own(ours: keychain.Keychain, box: Keychain) -> None:
    """Every entry has a path, because libsecret asked without one gives and erases what has any."""
    saved = [session(), session("bob"), session(base="/sub/path")]
    for one in saved:
        assert ours.put(FORGE, one)
    assert [ours.get(FORGE, one.account, one.base) for one in saved] == saved
    assert f"{HOST} path=1_sub_path username=alice" in box.contents()
    assert ours.erase(FORGE, "alice", "")
    assert [ours.get(FORGE, one.account, one.base) for one in saved] == [None, *saved[1:]]


@pytest.mark.parametrize(
    "asked", [(FORGE, "bob", ""), (FORGE, "alice", "/sub"), (Origin("https", "x", 443), "alice", "")]
)
def test_somebody_elses(asked: tuple[Origin, str, str], ours: keychain.Keychain, box: Keychain) -> None:
    """A helper that gives whatever it has, whoever is asked for, gives nothing of use."""
    assert ours.put(FORGE, session())
    box.breaks('[ "$operation" = get ] && cat entries/* && exit')
    assert ours.get(FORGE, "alice", "") == session()
    assert ours.get(*asked) is None


def test_a_torn_writing(ours: keychain.Keychain, box: Keychain) -> None:
    """Pieces of two writings are no session."""
    assert ours.put(FORGE, session(token="x" * 2 * PIECE))
    second = box.entries / f" {HOST} path=2 username=alice"
    kept = second.read_text()
    assert ours.put(FORGE, session(token="y" * 2 * PIECE))
    second.write_text(kept)
    assert ours.get(FORGE, "alice", "") is None


@pytest.mark.parametrize(
    "text", ["", "x", "00000000.", "00000000.{}", "00000000.[]", '00000000.{"origin":"https://forge.example"}', "a" * 9]
)
def test_nonsense(text: str, ours: keychain.Keychain, box: Keychain) -> None:
    """What is no session of ours is none."""
    (box.entries / f" {HOST} path=1 username=alice").write_text(f"password={text}\n")
    assert ours.get(FORGE, "alice", "") is None


def test_an_endless_one(ours: keychain.Keychain, box: Keychain) -> None:
    """There is an end to what is read, and to what is written."""
    box.breaks("echo password=00000000+x; exit")
    assert ours.get(FORGE, "alice", "") is None
    assert box.calls() == ["get"] * MOST


def test_too_long(ours: keychain.Keychain, box: Keychain, capfd: pytest.CaptureFixture[str]) -> None:
    """Said, and left to memory."""
    assert not ours.put(FORGE, session(token="x" * (MOST * PIECE)))
    assert (box.calls(), box.contents()) == ([], {})
    said = "forge: your keychain did not keep the sign-in (its tokens are too long): it is kept in memory\n"
    assert capfd.readouterr() == ("", said)


# -- one that fails ---------------------------------------------------------------------------------------

WAYS = {
    "exit 3": "exit status 3; is it installed and unlocked?",
    "exec sleep 60": "no answer within 0.5 s; is it locked?",
    "sleep 60 & wait": "no answer within 0.5 s; is it locked?",
    "kill -9 $$": "exit status 137; is it installed and unlocked?",
    "echo nonsense; exit": "it answered nonsense",
}


@pytest.mark.parametrize("how", WAYS)
def test_one_that_fails(
    how: str, ours: keychain.Keychain, box: Keychain, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, then this process leaves it alone; what it keeps is still there when it has been mended. A helper that
    hangs is ended with all that it has started."""
    assert ours.put(FORGE, session())
    kept = box.contents()
    box.calls()
    box.breaks(how)
    monkeypatch.setattr(keychain, "PATIENCE", 0.5 if "sleep" in how else 60)
    assert ours.get(FORGE, "alice", "") is None
    assert not ours.put(FORGE, session())
    assert not ours.erase(FORGE, "alice", "")
    assert box.calls() == ["get"]
    said = f"forge: your keychain gave no sign-in ({WAYS[how]}): going on from memory\n"
    assert capfd.readouterr() == ("", said)
    assert box.contents() == kept


def test_a_slow_one(box: Keychain, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call would be in time, and all of them are not: others wait for the names meanwhile."""
    monkeypatch.setattr(keychain, "PATIENCE_IN_ALL", 0.5)
    slow = keychain.chosen(Settings(store=f"!sleep 0.2; '{box.helper}'"))
    assert slow
    assert not slow.put(FORGE, session(token="x" * 5 * PIECE))
    assert len(box.calls()) <= 3
    out, err = capfd.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith("forge: your keychain did not keep the sign-in (")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("put", "did not keep the sign-in (exit status 1; is it installed and unlocked?): it is kept in memory"),
        ("erase", "did not erase the sign-in (exit status 1; is it installed and unlocked?): it is still there"),
    ],
)
def test_what_was_not_done_is_said(
    wanted: str, said: str, ours: keychain.Keychain, box: Keychain, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the words for what was wanted."""
    box.breaks("exit 1")
    assert not (ours.put(FORGE, session()) if wanted == "put" else ours.erase(FORGE, "alice", ""))
    assert capfd.readouterr() == ("", f"forge: your keychain {said}\n")


def test_one_that_gives_nothing(ours: keychain.Keychain, box: Keychain, capfd: pytest.CaptureFixture[str]) -> None:
    """libsecret says so little where it is locked and nobody can be asked: no reason to take it for empty, nor not to
    try to write."""
    assert ours.get(FORGE, "alice", "") is None
    assert not ours.failed
    said = "forge: your keychain gave no sign-in (it gave nothing; is it locked?): going on from memory\n"
    assert capfd.readouterr() == ("", said)
    assert ours.put(FORGE, session())
    assert not keychain.Keychain(f"!'{box.helper}'", "x").erase(FORGE, "bob", "")


def test_nobody_reads(box: Keychain, capfd: pytest.CaptureFixture[str]) -> None:
    """Where nobody is there, nothing is said."""
    found = keychain.chosen(Settings(store=f"!'{box.helper}'"), quiet=True)
    box.breaks("exit 1")
    assert found
    assert found.get(FORGE, "alice", "") is None
    assert keychain.chosen(Settings(store="forge"), quiet=True) is None
    assert capfd.readouterr() == ("", "")


# -- which ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, None),
        ("", None),
        ("libsecret", "libsecret"),
        ("libsecret --option", "libsecret"),
        ("/usr/lib/git-core/git-credential-libsecret", "libsecret"),
        ("/opt/some/tool --with 'an argument'", "tool"),
        ("/opt/it's", "it's"),
        ("!any command", "your keychain"),
        ("cache", "cache"),
        ("storekeeper", "storekeeper"),
    ],
)
def test_what_it_is_called(value: str | None, name: str | None) -> None:
    """By its name, without a path and what git's helpers begin with."""
    found = keychain.chosen(Settings(store=value))
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    "value",
    [
        *("forge", "forge --timeout=9", "forge--main", "/opt/bin/git-credential-forge", "LINK", "linked"),
        *("!git credential-forge", "!. /opt/git-credential-forge", '!f() { . "$git_credential_forge"; }; f'),
        "/bin/sh /opt/git-credential-forge",
    ],
)
def test_into_ourselves(
    value: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that leads back to us is refused in words, also by way of a link."""
    for name in ("git-credential-forge", "LINK", "git-credential-linked"):
        if name == "git-credential-forge":
            (tmp_path / name).touch(0o755)
        else:
            (tmp_path / name).symlink_to("git-credential-forge")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert keychain.chosen(Settings(store=value.replace("LINK", str(tmp_path / "LINK")))) is None
    assert capfd.readouterr() == ("", f"{NOT_USED}it names this program\n")


@pytest.mark.parametrize(
    "value", ["store", "store --file=x", "/usr/lib/git-core/git-credential-store", "!git credential-store"]
)
def test_plain_text(value: str, capfd: pytest.CaptureFixture[str]) -> None:
    """`store` writes a file that anybody can read who can read files; who wants that says so."""
    assert keychain.chosen(Settings(store=value)) is None
    hint = "forge: to have that all the same: git config --global credential.forgeStoreInsecure true\n"
    assert capfd.readouterr() == ("", f"{NOT_USED}store writes them to a file as plain text\n{hint}")
    assert keychain.chosen(Settings(store=value, store_insecure=True)) is not None
    assert capfd.readouterr() == ("", "")


def test_how_it_is_started(ours: keychain.Keychain, box: Keychain, monkeypatch: pytest.MonkeyPatch) -> None:
    """As git starts helpers: HOME is kept, git's traces are not passed on; nothing from the current directory."""
    monkeypatch.setenv("GIT_TRACE", str(box.entries / "trace"))
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}:")
    box.breaks('printf "%s\\n" "${GIT_TRACE-none} $PATH" "$HOME" >env; exit')
    ours.get(FORGE, "alice", "")
    told = (box.entries.parent / "env").read_text().splitlines()
    assert told[0].startswith("none /")
    assert ":.:" not in f":{told[0].partition(' ')[2]}:"
    assert told[0][-1] != ":"
    assert told[1] == os.environ["HOME"]


# -- in the vault -----------------------------------------------------------------------------------------


@pytest.fixture
def vault(ours: keychain.Keychain) -> Vault:
    vault = Vault(daemon.place(), 600)
    vault.keychain = ours
    return vault


def end_daemon(vault: Vault) -> None:
    daemon._client(vault.place, "exit", b"")


def test_kept_in_both(vault: Vault, box: Keychain) -> None:
    """Memory is asked first, so that whoever reads under the lock sees the newest; the keychain when it is gone."""
    first, second = session(token="first"), session(token="second")
    for one in (first, second):
        vault.save(FORGE, one)
        box.calls()
        assert vault.session(FORGE, "", "alice") == one
        assert box.calls() == []
    end_daemon(vault)
    assert vault.answer(FORGE, "", "alice") is None
    assert vault.session(FORGE, "", "alice") == second
    assert vault.kept_in(vault.row(FORGE, "", None)) == "your keychain"


def test_memory_only_answers(vault: Vault, box: Keychain) -> None:
    """What git is given is never in the keychain's hands by itself, and no answer asks it."""
    vault.save(FORGE, session())
    box.calls()
    assert vault.answer(FORGE, "", None)
    assert box.calls() == []
    assert all(".git-credential-forge.invalid" in name for name in box.contents())


def test_unchanged(vault: Vault, box: Keychain) -> None:
    """A session that is served again is not written again; one that memory alone had until now is."""
    vault.save(FORGE, session())
    box.calls()
    vault.save(FORGE, session(), unchanged=True)
    assert box.calls() == []
    assert vault.row(FORGE, "", None).kept  # type: ignore[union-attr]
    chain, vault.keychain = vault.keychain, None
    vault.save(FORGE, session())
    assert not vault.row(FORGE, "", None).kept  # type: ignore[union-attr]
    vault.keychain = chain
    vault.save(FORGE, session(), unchanged=True)
    assert vault.row(FORGE, "", None).kept  # type: ignore[union-attr]


def test_one_that_cannot_be_written(vault: Vault, box: Keychain, capfd: pytest.CaptureFixture[str]) -> None:
    """The sign-in is in memory, as without it, and its names end as memory does."""
    box.breaks("exit 1")
    vault.save(FORGE, session())
    assert vault.session(FORGE, "", None) == session()
    assert vault.kept_in(vault.row(FORGE, "", None)) is None
    why = "exit status 1; is it installed and unlocked?"
    said = f"forge: your keychain did not keep the sign-in ({why}): it is kept in memory\n"
    assert capfd.readouterr() == ("", said)


def test_forget(vault: Vault, box: Keychain) -> None:
    """In both; but what is dropped because memory has ended stays in the keychain."""
    vault.save(FORGE, session())
    vault.save(FORGE, session("bob"))
    assert vault.forget(FORGE, "", "alice")
    assert list(box.contents()) == [f"{HOST} path=1 username=bob"]
    row = vault.row(FORGE, "", "bob")
    assert vault.forget(FORGE, "", "bob", as_of=row)
    assert list(box.contents()) == [f"{HOST} path=1 username=bob"]
    assert index.read(vault.place, FORGE) == []


def test_a_refusal_is_kept_too(vault: Vault) -> None:
    """A token that the forge has refused is not served again after a reboot."""
    vault.save(FORGE, session())
    vault.refuse(FORGE, session())
    end_daemon(vault)
    assert vault.session(FORGE, "", None) == session(refused=True)


def test_a_time_that_every_file_system_knows(vault: Vault) -> None:
    """The names file says to the launcher when to look again: for a session without end, in a year."""
    vault.save(FORGE, session()._replace(expiry=0))
    assert os.stat(vault.place.path("account-https-forge.example")).st_mtime < time.time() + 366 * 86_400


def test_a_hit_asks_no_settings(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither git's configuration nor the keychain is looked at where the answer is in memory."""
    vault.save(FORGE, session())
    vault.keychain = None
    monkeypatch.setattr(settings, "read", lambda url: pytest.fail(f"asked for the settings of {url}"))
    request = Request(protocol="https", host="forge.example")
    assert b"password=token\n" in operations.get(request, vault, lambda: False)
