"""The listener on this machine (RFC 8252, section 7.3). It trusts nothing.

Only GET, at the exact redirect path, to our Host, with our state, decides anything; everything else is answered
and changes nothing. Each connection has a thread and little time, because browsers open idle ones.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import os
import re
import socket
import threading
import time
from collections import deque
from typing import NamedTuple

from git_credential_forge.errors import TryElsewhereError
from git_credential_forge.oauth import page, peer, wire
from git_credential_forge.oauth.page import Page
from git_credential_forge.oauth.wire import Attempt, Callback
from git_credential_forge.secret import Secret

REQUEST_LINE = 8192  # bytes: a code of 4 KiB and a state fit; Chromium itself stops at 2 MB
HEADERS = 32  # browsers send about 15
HEADER_BYTES = 65_536  # together: cookies of other services on 127.0.0.1 come along
READ = 5.0  # seconds for a whole request; an idle connection is closed then
CONNECTIONS = 32  # at once; a browser opens up to six
ANSWER = 60.0  # seconds that a callback waits for the exchange before the page says so

_UNGUESSABLE = re.compile(r"/[A-Za-z0-9_-]{43}")
_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}):[ \t]*([^\r\n]*?)[ \t]*")


class Redirect(NamedTuple):
    """A redirect address: where to bind, and what to say to the forge."""

    host: str
    port: int  # 0: any free one
    path: str  # as registered; '' where it has none


def unguessable() -> Redirect:
    """Any free port, and a path that no page can guess: some servers tell a refusal without the state."""
    return Redirect("127.0.0.1", 0, f"/{Secret.fresh().reveal()}")


class Request(NamedTuple):
    method: str
    path: str
    query: str
    headers: dict[str, str]


class _Waiting:
    """A browser that has brought the callback and is owed a page."""

    def __init__(self) -> None:
        self.answer = page.render(page.NOT_EXPECTED)
        self.shown = threading.Event()


class Listener:
    """Open while a sign-in runs. `descriptor` can be polled: readable when a callback is there to be taken."""

    def __init__(self, redirect: Redirect, *, ours: bool = False) -> None:
        """Bind; raises TryElsewhereError when a fixed port is taken. `ours`: no person has chosen the path."""
        self._sockets = _bound(redirect)
        self.host = f"{redirect.host}:{self._sockets[0].getsockname()[1]}"
        self.redirect_uri = f"http://{self.host}{redirect.path}"
        self._path = redirect.path or "/"
        self._by_path = ours and bool(_UNGUESSABLE.fullmatch(self._path))
        self._attempts: list[Attempt] = []
        self._issuer = wire.UNKNOWN_ISSUER
        self._target = ""
        self._starts: list[Secret] = []
        self._opened = False
        self._callbacks: deque[Callback] = deque()
        self._waiting: list[_Waiting] = []
        self._verdict: Page | None = None
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        self._threads: list[threading.Thread] = []
        self.descriptor, self._bell = os.pipe()

    def serve(self, attempts: list[Attempt], issuer: wire.Issuer, target: str) -> None:
        """Answer from now on. `target`: the authorize address that a start address leads to."""
        self._attempts, self._target, self._issuer = attempts, target, issuer
        for listening in self._sockets:
            threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def start_address(self) -> str:
        """An address for an opener, good once: neither state nor challenge stands in its arguments, and it has no
        `&` and `=` for it to mangle."""
        nonce = Secret.fresh()
        with self._lock:
            self._starts.append(nonce)
        return f"http://{self.host}/{nonce.reveal()}"

    @property
    def opened(self) -> bool:
        """Whether a browser has come to a start address."""
        with self._lock:
            return self._opened

    def take(self) -> Callback | None:
        """The callback that has come, if one has."""
        with self._lock:
            if not self._callbacks:
                return None
            os.read(self.descriptor, 1)  # or it would ring for ever, and another one may come
            return self._callbacks.popleft()

    def go_on(self, attempts: list[Attempt], issuer: wire.Issuer, target: str) -> bool:
        """Lead the browser that waits to one more authorize page, whose answer is waited for as the first one was.
        False where none waits; then a start address leads there."""
        with self._lock:
            self._attempts, self._issuer, self._target = attempts, issuer, target
            waiting, self._waiting = self._waiting, []
        return _release(waiting, page.redirect(target))

    def show(self, verdict: Page) -> None:
        """Give the browser that waits its page."""
        with self._lock:
            self._verdict = verdict
            waiting, self._waiting = self._waiting, []
        _release(waiting, page.render(verdict))

    def close(self) -> None:
        """Stop listening; pages that are on their way arrive."""
        for listening in self._sockets:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # wakes who accepts, on Linux; closing does on macOS
            listening.close()
        self.show(self._verdict or page.NOT_EXPECTED)
        deadline = time.monotonic() + 1
        for thread in self._threads:
            if thread.name == "callback":
                thread.join(max(0.0, deadline - time.monotonic()))
        os.close(self.descriptor)
        with self._lock:
            os.close(self._bell)
            self._bell = -1

    # -- in threads ---------------------------------------------------------------------------------------

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            if not peer.may_speak(connection) or not self._slots.acquire(timeout=READ):
                connection.close()
                continue
            thread = threading.Thread(target=self._serve_one, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve_one(self, connection: socket.socket) -> None:
        try:
            with connection:
                request = _read(connection)
                connection.settimeout(READ)
                connection.sendall(page.render(page.NOT_EXPECTED) if request is None else self._answer(request))
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        finally:
            self._slots.release()

    def _answer(self, request: Request) -> bytes:
        """What a request gets. Up to the callback nothing changes, whoever sent it (RFC 8252, section 8.10)."""
        if request.method != "GET":
            return page.render(page.METHOD)
        if request.headers.get("host") != self.host:  # DNS rebinding
            return page.render(page.NOT_EXPECTED)
        if "prefetch" in request.headers.get("sec-purpose", request.headers.get("purpose", "")):
            return page.render(page.NOT_EXPECTED)
        if self._started(request):
            return page.redirect(self._target)
        if request.path != self._path:
            return page.render(page.NOT_FOUND)
        callback = wire.parse_callback(request.query, self._attempts, self._issuer, by_path=self._by_path)
        if callback is None:
            return page.render(page.NOT_EXPECTED)
        return self._take_in(callback)

    def _started(self, request: Request) -> bool:
        with self._lock:
            for nonce in self._starts:
                if not request.query and hmac.compare_digest(f"/{nonce.reveal()}", request.path):
                    self._starts.remove(nonce)
                    self._opened = True
                    return True
        return False

    def _take_in(self, callback: Callback) -> bytes:
        """Hand the first callback over and wait for what comes of it; a second one changes nothing."""
        waiting = _Waiting()
        with self._lock:
            if self._verdict or self._waiting or self._bell < 0:
                return waiting.answer
            threading.current_thread().name = "callback"
            self._waiting.append(waiting)
            self._callbacks.append(callback)
            os.write(self._bell, b".")
        if not waiting.shown.wait(ANSWER):
            with self._lock:
                self._waiting = [browser for browser in self._waiting if browser is not waiting]
        return waiting.answer


def _release(waiting: list[_Waiting], answer: bytes) -> bool:
    for browser in waiting:
        browser.answer = answer
        browser.shown.set()
    return bool(waiting)


def _bound(redirect: Redirect) -> list[socket.socket]:
    """Listen where a redirect address says, for `localhost` on both loopbacks at one port: with half of it, a browser
    might bring the code to whoever listens on the other. Raises TryElsewhereError."""
    found: list[socket.socket] = []
    port = redirect.port
    for address in {"localhost": ("127.0.0.1", "::1"), "[::1]": ("::1",)}.get(redirect.host, (redirect.host,)):
        try:
            found.append(_bind(address, port))
        except OSError as error:
            if found and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue  # a machine without IPv6
            for each in found:
                each.close()
            why = ", and oauthRedirectURL names it" if redirect.port else ""
            raise TryElsewhereError(f"port {port} of {address} cannot be listened on{why}: {error.strerror}") from None
        port = found[-1].getsockname()[1]
    return found


def _bind(address: str, port: int) -> socket.socket:
    """One address of this machine; the socket is kept: a port that is found, let go and taken again may be somebody
    else's by then. Raises OSError."""
    bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a browser's last connection may linger
        bound.bind((address, port))
        # On Linux only if it had this too. Not before a free one is looked for: that would be none which lingers.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.listen(CONNECTIONS)
    except OSError:
        bound.close()
        raise
    return bound


def _read(connection: socket.socket) -> Request | None:
    """One request without a body, within limits of size and time; None for anything else."""
    deadline = time.monotonic() + READ
    data = bytearray()
    while b"\r\n\r\n" not in data:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        more = connection.recv(8192)
        data += more
        first = data.find(b"\r\n")
        if not more or len(data) > HEADER_BYTES or (first < 0 and len(data) > REQUEST_LINE) or first > REQUEST_LINE:
            return None
    return parse_request(bytes(data[: data.index(b"\r\n\r\n")]))


def parse_request(head: bytes) -> Request | None:
    """A request line and headers without the blank line; strict, and no header twice that we look at."""
    lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(lines[0])
    if not match or len(lines) - 1 > HEADERS:
        return None
    headers: dict[str, str] = {}
    for line in lines[1:]:
        pair = _HEADER.fullmatch(line)
        name = pair[1].decode().lower() if pair else ""
        if not pair or (name == "host" and name in headers):
            return None
        headers[name] = pair[2].decode("latin-1")
    path, _, query = match[2].decode().partition("?")
    return Request(match[1].decode(), path, query, headers)
