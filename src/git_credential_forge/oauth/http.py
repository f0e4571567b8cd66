"""Requests to a forge: the only importer of httpx. Nothing here knows OAuth.

Each request runs in a thread of its own under one deadline: neither a name server that does not answer nor a
server that sends a byte a second can hold git longer, and Ctrl-C always works. No redirect is followed: a token
or code would follow it (CVE-2026-41506 and kin).
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from git_credential_forge import say
from git_credential_forge.errors import UnreachableError
from git_credential_forge.secret import Secret
from git_credential_forge.settings import HttpSettings, read_http

if TYPE_CHECKING:
    import httpx

LARGEST = 1 << 20  # bytes of an answer; the largest real one is some 4 KiB
DEADLINE = 10.0  # seconds for a request and its answer, as people wait for a git command


class Response(NamedTuple):
    status: int
    content_type: str
    location: str  # where a redirect would lead
    body: bytes


def post(url: str, form: dict[str, str], *, deadline: float = DEADLINE) -> Response:
    """POST a form. Raises UnreachableError."""
    return _request("POST", url, form=form, deadline=deadline)


def get(url: str, *, bearer: Secret | None = None, deadline: float = DEADLINE, largest: int = LARGEST) -> Response:
    """GET, with a token or without. Raises UnreachableError."""
    return _request("GET", url, bearer=bearer, deadline=deadline, largest=largest)


def _request(
    method: str,
    url: str,
    *,
    form: dict[str, str] | None = None,
    bearer: Secret | None = None,
    deadline: float,
    largest: int = LARGEST,
) -> Response:
    settings = read_http(url)
    outcome: list[Response | str] = []

    def speak() -> None:
        outcome.append(_speak(method, url, form, bearer, settings, deadline, largest))

    host = url.partition("://")[2].partition("/")[0]
    say.trace(f"http: {method} to {host}")
    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    thread.join(deadline)
    if not outcome:
        raise UnreachableError(f"{host} cannot be reached (no whole answer within {deadline:.0f} s)")
    if isinstance(outcome[0], str):
        raise UnreachableError(f"{host} cannot be reached ({say.clean(outcome[0])})")
    return outcome[0]


def _speak(
    method: str,
    url: str,
    form: dict[str, str] | None,
    bearer: Secret | None,
    settings: HttpSettings,
    deadline: float,
    largest: int,
) -> Response | str:
    """The answer, or why there is none; in words that have nothing of what was sent."""
    import httpx

    headers = {"Accept": "application/json", "User-Agent": "git-credential-forge"}
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer.reveal()}"
    try:
        with (
            httpx.Client(verify=_context(settings), proxy=settings.proxy, trust_env=False, timeout=deadline) as client,
            client.stream(method, url, data=form, headers=headers) as answer,
        ):
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > largest:
                    return f"its answer is larger than {largest} bytes"
            kind, location = answer.headers.get("content-type", ""), answer.headers.get("location", "")
            return Response(answer.status_code, kind, location, bytes(body))
    except httpx.TimeoutException:
        return f"timed out after {deadline:.0f} s"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _why(error, settings)
    except (OSError, ValueError, ImportError):  # a certificate file that cannot be read, a proxy of unknown kind
        return "http.proxy or http.sslCAInfo cannot be used"


def _why(error: Exception, settings: HttpSettings) -> str:
    """What went wrong, in a person's words. The text of httpx names at most an address or a certificate."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            used = settings.ca_file or "unset"
            return f"its certificate is not trusted: {cause.verify_message}; git's own setting is used: http.sslCAInfo, now {used}"
        cause = cause.__cause__ or cause.__context__
    return str(error).split("\n")[0] or type(error).__name__


def _context(settings: HttpSettings) -> ssl.SSLContext:
    """Certificates as git has them set, else those that the system trusts."""
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
