"""Requests to real servers on this machine that behave, misbehave, or stand in between."""

from __future__ import annotations

import base64
import gzip
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trustme

from git_credential_forge.errors import UnreachableError
from git_credential_forge.oauth import http
from git_credential_forge.secret import Secret
from tests.support.httpserver import Answer, HttpServer, Request
from tests.support.surroundings import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OK = Answer(200, [("Content-Type", "application/json"), ("Set-Cookie", "a=b")], b'{"a": 1}')
FORM = {"code": "hush-code", "x": "a b&c"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="not here: the system's certificates are elsewhere")


@pytest.fixture(autouse=True)
def config(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The global git configuration of a home in which nothing is set: no proxy, no certificate."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.chdir(home)
    return home / ".gitconfig"


class Server:
    """Answers everything alike, and keeps what it was asked."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Request] = []
        self.says = OK
        self._server = HttpServer(self._answer, context)
        self.netloc = f"127.0.0.1:{self._server.port}"
        self.url = f"{'https' if context else 'http'}://{self.netloc}"
        self.stop = self._server.stop

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return self.says


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    running = Server(context)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    """Another place, which nobody may be sent to."""
    with serving() as running:
        yield running
        assert running.asked == []


def why(url: str, *, bearer: str | None = None, deadline: float = 10.0, sent: bool | None = None) -> str:
    """The reason why a GET had no answer, behind the host that the message has to begin with."""
    with pytest.raises(UnreachableError) as caught:
        http.get(url, bearer=Secret(bearer) if bearer else None, deadline=deadline)
    begins = f"{urlsplit(url).netloc} cannot be reached ("
    message = caught.value.message
    assert message.startswith(begins)
    assert message.endswith(")")
    assert "\n" not in message
    assert sent in (None, caught.value.sent), "whether the request may have arrived"
    return message[len(begins) : -1]


# What is sent, and what comes back


def test_get(server: Server) -> None:
    """Accept and User-Agent, and a token only where one was given; nothing is remembered from one to the next."""
    answer = http.get(f"{server.url}/x?y=z")
    assert answer == http.Response(200, "application/json", "", b'{"a": 1}')
    http.get(f"{server.url}/x", bearer=Secret("hush"))
    first, second = server.asked
    assert (first.method, first.target, first.body) == ("GET", "/x?y=z", b"")
    assert first.header("Accept") == "application/json"
    assert first.header("User-Agent") == "git-credential-forge"
    assert first.header("Authorization") == ""
    assert second.header("Authorization") == "Bearer hush"
    assert second.header("Cookie") == ""


def test_post(server: Server) -> None:
    """A form in the body, and nothing of it in the address or a header."""
    server.says = Answer(400, [], b"no")
    answer = http.post(f"{server.url}/token", FORM)
    (request,) = server.asked
    assert (answer.status, answer.body) == (400, b"no")
    assert (request.method, request.target, request.body) == ("POST", "/token", b"code=hush-code&x=a+b%26c")
    assert request.header("Content-Type") == "application/x-www-form-urlencoded"
    assert request.header("Authorization") == ""
    assert "hush" not in str(request.headers)


def test_no_password_from_a_file(server: Server, home: Path) -> None:
    """What curl and others read from .netrc is not ours to send."""
    (home / ".netrc").write_text("machine 127.0.0.1 login u password hush\n")
    (home / ".netrc").chmod(0o600)
    http.get(server.url)
    assert server.asked[0].header("Authorization") == ""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int, server: Server, elsewhere: Server) -> None:
    """A token or a code would follow it (CVE-2026-41506); where it leads is told to the caller."""
    server.says = Answer(status, [("Location", f"{elsewhere.url}/x")], b"")
    for answer in (http.get(server.url, bearer=Secret("hush")), http.post(server.url, FORM)):
        assert (answer.status, answer.location) == (status, f"{elsewhere.url}/x")
    assert len(server.asked) == 2


def test_retry_after(server: Server) -> None:
    """What a busy server asks for is told to the caller."""
    server.says = Answer(503, [("Retry-After", "7")], b"")
    assert http.get(server.url).retry_after == "7"


def test_trace_has_no_secret(
    server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With GIT_TRACE_FORGE=1: to whom, and nothing of what."""
    monkeypatch.setenv("GIT_TRACE_FORGE", "1")
    http.get(f"{server.url}/hush", bearer=Secret("hush"))
    http.post(f"{server.url}/hush", FORM)
    said = capfd.readouterr().err
    assert [line.partition(" ")[2] for line in said.splitlines()] == [
        f"http: {m} to {server.netloc}" for m in ("GET", "POST")
    ]


# Size and time


@pytest.mark.parametrize("size", [0, 1 << 20, (1 << 20) + 1, 10_000_000])
def test_size(size: int, server: Server) -> None:
    """An answer of a megabyte is read, a byte more is not."""
    server.says = Answer(200, [], b"x" * size)
    if size <= 1 << 20:
        assert http.get(server.url).body == server.says.body
        assert http.post(server.url, {}).body == server.says.body
    else:
        assert why(server.url, sent=True) == "its answer is larger than 1048576 bytes"


def test_size_of_what_was_packed(server: Server) -> None:
    """Nothing is unpacked: a few kilobytes can be gigabytes."""
    server.says = Answer(200, [("Content-Encoding", "gzip")], gzip.compress(b"x" * 10_000_000))
    assert why(server.url) == "its answer is packed, though none was to be"


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does with each connection what it is told to; its address. Its connections end with it."""
    listening = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            talk(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connections.append(listening.accept()[0])
                threading.Thread(target=serve, args=(connections[-1],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/x"
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


def drip(*, first: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(first)
        pause = threading.Event()
        while not pause.wait(0.02):
            connection.sendall(b"x")

    return talk


def silent(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")


@pytest.mark.parametrize(
    "talk", [drip(first=HEAD), drip(first=b"HTTP/1.1 200 OK\r\nX: "), drip(first=b""), silent],
    ids=["body", "header", "status", "nothing"],
)  # fmt: skip
def test_deadline(talk: Callable[[socket.socket], None]) -> None:
    """However it dawdles, a server holds nobody longer than the deadline."""
    with raw_server(talk) as url:
        began = time.monotonic()
        said = why(url, deadline=1.0, sent=True)
        assert 0.9 <= time.monotonic() - began < 4
    assert said in ("no whole answer within 1 s", "timed out after 1 s")


def test_endless_answer() -> None:
    """It is not read to an end that never comes."""
    with raw_server(endless) as url:
        assert why(url) == "its answer is larger than 1048576 bytes"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x16\x03\x01\x02",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nA\x00B: c\r\n\r\n",
        HEAD + b"cut off",
    ],
)
def test_no_http(said: bytes) -> None:
    """What is no whole answer is no answer, in one line of words."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(said)

    with raw_server(talk) as url:
        assert why(url, sent=True)


def test_reset() -> None:
    """Hung up on with the request in hand: it may have been heard."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with raw_server(talk) as url:
        assert why(url, sent=True)


def test_nobody_there() -> None:
    """The system's word for it."""
    with raw_server(silent) as url:
        pass
    assert "refused" in why(url, sent=False)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example"])
def test_a_name_that_cannot_be_looked_up(host: str) -> None:
    """It is the name that is wrong, so no setting is blamed."""
    said = why(f"https://{host}/x")
    assert "http.proxy" not in said
    assert "sslCAInfo" not in said


def test_words_have_nothing_of_what_was_sent(server: Server) -> None:
    """Not even of a token that no server could have given."""
    for bearer in ("hush\nhush", "hush\u00fc", "hush\0"):
        assert "hush" not in why(server.url, bearer=bearer)
    assert server.asked == []


# As where it comes in the moment before a call: no call of the first thread is interrupted.
ELSEWHERE = """
import signal, threading, time
threading.Thread(target=time.sleep, args=(90,), daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
"""


@pytest.mark.parametrize("before", ["", ELSEWHERE])
def test_interrupt(home: Path, before: str) -> None:
    """Ctrl-C works while a server keeps us waiting, whenever it comes."""
    came = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        came.set()
        silent(connection)

    script = f"{before}\nimport sys; from git_credential_forge.oauth import http; http.get(sys.argv[1], deadline=60.0)"
    with raw_server(talk) as url:
        child = subprocess.Popen(
            [sys.executable, "-c", script, url],
            env=clean_environment(home, PYTHONPATH=str(ROOT / "src")),
            stderr=subprocess.PIPE,
        )
        with child:
            assert came.wait(30)
            child.send_signal(signal.SIGINT)
            assert b"KeyboardInterrupt" in child.communicate(timeout=20)[1]
            assert child.returncode == -signal.SIGINT


def test_background() -> None:
    """Work beside the sign-in, by a thread that keeps no process alive; httpx is there once it was loaded ahead."""
    done = threading.Event()
    seen: list[bool] = []

    def work() -> None:
        seen.append(threading.current_thread().daemon)
        done.set()

    http.in_background(work)
    assert done.wait(20)
    assert seen == [True]
    http.preload()
    assert "httpx" in sys.modules


# Certificates


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, home: Path) -> str:
    path = home / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def other_file(home: Path) -> str:
    path = home / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


def context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(made)
    return made


@pytest.fixture
def secure(ca: trustme.CA) -> Iterator[Server]:
    """Over TLS, by a certificate that this machine does not trust."""
    with serving(context(ca.issue_cert("127.0.0.1"))) as running:
        yield running


def test_untrusted(secure: Server) -> None:
    """Refused, with the verdict and the setting of git's that would change it; no request is made."""
    said = why(secure.url, bearer="hush", sent=False)
    assert re.match(r"its certificate is not trusted: .*(issuer|self.signed)", said)
    assert said.endswith("; git's own setting is used: http.sslCAInfo, now unset")
    assert secure.asked == []


def test_trusted_by_another(secure: Server, other_file: str, config: Path) -> None:
    """The file that is set now is named."""
    config.write_text(f"[http]\n\tsslCAInfo = {other_file}\n")
    assert why(secure.url).endswith(f"; git's own setting is used: http.sslCAInfo, now {other_file}")


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("sslCAInfo = {ca}", {}),
        ("sslCAInfo = ~/ca.pem", {}),
        ("", {"GIT_SSL_CAINFO": "{ca}"}),
        ("sslCAInfo = {other}", {"GIT_SSL_CAINFO": "{ca}"}),
        ("sslVerify = false", {}),
        ("sslVerify = false\n\tsslCAInfo = {other}", {}),
        ("", {"GIT_SSL_NO_VERIFY": "1"}),
        pytest.param("", {"SSL_CERT_FILE": "{ca}"}, marks=linux),
    ],
)
def test_trusted(
    text: str,
    environment: dict[str, str],
    *,
    secure: Server,
    ca_file: str,
    other_file: str,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By git's settings, its variables, or the system; whoever switches verification off has that too."""
    files = {"ca": ca_file, "other": other_file}
    config.write_text(f"[http]\n\t{text.format(**files)}\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(**files))
    assert http.get(secure.url, bearer=Secret("hush")).status == 200
    assert secure.asked[0].header("Authorization") == "Bearer hush"


@linux
def test_without_truststore(secure: Server, ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be imported, Python's own view of the system does."""
    monkeypatch.setitem(sys.modules, "truststore", None)
    assert "not trusted" in why(secure.url)
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    assert http.get(secure.url).status == 200


@pytest.mark.parametrize(
    ("names", "not_after", "verdict"),
    [(["other.example"], None, "mismatch"), (["127.0.0.1"], datetime(2020, 1, 1, tzinfo=timezone.utc), "expired")],
)
def test_a_certificate_that_is_not_good(
    names: list[str],
    not_after: datetime | None,
    verdict: str,
    *,
    ca: trustme.CA,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another's or an old one is refused, though its issuer is trusted."""
    monkeypatch.setenv("GIT_SSL_CAINFO", ca_file)
    with serving(context(ca.issue_cert(*names, not_after=not_after))) as running:
        said = why(running.url)
        assert said.startswith("its certificate is not trusted: ")
        assert verdict in said
        assert running.asked == []


@pytest.mark.parametrize(
    ("text", "said"), [(None, "No such file or directory"), ("no certificate", "not a certificate file")]
)
def test_a_file_that_is_not_good(text: str | None, said: str, secure: Server, home: Path, config: Path) -> None:
    """Named with its setting; and no matter where there is no TLS."""
    if text is not None:
        (home / "bad.pem").write_text(text)
    config.write_text(f"[http]\n\tsslCAInfo = {home}/bad.pem\n")
    assert why(secure.url, sent=False) == f"http.sslCAInfo, {home}/bad.pem: {said}"
    with serving() as plain:
        assert http.get(plain.url).status == 200


def test_a_host_that_is_named_otherwise(ca: trustme.CA, ca_file: str, config: Path) -> None:
    """`http.<url>.sslCAInfo` counts for that host."""
    with serving(context(ca.issue_cert("127.0.0.1"))) as one, serving(context(ca.issue_cert("127.0.0.1"))) as two:
        config.write_text(f'[http "{one.url}"]\n\tsslCAInfo = {ca_file}\n')
        assert http.get(f"{one.url}/x/y").status == 200
        assert "not trusted" in why(two.url)


# Proxies


class Proxy:
    """A forward proxy: CONNECT, and requests with a whole address. It keeps the head of each request."""

    def __init__(self, refuses: bytes = b"") -> None:
        self.seen: list[str] = []
        self.bytes = b""
        self._refuses = refuses

    def talk(self, connection: socket.socket) -> None:
        head, _, rest = self._head(connection)
        self.seen.append(head.split(b"\r\n")[0].decode())
        if self._refuses:
            connection.sendall(self._refuses)
            return
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        netloc = target if method == "CONNECT" else urlsplit(target).netloc
        with socket.create_connection(("127.0.0.1", int(netloc.rpartition(":")[2])), timeout=30) as onward:
            if method == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                onward.sendall(rest)
            else:
                path = urlsplit(target).path.encode() or b"/"
                lines = head.split(b"\r\n")[1:]
                kept = [line for line in lines if not line.lower().startswith((b"proxy-", b"connection:"))]
                first = method.encode() + b" " + path + b" HTTP/1.1"
                onward.sendall(b"\r\n".join([first, *kept, b"Connection: close", b"", rest]))
            back = threading.Thread(target=self._relay, args=(onward, connection), daemon=True)
            back.start()
            self._relay(connection, onward)
            back.join()

    def _head(self, connection: socket.socket) -> tuple[bytes, bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65_536)
        self.bytes += data
        return data.partition(b"\r\n\r\n")

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self.bytes += data
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy() -> Iterator[tuple[Proxy, str]]:
    running = Proxy()
    with raw_server(running.talk) as url:
        yield running, urlsplit(url).netloc


@pytest.mark.parametrize(
    ("text", "environment", "used"),
    [
        ("", {}, False),
        ("proxy = http://{proxy}", {}, True),
        ("proxy = {proxy}", {}, True),
        ("proxy = {proxy}", {"no_proxy": "127.0.0.1"}, False),
        ("proxy = {proxy}", {"NO_PROXY": "*"}, False),
        ("proxy = {proxy}", {"no_proxy": "forge.example"}, True),
        ("", {"http_proxy": "{proxy}", "https_proxy": "{proxy}"}, True),
        ("", {"all_proxy": "http://{proxy}"}, True),
        ("proxy =", {"http_proxy": "{proxy}", "https_proxy": "{proxy}", "all_proxy": "{proxy}"}, False),
        ("", {"http_proxy": "{proxy}", "https_proxy": "{proxy}", "no_proxy": "127.0.0.1,x"}, False),
    ],
)
def test_proxy(
    text: str,
    environment: dict[str, str],
    used: bool,
    *,
    secure: Server,
    server: Server,
    ca_file: str,
    proxy: tuple[Proxy, str],
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As git would go: through the proxy that is set, or not. Over TLS it learns where to, and nothing else."""
    between, netloc = proxy
    config.write_text(f"[http]\n\tsslCAInfo = {ca_file}\n\t{text.format(proxy=netloc)}\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(proxy=netloc))
    assert http.get(f"{secure.url}/hush", bearer=Secret("hush")).body == OK.body
    assert http.post(f"{secure.url}/hush", FORM).body == OK.body
    assert len(secure.asked) == 2
    assert between.seen == [f"CONNECT {secure.netloc} HTTP/1.1"] * 2 * used
    assert b"hush" not in between.bytes
    assert http.get(f"{server.url}/plain").body == OK.body
    assert between.seen[2:] == [f"GET {server.url}/plain HTTP/1.1"] * used


def test_no_proxy_reads_a_token_of_coder_s(server: Server, proxy: tuple[Proxy, str], config: Path) -> None:
    """On this machine plain http will do, because nobody is between; so nobody is put there."""
    between, netloc = proxy
    config.write_text(f"[http]\n\tproxy = http://{netloc}\n")
    assert http.get(f"{server.url}/api", session=Secret("hush")).body == OK.body
    assert between.seen == []


def test_proxy_with_a_password(secure: Server, ca_file: str, proxy: tuple[Proxy, str], config: Path) -> None:
    """It is for the proxy, and the forge does not see it."""
    between, netloc = proxy
    config.write_text(f"[http]\n\tsslCAInfo = {ca_file}\n\tproxy = http://me:hush@{netloc}\n")
    assert http.get(secure.url).status == 200
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:hush") in between.bytes
    assert secure.asked[0].header("Proxy-Authorization") == ""


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://me:hush@{proxy}", "the proxy refused to connect"),
        ("http://me:hush@127.0.0.1:1", ""),
        ("foo://me:hush@{proxy}", "http.proxy is of a kind that this program cannot use"),
        ("http://me:hush/x@{proxy}", ""),
        ("http://me:hush#@{proxy}", ""),
        ("http://me:hu sh@{proxy}", ""),
    ],
)
def test_proxy_that_does_not_work(address: str, said: str, secure: Server, elsewhere: Server, config: Path) -> None:
    """Said in words that have nothing of its password; nothing goes around it."""
    refusing = Proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    with raw_server(refusing.talk) as url:
        quoted = address.format(proxy=urlsplit(url).netloc)
        subprocess.run(["git", "config", "--file", config, "http.proxy", quoted], env=dict(os.environ), check=True)
        reason = why(secure.url, bearer="token", sent=False)
        assert said in reason
        assert "hush" not in reason
        assert "hu" not in reason.split()
        with suppress(UnreachableError):
            assert http.get(elsewhere.url, bearer=Secret("token")).status == 407
    assert secure.asked == []
