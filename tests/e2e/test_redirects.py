"""What lies between the forge's page and our listener: other providers, and redirect addresses of one's own."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import delegating
from tests.support.browser import Browser
from tests.support.delegating import Delegating
from tests.support.forge import CLIENT_ID, PASSWORDS, Forge
from tests.support.gentle_browser import GentleBrowser
from tests.support.person import Person

OWN = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize("kind", [GentleBrowser, Browser])
def test_sign_in_with_another_provider(
    kind: type[Browser | GentleBrowser], *, forge: Forge, home: Path, installed: Path
) -> None:
    """A forge sends the person on to another one, and that one back: one tab through the whole chain. The other
    provider learns of us nothing, and nothing of what it gave that forge comes to us."""
    with Delegating(forge) as delegated, kind("alice", PASSWORDS["alice"]) as browser:
        delegated.create_repo()
        person = Person(home, installed, delegated, browser.opener)
        with person.leaks:
            assert person.git("credential-forge", "configure").status == 0
            done = person.git("ls-remote", "-q", delegated.repo_url(), "HEAD")
            assert done[:2] == (0, f"{delegated.head()}\tHEAD\n")
            assert done.err.splitlines()[-1].startswith(
                f"forge: signed in as alice at {delegated.host}, kept in memory "
            )
            assert person.git("ls-remote", "-q", delegated.repo_url(), "HEAD")[::2] == (0, "")
        assert len(browser.tabs()) == 1
        assert {event.parameters["client_id"] for event in delegated.log("authorize", "exchange")} == {CLIENT_ID}
        assert {event.parameters["client_id"] for event in forge.log("authorize", "exchange")} == {delegating.CLIENT_ID}
        assert [event.what for event in forge.log("consent", "exchange", "whoami")] == ["consent", "exchange", "whoami"]
        assert person.leaks.found(delegated.secrets()) == []
        assert person.leaks.found(forge.secrets()) == []


# -- oauthRedirectURL -------------------------------------------------------------------------------------


@contextlib.contextmanager
def free_port(family: socket.AddressFamily = socket.AF_INET) -> Iterator[tuple[socket.socket, int]]:
    """A port of this machine, and the socket that holds it."""
    with socket.socket(family) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        yield held, held.getsockname()[1]


def registered(person: Person, forge: Forge, address: str) -> None:
    """An application whose redirect address is this one, to the letter."""
    forge.add_application(OWN, redirect_uris=address)
    for key, value in (("oauthClientId", OWN), ("oauthRedirectURL", address)):
        assert person.git("config", "--global", f"credential.{forge.url}.{key}", value).status == 0


@pytest.mark.parametrize(
    ("address", "families"),
    [
        ("http://localhost:PORT/", ("127.0.0.1", "::1")),
        ("http://127.0.0.1:PORT/some/callback", ("127.0.0.1",)),
        ("http://[::1]:PORT", ("::1",)),
    ],
)
def test_a_redirect_address_of_ones_own(
    address: str, families: tuple[str, ...], *, person: Person, forge: Forge
) -> None:
    """Bound exactly so, `localhost` in both families, and said to the forge to the letter; free again afterwards."""
    with free_port(socket.AF_INET6) as (_, port):
        pass
    address = address.replace("PORT", str(port))
    registered(person, forge, address)
    with GentleBrowser("alice", PASSWORDS["alice"]) as browser:
        person.environment["BROWSER"] = str(browser.opener)
        assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
        [tab] = browser.tabs()
    assert tab.handed_over.startswith(f"http://{address.split('/')[2]}/")
    said = {event.parameters.get("redirect_uri") for event in forge.log("authorize", "exchange")}
    assert said == {address}
    assert not any(listens(family, port) for family in families)


@pytest.mark.parametrize(
    ("address", "families"),
    [("http://localhost:PORT/", {"127.0.0.1", "::1"}), ("http://127.0.0.1:PORT/", {"127.0.0.1"})],
)
def test_where_it_listens(address: str, families: set[str], *, person: Person, forge: Forge) -> None:
    """While the person looks at the page."""
    with free_port(socket.AF_INET6) as (_, port):
        pass
    registered(person, forge, address.replace("PORT", str(port)))
    with GentleBrowser("alice", PASSWORDS["alice"], mode="hold") as browser:
        person.environment["BROWSER"] = str(browser.opener)
        heard: set[str] = set()

        def look() -> None:
            browser.wait_for_tabs(1)
            heard.update(family for family in ("127.0.0.1", "::1") if listens(family, port))
            browser.release()

        looking = threading.Thread(target=look)
        looking.start()
        assert person.git("ls-remote", "-q", forge.repo_url()).status == 0
        looking.join()
    assert heard == families


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_busy_port(family: socket.AddressFamily, person: Person, forge: Forge, browser: GentleBrowser) -> None:
    """Said with its number, whichever of the two addresses of `localhost` somebody else listens on: half of a
    redirect address would bring the code to them. No tab is opened, and no password asked for."""
    person.environment["BROWSER"] = str(browser.opener)
    with free_port(family) as (taken, port):
        taken.listen()
        registered(person, forge, f"http://localhost:{port}/")
        done = person.git("ls-remote", "-q", forge.repo_url())
    address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    assert done.status == 128
    assert done.err.splitlines()[:-1] == [
        f"forge: port {port} of {address} cannot be listened on, and oauthRedirectURL names it: Address already in use",
    ]
    assert browser.tabs() == []
    assert forge.log("authorize") == []


def listens(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        return probe.connect_ex((address, port)) == 0
