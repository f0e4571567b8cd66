"""Requests to a forge: the only importer of httpx. Nothing here knows OAuth.

Each request runs in a thread of its own under one deadline: neither a name server that does not answer nor a
server that sends a byte a second can hold git longer, and Ctrl-C always works. No redirect is followed: a token
or code would follow it (CVE-2026-41506 and kin).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from git_credential_forge import say
from git_credential_forge.errors import UnreachableError
from git_credential_forge.secret import Secret
from git_credential_forge.settings import HttpSettings, read_http

if TYPE_CHECKING:
    import ssl

    import httpx

LARGEST = 1 << 20  # bytes of an answer; the largest real one is some 4 KiB
DEADLINE = 10.0  # seconds for a request and its answer, as people wait for a git command

GRACE = 0.25  # seconds more for what httpx itself can tell better
_LOOK = 0.2  # seconds


class Response(NamedTuple):
    status: int
    content_type: str
    location: str  # where a redirect would lead
    body: bytes
    retry_after: str = ""
    challenges: tuple[str, ...] = ()  # WWW-Authenticate


class _Call(NamedTuple):
    method: str
    url: str
    form: dict[str, str] | None
    bearer: Secret | None
    deadline: float  # seconds
    largest: int  # bytes
    basic: tuple[str, Secret] | None = None  # a client and its secret, for the header
    json: dict[str, object] | None = None
    session: Secret | None = None  # a token of Coder's, in a header of its own

    @property
    def host(self) -> str:
        return self.url.partition("://")[2].partition("/")[0]


def post(
    url: str, form: dict[str, str], *, basic: tuple[str, Secret] | None = None, deadline: float = DEADLINE
) -> Response:
    """POST a form. Raises UnreachableError."""
    return _request(_Call("POST", url, form, None, deadline, LARGEST, basic))


def post_json(
    url: str, fields: dict[str, object], *, bearer: Secret | None = None, session: Secret | None = None
) -> Response:
    """POST an object as JSON. Raises UnreachableError."""
    return _request(_Call("POST", url, None, bearer, DEADLINE, LARGEST, json=fields, session=session))


def put_json(url: str, fields: dict[str, object], *, bearer: Secret) -> Response:
    """PUT an object as JSON. Raises UnreachableError."""
    return _request(_Call("PUT", url, None, bearer, DEADLINE, LARGEST, json=fields))


def delete(
    url: str, *, bearer: Secret | None = None, session: Secret | None = None, deadline: float = DEADLINE
) -> Response:
    """DELETE. Raises UnreachableError."""
    return _request(_Call("DELETE", url, None, bearer, deadline, LARGEST, session=session))


def get(
    url: str,
    *,
    bearer: Secret | None = None,
    session: Secret | None = None,
    deadline: float = DEADLINE,
    largest: int = LARGEST,
) -> Response:
    """GET, with a token or without. Raises UnreachableError."""
    return _request(_Call("GET", url, None, bearer, deadline, largest, session=session))


def _request(call: _Call) -> Response:
    settings = read_http(call.url)
    if call.session is not None and call.url.startswith("http:"):  # on this machine: no proxy is to read the token
        settings = settings._replace(proxy=None)
    outcome: list[Response | UnreachableError] = []
    say.trace(f"http: {call.method} to {call.host}")

    def speak() -> None:
        try:
            outcome.append(_speak(call, settings))
        except Exception as error:  # noqa: BLE001 # in a thread, it would be printed and the deadline waited for
            outcome.append(_unreachable(call, type(error).__name__, sent=True))

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    end = time.monotonic() + call.deadline + GRACE
    while thread.is_alive() and time.monotonic() < end:  # a signal that comes in the moment before a call lets it go on
        thread.join(_LOOK)
    if not outcome:
        outcome.append(_unreachable(call, f"no whole answer within {call.deadline:.0f} s", sent=True))
    if isinstance(outcome[0], UnreachableError):
        raise outcome[0]
    return outcome[0]


def _unreachable(call: _Call, why: str, *, sent: bool) -> UnreachableError:
    return UnreachableError(f"{call.host} cannot be reached ({say.clean(why)})", sent=sent)


def _speak(call: _Call, settings: HttpSettings) -> Response | UnreachableError:
    """The answer, or why there is none; in words that have nothing of what was sent."""
    import httpx

    # Unpacked, a few kilobytes can be gigabytes; so nothing is to be packed.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "git-credential-forge"}
    if call.bearer is not None:
        headers["Authorization"] = f"Bearer {call.bearer.reveal()}"
    if call.basic is not None:
        headers["Authorization"] = _basic(*call.basic)
    if call.session is not None:
        headers["Coder-Session-Token"] = call.session.reveal()
    try:
        trusted = _context(settings) if call.url.startswith("https:") else False
    except OSError as error:  # an SSLError is one, with a number of its own
        what = error.strerror if type(error) in (FileNotFoundError, PermissionError) else "not a certificate file"
        return _unreachable(call, f"http.sslCAInfo, {settings.ca_file or settings.ca_path}: {what}", sent=False)
    try:
        client = httpx.Client(verify=trusted, proxy=settings.proxy, trust_env=False, timeout=call.deadline)
    except (ValueError, ImportError, httpx.InvalidURL):  # no such proxy, or httpx wants a library more for it
        return _unreachable(call, "http.proxy is of a kind that this program cannot use", sent=False)
    try:
        stream = client.stream(call.method, call.url, json=call.json, data=call.form, headers=headers)
        with client, stream as answer:
            return _read(answer, call)
    except httpx.TimeoutException as error:
        unsent = isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout)
        return _unreachable(call, f"timed out after {call.deadline:.0f} s", sent=not unsent)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        unsent = isinstance(error, httpx.ConnectError | httpx.ProxyError | httpx.InvalidURL | ValueError)
        return _unreachable(call, _why(error, settings), sent=not unsent)


def _basic(client: str, secret: Secret) -> str:
    """Each part is form-encoded before they are joined (RFC 6749, section 2.3.1)."""
    import base64
    from urllib.parse import quote_plus

    pair = f"{quote_plus(client)}:{quote_plus(secret.reveal())}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _read(answer: httpx.Response, call: _Call) -> Response | UnreachableError:
    body = bytearray()
    if answer.headers.get("content-encoding", "identity") != "identity":
        return _unreachable(call, "its answer is packed, though none was to be", sent=True)
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > call.largest:
            return _unreachable(call, f"its answer is larger than {call.largest} bytes", sent=True)
    kind, location, later = (answer.headers.get(name, "") for name in ("content-type", "location", "retry-after"))
    challenges = tuple(answer.headers.get_list("www-authenticate"))
    return Response(answer.status_code, kind, location, bytes(body), later, challenges)


def _why(error: Exception, settings: HttpSettings) -> str:
    """What went wrong, in words of ours and of the system's. What httpx says may have a header or an address in it, and
    so a token or a proxy's password."""
    import ssl

    import httpx

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            setting = f"git's own setting is used: http.sslCAInfo, now {settings.ca_file or 'unset'}"
            return f"its certificate is not trusted: {cause.verify_message}; {setting}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason}"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ProxyError):
        status = re.search(r"\b[45]\d\d\b", str(error))
        return "the proxy refused to connect" + (f" (HTTP {status[0]})" if status else "")
    known = {
        httpx.RemoteProtocolError: "it does not speak HTTP, or hung up",
        httpx.ReadError: "the connection broke",
        httpx.WriteError: "the connection broke",
        UnicodeError: "its name cannot be looked up",
    }
    return next((words for kind, words in known.items() if isinstance(error, kind)), type(error).__name__)


def _context(settings: HttpSettings) -> ssl.SSLContext:
    """Certificates as git has them set, else those that the system trusts."""
    import ssl

    if not settings.verify:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca_file or settings.ca_path:
        context = ssl.create_default_context(cafile=settings.ca_file, capath=settings.ca_path)
    else:
        context = _system_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _system_context() -> ssl.SSLContext:
    import ssl

    try:
        from truststore import SSLContext
    except ImportError:  # a Python without it, or a platform that it does not know
        return ssl.create_default_context()
    return SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def in_background(work: Callable[[], None]) -> None:
    """Start work beside the sign-in; it dies with the process."""
    threading.Thread(target=work, daemon=True).start()


def preload() -> None:
    """Import httpx now, while a person looks at a page: it costs as much as the whole of a refresh."""
    import httpx  # noqa: F401
