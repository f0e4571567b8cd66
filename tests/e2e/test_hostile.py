"""What a malicious server, repository or name can try, whole: the installed program against servers that lie."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import pytest

from tests.support.helper_terminal import HelperOnTerminal
from tests.support.httpserver import Answer, Request
from tests.support.memory import lines, save, sign_in
from tests.support.signing_in import Program, StandIn, answer_of, as_json, asked_for
from tests.support.terminal import OnTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "the-secret-of-another-client"
ALICE = ("username=alice", "password=token-of-alice")
HOST = ("protocol=https", "host=example.com")


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as running:
        yield running


@pytest.fixture
def other() -> Iterator[StandIn]:
    """A server of another origin."""
    with StandIn() as running:
        yield running


def set_for(environment: dict[str, str], url: str, **values: str) -> None:
    with open(f"{environment['HOME']}/.gitconfig", "a", encoding="utf-8") as file:
        file.write(f'[credential "{url}"]\n' + "".join(f"\t{key} = {value}\n" for key, value in values.items()))


def run(installed: Path, environment: dict[str, str], *words: str, given: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run(
        [installed / "git-credential-forge", *words],
        env=environment,
        input=given,
        capture_output=True,
        timeout=60,
        cwd=environment["HOME"],
        start_new_session=True,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def visiting(installed: Path) -> str:
    """A browser that goes where it is sent."""
    return f"{installed / 'python'} -c 'import sys,urllib.request as u;u.urlopen(sys.argv[1])' %s"


def form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode()))


# Names.


@pytest.mark.parametrize("before", [True, False], ids=["kept before", "kept after"])
@pytest.mark.parametrize("named", [(), ("username=alice",), ("username=oauth2",)])
def test_a_repository_with_the_name_of_an_account(
    installed: Path, environment: dict[str, str], named: tuple[str, ...], *, before: bool
) -> None:
    """With useHttpPath, git has a password of somebody's kept for `https://example.com/alice`. It is given to who asks
    for that, by that name, and never for alice's account."""
    theirs = (*HOST, "path=alice", "username=mallory")
    kept = lines(*theirs, "password=mallorys")
    if before:
        run(installed, environment, "store", given=kept)
    save(installed, environment, sign_in())
    if not before:
        run(installed, environment, "store", given=kept)
    for path in ((), ("path=alice",), ("path=a.git",)):
        status, out, err = run(installed, environment, "get", given=lines(*HOST, *path, *named))
        assert (status, _who(out), err) == (0, list(ALICE), "")
    status, out, err = run(installed, environment, "get", given=lines(*theirs))
    assert (status, _who(out), err) == (0, ["username=mallory", "password=mallorys"], "")


def _who(answer: str) -> list[str]:
    """Name and password of an answer; what newer gits' cache says besides, and until when it is good, aside."""
    return [line for line in answer.splitlines() if line.startswith(("username=", "password="))]


@pytest.mark.parametrize("path", ["\talice", "alice\t", "\x01alice"])
def test_a_path_with_a_tab(installed: Path, environment: dict[str, str], path: str) -> None:
    """`https://example.com/%09alice`: our own entries are asked for by nobody."""
    save(installed, environment, sign_in())
    asked = lines(*HOST, f"path={path}", "username=mallory")
    assert run(installed, environment, "get", given=asked)[:2] == (0, "")
    run(installed, environment, "store", given=asked[:-1] + b"password=mallorys\n\n")
    run(installed, environment, "erase", given=asked)
    status, out, err = run(installed, environment, "get", given=lines(*HOST))
    assert (status, _who(out), err) == (0, list(ALICE), "")


@pytest.mark.parametrize("name", ["a%0Ab", "a%09b", "a%00b", "%1b%5b31m"])
@pytest.mark.parametrize("command", ["login", "logout", "register", "unregister"])
def test_a_name_with_a_control_character(
    installed: Path, environment: dict[str, str], server: StandIn, command: str, name: str
) -> None:
    """It would be a line of the names file. Refused before anything is asked or opened."""
    where = f"http://{name}@{server.host}"
    said = f"forge: there is a control character in {server.url}\n"
    assert run(installed, environment, command, where) == (1, "", said)
    assert server.asked == []


def test_a_default_name_with_a_line_end(installed: Path, environment: dict[str, str], server: StandIn) -> None:
    """A value of git's configuration can have one. No account of that name is kept, and no line made of it."""
    server.whoami = lambda _: Answer(404, [], b"")
    line = r'"x\n9999999999\t9999999999\t\talice"'
    set_for(environment, server.url, oauthDefaultUserName=line)
    environment["BROWSER"] = visiting(installed)
    with Program([installed / "git-credential-forge", "get"], environment, asked_for(server.url)) as program:
        ended = program.ended()
    assert answer_of(ended.out)["username"] == "oauth2"
    assert ended.err.startswith(
        "forge: credential.oauthDefaultUserName has a control character in it, so it is not used: "
        "x 9999999999 9999999999 alice\n"
    )
    names = Path(environment["HOME"], ".cache/git-credential-forge").glob("account-*")
    assert [name.read_text().splitlines()[0] for name in names] == ["oauth2"]


# Challenges.


@pytest.mark.parametrize("hint", ["basic a=", 'basic x="basic ', "basic a=b,", "resource_metadata=", "basic\t"])
def test_a_long_challenge(installed: Path, environment: dict[str, str], hint: str) -> None:
    """One that looks like much is looked at in no time: git waits for us."""
    challenge = (hint * 65_000)[:65_000]
    asked = asked_for("https://example.com", challenge=challenge)
    started = time.monotonic()
    with Program([installed / "git-credential-forge", "get"], environment | {"CI": "1"}, asked) as program:
        ended = program.ended(60)
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    assert time.monotonic() - started < 8, "it took 14 s for each look"


# Openers.


@pytest.mark.parametrize("where", ["verification_uri", "verification_uri_complete"])
@pytest.mark.parametrize("more", ["$(touch$IFS{})", ";touch$IFS{}", "?a&touch$IFS{}"])
def test_a_page_that_a_shell_would_run(
    installed: Path, environment: dict[str, str], server: StandIn, more: str, where: str
) -> None:
    """$BROWSER may be a shell, as wslview and xdg-open are: what a server calls its page does not reach it."""
    home = Path(environment["HOME"])
    ran, opened = home / "ran", home / "opened"
    page = f"{server.url}/login/device{more.format(ran)}"
    code = {"device_code": "hush", "user_code": "WDJB-0001", "verification_uri": f"{server.url}/login/device"}
    server.other = lambda request: (
        as_json(200, code | {where: page}) if "device" in request.target else Answer(404, [], b"")
    )
    environment["BROWSER"] = f'sh -c "echo %s >>{opened}"'
    set_for(environment, server.url, oauthClientId="mine", oauthDeviceAuthURL="/login/device/code", forgeFlow="device")
    with HelperOnTerminal([installed / "git-credential-forge", "get"], environment, asked_for(server.url)) as program:
        ended = program.ended()
        assert f"open {page[:250]}" in program.shown.replace("\r\n", ""), "a person sees it"
    assert answer_of(ended.out)["username"] == "alice"
    assert not ran.exists()
    assert not opened.exists() or "WDJB" not in opened.read_text()


def test_no_code_in_an_opener_s_arguments(
    installed: Path, environment: dict[str, str], server: StandIn, tmp_path: Path
) -> None:
    """Every user of the machine may read those, and who enters the code signs us in as themselves."""
    opened = tmp_path / "opened"
    page = f"{server.url}/login/device"
    code = {"device_code": "hush", "user_code": "WDJB-0001", "verification_uri": page}
    code["verification_uri_complete"] = f"{page}?user_code=WDJB-0001"
    server.other = lambda request: as_json(200, code) if "device" in request.target else Answer(404, [], b"")
    opener = tmp_path / "opener"
    opener.write_text(f'#!/bin/sh\necho "$@" >{opened}-\nmv {opened}- {opened}\n')
    opener.chmod(0o755)
    environment["BROWSER"] = str(opener)
    set_for(environment, server.url, oauthClientId="mine", oauthDeviceAuthURL="/login/device/code", forgeFlow="device")
    with HelperOnTerminal([installed / "git-credential-forge", "get"], environment, asked_for(server.url)) as program:
        program.ended()
    deadline = time.monotonic() + 20
    while not opened.exists():
        assert time.monotonic() < deadline
        os.sched_yield()
    assert opened.read_text() == f"{page}\n"


# Secrets and tokens stay where they were made.


def test_a_secret_of_another_client_at_logout(
    installed: Path, environment: dict[str, str], server: StandIn, other: StandIn
) -> None:
    """The configuration has changed since the sign-in: its new secret is not for the server of before."""
    server.other = lambda _: as_json(200, {})
    kept = sign_in(server.host, scheme="http", client_id="the client of before")
    save(installed, environment, kept | {"revoke_url": f"{server.url}/revoke"})
    ends = {"oauthAuthURL": f"{other.url}/authorize", "oauthTokenURL": f"{other.url}/token"}
    set_for(environment, server.url, oauthClientId="another", oauthClientSecret=SECRET, **ends)
    done = run(installed, environment, "logout", server.url)
    assert done == (0, f"forgot alice at {server.host}\nits tokens are revoked there\n", "")
    assert [form(request).get("token") for request in server.asked] == ["refresh-of-alice", "token-of-alice"]
    assert [
        request for request in server.asked if SECRET.encode() in request.body or request.header("Authorization")
    ] == []
    assert other.asked == []


@pytest.mark.parametrize("by", ["metadata", "configuration"])
def test_a_token_of_another_origin_s(
    installed: Path, environment: dict[str, str], server: StandIn, other: StandIn, by: str
) -> None:
    """A host leaves its sign-in to somebody's forge, which has calls for applications. Whatever a person answers, the
    token of the shared application, which may do all that they may, is for that forge alone."""
    other.metadata = other.describe
    document = {"resource": server.url, "authorization_servers": [other.url]}
    well_known = "/.well-known/oauth-protected-resource"
    server.metadata = lambda asked: as_json(200, document) if asked.target == well_known else Answer(404, [], b"")
    other.other = lambda _: as_json(200, [])
    if by == "configuration":
        path = f"{other.url}/login/oauth"
        set_for(environment, server.url, oauthAuthURL=f"{path}/authorize", oauthTokenURL=f"{path}/access_token")
    environment["BROWSER"] = visiting(installed)
    command = [str(installed / "git-credential-forge"), "register", server.url, "--yes"]
    with OnTerminal(command, environment, Path(environment["HOME"])) as screen:
        if by == "metadata":
            screen.wait_for(r"\[y/N\] ")
            screen.type("y\n")
            screen.wait_for("client id:")
            screen.type("\x03")
        screen.wait()
    assert [request.target for request in server.asked if request.header("Authorization")] == []
    assert {request.target.partition("?")[0] for request in server.asked} <= {
        well_known, "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server",
        "/a/b.git/info/refs", "/api/v2/buildinfo",
    }  # fmt: skip
    sent = [request.target.partition("?")[0] for request in other.asked if request.header("Authorization")]
    assert sent == ([] if by == "metadata" else ["/api/v1/user", *["/api/v1/user/applications/oauth2"] * 2])
