"""In a Coder workspace: real git, a real repository behind a token that Coder has, a Coder that is asked for it."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.coder import Coder
from tests.support.forge import Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.httpserver import Answer, HttpServer
from tests.support.keychain import Keychain
from tests.support.memory import save, sign_in
from tests.support.person import Done, Person
from tests.support.programs import traced
from tests.support.signing_in import NAMED, answer_of
from tests.support.storm import OwnInstall, Storm
from tests.support.terminal import OnTerminal

AGENT = "/api/v2/workspaceagents/me/external-auth"
MANY = 16
OPENER = "#!/bin/sh\nprintf '%s\\n' \"$1\" >>'{}'\n"
ASKPASS = "#!/bin/sh\ntouch '{}'\nexit 1\n"


class Workspace(NamedTuple):
    """A person in a workspace. `coder gitaskpass` stands there too, as Coder sets it up; it must not be needed."""

    person: Person
    coder: Coder
    forge: Forge
    outside: Path  # a directory that is not of their home

    def link(self, token: str | None = None) -> str:
        """The person has linked the forge; the token that Coder then has."""
        given = token or str(self.forge.mint()["access_token"])
        self.coder.link("gitea", given)
        return given

    def asked(self, *, listening: bool = False) -> list[dict[str, str]]:
        """What the agent's API was asked."""
        return [each.query for each in self.coder.requests(AGENT) if ("listen" in each.query) == listening]

    @property
    def opened(self) -> list[str]:
        """The pages that a browser was to open."""
        path = self.outside / "opened"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def page(self) -> str:
        return f"{self.coder.url}/external-auth/gitea"

    def fetch(self) -> Done:
        return self.person.git("ls-remote", "-q", self.forge.repo_url(), "HEAD")

    def fetch_alone(self) -> Done:
        """With nobody there to be asked, by us or by git."""
        words = ("ls-remote", "-q", self.forge.repo_url(), "HEAD")
        return self.person.git(*words, CI="1", GIT_TERMINAL_PROMPT="0", GIT_ASKPASS="")

    @property
    def not_answered(self) -> Done:
        """What that one does then."""
        words = f"fatal: could not read Username for '{self.forge.url}': terminal prompts disabled\n"
        return Done(128, "", words)

    @property
    def right(self) -> Done:
        """What a fetch does that is let in without a word."""
        return Done(0, f"{self.forge.head()}\tHEAD\n", "")

    def get(self, *more: str) -> str:
        """What git is answered for the forge."""
        given = "\n".join(["protocol=https", f"host={self.forge.host}", *more, "", ""])
        return self.person.git("credential-forge", "get", given=given).out

    def set(self, key: str, value: str) -> None:
        assert self.person.git("config", "--global", f"credential.{key}", value).status == 0


def enter(person: Person, coder: Coder, forge: Forge, outside: Path) -> Workspace:
    """A workspace whose Coder knows the forge. The agent's token is in a file, so that no process may have it."""
    coder.add("gitea", match=re.escape(forge.url) + "(/.*)?")
    for name, text in (("browser", OPENER.format(outside / "opened")), ("askpass", ASKPASS.format(outside / "asked"))):
        (outside / name).write_text(text)
        (outside / name).chmod(0o755)
    (outside / "token").write_text(f"{coder.agent_token}\n")
    person.environment |= {
        "CODER": "true",
        "CODER_AGENT_URL": f"{coder.url}/",
        "CODER_AGENT_TOKEN_FILE": str(outside / "token"),
        "GIT_ASKPASS": str(outside / "askpass"),
        "BROWSER": str(outside / "browser"),
    }
    return Workspace(person, coder, forge, outside)


def leave(workspace: Workspace) -> None:
    assert workspace.person.leaks.found({"agent token": [workspace.coder.agent_token]}) == []
    assert not (workspace.outside / "asked").exists(), "coder gitaskpass was asked"
    sent = {each.headers.get("coder-session-token") for each in workspace.coder.requests(AGENT)}
    assert sent <= {workspace.coder.agent_token}


@pytest.fixture
def coder() -> Iterator[Coder]:
    with Coder(2026) as running:
        yield running


@pytest.fixture
def workspace(person: Person, coder: Coder, forge: Forge, tmp_path: Path) -> Iterator[Workspace]:
    entered = enter(person, coder, forge, tmp_path)
    yield entered
    leave(entered)


# Linked.


@pytest.mark.parametrize("generation", [2025, 2026])
def test_clone_and_push(person: Person, forge: Forge, tmp_path: Path, generation: int) -> None:
    """With a linked forge: no browser, no word, one request with the agent's token for both commands."""
    with Coder(generation) as coder:
        workspace = enter(person, coder, forge, tmp_path)
        token = workspace.link()
        work = person.home / "work"
        assert person.git("clone", "-q", forge.repo_url(), str(work)) == (0, "", "")
        person.commit(work, f"more, with the Coder of {generation}")
        assert person.git("push", "-q", cwd=work) == (0, "", "")
        assert forge.head() == person.git("rev-parse", "HEAD", cwd=work).out.strip()
        assert workspace.asked() == [{"match": forge.url}]
        assert (workspace.opened, workspace.asked(listening=True)) == ([], [])
        assert answer_of(workspace.get())["username"] == "oauth2"
        assert answer_of(workspace.get())["password"] == token
        leave(workspace)


def test_a_warm_hit_starts_no_python(workspace: Workspace, tmp_path: Path) -> None:
    """Within the minute the launcher answers, and Coder is not asked."""
    workspace.link()
    assert workspace.fetch() == workspace.right
    given = f"protocol=https\nhost={workspace.forge.host}\n\n".encode()
    done = traced(["git", "credential", "fill"], given, workspace.person.environment, tmp_path)
    assert done.names == ["git", "sh", "git"]
    assert b"\nusername=oauth2\npassword=" in done.out
    assert len(workspace.asked()) == 1
    [names] = (workspace.person.home / ".cache/git-credential-forge").glob("account-*")
    assert time.time() < names.stat().st_mtime <= time.time() + 60, "until then, and no longer"


def test_after_a_minute_coder_is_asked_again(
    home: Path, installed: Path, forge: Forge, coder: Coder, tmp_path: Path
) -> None:
    """The answer lives for sixty seconds from when it came, however often it is used; then it is whatever Coder says
    now."""
    own = OwnInstall(tmp_path / "own", installed)
    person = Person(home, own.bin, forge)
    assert person.git("credential-forge", "configure").status == 0
    workspace = enter(person, coder, forge, tmp_path)

    def password() -> str:
        given = f"protocol=https\nhost={forge.host}\n\n"
        return answer_of(person.run("git-credential-forge--main", "get", given=given).out)["password"]

    first = workspace.link()
    for at, number in ((0, 1), (30, 1), (50, 1), (62, 2), (100, 2), (124, 3)):
        own.set(at)
        assert password() == first
        assert len(workspace.asked()) == number, at
    second = workspace.link()
    assert password() == first
    own.set(200)
    assert password() == second
    leave(workspace)


def test_nobody_has_to_be_there(workspace: Workspace) -> None:
    """A token that Coder has needs no person."""
    workspace.link()
    assert workspace.fetch_alone() == workspace.right


@pytest.mark.parametrize("name", ["alice", "oauth2", "somebody else"])
def test_whatever_name_the_remote_has(workspace: Workspace, name: str) -> None:
    """Coder does not say whose token it is; forges that take any name get the one that was asked for."""
    token = workspace.link()
    for _ in range(2):
        answer = answer_of(workspace.get(f"username={name}"))
        assert (answer["username"], answer["password"]) == (name, token)
    assert workspace.asked() == [{"match": workspace.forge.url}]


def test_sixteen_at_once(workspace: Workspace) -> None:
    """One request to Coder, and all are answered."""
    workspace.link()
    done = workspace.person.at_once(MANY, "ls-remote", "-q", workspace.forge.repo_url(), "HEAD")
    assert done == [workspace.right] * MANY
    assert workspace.asked() == [{"match": workspace.forge.url}]


def test_the_token_in_a_variable(person: Person, coder: Coder, forge: Forge, tmp_path: Path) -> None:
    """It is in the person's environment, and so in git's and ours; not in that of what is started here, nor anywhere
    else."""
    workspace = enter(person, coder, forge, tmp_path)
    token = workspace.link()
    del person.environment["CODER_AGENT_TOKEN_FILE"]
    # The daemon is started by this, and not below strace, which would wait for it.
    assert person.git("credential", "approve", given="url=https://a:b@example.org\n\n").status == 0
    program = str(Path(person.environment["PATH"].partition(":")[0], "git-credential-forge--main"))
    given = f"protocol=https\nhost={forge.host}\n\n".encode()
    done = traced([program, "get"], given, person.environment | {"CODER_AGENT_TOKEN": coder.agent_token}, tmp_path)
    assert answer_of(done.out.decode())["password"] == token
    calls = [line for line in done.log.splitlines() if " execve(" in line]
    assert [call.count(coder.agent_token) for call in calls if program in call] == [1]
    assert len(calls) > 3
    assert [call for call in calls if program not in call and coder.agent_token in call] == []
    assert set(person.leaks.found({"agent token": [coder.agent_token]})) <= {"agent token in an environment"}


def test_paths(workspace: Workspace) -> None:
    """With useHttpPath what Coder gives is for the whole host all the same, and it is asked once."""
    workspace.set("useHttpPath", "true")
    token = workspace.link()
    for path in ("alice/demo.git", "alice/a b.git"):
        assert answer_of(workspace.get(f"path={path}"))["password"] == token
    assert workspace.asked() == [{"match": workspace.forge.url}]


def test_a_path_that_looks_like_a_host(workspace: Workspace) -> None:
    """A deployment's pattern need not be bound to the host: a path with the forge's name in it, at another host, is not
    shown to Coder, and no token goes there."""
    workspace.set("useHttpPath", "true")
    host = workspace.forge.host
    workspace.coder.add("loose", match=re.escape(host))
    workspace.coder.link("loose", workspace.link())
    asked = f"protocol=https\nhost=evil.example\npath={host}/x.git\n\n"
    assert workspace.person.git("credential-forge", "get", given=asked, CI="1") == (0, "", "")
    assert workspace.asked() == [{"match": "https://evil.example"}]


def test_a_sign_in_of_ones_own_is_not_written_over(workspace: Workspace, installed: Path) -> None:
    """A lent token that comes under the name of somebody who has signed in themselves is given, and not kept there."""
    workspace.link()
    lent = answer_of(workspace.get("username=bob"))["password"]
    save(installed, workspace.person.environment, sign_in(workspace.forge.host, "alice", "alice-s-own"))
    erased = f"protocol=https\nhost={workspace.forge.host}\nusername=bob\npassword={lent}\n\n"
    assert workspace.person.git("credential-forge", "erase", given=erased) == (0, "", "")
    workspace.set("oauthDefaultUserName", "alice")
    assert answer_of(workspace.get())["password"] == lent
    assert answer_of(workspace.get("username=alice"))["password"] == "alice-s-own"


def test_never_from_now_on(workspace: Workspace) -> None:
    """With `forgeCoder = never` what was lent before stands in nobody's way: a token that git has us keep is given."""
    lent = workspace.link()
    name = answer_of(workspace.get())["username"]
    where = f"protocol=https\nhost={workspace.forge.host}\n"
    erased = f"{where}username={name}\npassword={lent}\n\n"
    assert workspace.person.git("credential-forge", "erase", given=erased) == (0, "", "")
    workspace.set("forgeCoder", "never")
    workspace.person.git("credential-forge", "get", given=f"{where}\n", CI="1")
    approved = f"{where}username=carol\npassword=carols\n\n"
    assert workspace.person.git("credential", "approve", given=approved) == (0, "", "")
    assert answer_of(workspace.get())["username"] == "carol"


# Refused by the forge.


def test_repaired_within_the_command(workspace: Workspace, repairing: Person) -> None:
    """A token that was revoked in between: git comes again, Coder is asked again, the push ends well."""
    workspace.link()
    work = repairing.home / "work"
    assert repairing.git("clone", "-q", workspace.forge.repo_url(), str(work)) == (0, "", "")
    workspace.forge.revoke_all()
    token = workspace.link()
    repairing.commit(work, "more, after a repair")
    assert repairing.git("push", "-q", cwd=work) == (0, "", "")
    assert workspace.forge.head() == repairing.git("rev-parse", "HEAD", cwd=work).out.strip()
    assert answer_of(workspace.get())["password"] == token
    assert len(workspace.asked()) == 2


def test_sixteen_are_repaired_by_one_request(workspace: Workspace, repairing: Person) -> None:
    """Each git comes again; the first one of ours asks, the others take what it got."""
    workspace.link()
    assert workspace.fetch() == workspace.right
    workspace.forge.revoke_all()
    workspace.link()
    done = repairing.at_once(MANY, "ls-remote", "-q", workspace.forge.repo_url(), "HEAD")
    assert done == [workspace.right] * MANY
    assert len(workspace.asked()) == 2


def test_the_same_token_again(workspace: Workspace, repairing: Person) -> None:
    """Coder still gives what the forge refuses: git is given it once more, with that reason; no loop, and no tab."""
    workspace.link()
    assert workspace.fetch() == workspace.right
    workspace.forge.revoke_all()
    done = repairing.git("ls-remote", "-q", workspace.forge.repo_url(), "HEAD")
    host = workspace.forge.host
    refused = f"forge: {host} refuses this repository to the account that is linked in Coder, whose token is a moment"
    anew = f"forge: to sign in anew all the same: git credential-forge login {workspace.forge.url}\n"
    assert done.status == 128
    assert done.err.startswith(f"{refused} old\n{anew}")
    assert len(workspace.asked()) == 2
    assert workspace.opened == []


def test_the_next_command_on_an_older_git(workspace: Workspace, older: Person) -> None:
    """Before 2.46 the command fails, and the next one asks Coder again."""
    workspace.link()
    assert workspace.fetch() == workspace.right
    workspace.forge.revoke_all()
    workspace.link()
    assert older.git("ls-remote", "-q", workspace.forge.repo_url()).status == 128
    assert workspace.fetch() == workspace.right
    assert len(workspace.asked()) == 2


# Not linked.


def invites(workspace: Workspace) -> str:
    """What is said while a browser is opened."""
    first = f"forge: {workspace.forge.host} is not linked in Coder yet: see your browser\n"
    return f"{first}forge: no browser here? open {workspace.page} in any browser\n"


def linked(workspace: Workspace) -> str:
    return f"forge: {workspace.forge.host} is linked in Coder now\n"


def no_token(workspace: Workspace, why: str) -> str:
    return (
        f"forge: no token for {workspace.forge.host} from Coder: {why}\n"
        f"forge: to link it: open {workspace.page}, then run the command again\n"
        f"forge: to sign in without Coder: git credential-forge login {workspace.forge.url}\n"
    )


@pytest.mark.parametrize(("cut_after", "listens"), [(None, 1), (1.1, 2), (0.01, 3)])
def test_linked_while_git_waits(workspace: Workspace, cut_after: float | None, listens: int) -> None:
    """The page is opened, once; the clone goes on when the person has linked the forge, also where something on the
    way cuts what is held open, or lets nothing through for a while."""
    workspace.coder.cut_after = cut_after
    work = workspace.person.home / "work"
    with Storm(workspace.person) as storm:
        storm.start("git", "clone", "-q", workspace.forge.repo_url(), str(work))
        storm.until(lambda: len(workspace.asked(listening=True)) >= listens)
        workspace.coder.cut_after = None
        workspace.link()
        [done] = storm.ended()
    assert done == (0, "", invites(workspace) + linked(workspace))
    assert (work / "README").exists()
    assert workspace.opened == [workspace.page]
    assert len(workspace.asked()) == 1
    assert workspace.fetch() == workspace.right
    assert len(workspace.asked()) == 1


def test_sixteen_at_once_and_not_linked(workspace: Workspace) -> None:
    """One page, and all are answered; each of the others has said once that it waits."""
    waits = f"forge: another git waits for {workspace.forge.host} to be linked in Coder, waiting for it (Ctrl-C to stop"
    with Storm(workspace.person) as storm:
        storm.start("git", "ls-remote", "-q", workspace.forge.repo_url(), "HEAD", number=MANY)
        storm.until(lambda: len(storm.saying(waits)) == MANY - 1)
        storm.until(lambda: bool(workspace.asked(listening=True)))
        workspace.link()
        done = storm.ended()
    assert [each[:2] for each in done] == [workspace.right[:2]] * MANY
    leader = invites(workspace) + linked(workspace)
    assert sorted(each.err for each in done) == sorted([leader, *[f"{waits} waiting)\n"] * (MANY - 1)])
    assert workspace.opened == [workspace.page]


def test_on_a_terminal(workspace: Workspace) -> None:
    """Without a browser here the page is shown; what Coder gets meanwhile is what git is given."""
    del workspace.person.environment["BROWSER"]
    command = ["git", "ls-remote", "-q", workspace.forge.repo_url(), "HEAD"]
    with OnTerminal(command, workspace.person.environment, workspace.person.home) as terminal:
        terminal.wait_for(re.escape(f"forge: to link it, open {workspace.page} in any browser"))
        workspace.link()
        assert terminal.wait() == 0
    first = f"forge: {workspace.forge.host} is not linked in Coder yet\n"
    shown = f"{first}forge: to link it, open {workspace.page} in any browser\n{linked(workspace)}"
    assert terminal.seen == shown + workspace.right.out


def test_a_page_elsewhere_is_not_opened(workspace: Workspace) -> None:
    """One that is not at the deployment's own origin: a person looks at it first."""
    address = workspace.coder.url.replace("127.0.0.1", "localhost")
    workspace.person.environment["CODER_AGENT_URL"] = address
    command = ["git", "ls-remote", "-q", workspace.forge.repo_url(), "HEAD"]
    with OnTerminal(command, workspace.person.environment, workspace.person.home) as terminal:
        shown = f"forge: to link it, open {workspace.page} in any browser, if you know it: it is not at {address}"
        terminal.wait_for(re.escape(shown))
        workspace.link()
        assert terminal.wait() == 0
    assert workspace.opened == []


def test_nowhere_to_show_it(workspace: Workspace) -> None:
    """Neither a browser nor a terminal: it is said at once, and nobody waits."""
    del workspace.person.environment["BROWSER"]
    done = workspace.fetch()
    assert (done.status, done.out) == (128, "")
    said, quits = done.err.split("fatal: ")
    assert said == no_token(workspace, "it is not linked there yet")
    assert quits.endswith("told us to quit\n")
    assert workspace.asked(listening=True) == []


def test_nobody_is_there(workspace: Workspace) -> None:
    """Not linked, and nobody to be asked: not a word of ours, no page, and no sign-in of ours."""
    assert workspace.fetch_alone() == workspace.not_answered
    assert (workspace.opened, workspace.asked(listening=True)) == ([], [])


def test_nobody_links_it(workspace: Workspace) -> None:
    """After the deadline that is said, also to who comes soon, without a page or a wait; who has linked it meanwhile
    goes on at once."""
    workspace.set("forgeSignInTimeout", "1")
    refused = no_token(workspace, "nobody linked it within 1 s")
    first = workspace.fetch()
    assert (first.status, first.err.partition("fatal: ")[0]) == (128, invites(workspace) + refused)
    before = len(workspace.opened), len(workspace.asked(listening=True))
    soon = workspace.fetch()
    assert (soon.status, soon.err.partition("fatal: ")[0]) == (128, refused)
    assert (len(workspace.opened), len(workspace.asked(listening=True))) == before
    workspace.link()
    assert workspace.fetch() == workspace.right


def test_ctrl_c(workspace: Workspace) -> None:
    """Who cancels has said no for all who wait."""
    with Storm(workspace.person) as storm:
        [first] = storm.start("git", "ls-remote", "-q", workspace.forge.repo_url())
        storm.until(lambda: bool(workspace.asked(listening=True)))
        [other] = storm.start("git", "ls-remote", "-q", workspace.forge.repo_url())
        storm.until(lambda: storm.saying("waiting for it") == [other])
        first.interrupt()
        storm.ended()
    assert first.err == invites(workspace)
    assert other.err.partition("\n")[2].partition("fatal: ")[0] == no_token(workspace, "it was cancelled")


def test_git_is_killed(workspace: Workspace) -> None:
    """A helper whose git is gone does not wait on."""
    with Storm(workspace.person) as storm:
        [one] = storm.start("git", "ls-remote", "-q", workspace.forge.repo_url())
        storm.until(lambda: bool(workspace.asked(listening=True)))
        one.kill_git()
        storm.until(lambda: not one.helpers(), within=5)


# Where Coder gives nothing.


def signs_in(workspace: Workspace) -> str:
    """What our own sign-in says."""
    host = workspace.forge.host
    opens = f"forge: signing in to {host} in your browser\n{NAMED}"
    return f"{opens}forge: signed in as alice at {host}, kept in memory while you work, and two hours more\n"


def test_no_provider(workspace: Workspace, browser: GentleBrowser) -> None:
    """Our own sign-in goes on as anywhere else, and Coder is not asked for this origin again."""
    coder, person = workspace.coder, workspace.person
    person.environment["BROWSER"] = str(browser.opener)
    with Coder(2025) as another:
        another.add("other", match="https://other[.]example")
        (workspace.outside / "token").write_text(another.agent_token)
        person.environment["CODER_AGENT_URL"] = another.url
        assert workspace.fetch() == workspace.right._replace(err=signs_in(workspace))
        assert len(another.requests(AGENT)) == 1
        assert person.git("credential-forge", "logout", workspace.forge.url).status == 0
        assert workspace.fetch() == workspace.right._replace(err=signs_in(workspace))
        assert len(another.requests(AGENT)) == 1
    assert coder.requests(AGENT) == []


def test_others_get_no_token(workspace: Workspace) -> None:
    """Plain http to another machine: Coder is not asked. Another https host: asked, and nothing is given."""
    workspace.link()
    workspace.person.environment["GIT_TERMINAL_PROMPT"] = "0"
    for where in ("protocol=http\nhost=git.example.org", "protocol=https\nhost=other.example"):
        assert workspace.person.git("credential-forge", "get", given=f"{where}\n\n") == (0, "", "")
    assert workspace.asked() == [{"match": "https://other.example"}]


@pytest.mark.parametrize("key", ["forgeCoder", "forgeFlow"])
def test_never(workspace: Workspace, key: str, browser: GentleBrowser) -> None:
    """Who wants nothing of Coder is not asked for by it: another sign-in goes on, or none."""
    workspace.link()
    workspace.person.environment["BROWSER"] = str(browser.opener)
    workspace.set(f"{workspace.forge.url}.{key}", "never")
    if key == "forgeCoder":
        assert workspace.fetch() == workspace.right._replace(err=signs_in(workspace))
    else:
        assert workspace.get() == ""
    assert workspace.coder.requests(AGENT) == []


@pytest.mark.parametrize(
    "broken", ["wrong token", "no such file", "unreachable", "web page", "plain http", "server error"]
)
def test_what_is_wrong_is_said(workspace: Workspace, browser: GentleBrowser, broken: str) -> None:
    """In one line, with whose token it was; then our own sign-in goes on. It is not asked, and not said, again within
    the quiet period."""
    person, answers = workspace.person, {"web page": (200, "text/html", b"<html>"), "server error": (500, "a/b", b"")}
    person.environment["BROWSER"] = str(browser.opener)
    token = workspace.outside / "token"
    status, kind, body = answers.get(broken, (404, "text/plain", b""))
    stand_in = HttpServer(lambda _: Answer(status, [("Content-Type", kind)], body))
    there = f"127.0.0.1:{stand_in.port}"
    if broken in answers or broken == "unreachable":
        person.environment["CODER_AGENT_URL"] = f"http://{there}"
    if broken == "unreachable":
        stand_in.stop()
    why = {
        "web page": f"{there} is no Coder now: it answered with a web page (HTTP 200)",
        "server error": f"{there} answered with HTTP 500",
        "unreachable": f"{there} cannot be reached (Connection refused)",
        "wrong token": f"{workspace.coder.host} refuses the agent token of CODER_AGENT_TOKEN_FILE, {token}: Workspace "
        "agent not authorized: The agent cannot authenticate until the workspace provision job has been completed. If "
        "the job is no longer running, this agent is invalid",
        "no such file": f"CODER_AGENT_TOKEN_FILE, {token}, cannot be read: No such file or directory",
        "plain http": "CODER_AGENT_URL is no https address, and the agent token could be read on the way",
    }[broken]
    if broken == "wrong token":
        token.write_text("99999999-2222-3333-4444-555555555555")
    elif broken == "no such file":
        token.unlink()
    elif broken == "plain http":
        person.environment["CODER_AGENT_URL"] = "http://coder.example.org"
    said = f"forge: no token for {workspace.forge.host} from Coder: {why}\n"
    assert workspace.fetch_alone() == workspace.not_answered
    for path in (workspace.person.home / ".cache/git-credential-forge").glob("no-coder-*"):
        path.unlink()  # nobody was told
    asked = len(workspace.coder.requests(AGENT))
    assert workspace.fetch() == workspace.right._replace(err=said + signs_in(workspace))
    assert len(workspace.coder.requests(AGENT)) - asked == (broken == "wrong token")
    asked = len(workspace.coder.requests(AGENT))
    assert person.git("credential-forge", "logout", workspace.forge.url).status == 0
    assert workspace.fetch() == workspace.right._replace(err=signs_in(workspace))
    assert len(workspace.coder.requests(AGENT)) == asked
    if broken != "unreachable":
        stand_in.stop()
    workspace.coder.log.clear()


# Beside our own sign-ins.


def test_our_own_sign_in_goes_first(workspace: Workspace, browser: GentleBrowser) -> None:
    """Who has signed in here is not given another account's token; who signs in later is not given it any more."""
    token = workspace.link()
    assert answer_of(workspace.get())["password"] == token
    workspace.person.environment["BROWSER"] = str(browser.opener)
    assert workspace.person.git("credential-forge", "login", workspace.forge.url).status == 0
    own = answer_of(workspace.get())
    assert own["username"] == "alice"
    assert own["password"] != token
    workspace.forge.expire_access_tokens()
    assert workspace.person.git("credential", "reject", given=f"url={workspace.forge.url}\n{_lines(own)}\n").status == 0
    assert answer_of(workspace.get())["username"] == "alice"
    assert len(workspace.forge.log("refresh")) == 1
    assert len(workspace.asked()) == 1


def _lines(answer: dict[str, str]) -> str:
    return f"username={answer['username']}\npassword={answer['password']}\n"


def test_no_keychain(workspace: Workspace, tmp_path: Path) -> None:
    """What Coder lends is in memory alone, whatever is set for sign-ins; also when it has been refused."""
    box = Keychain(tmp_path / "box")
    workspace.set("forgeStore", str(box.helper))
    token = workspace.link()
    assert workspace.fetch() == workspace.right
    refused = f"url={workspace.forge.url}\nusername=oauth2\npassword={token}\n\n"
    assert workspace.person.git("credential", "reject", given=refused) == (0, "", "")
    assert workspace.fetch() == workspace.right
    assert len(workspace.asked()) == 2
    assert box.contents() == {}


def test_status_and_logout(workspace: Workspace) -> None:
    """Whose it is and that nothing was revoked."""
    workspace.link()
    assert workspace.fetch() == workspace.right
    forge, host = workspace.person, workspace.forge.host
    shown = forge.git("credential-forge", "status").out
    after = r"to be asked for after (\d\d\d\d-\d\d-\d\d )?\d\d:\d\d"
    assert re.fullmatch(rf"{re.escape(host)}   oauth2   from the Coder workspace   {after}\n", shown)
    assert '"lent_by_coder": true\n' in forge.git("credential-forge", "status", "--json").out
    assert forge.git("credential-forge", "logout", workspace.forge.url).out == (
        f"forgot oauth2 at {host}\n"
        f"nothing is revoked: the Coder at {workspace.coder.host} keeps that token, and gives it to this workspace "
        f"again\nto have none from it: git config --global credential.{workspace.forge.url}.forgeCoder never\n"
    )
    assert forge.git("credential-forge", "status").out == "not signed in anywhere\n"


def test_it_costs_nobody_else(person: Person, forge: Forge, installed: Path) -> None:
    """Outside of a workspace nothing of this is imported."""
    script = "import sys; from git_credential_forge import cli; cli.run(['get']); print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [str(installed / "python"), "-c", script],
        env=person.environment | {"GIT_TERMINAL_PROMPT": "0", "CODER_AGENT_URL": "https://coder.example.org"},
        input=f"protocol=https\nhost={forge.host}\n\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    names = (done.stdout + done.stderr).split()
    assert "git_credential_forge.sign_in" in names
    assert [name for name in names if ".coder" in name] == []
