"""Sign-ins in a keychain, by real git: what a reboot leaves, what a locked one costs, what `logout` takes away."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.forge import Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.keychain import Keychain
from tests.support.person import Done, Person, wait_until

MANY = 16
LIFE = 5  # seconds: enough to be used once
SILENT = (0, "")


@pytest.fixture
def box(tmp_path: Path) -> Keychain:
    return Keychain(tmp_path / "box")


@pytest.fixture
def signed(person: Person, box: Keychain, browser: GentleBrowser) -> Person:
    """With `box` as forgeStore, not yet signed in."""
    person.environment["BROWSER"] = str(browser.opener)
    store(person, str(box.helper))
    return person


def store(person: Person, value: str) -> None:
    assert person.git("config", "--global", "credential.forgeStore", value).status == 0


def fetch(person: Person, forge: Forge, **more: str) -> Done:
    return person.git("ls-remote", "-q", forge.repo_url(), "HEAD", given=None, cwd=None, **more)


def reboot(person: Person) -> None:
    """What was in memory is gone."""
    socket = str(person.home / ".cache/git-credential-forge/socket")
    assert person.git("credential-cache", "--socket", socket, "exit").status == 0


def asked_again(forge: Forge) -> str:
    """The last line of a sign-in that is kept in the box."""
    return f"forge: signed in as alice at {forge.host}, kept in box"


def test_after_a_reboot(signed: Person, forge: Forge, browser: GentleBrowser, box: Keychain) -> None:
    """One click; then no tab and not a word, neither while the token lives nor when it has to be refreshed."""
    done = fetch(signed, forge)
    assert done.status == 0
    assert done.err.splitlines()[-1] == asked_again(forge)
    box.calls()
    assert fetch(signed, forge) == (0, f"{forge.head()}\tHEAD\n", "")
    assert box.calls() == [], "the warm path does not know it"
    reboot(signed)
    assert fetch(signed, forge)[::2] == SILENT
    assert set(box.calls()) == {"get"}, "what has not changed is not written"
    assert forge.log("refresh") == []
    forge.expire_access_tokens()
    fetch(signed, forge)  # which git 2.46 repairs, and an older one does not
    reboot(signed)
    assert fetch(signed, forge)[::2] == SILENT
    assert [event.ok for event in forge.log("refresh")] == [True]
    assert len(browser.tabs()) == 1


def test_the_time_of_a_token_is_ours_to_check(
    signed: Person, forge: Forge, browser: GentleBrowser, box: Keychain
) -> None:
    """A keychain has no clock: a token from it that has ended is refreshed before git is given it."""
    forge.set_lifetime(LIFE)
    assert fetch(signed, forge).status == 0
    ended, kept = time.time() + LIFE, box.contents()
    forge.set_lifetime(3600)
    reboot(signed)
    wait_until(ended)
    assert fetch(signed, forge)[::2] == SILENT
    assert [event.ok for event in forge.log("refresh")] == [True]
    assert len(browser.tabs()) == 1
    assert list(box.contents()) == list(kept)
    assert box.contents() != kept


def test_many_at_once_after_a_reboot(signed: Person, forge: Forge, browser: GentleBrowser) -> None:
    """With refresh tokens that are good once: one refresh, no tab, sixteen answers."""
    forge.set_lifetime(LIFE)
    assert fetch(signed, forge).status == 0
    ended = time.time() + LIFE
    forge.set_lifetime(3600)
    reboot(signed)
    wait_until(ended)
    done = signed.at_once(MANY, "ls-remote", "-q", forge.repo_url(), "HEAD")
    assert done == [(0, f"{forge.head()}\tHEAD\n", "")] * MANY
    assert [event.ok for event in forge.log("refresh")] == [True]
    assert len(browser.tabs()) == 1


def test_the_names_are_gone_too(signed: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Without the file that says who is signed in, nothing is looked for: one click."""
    assert fetch(signed, forge).status == 0
    reboot(signed)
    for path in (signed.home / ".cache/git-credential-forge").glob("account-*"):
        path.unlink()
    assert fetch(signed, forge).err.splitlines()[-1] == asked_again(forge)
    assert len(browser.tabs()) == 2


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("exec sleep 60", "no answer within 3 s; is it locked?"),
        ("exit 1", "exit status 1; is it installed and unlocked?"),
        ("exit", "it gave nothing; is it locked?"),
    ],
)
def test_locked(how: str, why: str, *, signed: Person, forge: Forge, browser: GentleBrowser, box: Keychain) -> None:
    """Memory goes on without it; when that is gone too, one line and one click, and nothing is taken away. Unlocked,
    it is used again."""
    assert fetch(signed, forge).status == 0
    kept = box.contents()
    box.breaks(how)
    assert fetch(signed, forge)[::2] == SILENT
    reboot(signed)
    assert fetch(signed, forge, GIT_TERMINAL_PROMPT="0")[::2] == (128, prompt(forge))
    assert box.contents() == kept
    box.mend()
    assert fetch(signed, forge)[::2] == SILENT
    assert len(browser.tabs()) == 1

    box.breaks(f'if [ "$operation" = get ]; then {how}; fi; exit 1')
    reboot(signed)
    done = fetch(signed, forge)
    assert done.status == 0
    assert done.err.splitlines()[0] == f"forge: box gave no sign-in ({why}): going on from memory"
    assert done.err.splitlines()[-1].endswith(", kept in memory while you work, and two hours more")
    assert [line for line in done.err.splitlines() if "gave no" in line] == done.err.splitlines()[:1]
    assert box.contents() == kept
    assert len(browser.tabs()) == 2

    box.mend()
    forge.set_lifetime(3600)
    filled = signed.git("credential", "fill", given=f"url={forge.url}\n\n").out
    assert signed.git("credential", "reject", given=filled) == (0, "", "")
    assert fetch(signed, forge)[::2] == SILENT
    assert box.contents() != kept
    assert signed.git("credential-forge", "status").out.endswith("   kept in box\n")


def prompt(forge: Forge) -> str:
    """What git says where it would have asked for a password."""
    return f"fatal: could not read Username for '{forge.url}': terminal prompts disabled\n"


def test_locked_in_the_middle_of_a_refresh(signed: Person, forge: Forge, browser: GentleBrowser, box: Keychain) -> None:
    """What the forge has given for the session is not thrown away because the keychain cannot be looked at again:
    the new one is in memory, and the refresh token, good once, is not lost."""
    forge.set_lifetime(LIFE)
    assert fetch(signed, forge).status == 0
    ended = time.time() + LIFE
    forge.set_lifetime(3600)
    reboot(signed)
    wait_until(ended)
    box.breaks('case "$operation $key" in get*path=1*) echo >>reads ;; esac; [ "$(wc -l <reads)" -lt 2 ] || exit 1')
    done = fetch(signed, forge)
    why = "exit status 1; is it installed and unlocked?"
    assert done[::2] == (0, f"forge: box gave no sign-in ({why}): going on from memory\n")
    assert fetch(signed, forge)[::2] == SILENT
    assert [event.ok for event in forge.log("refresh")] == [True]
    assert len(browser.tabs()) == 1


def test_the_grant_is_dead(signed: Person, forge: Forge, browser: GentleBrowser, box: Keychain) -> None:
    """What the forge refuses is taken out of the keychain, and the new sign-in put there."""
    assert fetch(signed, forge).status == 0
    old = box.contents()
    forge.revoke_all()
    reboot(signed)
    fetch(signed, forge)
    done = fetch(signed, forge)
    assert done.status == 0
    assert len(browser.tabs()) == 2
    assert list(box.contents()) == list(old)
    assert box.contents() != old
    reboot(signed)
    assert fetch(signed, forge)[::2] == SILENT


def test_status_and_logout(signed: Person, forge: Forge, box: Keychain) -> None:
    """Where it is kept is said; a logout takes it out of both, after a reboot too."""
    assert fetch(signed, forge).status == 0
    reboot(signed)
    [told] = json.loads(signed.git("credential-forge", "status", "--json").out)["sign_ins"]
    assert (told["account"], told["kept_in"], told["signed_in_until"]) == ("alice", "box", None)
    assert signed.git("credential-forge", "status").out.endswith("   kept in box\n")
    box.breaks("exit 1")
    unread = "forge: box gave no sign-in (exit status 1; is it installed and unlocked?): going on from memory\n"
    row = f"{forge.host}   alice         kept in box\n"
    assert signed.git("credential-forge", "status") == (0, row, unread)
    box.mend()
    done = signed.git("credential-forge", "logout", forge.url)
    assert done[::2] == SILENT
    assert done.out.startswith(f"forgot alice at {forge.host}\nthe token that git was given stays valid until ")
    assert box.contents() == {}
    assert signed.git("credential-forge", "status") == (0, "not signed in anywhere\n", "")


@pytest.mark.parametrize(
    ("how", "why"),
    [("exit 1", "exit status 1; is it installed and unlocked?"), ("exit", "it gave nothing; is it locked?")],
)
def test_logout_of_a_locked_one(how: str, why: str, *, signed: Person, forge: Forge, box: Keychain) -> None:
    """Said, with an exit status: it is not forgotten there."""
    assert fetch(signed, forge).status == 0
    reboot(signed)
    kept = box.contents()
    box.breaks(how)
    done = signed.git("credential-forge", "logout", "--all")
    assert (done.status, done.out) == (1, f"forgot alice at {forge.host}\n")
    entry = f"{forge.host.replace(':', '.')}.git-credential-forge.invalid"
    assert done.err.splitlines() == [
        f"forge: box gave no sign-in ({why}): going on from memory",
        f"forge: box still has that sign-in, under the name {entry}: remove it there",
    ]
    assert box.contents() == kept


def test_rejected_without_a_password(signed: Person, forge: Forge, box: Keychain) -> None:
    """`git credential reject` that names no token is everybody's "forget me"."""
    assert fetch(signed, forge).status == 0
    assert signed.git("credential", "reject", given=f"url={forge.url}\n\n") == (0, "", "")
    assert box.contents() == {}


def test_somebody_else_signs_in(signed: Person, forge: Forge, box: Keychain) -> None:
    """Where the default account cannot be had from the keychain, who signs in without being named takes its place:
    else each command would ask for it again."""
    assert fetch(signed, forge).status == 0
    kept = box.contents()
    reboot(signed)
    box.breaks("case $key in *username=alice*) exit ;; esac")
    with GentleBrowser("bob", "bob's password") as bobs:
        for _ in range(2):
            fetch(signed, forge, BROWSER=str(bobs.opener))
        assert len(bobs.tabs()) == 1
    told = json.loads(signed.git("credential-forge", "status", "--json").out)["sign_ins"]
    assert [one["account"] for one in told] == ["bob"]
    assert kept.items() < box.contents().items()


def test_store(signed: Person, forge: Forge, tmp_path: Path) -> None:
    """Plain text in a file only where somebody says so twice."""
    file = tmp_path / "plain"
    store(signed, f"store --file={file}")
    not_used = "forge: credential.forgeStore is not used, sign-ins are kept in memory"
    refusal = [
        f"{not_used}: store writes them to a file as plain text",
        "forge: to have that all the same: git config --global credential.forgeStoreInsecure true",
    ]
    done = fetch(signed, forge)
    assert done.err.splitlines()[:2] == refusal
    assert done.err.splitlines()[-1].endswith(", kept in memory while you work, and two hours more")
    assert not file.exists()
    assert signed.git("config", "--global", "credential.forgeStoreInsecure", "true").status == 0
    assert signed.git("credential-forge", "login", forge.url).err.splitlines()[-1].endswith(", kept in store")
    assert ".git-credential-forge.invalid/1" in file.read_text()
    reboot(signed)
    assert fetch(signed, forge)[::2] == SILENT


def test_into_ourselves(signed: Person, forge: Forge) -> None:
    """Refused in words, and no reason not to sign in."""
    store(signed, "forge")
    done = fetch(signed, forge)
    said = "forge: credential.forgeStore is not used, sign-ins are kept in memory: it names this program"
    assert (done.status, done.err.splitlines()[0]) == (0, said)


# -- a real secret service --------------------------------------------------------------------------------

SOURCE = Path("/usr/share/doc/git/contrib/credential/libsecret")
UNLOCK = "printf %s pass | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1"
LOCK = (
    "dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets"
    " org.freedesktop.Secret.Service.Lock array:objpath:/org/freedesktop/secrets/collection/login >/dev/null"
)


@pytest.fixture(scope="module")
def libsecret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of git's own helper for it: Debian has its source."""
    missing = [name for name in ("dbus-run-session", "dbus-send", "gnome-keyring-daemon") if not shutil.which(name)]
    if missing:
        pytest.skip(f"not here: {', '.join(missing)}")
    there = Path("/usr/lib/git-core/git-credential-libsecret")
    if there.exists():
        return there.parent
    directory = tmp_path_factory.mktemp("libsecret") / "built"
    if SOURCE.is_dir():
        shutil.copytree(SOURCE, directory)
        made = subprocess.run(["make", "-C", str(directory)], capture_output=True, check=False, timeout=100)
        if made.returncode == 0:
            return directory
    pytest.skip("not here: git-credential-libsecret, nor what it is made of")


@pytest.mark.slow
def test_libsecret(libsecret: Path, person: Person, forge: Forge, browser: GentleBrowser, tmp_path: Path) -> None:
    """A real secret service: kept over a reboot, not lost while it is locked, erased by a logout."""
    store(person, "libsecret")
    url, socket = forge.repo_url(), f"{person.home}/.cache/git-credential-forge/socket"
    fetch, reboot = f"git ls-remote -q {url} HEAD", f"git credential-cache --socket {socket} exit"
    logout, status = f"git credential-forge logout {forge.url}", "git credential-forge status"
    (tmp_path / "run").mkdir(mode=0o700)
    person.environment |= {
        "BROWSER": str(browser.opener),
        "PATH": f"{person.environment['PATH']}{os.pathsep}{libsecret}",
        "XDG_DATA_HOME": str(tmp_path / "keyring"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }
    signed_in = f"forge: signed in as alice at {forge.host}, kept in libsecret"
    got = (0, f"{forge.head()}\tHEAD\n", "")
    first = in_a_session(person, tmp_path, UNLOCK, fetch, reboot, fetch, status, LOCK, reboot, f"CI=1 {fetch}", fetch)
    assert first[1][:2] == got[:2]
    assert first[1].err.splitlines()[-1] == signed_in
    assert first[3] == got
    assert first[4].out.endswith("   kept in libsecret\n")
    assert (first[7].status, first[7].err.splitlines()[1:]) == (128, []), "git's own line alone"
    locked = "forge: libsecret gave no sign-in (it gave nothing; is it locked?): going on from memory"
    assert first[8][:2] == got[:2]
    assert (first[8].err.splitlines()[0], first[8].err.count("locked")) == (locked, 1)
    assert first[8].err.endswith(", kept in memory while you work, and two hours more\n")

    ask = f"printf 'url={forge.url}\\n\\n'"
    change = f"{ask} | git credential fill | git credential reject"
    hidden = f"{forge.host.replace(':', '.')}.git-credential-forge.invalid"
    entry = f"printf 'protocol=https\\nhost={hidden}\\npath=1\\nusername=alice\\n'"
    there = f"{entry} | git credential-libsecret get | wc -l"
    again = in_a_session(person, tmp_path, UNLOCK, fetch, change, reboot, fetch, there, logout, there, status)
    assert again[1] == again[4] == got, "what changed when the keychain was unlocked again is there"
    assert (again[2], again[5].out.strip()) == ((0, "", ""), "2"), "name and password"
    assert again[6].out.startswith(f"forgot alice at {forge.host}\n")
    assert again[7].out.strip() == "1"
    assert again[8] == (0, "not signed in anywhere\n", "")
    assert len(browser.tabs()) == 2


def in_a_session(person: Person, directory: Path, *steps: str) -> list[Done]:
    """Each step in one session of the desktop's bus."""
    files = [directory / f"step-{number}" for number in range(len(steps))]
    each = [f"( {step} ) >{file}.out 2>{file}.err; echo $? >{file}" for step, file in zip(steps, files, strict=True)]
    done = person.run("dbus-run-session", "--", "sh", "-c", "\n".join(each))
    assert done.status == 0, done
    return [
        Done(int(file.read_text()), Path(f"{file}.out").read_text(), Path(f"{file}.err").read_text()) for file in files
    ]
