"""What a server says of itself: OpenID Connect Discovery, RFC 8414, RFC 9728. Read as hostile."""

from __future__ import annotations

import json
import re

from git_credential_forge import say
from git_credential_forge.errors import RefusedError, UnreachableError
from git_credential_forge.oauth import http
from git_credential_forge.origin import Origin, Url, parse
from git_credential_forge.recognise import Metadata, kind_by_metadata

DEADLINE = 5.0  # seconds: it is asked before a person sees anything
LARGEST = 1 << 18  # bytes
# Of the path of a forge, which stands in commands that a person may copy into a shell.
_BASE = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


class ElsewhereError(RefusedError):
    """A protected resource names a server of another origin, which is not followed until a person has said so."""

    def __init__(self, message: str, hint: str, server: Url) -> None:
        super().__init__(message, hint)
        self.server = server


def discover(origin: Origin, base: str, *, wanted: bool) -> Metadata | None:
    """The metadata of a server, or None. Raises UnreachableError.

    `wanted`: the configuration says that there is one, so RFC 8414's name for the document is tried where OpenID's
    leads to nothing; else only where that was a 200 without JSON, as a web application answers every path.
    """
    first, status = _fetch(origin, base, f"{origin.url}{base}/.well-known/openid-configuration")
    if first or not (wanted or status == 200):  # noqa: PLR2004
        return first
    found = _fetch(origin, base, f"{origin.url}/.well-known/oauth-authorization-server{base}")[0]
    if found and kind_by_metadata(found).wants_resource:
        url = f"{origin.url}/.well-known/oauth-protected-resource{base}"
        return found._replace(resource=_resource(_object(http.get(url, deadline=DEADLINE, largest=LARGEST)), origin))
    return found


def _resource(found: dict[str, object], origin: Origin) -> str | None:
    """What a protected resource calls itself (RFC 9728, section 2), if that is of this origin."""
    said = found.get("resource")
    about = parse(said) if isinstance(said, str) else None
    if about is None or about.origin != origin or not _BASE.fullmatch(about.path.rstrip("/")):
        return None
    return str(said)


def discover_resource(origin: Origin, url: str) -> Metadata | None:
    """The metadata of the server that a protected resource names (RFC 9728), if both are of that origin. Raises
    UnreachableError; RefusedError where it names another origin's: who would follow that sends people to sign in
    wherever a challenge likes."""
    address = parse(url)
    if address is None or address.origin != origin:
        return None
    found = _object(http.get(url, deadline=DEADLINE, largest=LARGEST))
    servers = found.get("authorization_servers")
    server = parse(servers[0]) if isinstance(servers, list) and servers and isinstance(servers[0], str) else None
    resource = _resource(found, origin)
    if server is None or resource is None:
        return None
    if server.origin != origin:
        raise ElsewhereError(
            f"not signed in to {origin.netloc}: it leaves the sign-in to {server.origin.netloc}",
            f"if you trust that: git credential-forge register {origin.url}",
            server,
        )
    described = discover(origin, server.path.rstrip("/"), wanted=True)
    return described._replace(resource=resource) if described else None


def challenges(origin: Origin, path: str | None) -> tuple[str, ...]:
    """What a host answers to a push without a credential, as every repository does; none where it asks for none, or
    cannot be reached."""
    url = f"{origin.url}/{(path or 'a/b.git').strip('/')}/info/refs?service=git-receive-pack"
    try:
        return http.get(url, deadline=DEADLINE, largest=LARGEST).challenges
    except UnreachableError:
        return ()


def _fetch(origin: Origin, base: str, url: str) -> tuple[Metadata | None, int]:
    answer = http.get(url, deadline=DEADLINE, largest=LARGEST)
    return (check(answer.body, origin, base) if answer.status == 200 else None), answer.status  # noqa: PLR2004


def _object(answer: http.Response) -> dict[str, object]:
    try:
        found = json.loads(answer.body) if answer.status == 200 else None  # noqa: PLR2004
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def check(body: bytes, origin: Origin, base: str) -> Metadata | None:
    """Metadata that may be used: its issuer is what was asked (RFC 8414, section 3.3; a slash more or less), its
    endpoints are on that origin, and it does not leave out S256."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    issuer, authorize, token = (found.get(k) for k in ("issuer", "authorization_endpoint", "token_endpoint"))
    if not (isinstance(issuer, str) and isinstance(authorize, str) and isinstance(token, str)):
        return None
    if not all(_on(url, origin) for url in (issuer, authorize, token)):
        return None
    methods = _words(found, "code_challenge_methods_supported", ("S256",))
    if issuer.rstrip("/") != origin.url + base or not _BASE.fullmatch(base) or "S256" not in methods:
        return None
    ways = _words(found, "token_endpoint_auth_methods_supported", ("client_secret_post",))
    return Metadata(
        issuer,
        authorize,
        token,
        announces_iss=found.get("authorization_response_iss_parameter_supported") is True,
        device_url=_endpoint(found, "device_authorization_endpoint", origin),
        revoke_url=_endpoint(found, "revocation_endpoint", origin),
        userinfo_url=_endpoint(found, "userinfo_endpoint", origin),
        registration_url=_endpoint(found, "registration_endpoint", origin),
        scopes=_words(found, "scopes_supported", ()),
        secret_in_header="client_secret_basic" in ways and "client_secret_post" not in ways,
    )


def _endpoint(found: dict[str, object], name: str, origin: Origin) -> str | None:
    """One that can be done without: where it is not of this origin, it is not there."""
    url = found.get(name)
    if url is not None and not (isinstance(url, str) and _on(url, origin)):
        say.trace(f"metadata: {name} is not used")
        return None
    return url if isinstance(url, str) else None


def _on(url: str, origin: Origin) -> bool:
    parsed = parse(url)
    return parsed is not None and parsed.origin == origin


def _words(found: dict[str, object], name: str, missing: tuple[str, ...]) -> tuple[str, ...]:
    """A list of words; `missing` where the document does not say; none where it says nonsense."""
    words = found.get(name, missing)
    return tuple(word for word in words if isinstance(word, str)) if isinstance(words, list | tuple) else ()
