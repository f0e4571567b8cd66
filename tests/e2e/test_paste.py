"""No browser where git runs: the address is shown on the terminal, and the one that some browser ended on pasted."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.support.forge import PASSWORDS, Forge
from tests.support.gentle import go
from tests.support.person import Person
from tests.support.terminal import OnTerminal

OFFER = r"forge: (?:no browser here\? )?open (\S+) anywhere, then paste here the address you end on\n"


def sign_in(elsewhere: httpx.Client, address: str) -> str:
    return go(elsewhere, address, "alice", PASSWORDS["alice"]).address


def test_push_without_a_display(person: Person, forge: Forge, elsewhere: httpx.Client) -> None:
    """Without DISPLAY the push asks on the terminal, takes the pasted address without echo, and goes on."""
    with OnTerminal(["git", "ls-remote", forge.repo_url(), "HEAD"], person.environment, person.home) as terminal:
        address = terminal.wait_for(OFFER)[1]
        ended_on = sign_in(elsewhere, address)
        assert ended_on.startswith("http://127.0.0.1:")
        assert not terminal.echoes()
        terminal.type(ended_on + "\n")
        assert terminal.wait() == 0
        assert terminal.echoes()
    where = forge.host
    assert terminal.seen == (
        f"forge: signing in to {where}\n"
        'forge: the page will name the application "git-credential-oauth", the one that Forgejo or Gitea ships for '
        "helpers like this\n"
        f"forge: open {address} anywhere, then paste here the address you end on\n"
        f"forge: signed in as alice at {where}, kept in memory while you work, and two hours more\n"
        f"{forge.head()}\tHEAD\n"
    )


def test_over_ssh(person: Person, forge: Forge, elsewhere: httpx.Client) -> None:
    """`login --paste` on a machine that is reached by ssh; git then asks nothing."""
    environment = person.environment | {"SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22", "DISPLAY": ":0"}
    command = ["git", "credential-forge", "login", "--paste", forge.url]
    with OnTerminal(command, environment, person.home) as terminal:
        terminal.type(sign_in(elsewhere, terminal.wait_for(OFFER)[1]) + "\n")
        assert terminal.wait() == 0
    assert person.git("ls-remote", "-q", forge.repo_url())[::2] == (0, "")


def test_wrong_input_may_be_tried_again(person: Person, forge: Forge, elsewhere: httpx.Client) -> None:
    """A bare code, another address and one with a wrong state are refused in words; then the right one works."""
    with OnTerminal(["git", "ls-remote", "-q", forge.repo_url()], person.environment, person.home) as terminal:
        right = sign_in(elsewhere, terminal.wait_for(OFFER)[1])
        query = parse_qs(urlsplit(right).query)
        wrong_state = right.replace(query["state"][0], "x" * 43)
        for wrong in (query["code"][0], right.replace("127.0.0.1", "127.0.0.2"), wrong_state):
            before = len(terminal.seen)
            terminal.type(wrong + "\n")
            terminal.wait_for(f"(?s).{{{before}}}.*not the address this sign-in ends on")
        terminal.type(f"  {right}x\x7f \n")
        assert terminal.wait() == 0
    assert [event.ok for event in forge.log("exchange") if event.parameters.get("code") != "probe"] == [True]


def test_the_listener_goes_on(person: Person, forge: Forge) -> None:
    """A browser on this machine that is given the address by hand ends the sign-in too."""
    with OnTerminal(["git", "ls-remote", "-q", forge.repo_url()], person.environment, person.home) as terminal:
        with httpx.Client(verify=False, trust_env=False) as here:
            ending = go(here, terminal.wait_for(OFFER)[1], "alice", PASSWORDS["alice"])
        assert ending.text.startswith(f"Signed in to {forge.host} as alice.")
        assert terminal.wait() == 0


def test_ctrl_c(person: Person, forge: Forge) -> None:
    """Ctrl-C ends git and the sign-in, gives the terminal back, and leaves no process (the `home` fixture looks)."""
    # The shell outlives git, as a person's does: with it the terminal would go.
    shell = ["sh", "-c", 'trap : INT; git ls-remote -q "$1"; echo "status $?"; read -r _', "sh", forge.repo_url()]
    with OnTerminal(shell, person.environment, person.home) as terminal:
        terminal.wait_for(OFFER)
        terminal.type("\x03")
        assert terminal.wait_for(r"status (\d+)")[1] != "0"
        deadline = time.monotonic() + 5  # git does not wait for its helper
        while not terminal.echoes():
            assert time.monotonic() < deadline
        terminal.type("\n")
        terminal.wait()


def test_a_browser_and_a_terminal(person: Person, forge: Forge, elsewhere: httpx.Client) -> None:
    """Where both are there, both are offered; the address for paste has a state of its own."""
    environment = person.environment | {"BROWSER": "/bin/true"}
    with OnTerminal(["git", "ls-remote", "-q", forge.repo_url()], environment, person.home) as terminal:
        offer = terminal.wait_for(OFFER)
        assert offer[0].startswith("forge: no browser here? open ")
        terminal.type(sign_in(elsewhere, offer[1]) + "\n")
        assert terminal.wait() == 0
    assert re.search(r"signing in to \S+ in your browser\n", terminal.seen)
