"""Coder's authorize page, of 2025 and of 2026, and its metadata. See `tests.support.coder`."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.support.coder_clients import LOOPBACK, Clients
from tests.support.coder_people import Entry, page, say, secret, wrong
from tests.support.httpserver import Answer

if TYPE_CHECKING:
    from tests.support.coder_clients import Client

CHALLENGE = ("code_challenge", "code_challenge_method")
KNOWN = ("response_type", "client_id", "redirect_uri", "scope", "state", "resource", *CHALLENGE)
SCOPES = ["coder:all", "workspace:ssh", "coder:workspaces.access"]
UNRESERVED = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass
class Code:
    value: str
    redirect_uri: str
    challenge: str
    resource: str


class Authorize(Clients):
    """A person has one code at a time for an application: a new one is put in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[tuple[str, str], Code] = {}

    # Metadata.

    def authorization_server(self, _: Entry) -> Answer:
        found: dict[str, object] = {"issuer": self.url, "authorization_endpoint": f"{self.url}/oauth2/authorize"}
        found["token_endpoint"] = f"{self.url}/oauth2/tokens"
        if self.generation == 2026:
            found["revocation_endpoint"] = f"{self.url}/oauth2/revoke"
        if self.registration:
            found["registration_endpoint"] = f"{self.url}/oauth2/register"
        found["response_types_supported"] = ["code"]
        found["grant_types_supported"] = ["authorization_code", "refresh_token"]
        found["code_challenge_methods_supported"] = ["S256"]
        methods = ["client_secret_post"]
        if self.generation == 2026:
            found["scopes_supported"] = SCOPES
            methods = ["client_secret_basic", "client_secret_post", "none"]
        return say(200, found | {"token_endpoint_auth_methods_supported": methods})

    def protected_resource(self, _: Entry) -> Answer:
        found: dict[str, object] = {"resource": self.url, "authorization_servers": [self.url]}
        if self.generation == 2026:
            found["scopes_supported"] = SCOPES
        return say(200, found | {"bearer_methods_supported": ["header", "query"]})

    # Authorize.

    def authorize(self, entry: Entry) -> Answer:
        client = self.clients.get(entry.query.get("client_id", ""))
        if client is None:
            return self.no_client(entry.query.get("client_id", ""))
        person = self.person(entry.cookie)
        if not person:
            return self.to_login(entry)
        redirect = self._redirect(client, entry)
        if redirect is None:
            words = f'Query param "redirect_uri" must be a subset of {client.redirect_uris[0]}'
            return self._refuse_here(entry, [("redirect_uri", words)])
        if refused := self._refused(redirect, entry):
            return refused
        if entry.method == "GET":
            return self._consent(entry, client, person)
        if entry.form.get("granted") == "false":
            return self._deny(redirect, entry)
        code = Code(secret(), redirect, entry.query.get("code_challenge", ""), entry.query.get("resource", ""))
        self.note("code", code.value)
        self.codes[entry.query["client_id"], person] = code
        return self._send_back(redirect, entry, code=code.value)

    def _refused(self, redirect: str, entry: Entry) -> Answer | None:
        """What is wrong with a request whose redirect is good: said here in 2025, sent back in 2026."""
        problems = self._problems(entry)
        if problems and self.generation == 2025:
            return self._refuse_here(entry, problems)
        error = ("invalid_request", _sentence(problems)) if problems else self._unsupported(entry)
        if error and self.generation == 2026:
            return self._send_back(redirect, entry, error=error[0], error_description=error[1])
        return wrong(400, *error) if error and entry.method == "POST" else None

    def _redirect(self, client: Client, entry: Entry) -> str | None:
        """Where to, if that is registered. In 2025 the first of them alone counts, with all that is below its path;
        in 2026 any, but exactly, only that the port of a loopback address is free."""
        asked = entry.query.get("redirect_uri") or client.redirect_uris[0]
        if self.generation == 2025:
            one, other = urlsplit(asked), urlsplit(client.redirect_uris[0])
            return asked if one.netloc == other.netloc and one.path.startswith(other.path) else None
        return asked if _without_port(asked) in map(_without_port, client.redirect_uris) else None

    def _problems(self, entry: Entry) -> list[tuple[str, str]]:
        names = [name for name, _ in entry.pairs]
        found = [
            (name, f'Query param "{name}" is required and cannot be empty')
            for name in ("response_type", "client_id", "code_challenge")
            if not entry.query.get(name) and (name != "code_challenge" or self.generation == 2026)
        ]
        challenge = entry.query.get("code_challenge", "")
        if self.generation == 2025:
            found += [(name, f'"{name}" is not a valid query param') for name in sorted({*names} - {*KNOWN})]
        elif challenge and not UNRESERVED.fullmatch(challenge):
            words = "must be 43 to 128 characters from the unreserved character set [A-Za-z0-9-._~]"
            found.append(("code_challenge", words))
        for name in KNOWN:
            if names.count(name) > 1:
                found.append((name, f'Query param "{name}" provided more than once, found {names.count(name)} times'))
        resource = urlsplit(entry.query.get("resource", "https://none"))
        if not resource.scheme or resource.fragment:
            found.append(("resource", "must be an absolute URI without fragment"))
        return found

    def _unsupported(self, entry: Entry) -> tuple[str, str] | None:
        if entry.query["response_type"] != "code":
            return "unsupported_response_type", "Response type not supported"
        if entry.query.get("code_challenge_method", "S256") not in {"S256", ""}:
            return "invalid_request", "Invalid code_challenge_method: only S256 is supported"
        unknown = [name for name in entry.query.get("scope", "").split() if name not in SCOPES]
        if unknown and self.generation == 2026:
            return "invalid_scope", f'"{unknown[0]}": unknown or unsupported scope'
        return None

    def _refuse_here(self, entry: Entry, problems: list[tuple[str, str]]) -> Answer:
        if entry.method == "GET":
            words = "".join(f"<li>{html.escape(detail)}</li>" for _, detail in problems)
            text = f"<h1>400 - Invalid Query Parameters</h1>One or more query parameters are missing or invalid.{words}"
            return page("400 - Invalid Query Parameters", text, 400)
        return wrong(400, "invalid_request", _sentence(problems))

    def _send_back(self, redirect: str, entry: Entry, **words: str) -> Answer:
        if "error_description" in words:
            words["error_description"] = words["error_description"].replace('"', "'").replace("\\", "")
        if entry.query.get("state"):
            words["state"] = entry.query["state"]
        bare, _, query = redirect.partition("?")
        return _found(f"{bare}?{urlencode(sorted([*parse_qsl(query), *words.items()]))}")

    def _deny(self, redirect: str, entry: Entry) -> Answer:
        """The cancel link; the one of 2025 forgets the state."""
        if self.generation == 2025:
            return _found(f"{redirect}{'&' if '?' in redirect else '?'}error=access_denied")
        words = "The resource owner or authorization server denied the request"
        return self._send_back(redirect, entry, error="access_denied", error_description=words)

    def _consent(self, entry: Entry, client: Client, person: str) -> Answer:
        """The real one has a button and a link, which a form of two buttons does just as well."""
        action = html.escape(f"{self.base}{entry.path}?{urlencode(entry.pairs)}")
        return page(
            f"Authorize {client.name}",
            f"<h1>Authorize {html.escape(client.name)}</h1>Allow {html.escape(client.name)} to have full access to "
            f'your {html.escape(person)} account?<form method="post" action="{action}">'
            '<button type="submit" name="granted" value="true">Allow</button>'
            '<button type="submit" name="granted" value="false">Cancel</button></form>',
        )

    def no_client(self, client_id: str) -> Answer:
        return self.bad_client() if client_id else wrong(400, "invalid_request", "Missing client_id parameter")

    def bad_client(self) -> Answer:
        body = {"error": "invalid_client", "error_description": "The client credentials are invalid"}
        return say(401, body, [("WWW-Authenticate", 'Basic realm="coder"')] if self.generation == 2026 else [])


def _sentence(problems: list[tuple[str, str]]) -> str:
    return "Invalid query params: " + ", ".join(f"field: {name} detail: {detail}" for name, detail in problems)


def _found(where: str) -> Answer:
    return Answer(302, [("Location", where)], b"")


def _without_port(address: str) -> str:
    """As it stands, but that of a loopback address by http."""
    parts = urlsplit(address)
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        return address
    return parts._replace(netloc=parts.hostname).geturl()
