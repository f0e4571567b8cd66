"""`status`, `logout` and `login`'s arguments: each word that they say, where they say it, and their exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.memory import CLIENT_ID, Memory, lines, save, sign_in

YEARS = 86_400 * 3650
HTTPS = ("protocol=https", "host=example.com")
WHAT_IS = "forge: what is signed in: git credential-forge status\n"
NAME_IT = "name a forge by its address, like https://codeberg.org"


class Done(NamedTuple):
    status: int
    out: str
    err: str


class Person:
    def __init__(self, installed: Path, environment: dict[str, str]) -> None:
        self.installed = installed
        self.environment = environment | {"TZ": "UTC"}
        self.memory = Memory(environment)

    def run(self, *command: str) -> Done:
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.environment["HOME"],
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def forge(self, *words: str) -> Done:
        return self.run(str(self.installed / "git-credential-forge"), *words)

    def save(self, *sign_ins: dict[str, object]) -> None:
        save(self.installed, self.environment, *sign_ins)

    def json(self) -> list[dict[str, object]]:
        told = json.loads(self.forge("status", "--json").out)
        assert told["version"] == 1
        found: list[dict[str, object]] = told["sign_ins"]
        return found

    def accounts(self) -> list[str]:
        return [f"{one['account']} {one['url']}" for one in self.json()]

    def secrets(self) -> list[str]:
        return [f"{kind}-of-{name}" for kind in ("token", "refresh") for name in ("alice", "bob")]


@pytest.fixture
def person(installed: Path, environment: dict[str, str]) -> Person:
    return Person(installed, environment)


def _clock(at: float) -> str:
    """As the program writes it: the hour, with the day when it is not today's. Never asked about the time that
    somebody waited between two looks at the clock."""
    day = "" if time.strftime("%j", time.gmtime(at)) == time.strftime("%j", time.gmtime()) else "%Y-%m-%d "
    return time.strftime(f"{day}%H:%M", time.gmtime(at))


# -- status -----------------------------------------------------------------------------------------------


def test_status_of_nobody(person: Person) -> None:
    """Nobody is signed in: one line, in JSON an empty list, and exit status 0."""
    assert person.forge("status") == (0, "not signed in anywhere\n", "")
    assert person.forge("status", "--json") == (0, '{\n  "version": 1,\n  "sign_ins": []\n}\n', "")


def test_status_is_a_table(person: Person) -> None:
    """Where, who, with which application, until when: a line for each sign-in, in columns, and no secret."""
    expiry = int(time.time()) + 3600
    person.save(
        sign_in("example.com", expiry=expiry),
        sign_in("example.com", "bob", expiry=expiry, client_id="mine"),
        sign_in("forge.example:8443", "a-long-name", base="/sub", expiry=expiry),
        sign_in("127.0.0.1:3000", scheme="http", expiry=expiry + YEARS),
    )
    ends = [one["signed_in_until"] for one in person.json()]
    done = person.forge("status")
    kept = [_clock(float(str(end))) for end in ends]
    wanted = [
        ("http://127.0.0.1:3000", "alice", "shared application", "token without end", f"signed in until {kept[0]}"),
        *(
            (where, who, f"{whose} application", f"token until {_clock(expiry)}", f"signed in until {until}")
            for where, who, whose, until in (
                ("example.com", "alice", "shared", kept[1]),
                ("example.com", "bob", "your", kept[2]),
                ("forge.example:8443/sub", "a-long-name", "shared", kept[3]),
            )
        ),
    ]
    widths = [max(len(line[column]) for line in wanted) for column in range(5)]
    text = "".join("   ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in wanted)
    assert done == (0, text, "")
    assert not any(secret in done.out for secret in person.secrets())


def test_status_for_programs(person: Person) -> None:
    """JSON with a version, names and times: exactly these keys, and no secret."""
    before, expiry = int(time.time()), int(time.time()) + 3600
    person.save(sign_in(expiry=expiry), sign_in("forge.example", "bob", base="/sub", expiry=expiry, client_id="mine"))
    after = int(time.time())
    done = person.forge("status", "--json")
    assert (done.status, done.err) == (0, "")
    assert not any(secret in done.out for secret in person.secrets())
    told = json.loads(done.out)
    for one in told["sign_ins"]:
        assert before <= one.pop("signed_in_at") <= after
        assert before + 7200 <= one.pop("signed_in_until") <= expiry + 7200
    assert told == {
        "version": 1,
        "sign_ins": [
            {
                "url": "https://example.com",
                "account": "alice",
                "client_id": CLIENT_ID,
                "shared_application": True,
                "token_expires": expiry,
                "kept_in": None,
                "refreshable": True,
                "lent_by_coder": False,
            },
            {
                "url": "https://forge.example/sub",
                "account": "bob",
                "client_id": "mine",
                "shared_application": False,
                "token_expires": expiry,
                "kept_in": None,
                "refreshable": True,
                "lent_by_coder": False,
            },
        ],
    }


def test_status_of_a_token_that_has_ended(person: Person) -> None:
    """Still signed in, and the token will be renewed."""
    person.save(sign_in(expiry=int(time.time()) - 5))
    done = person.forge("status")
    assert re.fullmatch(
        r"example\.com   alice   shared application   token to be renewed   signed in until [0-9: -]+\n", done.out
    )


def test_status_knows_what_the_daemon_forgot(person: Person) -> None:
    """A file of names without a daemon behind it is no sign-in."""
    person.save(sign_in())
    person.memory.end()
    assert person.forge("status") == (0, "not signed in anywhere\n", "")


def test_status_changes_nothing(person: Person) -> None:
    """To look is no use: no lifetime starts anew."""
    person.save(sign_in())
    names = person.memory.directory / "account-https-example.com"
    before = names.read_bytes(), names.stat().st_mtime
    person.forge("status")
    assert (names.read_bytes(), names.stat().st_mtime) == before


def test_socket_chooses_another_memory(person: Person, home: Path) -> None:
    """--socket and --timeout as git's cache has them, in both spellings."""
    person.save(sign_in())
    (home / "other").mkdir(mode=0o700)
    for words in (
        ("--socket", "other/socket"),
        ("--socket=~/other/socket", "--timeout=9"),
        ("--timeout", "9", "--socket", "other/s"),
    ):
        assert person.forge("status", *words) == (0, "not signed in anywhere\n", "")
    assert person.forge("status", "--socket", str(person.memory.socket)).out.startswith("example.com   alice ")


# -- logout -----------------------------------------------------------------------------------------------


def _gone(person: Person, account: str) -> bool:
    hidden = lines("protocol=https", "host=example.com.git-credential-forge.invalid", f"username={account}")
    return not person.memory.ask(lines(*HTTPS, f"username={account}")) and not person.memory.ask(hidden)


def test_logout_forgets_a_host(person: Person) -> None:
    """Every account there, answers and sessions; it says until when the tokens stay valid, and where to end them."""
    expiry = int(time.time()) + 3600
    person.save(sign_in(expiry=expiry), sign_in(account="bob", expiry=expiry + YEARS), sign_in("other.example"))
    done = person.forge("logout", "https://example.com")
    page = "to end it now: https://example.com/user/settings/applications\n"
    valid = "the token that git was given stays valid {}: this forge cannot revoke it by a call\n"
    assert done == (
        0,
        "forgot alice at example.com\n"
        + valid.format(f"until {_clock(expiry)}")
        + page
        + "forgot bob at example.com\n"
        + valid.format("until it is revoked there")
        + page,
        "",
    )
    assert _gone(person, "alice")
    assert _gone(person, "bob")
    assert person.accounts() == ["alice https://other.example"]


def test_logout_says_nothing_of_a_token_that_has_ended(person: Person) -> None:
    """Then there is nothing left to end."""
    person.save(sign_in(expiry=int(time.time()) - 5))
    assert person.forge("logout", "example.com") == (0, "forgot alice at example.com\n", "")


def test_logout_of_one_account(person: Person) -> None:
    """A name in the address: that account alone."""
    person.save(sign_in(), sign_in(account="bob"))
    done = person.forge("logout", "https://alice@example.com/alice/demo.git")
    assert done.out.startswith("forgot alice at example.com\n")
    assert "bob" not in done.out
    assert _gone(person, "alice")
    assert not _gone(person, "bob")
    assert person.accounts() == ["bob https://example.com"]


def test_logout_of_all(person: Person) -> None:
    """Every origin there is, one after the other; without any, nothing is said."""
    person.save(sign_in(), sign_in("forge.example:8443", "bob"), sign_in("127.0.0.1:3000", scheme="http"))
    done = person.forge("logout", "--all")
    assert (done.status, done.err) == (0, "")
    assert [line for line in done.out.splitlines() if line.startswith("forgot ")] == [
        "forgot alice at 127.0.0.1:3000",
        "forgot alice at example.com",
        "forgot bob at forge.example:8443",
    ]
    assert person.forge("status").out == "not signed in anywhere\n"
    assert _gone(person, "alice")
    assert list(person.memory.directory.glob("account-*")) == []
    assert person.forge("logout", "--all") == (0, "", "")


def test_logout_by_a_remotes_name(person: Person, home: Path) -> None:
    """As `login` takes it."""
    person.save(sign_in())
    for words in (("init", "-q"), ("remote", "add", "upstream", "https://example.com/alice/demo.git")):
        assert person.run("git", *words).status == 0
    assert (home / ".git").is_dir()
    assert person.forge("logout", "upstream").out.startswith("forgot alice at example.com\n")


@pytest.mark.parametrize(
    "where", ["https://other.example", "https://carol:word@example.com", "http://example.com", "https://example.com:8443"]
)
def test_logout_where_nobody_is_signed_in(person: Person, where: str) -> None:
    """One line, exit status 1, and everybody stays signed in."""
    person.save(sign_in(), sign_in(account="bob"))
    who = "carol is not" if "carol" in where else "not"
    shown = where.replace("carol:word@", "")
    assert person.forge("logout", where) == (1, "", f"forge: {who} signed in to {shown}\n{WHAT_IS}")
    assert len(person.accounts()) == 2


@pytest.mark.parametrize("where", ["git@example.com:alice/x", "https://", "https://exa mple.com"])
def test_logout_of_what_is_no_address(person: Person, where: str) -> None:
    """Not "not signed in", which would be believed."""
    person.save(sign_in())
    done = person.forge("logout", where)
    assert (done.status, done.out) == (1, "")
    assert "not signed in" not in done.err
    assert person.accounts() == ["alice https://example.com"]


def test_logout_takes_a_name_as_a_forge_does(person: Person) -> None:
    """Forges do not tell `Alice` from `alice`, and `get` does not either."""
    person.save(sign_in())
    assert person.forge("logout", "https://Alice@example.com").out.startswith("forgot alice at example.com\n")


@pytest.mark.parametrize("words", [(), ("--all", "https://example.com")])
def test_logout_wants_to_know_of_what(person: Person, words: tuple[str, ...]) -> None:
    """Neither by default everything, nor both."""
    person.save(sign_in())
    assert person.forge("logout", *words).status == 2
    assert person.accounts() == ["alice https://example.com"]


# -- login's arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), ("no remote is named origin", NAME_IT)),
        (("upstream",), ("no remote is named upstream", NAME_IT)),
        (("localhost:3000",), ("no remote is named localhost:3000", NAME_IT)),
        (("ssh://git@example.com/x",), ("git does not reach ssh://example.com/x by https", NAME_IT)),
        (("HTTPS://a b/",), ("not an http(s) address that one can sign in to: HTTPS://a b/",)),
        (
            ("https://b\u00fccher.example/x",),
            (
                "not an http(s) address that one can sign in to: https://b\u00fccher.example/x",
                "write its name as it is looked up, which begins with xn--",
            ),
        ),
        (
            ("http://alice@example.com/x",),
            (
                "not signed in to example.com: over plain http anybody on the way could read the token",
                "to allow it all the same: git config --global credential.http://example.com.forgeAllowHttp true",
            ),
        ),
        (("https://",), ("not an http(s) address that one can sign in to: https://",)),
        (("https://a b/",), ("not an http(s) address that one can sign in to: https://a b/",)),
        (("https://example.com:0",), ("not an http(s) address that one can sign in to: https://example.com:0",)),
        (
            ("https://e\x1b[31mx.example/ /",),
            ("there is a control character in https://e [31mx.example/ /",),
        ),
    ],
)
def test_login_refuses_in_words(person: Person, words: tuple[str, ...], said: tuple[str, ...]) -> None:
    """What is no address to sign in to: one line that says so, a hint where there is one, exit status 1."""
    assert person.forge("login", *words) == (1, "", "".join(f"forge: {line}\n" for line in said))


def test_login_takes_the_remotes_address(person: Person) -> None:
    """A remote that git reaches by SSH needs no sign-in."""
    for words in (("init", "-q"), ("remote", "add", "origin", "git@example.com:alice/demo.git")):
        assert person.run("git", *words).status == 0
    said = "forge: git does not reach git@example.com:alice/demo.git by https\n"
    assert person.forge("login") == (1, "", f"{said}forge: {NAME_IT}\n")


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ("https://example.com/git", ["alice https://example.com/forgejo"]),
        ("https://example.com/git/alice/x.git", ["alice https://example.com/forgejo"]),
        ("https://bob@example.com/git", ["alice https://example.com/git", "alice https://example.com/forgejo"]),
        ("https://example.com", []),
        ("https://example.com/elsewhere", []),
    ],
)
def test_logout_at_one_forge_of_a_host(person: Person, where: str, left: list[str]) -> None:
    """Where the path is one of theirs, the others stay."""
    person.save(sign_in(base="/git"), sign_in(base="/forgejo"), sign_in(account="bob", base="/git"))
    assert (person.forge("logout", where).status, person.accounts()) == (0, left)


def test_logout_of_somebody_who_is_not_there(person: Person) -> None:
    """At that forge: the other forge's is not meant."""
    person.save(sign_in(base="/git"), sign_in(account="bob", base="/forgejo"))
    done = person.forge("logout", "https://bob@example.com/git")
    assert done == (1, "", f"forge: bob is not signed in to https://example.com/git\n{WHAT_IS}")
    assert person.accounts() == ["alice https://example.com/git", "bob https://example.com/forgejo"]


# -- typed wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        *(("status", "--jsn"), ("status", "extra"), ("status", "--js"), ("logout", "a", "b"), ("logout", "--al")),
        *(("login", "a", "b"), ("login", "--paste=x"), ("unconfigure", "x"), ("configure", "--all")),
        *(("logout",), ("logout", "--all", "https://a"), ("login", "--device", "--paste", "https://a")),
        *(("status", "--timeout", "soon"), ("login", "--timeout"), ("logout", "--socket"), ("login", "--timeout=")),
    ],
)
def test_what_is_typed_wrong_is_shown(person: Person, words: tuple[str, ...]) -> None:
    """Usage and one line of what is wrong on standard error, exit status 2, nothing on standard output."""
    done = person.forge(*words)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"usage: git credential-forge {words[0]} ")
    assert f"\ngit credential-forge {words[0]}: error: " in done.err


@pytest.mark.parametrize("timeout", ["0", "-1", "99999999999"])
def test_a_timeout_that_is_none_is_refused(person: Person, timeout: str) -> None:
    """As before get, store and erase: a number of seconds that git's cache takes. (Nobody can sign in at `[::1`.)"""
    done = person.forge("login", f"--timeout={timeout}", "https://[::1")
    assert done.status == 2
    assert "--timeout" in done.err


def test_output_that_cannot_be_written_is_an_error(person: Person) -> None:
    """A full disk under standard output: said, and not exit status 0."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(person.installed / "git-credential-forge"), "status"],
            env=person.environment,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert b"Traceback" not in done.stderr
    assert os.strerror(28).encode() in done.stderr
