"""Paste, on a real pseudo-terminal: the program reads from it the address on which some browser ended."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import sys
import termios
import tty
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from git_credential_forge.oauth.paste import LONGEST
from tests.support.forge import PASSWORDS, Forge
from tests.support.gentle import go, new_client
from tests.support.gentle_browser import GentleBrowser
from tests.support.helper_terminal import HelperOnTerminal
from tests.support.signing_in import NAMED, QUIT, Program, StandIn, answer_of, asked_for, elsewhere, listens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCAL = 3  # of what tcgetattr lists: the flags that have ECHO and ICANON
PROMPT = r"open (http\S+) anywhere, then paste here the address you end on\r\n"
AGAIN = "forge: not the address this sign-in ends on: it begins with http://127.0.0.1:{}, and is needed whole\r\n"


class Pasting(NamedTuple):
    """A program that waits for a paste, and what it showed."""

    program: HelperOnTerminal
    stand_in: StandIn
    address: str  # which it wants to be opened

    @property
    def asked(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.address).query).items()}

    @property
    def port(self) -> int:
        return urlsplit(self.asked["redirect_uri"]).port or 0

    def ending(self, **changed: str | None) -> str:
        """The address on which a browser ends, or another one."""
        query = {"code": self.stand_in.code, "state": self.asked["state"], **changed}
        return f"http://127.0.0.1:{self.port}/?" + urlencode({k: v for k, v in query.items() if v is not None})

    def prompt(self) -> str:
        return f"forge: open {self.address} anywhere, then paste here the address you end on\r\n"

    def succeeds(self, *said: str) -> None:
        """It ends with the token; the terminal showed the prompt, `said` and nothing else, and is as it was."""
        ended = self.program.ended(12)
        assert ended.err == (
            f"forge: signing in to {self.stand_in.host}\n{NAMED}"
            f"forge: signed in as alice at {self.stand_in.host}, kept in memory while you work, and two hours more\n"
        )
        assert answer_of(ended.out)["password"] == self.stand_in.access_token
        assert ended.status == 0
        assert self.program.shown == "".join([self.prompt(), *said])
        assert self.program.settings == self.program.before
        assert not listens(self.port)


@pytest.fixture
def pasting(environment: dict[str, str], main: Path, stand_in: StandIn) -> Iterator[Pasting]:
    """At a stand-in, without a browser of one's own."""
    with HelperOnTerminal([main, "get"], environment, asked_for(stand_in.url)) as program:
        yield Pasting(program, stand_in, program.wait_for(PROMPT)[1])


# The journey.


def test_a_browser_on_another_machine(environment: dict[str, str], main: Path, forge: Forge) -> None:
    """No display, an SSH session: open the address anywhere, sign in there, paste what it ended on; the real forge
    has checked that challenge and verifier of the paste belong together (3.3, 13)."""
    told = environment | {"GIT_SSL_CAINFO": str(forge.ca_file), "SSH_CONNECTION": "a b c d"}
    with HelperOnTerminal([main, "get"], told, asked_for(forge.url)) as program:
        address = program.wait_for(PROMPT)[1]
        redirect = parse_qs(urlsplit(address).query)["redirect_uri"][0]
        with elsewhere(urlsplit(redirect).port or 0) as client:
            ending = go(client, address, "alice", PASSWORDS["alice"])
        assert ending.failure.startswith("ConnectError")
        assert ending.address.startswith(f"{redirect}/?") or ending.address.startswith(f"{redirect}?")
        program.type(ending.address.encode() + b"\r")
        ended = program.ended()
        assert program.settings == program.before
        assert program.shown.count("\n") == 1
    answer = answer_of(ended.out)
    assert (ended.status, answer["username"]) == (0, "alice")
    assert answer["password"] in forge.secrets()["access_token"]
    assert [event.ok for event in forge.log("exchange") if event.parameters["code"] != "probe"] == [True]


def test_the_terminal_while_we_read(pasting: Pasting) -> None:
    """No echo, because the address holds a code; no lines, because those end at 4,096 bytes; signals stay."""
    flags = pasting.program.settings[LOCAL]
    assert isinstance(flags, int)
    assert not flags & (termios.ECHO | termios.ICANON)
    assert flags & termios.ISIG
    pasting.program.type(pasting.ending().encode() + b"\r")
    pasting.succeeds()


def test_the_address_for_paste_is_on_the_terminal_alone(
    environment: dict[str, str], main: Path, stand_in: StandIn
) -> None:
    """Its state and challenge are not the browser's, and stand neither on stderr nor on stdout (decision 6)."""
    stand_in.authorize = lambda _: {"error": "access_denied", "state": "not yet"}
    with GentleBrowser("alice", PASSWORDS["alice"]) as browser:
        told = environment | {"BROWSER": str(browser.opener)}
        with HelperOnTerminal([main, "get"], told, asked_for(stand_in.url)) as program:
            pasting = Pasting(program, stand_in, program.wait_for(PROMPT)[1])
            browser.wait_for_tabs(1)
            [in_browser] = stand_in.authorizations()
            program.type(pasting.ending().encode() + b"\r")
            ended = program.ended()
    assert program.shown == pasting.prompt().replace("forge: open", "forge: no browser here? open")
    for name in ("state", "code_challenge"):
        assert in_browser[name] != pasting.asked[name]
        assert len(in_browser[name]) == len(pasting.asked[name]) == 43
        assert pasting.asked[name] not in ended.err + ended.out
        assert in_browser[name] not in ended.err + ended.out + program.shown
    assert in_browser["redirect_uri"] == pasting.asked["redirect_uri"]
    assert ended.err == (
        f"forge: signing in to {stand_in.host} in your browser\n{NAMED}"
        f"forge: signed in as alice at {stand_in.host}, kept in memory while you work, and two hours more\n"
    )


# What is typed.


@pytest.mark.parametrize(
    "keys",
    [
        "A\r",
        "A\n",
        "A\r\n",
        "  A  \r",
        "\r\n\r\nA\r",
        "Axyz\x7f\x7f\x08\r",
        "\x7f\x08A\r",
        "rubbish http://\x15A\r",
        "\x15A\r",
    ],
)
def test_line_editing(pasting: Pasting, keys: str) -> None:
    """Either line end, spaces around, empty lines, backspace and Ctrl-U do what they do at any prompt."""
    pasting.program.type(keys.replace("A", pasting.ending()).encode())
    pasting.succeeds()


def test_browsers_hide_the_scheme(pasting: Pasting) -> None:
    """An address bar may leave `http://` out when it is copied."""
    pasting.program.type(pasting.ending().removeprefix("http://").encode() + b"\r")
    pasting.succeeds()


def test_an_address_in_pieces(pasting: Pasting) -> None:
    """Keys come as they come."""
    for byte in pasting.ending().encode() + b"\r":
        pasting.program.type(bytes([byte]))
    pasting.succeeds()


@pytest.mark.parametrize("length", [4095, 4096, 4097, 8192, LONGEST])
def test_a_long_address_in_one_paste(pasting: Pasting, length: int) -> None:
    """Up to 16 KiB come through whole: codes of some forges are tokens themselves, thousands of bytes long."""
    code = "c" * (length - len(pasting.ending(code="")))
    address = pasting.ending(code=code).encode()
    assert len(address) == length
    pasting.program.type(address + b"\r")
    pasting.succeeds()
    assert [form["code"] for form in pasting.stand_in.exchanges()] == [code]


def test_a_longer_one_is_not_cut_and_used(pasting: Pasting) -> None:
    """Beyond 16 KiB nothing is used, not even its beginning; the right address may follow."""
    code = "c" * (LONGEST + 1 - len(pasting.ending(code="")))
    pasting.program.type(pasting.ending(code=code).encode() + b"c" * 20_000 + b"\r")
    pasting.program.wait_for("needed whole")
    pasting.program.type(pasting.ending().encode() + b"\r")
    pasting.succeeds(AGAIN.format(pasting.port))


WRONG: dict[str, dict[str, str | None]] = {
    "another state": {"state": "A" * 43},
    "no state": {"state": None},
    "an empty state": {"state": ""},
    "no code": {"code": None},
    "an error with another state": {"code": None, "error": "access_denied", "state": "x"},
    "code and error": {"error": "access_denied"},
}
INSTEAD = {
    "a bare code": "CODE",
    "code and state without an address": "code=CODE&state=STATE",
    "a query": "?code=CODE&state=STATE",
    "another port": "http://127.0.0.1:1/?code=CODE&state=STATE",
    "another host": "http://evil.example:PORT/?code=CODE&state=STATE",
    "localhost": "http://localhost:PORT/?code=CODE&state=STATE",
    "another scheme": "https://127.0.0.1:PORT/?code=CODE&state=STATE",
    "another path": "http://127.0.0.1:PORT/callback?code=CODE&state=STATE",
    "userinfo": "http://u@127.0.0.1:PORT/?code=CODE&state=STATE",
    "a fragment": "http://127.0.0.1:PORT/#code=CODE&state=STATE",
    "state twice": "http://127.0.0.1:PORT/?code=CODE&state=STATE&state=STATE",
    "code twice": "http://127.0.0.1:PORT/?code=CODE&code=CODE&state=STATE",
    "a space within": "http://127.0.0.1:PORT/?code=CODE& state=STATE",
    "the address to open": "ADDRESS",
    "not UTF-8": "http://127.0.0.1:PORT/?code=\udcff&state=STATE",
}


@pytest.mark.parametrize("name", [*WRONG, *INSTEAD])
def test_wrong_input_then_right_input(pasting: Pasting, name: str) -> None:
    """Checked exactly as the listener checks: what is wrong is said, changes nothing, and may be tried again."""
    if name in WRONG:
        wrong = pasting.ending(**WRONG[name])
    else:
        wrong = INSTEAD[name].replace("STATE", pasting.asked["state"]).replace("CODE", pasting.stand_in.code)
        wrong = wrong.replace("PORT", str(pasting.port)).replace("ADDRESS", pasting.address)
    pasting.program.type(wrong.encode("utf-8", "surrogateescape") + b"\r")
    pasting.program.wait_for("needed whole")
    assert pasting.stand_in.exchanges() == []
    pasting.program.type(pasting.ending().encode() + b"\r")
    pasting.succeeds(AGAIN.format(pasting.port))


def test_two_lines_in_one_paste(pasting: Pasting) -> None:
    """What stands behind a line's end is the next line, and not lost."""
    pasting.program.type(b"wrong\r" + pasting.ending().encode() + b"\r")
    pasting.succeeds(AGAIN.format(pasting.port))


def test_another_issuer_ends_it(environment: dict[str, str], main: Path, stand_in: StandIn) -> None:
    """A pasted answer with the state, but of another server, is refused as the listener refuses it (3.3, 14)."""
    stand_in.metadata = stand_in.describe
    with HelperOnTerminal([main, "get"], environment, asked_for(stand_in.url, challenge=None)) as program:
        pasting = Pasting(program, stand_in, program.wait_for(PROMPT)[1])
        program.type(pasting.ending(iss="https://evil.example").encode() + b"\r")
        ended = program.ended()
    assert (ended.status, ended.out) == (0, QUIT)
    assert ended.err.endswith("the answer came from another server\n")
    assert stand_in.exchanges() == []


def test_a_denial_may_be_pasted_too(pasting: Pasting) -> None:
    """An error with the right state is an answer: it ends the sign-in (3.3, 9)."""
    pasting.program.type(pasting.ending(code=None, error="access_denied").encode() + b"\r")
    ended = pasting.program.ended()
    assert (ended.status, ended.out) == (0, QUIT)
    assert ended.err == (
        f"forge: signing in to {pasting.stand_in.host}\n{NAMED}"
        f"forge: not signed in to {pasting.stand_in.host}: you denied the request in the browser\n"
    )


def test_words_on_the_terminal_are_harmless(pasting: Pasting) -> None:
    """Pasted control sequences are neither echoed nor repeated (CVE-2024-50349 and kin)."""
    pasting.program.type(b"\x1b]0;evil\x07\x1b[31mhttp://evil\r")
    pasting.program.wait_for("needed whole")
    pasting.program.type(pasting.ending().encode() + b"\r")
    pasting.succeeds(AGAIN.format(pasting.port))


# Beside the listener.


def test_the_listener_goes_on(pasting: Pasting) -> None:
    """With half a line typed, a browser that does reach this machine ends the sign-in."""
    pasting.program.type(b"http://127.0.0.1:")
    with new_client() as client:
        ending = go(client, pasting.address, "alice", PASSWORDS["alice"])
    assert f"Signed in to {pasting.stand_in.host}" in ending.text
    pasting.succeeds()


def test_nothing_is_exchanged_twice(pasting: Pasting) -> None:
    """Pasted while a browser brings the same: one exchange (3.3, 7)."""
    pasting.program.type(pasting.ending().encode() + b"\r" + pasting.ending().encode() + b"\r")
    pasting.succeeds()
    assert len(pasting.stand_in.exchanges()) == 1


# The terminal afterwards.


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGINT", "SIGTERM", "SIGHUP"])
def test_the_terminal_is_given_back_after_a_signal(pasting: Pasting, how: str) -> None:
    """However it ends, the terminal is as it was, and nothing of ours is left (3.3, 26)."""
    pasting.program.type(b"a whole line\rhttp://half-a-line")
    pasting.program.wait_for("needed whole")  # by then all of it has come, and so none of it is shown afterwards
    if how == "Ctrl-C":
        pasting.program.type(b"\x03")
    else:
        pasting.program.process.send_signal(signal.Signals[how])
    ended = pasting.program.ended(10)
    assert (ended.status, ended.out) == (130, "")
    assert ended.err == f"forge: signing in to {pasting.stand_in.host}\n{NAMED}"
    assert pasting.program.shown == pasting.prompt() + AGAIN.format(pasting.port)
    assert pasting.program.settings == pasting.program.before
    assert not listens(pasting.port)


def test_what_was_pasted_and_not_read_is_not_the_shell_s(pasting: Pasting) -> None:
    """Cancelled while a paste is under way: its code is neither shown nor run as a command."""
    process, device = pasting.program.process, pasting.program.device
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    pasting.program.type(pasting.ending().encode() + b"\r")
    assert select.select([device], [], [], 20)[0]
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    assert pasting.program.ended(10).status == 130
    tty.setraw(device, termios.TCSANOW)  # or it would count whole lines only
    assert unread(device) == 0
    assert pasting.program.shown == pasting.prompt()


def unread(device: int) -> int:
    """Bytes that somebody typed and nobody has read."""
    return int.from_bytes(fcntl.ioctl(device, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_the_terminal_is_given_back_at_the_deadline(
    home: Path, environment: dict[str, str], main: Path, stand_in: StandIn
) -> None:
    """Nobody came: the reason, and the terminal as it was (3.3, 26)."""
    (home / ".gitconfig").write_text("[credential]\n\tforgeSignInTimeout = 1\n")
    with HelperOnTerminal([main, "get"], environment, asked_for(stand_in.url)) as program:
        program.wait_for(PROMPT)
        ended = program.ended(10)
        assert program.settings == program.before
    assert (ended.status, ended.out) == (0, QUIT)
    assert ended.err.endswith(f"forge: not signed in to {stand_in.host}: nobody answered within 1 s\n")


def test_the_terminal_s_window_is_closed(pasting: Pasting) -> None:
    """A terminal that hangs up ends the sign-in like any SIGHUP: no word about a mistake of ours (3.3, 26)."""
    pasting.program.hang_up()
    out, err = pasting.program.process.communicate(timeout=10)
    assert err.decode() == f"forge: signing in to {pasting.stand_in.host}\n{NAMED}"
    assert (pasting.program.process.returncode, out) == (130, b"")
    assert not listens(pasting.port)


# Somebody else's foreground.


def test_in_the_background_the_terminal_is_left_alone(
    environment: dict[str, str], main: Path, stand_in: StandIn
) -> None:
    """A background job neither changes the terminal nor reads from it nor writes to it, and is not stopped by it."""
    with GentleBrowser("alice", PASSWORDS["alice"], mode="hold") as browser:
        told = environment | {"BROWSER": str(browser.opener)}
        with HelperOnTerminal([main, "get"], told, asked_for(stand_in.url), background=True) as program:
            ended = program.ended(12)
            assert program.settings == program.before
            assert program.shown == ""
    assert answer_of(ended.out)["password"] == stand_in.access_token
    assert ended.err == (
        f"forge: signing in to {stand_in.host} in your browser\n{NAMED}"
        f"forge: signed in as alice at {stand_in.host}, kept in memory while you work, and two hours more\n"
    )


def test_nothing_to_paste_into(environment: dict[str, str], main: Path) -> None:
    """`--paste` without a terminal: a browser would not help, and is not named."""
    with Program([main, "login", "--paste", "https://codeberg.org"], environment | {"BROWSER": "true"}) as program:
        ended = program.ended()
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        "forge: not signed in to codeberg.org: no terminal is there to paste into\nforge: run it in a terminal\n"
    )


def test_in_the_background_without_a_browser(environment: dict[str, str], main: Path, stand_in: StandIn) -> None:
    """A background job that could only ask on the terminal says what to type instead, at once."""
    with HelperOnTerminal([main, "get"], environment, asked_for(stand_in.url), background=True) as program:
        ended = program.ended(10)
        assert program.shown == ""
        assert program.settings == program.before
    assert (ended.status, ended.out) == (0, QUIT)
    said = r"forge: not signed in .* no terminal is there to ask on\nforge: run: .* login \S+\n"
    assert re.fullmatch(said, ended.err)
