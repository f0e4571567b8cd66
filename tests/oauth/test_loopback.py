"""The listener trusts nothing: raw requests to a real one, after each of which the true callback must still work."""

from __future__ import annotations

import base64
import errno
import gc
import hashlib
import re
import select
import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

import pytest

from git_credential_forge.errors import TryElsewhereError
from git_credential_forge.oauth import loopback, page
from git_credential_forge.oauth.loopback import Listener, Redirect, unguessable
from git_credential_forge.oauth.wire import Attempt, Callback, Issuer
from git_credential_forge.secret import Secret
from tests.support.signing_in import Raw, ask, listens, receive, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ISSUER = "https://forge.example"
TARGET = "https://forge.example/login/oauth/authorize?client_id=a&state=b"
CODE = "the-code"
DONE = page.signed_in("forge.example", "alice")
PLAIN = Redirect("127.0.0.1", 0, "")


class Serving:
    """A listener at work, its two attempts (browser, paste), and a browser that brings the true callback."""

    def __init__(self, redirect: Redirect = PLAIN, *, ours: bool = False) -> None:
        self.listener = Listener(redirect, ours=ours)
        self.attempts = [Attempt.fresh(), Attempt.fresh()]
        self.listener.serve(self.attempts, Issuer(ISSUER, announced=False), TARGET)
        self.port = int(self.listener.host.rpartition(":")[2])

    @property
    def state(self) -> str:
        return self.attempts[0].state.reveal()

    def get(self, target: str) -> Raw:
        return ask(self.port, request(self.port, target), timeout=4)

    def rung(self, timeout: float = 10) -> bool:
        """Whether the descriptor says that there is a callback to be taken."""
        return bool(select.select([self.listener.descriptor], [], [], timeout)[0])

    def stray(self, sent: bytes, *, half_close: bool = False) -> Raw:
        """What a request gets that is not to be taken for the callback."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(sent)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            ready = select.select([connection.fileno(), self.listener.descriptor], [], [], 10)[0]
            assert ready == [connection.fileno()], "it was taken for the callback"
            return receive(connection)

    def take(self) -> Callback:
        assert self.rung()
        callback = self.listener.take()
        assert callback is not None
        return callback

    def succeeds(self, target: str | None = None, attempt: int = 0, **more: str) -> Raw:
        """The true callback: it rings, carries the code and its verifier, and is shown what comes of it."""
        state = self.attempts[attempt].state.reveal()
        target = target or "/?" + urlencode({"code": CODE, "state": state, **more})
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as browser:
            browser.sendall(request(self.port, target, host=self.listener.host))
            callback = self.take()
            assert callback.code == Secret(CODE)
            assert callback.verifier == self.attempts[attempt].verifier
            assert callback.refusal is None
            self.listener.show(DONE)
            answer = receive(browser)
        assert answer.status == 200
        assert "<h1>Signed in to forge.example</h1>" in answer.body
        return answer

    def untouched(self) -> bool:
        return not self.rung(0) and self.listener.take() is None and not self.listener.opened


@pytest.fixture
def serving() -> Iterator[Serving]:
    running = Serving()
    yield running
    running.listener.close()


# Requirements 1 and 2: where it listens, and until when.


def test_only_this_address_of_the_machine(serving: Serving) -> None:
    """Another address of this machine is refused at the same port (3.3, 1; the program's in test_authorize)."""
    assert listens(serving.port)
    with socket.socket() as elsewhere, pytest.raises(ConnectionRefusedError):
        elsewhere.connect(("127.0.0.2", serving.port))
    serving.succeeds()


def test_port_is_kept_from_bind_to_accept() -> None:
    """The port in the redirect address is ours before anything is served: nobody else can take it (3.3, 2)."""
    listener = Listener(PLAIN)
    port = int(listener.host.rpartition(":")[2])
    assert listener.redirect_uri == f"http://127.0.0.1:{port}"
    with socket.socket() as thief, pytest.raises(OSError, match="Address already in use"):
        thief.bind(("127.0.0.1", port))
    listener.close()


def test_each_sign_in_has_a_port_of_its_own() -> None:
    """Without a port in the redirect address the kernel picks a free one (3.3, 2)."""
    first, second = Listener(PLAIN), Listener(PLAIN)
    assert first.host != second.host
    first.close()
    second.close()


def test_nothing_listens_after_close() -> None:
    """Closed means closed, whether a callback came or not (3.3, 2 and 26)."""
    for finish in (lambda _: None, Serving.succeeds):
        serving = Serving()
        assert listens(serving.port)
        finish(serving)
        serving.listener.close()
        assert not listens(serving.port)


def test_close_before_serving_frees_the_port() -> None:
    """A sign-in that ends before its browser is started leaves no socket (3.3, 26)."""
    listener = Listener(PLAIN)
    listener.close()
    assert not listens(int(listener.host.rpartition(":")[2]))


def test_close_delivers_the_page_that_is_on_its_way() -> None:
    """A browser that waits is given the verdict although the listener closes right behind it (3.3, 11)."""
    serving = Serving()
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as browser:
        browser.sendall(request(serving.port, f"/?code={CODE}&state={serving.state}"))
        serving.take()
        serving.listener.show(DONE)
        serving.listener.close()
        answer = receive(browser)
    assert "Signed in to forge.example" in answer.body


def test_close_without_a_verdict_answers_the_browser_that_waits() -> None:
    """Ctrl-C during the exchange: the page does not say success, and does not hang (3.3, 11 and 26)."""
    serving = Serving()
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as browser:
        browser.sendall(request(serving.port, f"/?code={CODE}&state={serving.state}"))
        serving.take()
        serving.listener.close()
        answer = receive(browser)
    assert (answer.status, "Signed in" in answer.body) == (400, False)


# Requirement 3: the redirect path.


@pytest.mark.parametrize(("path", "registered"), [("", "/"), ("/", "/"), ("/callback", "/callback"), ("/a/b", "/a/b")])
def test_the_registered_path_and_no_other(path: str, registered: str) -> None:
    """The path is compared exactly as it is registered, and said to the forge as it is (3.3, 3)."""
    serving = Serving(Redirect("127.0.0.1", 0, path))
    query = f"?code={CODE}&state={serving.state}"
    assert serving.listener.redirect_uri == f"http://127.0.0.1:{serving.port}{path}"
    for other in (f"{registered}x{query}", f"{registered}/x{query}", f"/other{query}", f"/%2f{query}", f"//{query}"):
        assert serving.stray(request(serving.port, other)).status == 404, other
        assert serving.untouched()
    serving.succeeds(registered + query)
    serving.listener.close()


# Requirements 3 to 9 in one table: what comes in beside the callback, and how it is answered. S is the state, P the
# port; an answer of 0 means that the connection may end without one.

C = f"code={CODE}"
GOOD = f"/?{C}&state=S"
PREFLIGHT = """\
Origin: https://evil.example
Access-Control-Request-Method: GET
Access-Control-Request-Private-Network: true
"""
STRAYS: dict[str, tuple[str, int]] = {
    # 3: path
    "favicon": ("GET /favicon.ico HTTP/1.1\nHost: 127.0.0.1:P\n\n", 404),
    "other path with the right query": (f"GET /callback?{C}&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 404),
    "path with a dot": (f"GET /./?{C}&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 404),
    "doubled slash": (f"GET //?{C}&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 404),
    "whole address as target": (f"GET http://127.0.0.1:P{GOOD} HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    # 4: Host
    "no Host": (f"GET {GOOD} HTTP/1.1\nAccept: */*\n\n", 400),
    "empty Host": (f"GET {GOOD} HTTP/1.1\nHost:\n\n", 400),
    "Host of another name": (f"GET {GOOD} HTTP/1.1\nHost: rebound.example:P\n\n", 400),
    "Host localhost": (f"GET {GOOD} HTTP/1.1\nHost: localhost:P\n\n", 400),
    "Host without port": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1\n\n", 400),
    "Host with another port": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1:1\n\n", 400),
    "Host with a final dot": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1.:P\n\n", 400),
    "Host with userinfo": (f"GET {GOOD} HTTP/1.1\nHost: x@127.0.0.1:P\n\n", 400),
    "Host twice, right first": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\nHost: rebound.example\n\n", 400),
    "Host twice, right last": (f"GET {GOOD} HTTP/1.1\nHost: rebound.example\nHost: 127.0.0.1:P\n\n", 400),
    "Host twice, both right": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\nhost: 127.0.0.1:P\n\n", 400),
    # 5: method, prefetch
    "HEAD": (f"HEAD {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\n\n", 405),
    "OPTIONS": (f"OPTIONS {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\n{PREFLIGHT}\n", 405),
    "POST": (f"POST {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\nContent-Length: 0\n\n", 405),
    "POST of the parameters": (
        f"POST / HTTP/1.1\nHost: 127.0.0.1:P\nContent-Type: application/x-www-form-urlencoded\n\n{C}&state=S",
        405,
    ),
    "PUT": (f"PUT {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\nContent-Length: 0\n\n", 405),
    "DELETE": (f"DELETE {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\n\n", 405),
    "TRACE": (f"TRACE {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\n\n", 405),
    "a method in lower case": (f"get {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "prefetch": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\nSec-Purpose: prefetch\n\n", 400),
    "prerender": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\nSec-Purpose: prefetch;prerender\n\n", 400),
    "prefetch of older browsers": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\nPurpose: prefetch\n\n", 400),
    # 6: size and form
    "request line of 8 KiB and a byte": (f"GET {GOOD}&pad=LINE HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "request line without end": ("GET /?" + "a" * 20_000, 400),
    "33 headers": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\n" + "X-Some: thing\n" * 32 + "\n", 400),
    "headers of 70 kB": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\nCookie: " + "c" * 70_000 + "\n\n", 400),
    "header without colon": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\nnonsense\n\n", 400),
    "folded header": (f"GET {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\nX-Some: a\n b\n\n", 400),
    "space before the colon": (f"GET {GOOD} HTTP/1.1\nHost : 127.0.0.1:P\n\n", 400),
    "HTTP/2.0": (f"GET {GOOD} HTTP/2.0\nHost: 127.0.0.1:P\n\n", 400),
    "no version": (f"GET {GOOD}\nHost: 127.0.0.1:P\n\n", 400),
    "two spaces": (f"GET  {GOOD} HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "tab in the target": (f"GET /?{C}\t&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "beyond ASCII in the target": (f"GET /?{C}ü&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "the beginning of TLS": ("\x16\x03\x01\x02", 400),
    "nothing": ("", 400),
    # 7: state
    "no query": ("GET / HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "state missing": (f"GET /?{C} HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "state empty": (f"GET /?{C}&state= HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "state of another": (f"GET /?{C}&state={'A' * 43} HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "state and more": (f"GET /?{C}&state=Sx HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "state and a space": (f"GET /?{C}&state=S+ HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "state cut": (f"GET /?{C}&state=CUT HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "state not UTF-8": (f"GET /?{C}&state=%ff HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "State with a capital": (f"GET /?{C}&State=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "state in a header": (f"GET /?{C} HTTP/1.1\nHost: 127.0.0.1:P\nstate: S\n\n", 400),
    "code empty": ("GET /?code=&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "code with a line end": ("GET /?code=a%0ab&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "code beyond ASCII": ("GET /?code=%C3%BC&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "state alone": ("GET /?state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    # 8: twice
    "state twice, wrong and right": (f"GET /?{C}&state=x&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "state twice, both right": (f"GET /?{C}&state=S&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "code twice": (f"GET /?code=other&{C}&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "code twice, one empty": (f"GET /?code=&{C}&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "error twice": ("GET /?error=a&error=b&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "iss twice": (f"GET /?{C}&state=S&iss=x&iss={ISSUER} HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "description twice": (
        "GET /?error=a&error_description=b&error_description=c&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n",
        400,
    ),
    "33 parameters": (f"GET {GOOD}{'&x=y' * 31} HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    # 7 to 9: code and error
    "code and error together": (f"GET /?{C}&error=access_denied&state=S HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "error with a wrong state": ("GET /?error=access_denied&state=x HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    "error without state": ("GET /?error=access_denied HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
    # 14: whose answer it is does not matter while the state is wrong
    "wrong state and wrong iss": (f"GET /?{C}&state=x&iss=https://evil.example HTTP/1.1\nHost: 127.0.0.1:P\n\n", 400),
}
# These are not whole, or are too long to be read whole: the other end must not wait for more.
INCOMPLETE = {"nothing", "the beginning of TLS"}
CUT_OFF = {"request line without end", "headers of 70 kB", "request line of 8 KiB and a byte", "POST of the parameters"}


@pytest.mark.parametrize("name", STRAYS)
def test_a_stray_request_changes_nothing(serving: Serving, name: str) -> None:
    """Whatever else comes is answered and changes nothing; the true callback works after it (3.3, 3 to 9, 14)."""
    text, status = STRAYS[name]
    text = text.replace("\n", "\r\n").replace("CUT", serving.state[:-1]).replace("state=S", f"state={serving.state}")
    text = text.replace("state: S", f"state: {serving.state}").replace(":P", f":{serving.port}")
    line = text.partition("\r\n")[0]
    text = text.replace("LINE", "a" * (8193 - len(line) + len("LINE")))
    answer = serving.stray(text.encode(), half_close=name in INCOMPLETE)
    assert answer.status in ((status, 0) if name in CUT_OFF else (status,))
    assert "access-control" not in answer.head.lower()
    assert ("\r\nAllow: GET\r\n" in answer.head) == (answer.status == 405)
    assert serving.untouched()
    serving.succeeds()


def test_lines_that_end_in_lf_alone_are_not_a_request(serving: Serving) -> None:
    """Lines end with CR LF; what does not is no request (3.3, 6)."""
    text = f"GET /?code={CODE}&state={serving.state} HTTP/1.1\nHost: 127.0.0.1:{serving.port}\n\n"
    assert ask(serving.port, text.encode(), half_close=True).status == 400
    assert serving.untouched()
    serving.succeeds()


# Requirement 6: the largest request that is let in, and time.


def test_the_largest_request_that_is_let_in(serving: Serving) -> None:
    """A request line of 8192 bytes and 32 headers are within the limits (3.3, 6)."""
    state = serving.state
    bare = f"GET /?code=&state={state} HTTP/1.1"
    code = "c" * (8192 - len(bare))
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as browser:
        browser.sendall(request(serving.port, f"/?code={code}&state={state}", *["X-Some: thing"] * 31))
        assert serving.take().code == Secret(code)
        serving.listener.show(DONE)
        assert receive(browser).status == 200


def test_a_request_may_come_in_pieces(serving: Serving) -> None:
    """TCP keeps no borders: a request split anywhere is the same request (3.3, 6)."""
    whole = request(serving.port, f"/?code={CODE}&state={serving.state}")
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as browser:
        browser.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in range(len(whole)):
            browser.sendall(whole[byte : byte + 1])
        assert serving.take().code == Secret(CODE)
        serving.listener.show(DONE)
        assert receive(browser).status == 200


def test_a_slow_request_is_cut_off_and_holds_nobody_up(serving: Serving) -> None:
    """5 s for a whole request, however it trickles, and others are served meanwhile (3.3, 6)."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        serving.succeeds()
        assert time.monotonic() - began < loopback.READ / 2
        while not select.select([slow], [], [], 0.2)[0]:
            assert time.monotonic() - began < loopback.READ + 3, "still open"
            slow.sendall(b"x")
        assert receive(slow).status in (0, 400)
    assert loopback.READ == 5
    assert loopback.READ - 1 < time.monotonic() - began < loopback.READ + 3


def test_idle_connections_do_not_stand_in_the_way(serving: Serving) -> None:
    """Browsers open spare connections: with 20 idle ones the callback is served at once (3.3, 6)."""
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", serving.port), timeout=10))
        began = time.monotonic()
        serving.succeeds()
        assert time.monotonic() - began < loopback.READ / 2


def test_a_flood_of_connections_ends_and_the_callback_works_again(serving: Serving) -> None:
    """More connections than are served at once wait until one of these is over: the one that brings the code, too."""
    with ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection(("127.0.0.1", serving.port), timeout=10))
            for _ in range(loopback.CONNECTIONS)
        ]
        held[-1].sendall(b"GET /")
        assert ask(serving.port, request(serving.port, "/"), timeout=20).status == 400
        for connection in held:
            connection.shutdown(socket.SHUT_WR)
            receive(connection)
    serving.succeeds()


def test_a_client_that_hangs_up_harms_nobody(serving: Serving) -> None:
    """A connection that is reset in the middle leaves no trace, and no error on a terminal (3.3, 6)."""
    for sent in (b"", b"GET /", request(serving.port, "/favicon.ico")):
        with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as rude:
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close by a reset
            rude.sendall(sent)
    assert serving.untouched()
    serving.succeeds()


# Requirement 7: state, once.


def test_state_has_256_bits_and_is_fresh() -> None:
    """State and verifier: 43 characters of the unreserved set, never twice, never each other's (3.3, 7 and 13)."""
    attempts = [Attempt.fresh() for _ in range(100)]
    values = [secret.reveal() for attempt in attempts for secret in attempt]
    assert len(set(values)) == 200
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in values)


@pytest.mark.parametrize("attempt", [0, 1])
def test_each_attempt_has_its_own_verifier(serving: Serving, attempt: int) -> None:
    """The state says whose verifier goes with the code: the browser's or the paste's (3.3, 7 and 13)."""
    serving.succeeds(attempt=attempt)


def test_replay_while_the_first_one_waits(serving: Serving) -> None:
    """The right state counts once: a second callback is refused, and the first one still gets its page (3.3, 7)."""
    target = f"/?code={CODE}&state={serving.state}"
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as browser:
        browser.sendall(request(serving.port, target))
        serving.take()
        assert serving.get(target).status == 400
        assert serving.get(f"/?code=another&state={serving.attempts[1].state.reveal()}").status == 400
        assert serving.listener.take() is None
        serving.listener.show(DONE)
        assert receive(browser).status == 200


def test_replay_afterwards(serving: Serving) -> None:
    """After the verdict the same callback is refused and nothing is handed over again (3.3, 7)."""
    serving.succeeds()
    answer = serving.get(f"/?code={CODE}&state={serving.state}")
    assert (answer.status, "Signed in" in answer.body) == (400, False)
    assert serving.listener.take() is None


# Requirement 9: errors.


def test_an_error_with_the_right_state_is_handed_over(serving: Serving) -> None:
    """`error` with our state ends the sign-in, in the server's words (3.3, 9)."""
    asked = urlencode({"error": "access_denied", "error_description": "no & <never>", "state": serving.state})
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as browser:
        browser.sendall(request(serving.port, "/?" + asked))
        callback = serving.take()
        serving.listener.show(page.not_signed_in("forge.example", str(callback.refusal)))
        answer = receive(browser)
    assert (callback.code, callback.refusal) == (None, ("access_denied", "no & <never>"))
    assert "<p>No &amp; &lt;never&gt; (access_denied)</p>" in answer.body


def test_an_error_without_a_state() -> None:
    """… as the Coder of 2025 sends it: it ends the sign-in at a path that cannot be guessed, and at no other."""
    serving = Serving(unguessable(), ours=True)
    path = urlsplit(serving.listener.redirect_uri).path
    assert re.fullmatch(r"/[A-Za-z0-9_-]{43}", path)
    assert path != unguessable().path
    assert serving.stray(request(serving.port, "/?error=access_denied")).status == 404
    assert serving.stray(request(serving.port, f"{path}?code={CODE}")).status == 400
    assert serving.untouched()
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as browser:
        browser.sendall(request(serving.port, f"{path}?error=access_denied"))
        assert serving.take().refusal == ("access_denied", "")
    serving.listener.close()
    for redirect, ours in ((Redirect("127.0.0.1", 0, "/callback"), True), (unguessable(), False)):
        guessed = Serving(redirect, ours=ours)
        assert guessed.stray(request(guessed.port, f"{redirect.path}?error=access_denied")).status == 400
        assert guessed.untouched()
        guessed.listener.close()


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("\"quoted\" 'too' &amp;", "&quot;quoted&quot; &#x27;too&#x27; &amp;amp;"),
        ("</p></body><h1>Signed in", "&lt;/p&gt;&lt;/body&gt;&lt;h1&gt;Signed in"),
        ("\x1b[31mred\x07 \x00bell\r\nX: y", "[31mred bell X: y"),
        ("left\u202etfel \u2066isolated\u2069", "Left tfel isolated"),
        ("https://evil.example/?a=b", "Https://evil.example/?a=b"),
        ("@hint@ @title@", "@hint@ @title@"),
    ],
)
def test_words_from_outside_are_text(hostile: str, shown: str) -> None:
    """A server's words are escaped, cleaned, and never markup or a link (3.3, 9)."""
    body = page.render(page.not_signed_in("forge.example", hostile)).partition(b"\r\n\r\n")[2].decode()
    assert " ".join(re.findall(r"<p>(.*?)</p>", body)[0].split()) == shown
    harmless = page.render(page.not_signed_in("forge.example", "harmless")).partition(b"\r\n\r\n")[2]
    assert body.count("<") == harmless.count(b"<")


def test_words_from_outside_are_bounded() -> None:
    """100 kB of a server's words become one sentence (3.3, 9)."""
    rendered = page.render(page.not_signed_in("forge.example", "<" * 100_000)).decode()
    assert 250 < rendered.count("&lt;") <= 300
    assert len(rendered) < 4000


# Requirements 10 and 12: headers word for word.

COMMON = [
    "Cache-Control: no-store",
    "Referrer-Policy: no-referrer",
    "X-Content-Type-Options: nosniff",
    "X-Frame-Options: DENY",
    "Connection: close",
]
ENCLOSED = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def _admits(body: str) -> str:
    """The policy that lets in this page's one script and one style by their hashes, and nothing else."""
    policy = "default-src 'none'"
    for tag in ("script", "style"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", body, re.DOTALL)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        policy += f"; {tag}-src 'sha256-{digest}'"
    return policy


@pytest.mark.parametrize("status", [200, 400, 404, 405])
def test_headers_of_a_page_word_for_word(serving: Serving, status: int) -> None:
    """Every page has these headers and no other: nothing stored, referred, framed, sniffed, no Server (3.3, 10)."""
    asked: dict[int, Callable[[], Raw]] = {
        200: serving.succeeds,
        400: lambda: serving.get("/"),
        404: lambda: serving.get("/favicon.ico"),
        405: lambda: ask(serving.port, request(serving.port, "/", method="POST")),
    }
    answer = asked[status]()
    reason = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}[status]
    assert answer.head.split("\r\n") == [
        f"HTTP/1.1 {status} {reason}",
        *(["Allow: GET"] if status == 405 else []),
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(answer.body.encode())}",
        f"Content-Security-Policy: {_admits(answer.body)}; {ENCLOSED}",
        *COMMON,
    ]


def test_headers_of_the_start_address_word_for_word(serving: Serving) -> None:
    """The way to the forge refers nobody and is kept by nobody (3.3, 10)."""
    answer = serving.get(serving.listener.start_address().partition(serving.listener.host)[2])
    assert answer.body == ""
    assert answer.head.split("\r\n") == [
        "HTTP/1.1 303 See Other",
        f"Location: {TARGET}",
        "Content-Type: text/html; charset=utf-8",
        "Content-Length: 0",
        f"Content-Security-Policy: default-src 'none'; {ENCLOSED}",
        *COMMON,
    ]


def test_a_page_needs_nothing_from_outside(serving: Serving) -> None:
    """No page names an address: no image, font, script, style, link, form (3.3, 10)."""
    for body in (serving.succeeds().body, serving.get("/").body):
        assert not re.search(r"https?:|\bsrc=|\bhref=|url\(|@import|<(link|form|iframe|img|object)\b", body)


def test_code_and_state_leave_the_address_bar(serving: Serving) -> None:
    """The page takes its query out of the address bar (3.3, 12; a real browser does it in test_page)."""
    assert '<script>history.replaceState(null, "", "/")</script>' in serving.succeeds().body


# Requirement 11: success is said when there is success.


def test_the_browser_waits_until_the_token_is_there(serving: Serving) -> None:
    """Not a byte before the verdict; then the verdict, whatever it is (3.3, 11)."""
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as browser:
        browser.sendall(request(serving.port, f"/?code={CODE}&state={serving.state}"))
        serving.take()
        assert not select.select([browser], [], [], 0.3)[0]
        serving.listener.show(page.not_signed_in("forge.example", "its token endpoint is of no use"))
        answer = receive(browser)
    assert "<h1>Not signed in to forge.example</h1>" in answer.body
    assert "Signed in" not in answer.body


# One more authorize page in the same tab.

FURTHER = "https://forge.example/login/oauth/authorize?client_id=c&state=d"


def test_one_more_page(serving: Serving) -> None:
    """The browser that waits is led there; its second answer is waited for anew, with a state of its own, and what
    came with the first counts no more."""
    used = f"/?code={CODE}&state={serving.state}"
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as browser:
        browser.sendall(request(serving.port, used))
        serving.take()
        assert not serving.rung(0), "or who waits for the second answer would turn in circles"
        serving.attempts = [Attempt.fresh(), Attempt.fresh()]
        assert serving.listener.go_on(serving.attempts, Issuer(ISSUER, announced=False), FURTHER)
        led = receive(browser)
    assert (led.status, led.header("Location"), led.body) == (303, FURTHER, "")
    assert led.header("Cache-Control") == "no-store"
    assert serving.stray(request(serving.port, used)).status == 400
    serving.succeeds()


def test_one_more_page_without_a_browser(serving: Serving) -> None:
    """Where none waits, a start address leads there."""
    serving.attempts = [Attempt.fresh(), Attempt.fresh()]
    assert not serving.listener.go_on(serving.attempts, Issuer(ISSUER, announced=False), FURTHER)
    start = serving.listener.start_address()
    assert serving.get(start.removeprefix(f"http://{serving.listener.host}")).header("Location") == FURTHER
    serving.succeeds(attempt=1)


def test_one_more_page_for_a_tab_that_gave_up(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that has waited too long was told so, and is not led anywhere."""
    monkeypatch.setattr(loopback, "ANSWER", 0.01)
    assert serving.get(f"/?code={CODE}&state={serving.state}").status == 400
    serving.take()
    assert not serving.listener.go_on(serving.attempts, Issuer(ISSUER, announced=False), FURTHER)


# Requirement 14: iss.


@pytest.mark.parametrize("iss", [ISSUER, ISSUER + "/"])
def test_the_right_issuer(serving: Serving, iss: str) -> None:
    """`iss` that names the forge is let in; some servers write a final slash (3.3, 14)."""
    serving.succeeds(iss=iss)


def test_no_issuer(serving: Serving) -> None:
    """`iss` may be absent: Gitea and Forgejo do not send it (3.3, 14)."""
    serving.succeeds()


@pytest.mark.parametrize(
    "iss",
    ["https://evil.example", "http://forge.example", ISSUER + ".evil.example", ISSUER + "/x", "", "forge.example"],
)
@pytest.mark.parametrize("what", ["code", "error"])
def test_another_issuer(serving: Serving, iss: str, what: str) -> None:
    """An answer of another server hands over no code, and nothing of what that server says (3.3, 14)."""
    said = {what: "from-elsewhere", "state": serving.state, "iss": iss}
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as browser:
        browser.sendall(request(serving.port, "/?" + urlencode(said)))
        callback = serving.take()
        serving.listener.show(DONE)
        receive(browser)
    assert callback.code is None
    assert callback.refusal == ("mix-up", "the answer came from another server")


# The start address of decision 6.


def test_the_start_address_is_good_once(serving: Serving) -> None:
    """It leads to the forge once, then nowhere, and shows neither state nor challenge (design, decision 6)."""
    address = serving.listener.start_address()
    path = address.removeprefix(f"http://127.0.0.1:{serving.port}")
    assert re.fullmatch(r"/[A-Za-z0-9_-]{43}", path)
    assert serving.state not in address
    assert not serving.listener.opened
    first = serving.get(path)
    assert (first.status, first.header("Location")) == (303, TARGET)
    assert serving.listener.opened
    second = serving.get(path)
    assert (second.status, second.header("Location")) == (404, "")
    serving.succeeds()


def test_each_opener_has_a_start_address_of_its_own(serving: Serving) -> None:
    """The next opener's address is new, and using one leaves the other good (design, decision 6)."""
    first, second = (serving.listener.start_address().partition(serving.listener.host)[2] for _ in range(2))
    assert first != second
    assert [serving.get(path).status for path in (second, first, first, second)] == [303, 303, 404, 404]


@pytest.mark.parametrize(
    ("method", "suffix", "header", "status"),
    [
        ("GET", "?", "", 303),  # an empty query is none
        ("GET", "?a=b", "", 404),
        ("GET", "/", "", 404),
        ("GET", "x", "", 404),
        ("HEAD", "", "", 405),
        ("OPTIONS", "", "", 405),
        ("POST", "", "", 405),
        ("GET", "", "Sec-Purpose: prefetch;prerender", 400),
        ("GET", "", "Purpose: prefetch", 400),
    ],
)
def test_what_does_not_use_the_start_address_up(
    serving: Serving, method: str, suffix: str, header: str, status: int
) -> None:
    """Only a plain GET of exactly this address uses it up (3.3, 5; design, decision 6)."""
    path = serving.listener.start_address().partition(serving.listener.host)[2]
    headers = [header] if header else []
    answer = ask(serving.port, request(serving.port, path + suffix, *headers, method=method))
    assert answer.status == status
    assert serving.listener.opened == (status == 303)
    assert serving.get(path).status == (404 if status == 303 else 303)


def test_the_start_address_is_for_our_host_alone(serving: Serving) -> None:
    """A rebound name does not learn state and challenge, and does not use the address up (3.3, 4)."""
    path = serving.listener.start_address().partition(serving.listener.host)[2]
    answer = ask(serving.port, request(serving.port, path, host=f"rebound.example:{serving.port}"))
    assert (answer.status, "Location" in answer.head) == (400, False)
    assert serving.get(path).status == 303


def test_of_many_who_come_at_once_one_is_let_through(serving: Serving) -> None:
    """Good once also means once among several at the same moment (design, decision 6)."""
    path = serving.listener.start_address().partition(serving.listener.host)[2]
    statuses: list[int] = []
    together = threading.Barrier(8)

    def come() -> None:
        with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as browser:
            together.wait()
            browser.sendall(request(serving.port, path))
            statuses.append(receive(browser).status)

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [303, *[404] * 7]


# Configured redirect addresses.


BUSY = "cannot be listened on, and oauthRedirectURL names it: Address already in use"


def test_a_configured_port_is_used_and_one_that_is_taken_is_said() -> None:
    """A registered port is listened on exactly; where somebody else listens that is said, and no socket is left (3.3,
    2)."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TryElsewhereError) as refused:
            Listener(Redirect("127.0.0.1", port, "/callback"))
        assert refused.value.message == f"port {port} of 127.0.0.1 {BUSY}"
        del refused
        gc.collect()  # a socket that was left open is said here, and not in some other test
    serving = Serving(Redirect("127.0.0.1", port, "/callback"))
    assert serving.listener.redirect_uri == f"http://127.0.0.1:{port}/callback"
    serving.succeeds(f"/callback?code={CODE}&state={serving.state}")
    serving.listener.close()


@pytest.mark.parametrize("family", ["127.0.0.1", "::1"])
def test_half_of_localhost_is_not_enough(family: str) -> None:
    """Whoever listens on the other loopback at that port would be brought the code: refused, and no socket is left."""
    with socket.create_server((family, 0), family=socket.AF_INET6 if ":" in family else socket.AF_INET) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TryElsewhereError) as refused:
            Listener(Redirect("localhost", port, "/"))
        assert refused.value.message == f"port {port} of {family} {BUSY}"
        del refused
        gc.collect()
        if ":" in family:
            assert not listens(port)


def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """There one of the two is all of `localhost`."""
    real = socket.socket

    def only_four(family: int = socket.AF_INET, *rest: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", only_four)
        listener = Listener(Redirect("localhost", 0, "/cb"))
        with pytest.raises(TryElsewhereError, match="of ::1 cannot be listened on: Address family not supported"):
            Listener(Redirect("[::1]", 0, "/cb"))
    assert len(listener._sockets) == 1
    listener.close()


def test_a_configured_port_can_be_used_again_at_once() -> None:
    """A registered port serves the next sign-in although the last browser's connection still lingers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for _ in range(2):
        serving = Serving(Redirect("127.0.0.1", port, ""))
        serving.succeeds()
        serving.listener.close()


def test_localhost_is_both_of_its_addresses_and_its_own_host() -> None:
    """Where `localhost` is registered, the Host is that, and both loopbacks are ours at one port (3.3, 1 and 4)."""
    serving = Serving(Redirect("localhost", 0, "/cb"))
    assert serving.listener.redirect_uri == f"http://localhost:{serving.port}/cb"
    query = f"code={CODE}&state={quote(serving.state)}"
    assert ask(serving.port, request(serving.port, f"/cb?{query}")).status == 400  # Host: 127.0.0.1
    with socket.create_connection(("::1", serving.port), timeout=10) as six:
        six.sendall(request(serving.port, "/favicon.ico", host=f"localhost:{serving.port}"))
        assert receive(six).status == 404
    serving.succeeds(f"/cb?{query}")
    serving.listener.close()
    assert not listens(serving.port)
