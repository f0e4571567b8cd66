"""A client that a person registers on the forge's page: what to enter there, and what came of it."""

from __future__ import annotations

import sys

from git_credential_forge import ask as question
from git_credential_forge import say
from git_credential_forge.errors import ForgeError, RefusedError, UnreachableError
from git_credential_forge.oauth import http, token, wire
from git_credential_forge.oauth.browser import Opener
from git_credential_forge.oauth.registration import ID, SECRET, Client
from git_credential_forge.oauth.wire import Refusal
from git_credential_forge.origin import parse
from git_credential_forge.recognise import Forge
from git_credential_forge.secret import Secret

_TRIES = 3


def ask(forge: Forge, name: str, client_id: str | None, *, browser: bool) -> Client:
    """The client that a person has: by option, from standard input (the id, and its secret in a second line), or asked
    for at the terminal, after the page and what to enter there have been shown. Raises ForgeError."""
    if client_id is not None:
        secret = _asked_secret(forge) if forge.kind.needs_secret and _typed() else None
        return _checked(forge, client_id, secret)
    if not _typed():
        lines = sys.stdin.read(1 << 16).splitlines() if sys.stdin else []
        if lines and lines[0].strip():
            return _checked(forge, lines[0].strip(), _secret("".join(lines[1:2]).strip()))
        _show(forge, name)
        raise ForgeError(
            "no terminal is there to ask for the client id",
            f"with it: git credential-forge register {forge.url} --client-id ID",
            "or give it on standard input, and its secret in a second line",
        )
    _show(forge, name)
    _open(forge, browser=browser)
    return _asked(forge)


def _typed() -> bool:
    """Whether a person is at the keyboard, who can be asked."""
    return bool(sys.stdin) and sys.stdin.isatty() and question.terminal()


def _show(forge: Forge, name: str) -> None:
    known = {"name": name, "redirect": forge.redirect, "scopes": forge.scopes or "those that git needs there"}
    where = f"at {_page(forge)}" if forge.kind.registration else f"with {forge.name}, which has no page that is known"
    say.result(f"register an application {where}")
    width = max(len(label) for label, _ in forge.kind.form)
    for label, value in forge.kind.form:
        say.result(f"  {label.ljust(width)}  {value.format(**known)}")


def _page(forge: Forge) -> str:
    return forge.page(forge.kind.registration or "")


def _open(forge: Forge, *, browser: bool) -> None:
    """The page, in a browser here. It is the forge's own, or stands in the record."""
    if forge.kind.registration and browser and parse(_page(forge)):
        opener = Opener()
        if not opener.exhausted:
            opener.next(_page(forge))


def _asked(forge: Forge) -> Client:
    for left in reversed(range(_TRIES)):
        client_id = question.line("client id:")
        try:
            _demand_id(client_id)
            return _checked(forge, client_id, _asked_secret(forge))
        except RefusedError as error:
            if not left:
                raise
            say.lines(error.message, error.hints)
    raise AssertionError


def _asked_secret(forge: Forge) -> Secret | None:
    code = forge.kind.needs_secret and forge.device_url
    without = "Enter for none, then a code signs you in" if code else "Enter for none"
    return _secret(question.line(f"its secret, which is not shown ({without}):", echo=False))


def _secret(text: str) -> Secret | None:
    if text and not SECRET.fullmatch(text):
        raise RefusedError("that is no client secret: it has other than visible characters in it, or is too long")
    return Secret(text) if text else None


def _demand_id(client_id: str) -> None:
    if not ID.fullmatch(client_id):
        raise RefusedError("that is no client id: it is empty, or has other than visible characters in it")


def _checked(forge: Forge, client_id: str, secret: Secret | None) -> Client:
    """A client, unless the forge says that it does not know it: its token endpoint looks at the client first, and at a
    made-up code then (forges.md, 1.6, 5.4 and 6)."""
    _demand_id(client_id)
    client = Client(client_id, secret, forge.redirect)
    if forge.kind.needs_secret and secret is None:
        return client  # its forge refuses such a client at that endpoint, known or not
    say.trace("register: probe")
    try:
        asked = forge._replace(client_id=client_id, client_secret=secret)
        found = token.ask(asked, wire.probe_form(forge.redirect), deadline=http.DEADLINE).found
    except UnreachableError as error:
        say.line(f"whether it is right could not be tried: {error.message}")
        return client
    if isinstance(found, Refusal) and found.dead_client:
        what = "this client id and secret" if secret else "this client id, or wants its secret as well"
        raise RefusedError(f"{forge.name} does not know {what} ({say.clean(str(found))})")
    if isinstance(found, Refusal) and "redirect_uri_mismatch" in found.error + _no_redirect(found):
        raise RefusedError(f"{forge.name} knows it with another redirect address: it has to be {forge.redirect}")
    return client


def _no_redirect(found: Refusal) -> str:
    """Gitea's and Forgejo's words for the same."""
    return "redirect_uri_mismatch" if found.description == "unexpected redirect URI" else ""
