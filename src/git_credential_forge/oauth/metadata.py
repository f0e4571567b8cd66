"""What a server says of itself: OpenID Connect Discovery and RFC 8414. Read as hostile."""

from __future__ import annotations

import json

from git_credential_forge.oauth import http
from git_credential_forge.origin import Origin, parse
from git_credential_forge.recognise import Metadata

DEADLINE = 5.0  # seconds: it is asked before a person sees anything
LARGEST = 1 << 18  # bytes


def discover(origin: Origin, base: str, *, wanted: bool) -> Metadata | None:
    """The metadata of a server, or None. Raises UnreachableError.

    `wanted`: the configuration says that there is one, so RFC 8414's name for the document is tried where OpenID's
    leads to nothing; else only where that was a 200 without JSON, as a web application answers every path.
    """
    first, status = _fetch(origin, base, f"{origin.url}{base}/.well-known/openid-configuration")
    if first or not (wanted or status == 200):  # noqa: PLR2004
        return first
    return _fetch(origin, base, f"{origin.url}/.well-known/oauth-authorization-server{base}")[0]


def _fetch(origin: Origin, base: str, url: str) -> tuple[Metadata | None, int]:
    answer = http.get(url, deadline=DEADLINE, largest=LARGEST)
    return (check(answer.body, origin, base) if answer.status == 200 else None), answer.status  # noqa: PLR2004


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
    for url in (issuer, authorize, token):
        parsed = parse(url)
        if parsed is None or parsed.origin != origin:
            return None
    methods = found.get("code_challenge_methods_supported", ["S256"])
    if issuer.rstrip("/") != origin.url + base or not (isinstance(methods, list) and "S256" in methods):
        return None
    return Metadata(issuer, authorize, token, found.get("authorization_response_iss_parameter_supported") is True)
