"""`register --as-owner`: the application that an owner of a Coder creates, where programs may not register."""

from __future__ import annotations

import contextlib

from git_credential_forge import ask, machine, say
from git_credential_forge.coder import deployment, provider
from git_credential_forge.coder.deployment import Deployment
from git_credential_forge.errors import ForgeError, RefusedError
from git_credential_forge.forges import CODER
from git_credential_forge.oauth.loopback import Listener, unguessable
from git_credential_forge.oauth.registration import SECRET, Client
from git_credential_forge.recognise import Forge
from git_credential_forge.secret import Secret


def with_own_port(forge: Forge) -> Forge:
    """The forge with a redirect address whose port nobody uses now. A Coder of 2025 compares it with its port, so it
    is kept; one port for all would be busy as soon as two people of one machine sign in."""
    if forge.redirect != forge.kind.redirect:  # the person has chosen
        return forge
    with contextlib.closing(Listener(unguessable())) as listener:
        return forge._replace(redirect=listener.redirect_uri)


def create(forge: Forge, name: str) -> Client:
    """1. Find the owner's session token. 2. Create application and secret. Raises ForgeError."""
    if forge.kind is not CODER:
        raise ForgeError(f"--as-owner is for a Coder, and {forge.name} is none")
    if not forge.token_url.startswith(f"{forge.origin.url}{forge.base}/"):
        raise ForgeError(f"--as-owner is for the Coder itself, and {forge.name} leaves the sign-in to another server")
    there = Deployment(forge.origin, forge.base)
    access = deployment.by_environment(there)
    token, source = (access.token, access.source) if access else _typed(there)
    kept = machine.kept(forge.url, "oauthClientId")
    made = provider.create(forge, token, source, name, kept)
    if made.new:
        what = f"with a secret and the callback URL {forge.redirect}"
        say.line(f'created the application "{made.name}" at {forge.name}, {what}')
    else:
        say.line(f'gave the application "{made.name}" at {forge.name}, which is this machine\'s already, a new secret')
    return Client(made.client_id, made.secret, forge.redirect)


def _typed(there: Deployment) -> tuple[Secret, str]:
    if not ask.terminal():
        raise RefusedError(
            "nothing was registered: no terminal is there to ask for an owner's session token",
            f"set CODER_SESSION_TOKEN to one, and CODER_URL to {there.url}",
        )
    say.line(f"an owner's session token is at {there.url}/cli-auth; it is used for this, and not kept")
    typed = ask.line("session token, which is not shown:", echo=False)
    if not SECRET.fullmatch(typed):
        raise RefusedError("that is no session token: it is empty, or has other than visible characters in it")
    return Secret(typed), "the session token that you entered"
