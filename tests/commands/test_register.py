"""`register` by the forge's page, by RFC 7591 and at another origin's server, and `unregister`; with stand-ins.

Applications of one's own, on a real server, are in tests/e2e/test_two_machines.py.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

import pytest

from tests.support.httpserver import Answer, Request
from tests.support.signing_in import StandIn, as_json
from tests.support.surroundings import SET_UP
from tests.support.terminal import OnTerminal

ID = "the-id-of-my-application"
SECRET = "the secret".replace(" ", "-of-my-application-")
KEPT = "~/.config/git-credential-forge/gitconfig"
UNKNOWN = {"error": "invalid_client", "error_description": "Client authentication failed"}


class Done(NamedTuple):
    status: int
    out: str
    err: str


class Person:
    """Somebody with a home and the installed program, and a browser that writes down what it was to open."""

    def __init__(self, home: Path, launcher: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.launcher = launcher
        self.opened = home / "opened"
        opener = home / "opener"
        opener.write_text(f'#!/bin/sh\necho "$1" >>{self.opened}\n')
        opener.chmod(0o755)
        self.environment = environment | {"BROWSER": str(opener)}
        self.ours = home / ".config/git-credential-forge/gitconfig"

    def forge(self, *words: str, given: str | None = None) -> Done:
        done = subprocess.run(
            [self.launcher, *words],
            env=self.environment,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.home,
            start_new_session=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def types(self, *words: str) -> OnTerminal:
        return OnTerminal([str(self.launcher), *words], self.environment, self.home)

    def kept(self) -> dict[str, str]:
        """What the machine-local file says of applications, by its key as git shows it."""
        if not self.ours.exists():
            return {}
        command = ["git", "config", "-z", "--file", str(self.ours), "--get-regexp", "oauth"]
        out = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False).stdout
        return dict(entry.split("\n", 1) for entry in out.split("\0") if entry)


@pytest.fixture
def person(home: Path, installed: Path, environment: dict[str, str]) -> Person:
    return Person(home, installed / "git-credential-forge", environment | SET_UP)


@pytest.fixture
def gitlab() -> Iterator[StandIn]:
    """A self-managed GitLab, which is told by what it says of itself; it knows one application."""
    with StandIn() as server:
        paths = {"authorization": "authorize", "token": "token", "registration": "register"}
        ends = {f"{name}_endpoint": f"{server.url}/oauth/{path}" for name, path in paths.items()}
        scopes = ["read_repository", "write_repository"]
        server.metadata = lambda _: server.describe(None, **ends, scopes_supported=scopes)
        server.other = lambda request: token(request, ID)
        yield server


@pytest.fixture
def server() -> Iterator[StandIn]:
    """A server that nobody knows, which describes itself, and takes registrations at `/register`."""
    with StandIn() as server:
        paths = {"authorization": "authorize", "token": "token", "registration": "register"}
        ends = {f"{name}_endpoint": f"{server.url}/{path}" for name, path in paths.items()}
        server.metadata = lambda _: server.describe(None, **ends)
        server.other = lambda request: registered(request) if request.target == "/register" else token(request, ID)
        yield server


def token(request: Request, known: str, secret: str | None = None) -> Answer:
    """A token endpoint that looks at the client first."""
    form = dict(parse_qsl(request.body.decode()))
    if not request.target.endswith("/token"):
        return Answer(404, [], b"")
    right = form.get("client_id") == known and (secret is None or form.get("client_secret") == secret)
    return as_json(400, {"error": "invalid_grant"}) if right else as_json(401, UNKNOWN)


def registered(request: Request, **changed: object) -> Answer:
    """RFC 7591, section 3.2.1: the answer repeats what was registered."""
    fields = {**json.loads(request.body), "client_id": ID, **changed}
    return as_json(201, {name: value for name, value in fields.items() if value is not None})


def shown(server: StandIn, name: str) -> list[str]:
    return [
        f"register an application at {server.url}/-/user_settings/applications",
        f"  Name          {name}",
        "  Redirect URI  http://127.0.0.1",
        "  Confidential  no",
        "  Scopes        read_repository write_repository",
    ]


def reported(server: StandIn, client_id: str = ID) -> list[str]:
    return [
        f"the client id {client_id} for {server.url} is kept in {KEPT}",
        f"the next git command signs in; or now: git credential-forge login {server.url}",
    ]


# By hand.


def test_at_a_terminal(person: Person, gitlab: StandIn) -> None:
    """The page is opened, and what to enter there is shown; the id is read with echo, the secret without; both are
    tried, and kept for their owner alone. GitLab's registration by a call is not used: it grants nothing of use."""
    gitlab.other = lambda request: token(request, ID, SECRET)
    with person.types("register", gitlab.url, "--name", "mine") as screen:
        screen.wait_for(r"client id: ")
        assert screen.echoes()
        screen.type(f" {ID} \n")
        screen.wait_for(r"its secret, which is not shown .*: ")
        assert not screen.echoes()
        screen.type(f"{SECRET}\n")
        assert screen.wait() == 0
        assert screen.echoes()
    assert screen.seen.splitlines() == [
        *shown(gitlab, "mine"),
        f"forge: client id:  {ID} ",
        "forge: its secret, which is not shown (Enter for none): ",
        *reported(gitlab),
    ]
    section = f"credential.{gitlab.url}"
    assert person.kept() == {f"{section}.oauthclientid": ID, f"{section}.oauthclientsecret": SECRET}
    assert person.ours.stat().st_mode & 0o777 == 0o600
    assert person.opened.read_text() == f"{gitlab.url}/-/user_settings/applications\n"
    assert [request.target for request in gitlab.asked if request.method == "POST"] == ["/oauth/token"]


def test_asked_again(person: Person, gitlab: StandIn) -> None:
    """An id that the forge does not know can be mended; with what is none, no secret is asked for."""
    with person.types("register", gitlab.url) as screen:
        for client_id in ("another", "two words", ID):
            screen.wait_for(r"client id: $")
            screen.type(f"{client_id}\n")
            if client_id != "two words":
                screen.wait_for(r"for none\): $")
                screen.type("\n")
            screen.seen = screen.seen.rstrip()
        assert screen.wait() == 0
    host = gitlab.host
    said = "Client authentication failed (invalid_client)"
    assert f"forge: {host} does not know this client id, or wants its secret as well ({said})\n" in screen.seen
    assert "forge: that is no client id: it is empty, or has other than visible characters in it\n" in screen.seen
    assert person.kept() == {f"credential.{gitlab.url}.oauthclientid": ID}


def test_a_code_instead_of_the_secret(person: Person) -> None:
    """GitHub's application signs in by the browser with its secret, and by a code without."""
    with person.types("register", "https://github.com") as screen:
        screen.wait_for(r"client id: ")
        screen.type(f"{ID}\n")
        screen.wait_for(r"its secret, which is not shown \(Enter for none, then a code signs you in\): ")
        screen.type("\x03")
        assert screen.wait() == 130


def test_no_answer(person: Person, gitlab: StandIn) -> None:
    """Ctrl-D at a question: a line of its own says that nothing was changed."""
    with person.types("register", gitlab.url) as screen:
        screen.wait_for(r"client id: ")
        screen.type("\x04")
        assert screen.wait() == 1
    assert screen.seen.endswith("forge: client id: \nforge: no answer came, so nothing was changed\n")
    assert not person.ours.exists()


def test_over_plain_http(person: Person) -> None:
    """Refused before the host is asked anything, with the key that allows it."""
    done = person.forge("register", "http://example.org")
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines() == [
        "forge: nothing was registered: over plain http anybody on the way to example.org reads along",
        "forge: to allow it all the same: git config --global credential.http://example.org.forgeAllowHttp true",
    ]


@pytest.mark.parametrize("at", ["id", "secret"])
def test_interrupted(person: Person, gitlab: StandIn, at: str) -> None:
    """Ctrl-C at a question: nothing is kept, and the terminal echoes again."""
    with person.types("register", gitlab.url) as screen:
        screen.wait_for(r"client id: ")
        if at == "secret":
            screen.type(f"{ID}\n")
            screen.wait_for(r"for none\): ")
        screen.type("\x03")
        assert screen.wait() == 130
        assert screen.echoes()
    assert not person.ours.exists()


@pytest.mark.parametrize("secret", ["", SECRET])
def test_from_standard_input(person: Person, gitlab: StandIn, secret: str) -> None:
    """Without a terminal: the id in the first line, its secret in a second."""
    done = person.forge("register", gitlab.url, given=f"{ID}\n{secret}\n")
    assert done == (0, "\n".join([*reported(gitlab), ""]), "")
    section = f"credential.{gitlab.url}"
    expected = {f"{section}.oauthclientid": ID}
    assert person.kept() == expected | ({f"{section}.oauthclientsecret": SECRET} if secret else {})
    assert not person.opened.exists()


def test_by_option(person: Person, gitlab: StandIn) -> None:
    """Standard input is not read then, for it may never end."""
    done = person.forge("register", gitlab.url, "--client-id", ID, given="not the secret\n")
    assert done == (0, "\n".join([*reported(gitlab), ""]), "")
    assert person.kept() == {f"credential.{gitlab.url}.oauthclientid": ID}


@pytest.mark.parametrize(
    ("key", "value", "asks"),
    [
        *((None, "", False), ("credential.helper", "cache", False)),
        ("credential.https://other.example.helper", "forge", False),
        *(("credential.helper", "forge", True), ("credential.helper", "/opt/bin/git-credential-forge", True)),
        *(("credential.{url}.helper", "forge", True), ("credential.{url}/.helper", "forge --timeout 60", True)),
        *(("credential.http://*.example.helper", "forge", True), ("credential.{url}/team.helper", "forge", False)),
        *(("credential.helper", "store --file /home/forge/.creds", False), ("credential.helper", "forged", False)),
    ],
)
def test_a_git_that_does_not_ask(person: Person, gitlab: StandIn, key: str | None, value: str, *, asks: bool) -> None:
    """Who has installed it and not run `configure` would wonder why git still asks for a password."""
    environment = {name: text for name, text in person.environment.items() if name not in SET_UP}
    person = Person(person.home, person.launcher, environment)
    if key:
        set_up = ["git", "config", "--global", "--add", key.format(url=gitlab.url), value]
        subprocess.run(set_up, env=environment, check=True)
    hint = "" if asks else "forge: git does not ask this program yet; to have it ask: git credential-forge configure\n"
    command = ("register", gitlab.url, "--client-id", ID)
    assert person.forge(*command) == (0, "\n".join([*reported(gitlab), ""]), hint)
    assert person.forge("configure", gitlab.url).status == 0
    assert person.forge(*command).err == ""


def test_a_git_that_was_told_to_forget_us(person: Person, gitlab: StandIn) -> None:
    """An empty helper clears those before it."""
    (person.home / ".gitconfig").write_text("[credential]\n\thelper = forge\n\thelper =\n\thelper = cache\n")
    bare = Person(person.home, person.launcher, {n: text for n, text in person.environment.items() if n not in SET_UP})
    assert bare.forge("register", gitlab.url, "--client-id", ID).err.startswith("forge: git does not ask this program")


def test_nobody_to_ask(person: Person, gitlab: StandIn) -> None:
    """Without terminal, option and input: what to enter, and how to go on."""
    done = person.forge("register", gitlab.url, "--name", "mine")
    assert done.status == 1
    assert done.out.splitlines() == shown(gitlab, "mine")
    assert done.err.splitlines() == [
        "forge: no terminal is there to ask for the client id",
        f"forge: with it: git credential-forge register {gitlab.url} --client-id ID",
        "forge: or give it on standard input, and its secret in a second line",
    ]
    assert not person.ours.exists()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("unknown", "{} does not know this client id, or wants its secret as well ({})"),
        (f"{ID}\nsecret\x07", "that is no client secret: it has other than visible characters in it, or is too long"),
        ("a b", "that is no client id: it is empty, or has other than visible characters in it"),
        ("x" * 513, "that is no client id: it is empty, or has other than visible characters in it"),
    ],
)
def test_nonsense_is_not_kept(person: Person, gitlab: StandIn, given: str, why: str) -> None:
    """What the forge does not know, or no forge could give out."""
    done = person.forge("register", gitlab.url, given=given + "\n")
    said = "Client authentication failed (invalid_client)"
    assert done == (1, "", f"forge: {why.format(gitlab.host, said)}\n")
    assert not person.ours.exists()


def test_a_wrong_redirect_address(person: Person, gitlab: StandIn) -> None:
    """Where the forge looks at it before the code, it is said."""
    said = {"error": "unauthorized_client", "error_description": "unexpected redirect URI"}
    gitlab.other = lambda _: as_json(400, said)
    done = person.forge("register", gitlab.url, "--client-id", ID)
    why = f"forge: {gitlab.host} knows it with another redirect address: it has to be http://127.0.0.1\n"
    assert done == (1, "", why)


def test_beside_what_a_person_put_there(person: Person, gitlab: StandIn) -> None:
    """configure, register twice, unregister, unconfigure: each takes and leaves its own, and theirs stays."""
    theirs = '[credential "https://other.example"]\n\toauthClientId = theirs # a comment\n'
    person.ours.parent.mkdir(parents=True)
    person.ours.write_text(theirs)
    person.ours.chmod(0o644)
    assert person.forge("configure").status == 0
    configured = person.ours.read_text()
    assert person.forge("register", gitlab.url, given=f"{ID}\n{SECRET}\n").status == 0
    once = person.ours.read_text()
    assert person.ours.stat().st_mode & 0o777 == 0o600
    assert once.startswith(configured)
    assert person.forge("register", gitlab.url, given=f"{ID}\n{SECRET}\n").status == 0
    assert person.ours.read_text() == once
    assert person.forge("unconfigure").status == 0
    assert person.ours.read_text().startswith(theirs)
    assert person.kept()[f"credential.{gitlab.url}.oauthclientsecret"] == SECRET
    done = person.forge("unregister", gitlab.url)
    page = f"{gitlab.url}/-/user_settings/applications"
    assert done == (
        0,
        f"forgot the client id for {gitlab.url}, which was in {KEPT}\n",
        f"forge: the application stays at {gitlab.host}; to delete it there: {page}\n",
    )
    assert person.ours.read_text() == theirs


def test_the_person_s_own_config_goes_first(person: Person, gitlab: StandIn) -> None:
    """What they have set themselves counts, and that it does is said."""
    own = f'[credential "{gitlab.url}"]\n\toauthClientId = mine\n'
    (person.home / ".gitconfig").write_text(own)
    done = person.forge("register", gitlab.url, "--client-id", ID)
    assert done.err.splitlines() == [
        "forge: your git config names another one, which goes before it: mine",
        f"forge: to take that out: git config --global --unset credential.{gitlab.url}.oauthClientId",
    ]
    assert (done.status, (person.home / ".gitconfig").read_text()) == (0, own)


def test_no_forge(person: Person) -> None:
    """A host that does not say where to sign in is told apart, with what helps."""
    with StandIn() as server:
        done = person.forge("register", server.url)
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines() == [
        f"forge: {server.host} is no forge that this program knows, and does not say where to sign in",
        f"forge: if it speaks OAuth, set credential.{server.url}.oauthAuthURL and …oauthTokenURL, and try again",
    ]


def test_a_challenge_tells_the_forge(person: Person) -> None:
    """A GitHub Enterprise publishes nothing: it is known by what it answers to git. Its page and terms are shown."""
    with StandIn() as server:
        server.other = lambda _: Answer(401, [("WWW-Authenticate", 'Basic realm="GitHub"')], b"")
        done = person.forge("register", server.url, "--name", "mine")
        assert done.out.splitlines() == [
            f"register an application at {server.url}/settings/applications/new",
            "  Application name            mine",
            "  Homepage URL                http://127.0.0.1",
            "  Authorization callback URL  http://127.0.0.1",
            "  Enable Device Flow          yes: it signs you in where no browser is, and without the secret",
        ]


# By itself.


@pytest.mark.parametrize("secret", [None, SECRET])
def test_by_itself(person: Person, server: StandIn, secret: str | None) -> None:
    """RFC 7591 where the metadata offers it: what is asked for, and what is kept of the answer."""
    more = {"registration_access_token": "not-to-be-kept", "client_secret": secret}
    server.other = lambda request: registered(request, **more)
    done = person.forge("register", server.url, "--name", "mine")
    assert done == (
        0,
        "\n".join([*reported(server), ""]),
        f'forge: {server.host} has registered this program as "mine"\n',
    )
    [sent] = [request for request in server.asked if request.method == "POST"]
    assert json.loads(sent.body) == {
        "client_name": "mine",
        "application_type": "native",
        "redirect_uris": ["http://127.0.0.1"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
    section = f"credential.{server.url}"
    expected = {f"{section}.oauthclientid": ID} | ({f"{section}.oauthclientsecret": secret} if secret else {})
    assert person.kept() == expected
    assert "not-to-be-kept" not in person.ours.read_text()


def test_it_refuses(person: Person, server: StandIn) -> None:
    """In its own words, cleaned; nothing is kept."""
    said = {"error": "invalid_client_metadata", "error_description": "not \x1b[31mhere"}
    server.other = lambda _: as_json(400, said)
    done = person.forge("register", server.url)
    assert done == (1, "", f"forge: {server.host} did not register an application: it said: not  [31mhere\n")
    assert not person.ours.exists()


# At another origin's server.


@pytest.fixture
def elsewhere(server: StandIn) -> Iterator[tuple[StandIn, StandIn]]:
    """A host that names another origin's authorization server, and that one."""
    with StandIn() as forge:
        document = {"resource": forge.url, "authorization_servers": [server.url]}
        well_known = "/.well-known/oauth-protected-resource"
        forge.metadata = lambda asked: as_json(200, document) if asked.target == well_known else Answer(404, [], b"")
        yield forge, server


def leaves(forge: StandIn, server: StandIn) -> list[str]:
    return [
        f"forge: {forge.host} leaves the sign-in to {server.host}",
        f"forge: who is there gets your consent, and tokens that {forge.host} takes",
    ]


@pytest.mark.parametrize("challenge", [True, False])
def test_elsewhere(person: Person, elsewhere: tuple[StandIn, StandIn], *, challenge: bool) -> None:
    """Shown and asked; on yes its endpoints are kept, whole, and it goes on there."""
    forge, server = elsewhere
    if challenge:
        pointer = f'Bearer resource_metadata="{forge.url}/.well-known/oauth-protected-resource"'
        forge.other = lambda _: Answer(401, [("WWW-Authenticate", pointer)], b"")
    with person.types("register", forge.url, "--name", "mine") as screen:
        screen.wait_for(r"\[y/N\] ")
        assert server.asked == [], "nobody asks there before the person has said so"
        screen.type("y\n")
        assert screen.wait() == 0
    assert screen.seen.splitlines() == [
        *leaves(forge, server),
        f"forge: is {server.host} where you sign in for it? [y/N] y",
        f'forge: {forge.host} has registered this program as "mine"',
        *reported(forge),
    ]
    section = f"credential.{forge.url}"
    assert person.kept() == {
        f"{section}.oauthauthurl": f"{server.url}/authorize",
        f"{section}.oauthtokenurl": f"{server.url}/token",
        f"{section}.oauthclientid": ID,
    }


def test_elsewhere_again(person: Person, elsewhere: tuple[StandIn, StandIn]) -> None:
    """What was kept of it is not taken for the person's word: it is found and asked about anew."""
    forge, server = elsewhere
    for client_id in (ID, "another"):
        server.other = lambda request, client_id=client_id: registered(request, client_id=client_id)  # type: ignore[misc]
        with person.types("register", forge.url) as screen:
            screen.wait_for(r"\[y/N\] ")
            screen.type("y\n")
            assert screen.wait() == 0
    assert person.kept()[f"credential.{forge.url}.oauthclientid"] == "another"
    assert len(person.kept()) == 3
    done = person.forge("unregister", forge.url)
    assert (done.status, done.out) == (0, f"forgot the client id for {forge.url}, which was in {KEPT}\n")
    assert not person.ours.exists()


@pytest.mark.parametrize("answer", ["\n", "n\n", "what\n"])
def test_not_elsewhere(person: Person, elsewhere: tuple[StandIn, StandIn], answer: str) -> None:
    """Anything but a yes: nobody asks there, nothing is kept."""
    forge, server = elsewhere
    with person.types("register", forge.url) as screen:
        screen.wait_for(r"\[y/N\] ")
        screen.type(answer)
        assert screen.wait() == 1
    assert screen.seen.splitlines()[-1] == "forge: nothing was registered"
    assert (server.asked, person.ours.exists()) == ([], False)


def test_elsewhere_without_a_terminal(person: Person, elsewhere: tuple[StandIn, StandIn]) -> None:
    """`--yes` is no answer to that question."""
    forge, server = elsewhere
    done = person.forge("register", forge.url, "--yes")
    assert done.status == 1
    assert done.err.splitlines() == [
        *leaves(forge, server),
        f"forge: nothing was registered: no terminal is there to ask whether {server.host} is the right place",
        f"forge: if it is, set credential.{forge.url}.oauthAuthURL and …oauthTokenURL to its endpoints, and try again",
    ]
    assert (server.asked, person.ours.exists()) == ([], False)


@pytest.mark.parametrize(
    "wrong", [{"issuer": "https://another.example"}, {"token_endpoint": "https://another.example/token"}]
)
def test_elsewhere_with_wrong_metadata(
    person: Person, elsewhere: tuple[StandIn, StandIn], wrong: dict[str, object]
) -> None:
    """What that server says of itself is checked as ever."""
    forge, server = elsewhere
    server.metadata = lambda _: server.describe(None, **wrong)
    with person.types("register", forge.url) as screen:
        screen.wait_for(r"\[y/N\] ")
        screen.type("y\n")
        assert screen.wait() == 1
    last = f"forge: {server.host} does not say where to sign in, or says it wrongly"
    assert (screen.seen.splitlines()[-1], person.ours.exists()) == (last, False)


# An application of one's own: the question.


@pytest.fixture
def forgejo() -> Iterator[StandIn]:
    with StandIn() as server:
        server.metadata = server.describe
        yield server


@pytest.mark.parametrize("name", ["", " "])
def test_a_name_that_is_none(person: Person, name: str) -> None:
    done = person.forge("register", "https://forge.example", "--name", name)
    assert (done.status, done.out) == (2, "")
    assert done.err.endswith("error: argument --name: a name is needed\n")


def test_own_is_asked_for(person: Person, forgejo: StandIn) -> None:
    """Said what and why, and no is no."""
    with person.types("register", forgejo.url, "--name", "mine") as screen:
        screen.wait_for(r"create it\? \[Y/n\] ")
        screen.type("n\n")
        assert screen.wait() == 1
    assert screen.seen.splitlines() == [
        f'forge: {forgejo.host} gets an application for this computer alone, called "mine"',
        "forge: other computers then no longer end its sign-in, and its tokens are good for git and your name alone",
        "forge: in one tab you sign in with the shared application, to create it, and then with the new one",
        "forge: create it? [Y/n] n",
        "forge: nothing was created",
    ]
    assert (person.opened.exists(), person.ours.exists()) == (False, False)


def test_own_without_a_terminal(person: Person, forgejo: StandIn) -> None:
    """Refused in words, with the answer that can be given."""
    done = person.forge("register", forgejo.url)
    assert done.status == 1
    assert done.err.splitlines()[3:] == [
        "forge: nothing was created: no terminal is there to ask on",
        f"forge: to answer yes: git credential-forge register {forgejo.url} --yes",
    ]
    assert (person.opened.exists(), person.ours.exists()) == (False, False)


def test_own_where_the_shared_application_is_not(person: Person, forgejo: StandIn) -> None:
    """Then by hand, on its page; an id of one's own is narrower than the shared one."""
    forgejo.probe = lambda request: token(replace(request, target="/token"), ID)
    done = person.forge("register", forgejo.url, "--name", "mine", given=f"{ID}\n")
    assert (done.status, done.out.splitlines()) == (0, reported(forgejo))
    assert done.err.splitlines() == [
        f"forge: {forgejo.host} does not know the application that Forgejo or Gitea usually ships",
        "forge: so you create one of your own on its page",
    ]
    section = f"credential.{forgejo.url}"
    assert person.kept() == {f"{section}.oauthclientid": ID, f"{section}.oauthscopes": "write:repository read:user"}
