"""Where to listen, and as which client: one that is known, or one that this machine registers at a sign-in (RFC 7591).

Its redirect address is bound first, so that nobody else can be listening at what is registered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from git_credential_forge import machine, say
from git_credential_forge.errors import RefusedError, TryElsewhereError
from git_credential_forge.oauth import registration, token, wire
from git_credential_forge.oauth.loopback import Listener, Redirect, unguessable
from git_credential_forge.oauth.wire import Refusal
from git_credential_forge.origin import parse
from git_credential_forge.recognise import Forge, Registration


def possible(forge: Forge) -> bool:
    """Whether a sign-in there is by such a client: one that is remembered, or one that is made."""
    return forge.own is not None or (
        forge.client_id is None and forge.kind.registers_at_sign_in and forge.registration_url is not None
    )


def redirect(address: str) -> Redirect:
    """Take a redirect address apart: this machine only, and http."""
    parsed = parse(address)
    if parsed is None or not parsed.origin.loopback or parsed.origin.scheme != "http" or parsed.query:
        raise TryElsewhereError(f"oauthRedirectURL is not one of this machine's addresses: {say.clean(address)}")
    port = parsed.origin.port if parsed.origin.netloc != parsed.origin.host else 0
    return Redirect(parsed.origin.host, port, parsed.path)


@contextlib.contextmanager
def listening(forge: Forge) -> Iterator[tuple[Listener, Forge]]:
    """The listener, and the forge as the client to use. One that this machine has registered is used again, at its
    port; or at another, if its registration can be changed; else a new one is made, and taken back where it leads to no
    sign-in. Raises RefusedError, UnreachableError, TryElsewhereError."""
    listener = _bound(forge) if possible(forge) else Listener(redirect(forge.redirect))
    made: Registration | None = None
    try:
        here = forge._replace(redirect=listener.redirect_uri)
        ready = _remembered(here) if here.own else forge
        if ready is None or ready.client_id is None:
            if here.own and here.own.url is None and here.registration_url:
                taken = here.own.redirect != here.redirect
                why = "its port is taken" if taken else "it is not known there, or its secret is lost"
                say.line(f"the client {here.client_id} cannot be used any more ({why}): registering another")
            ready = _registered(here)
            made = ready.own
        yield listener, ready
    except BaseException:
        listener.close()
        if made:
            registration.take_back(made)
        raise
    listener.close()


def _bound(forge: Forge) -> Listener:
    """At the port that is registered, if nobody else has it."""
    own = forge.own
    known = parse(own.redirect) if own else None
    if known and known.origin.port and known.origin.loopback:
        try:
            return Listener(Redirect(known.origin.host, known.origin.port, known.path), ours=True)
        except TryElsewhereError as error:
            owners = forge.client_secret is not None or forge.registration_url is None
            if own and own.url is None and owners:  # it stays as it is, and is not given up for that
                raise
            say.trace(f"dynamic: {error.message}")
    return Listener(unguessable(), ours=True)


def _remembered(forge: Forge) -> Forge | None:
    """The forge with the client that it has; None if that is not known there any more, or cannot be used here."""
    own = forge.own
    if own is None:
        return None
    if own.redirect != forge.redirect:
        if not registration.move(forge, own, machine.title()):
            return None
        return forge._replace(own=own._replace(redirect=forge.redirect))
    found = token.ask(forge, wire.probe_form(forge.redirect)).found
    secret_lost = forge.client_secret is None and isinstance(found, Refusal) and "client_secret" in found.description
    if secret_lost or (isinstance(found, Refusal) and found.dead_client):
        say.trace("dynamic: the client is not known there any more")
        return None
    return forge


def _registered(forge: Forge) -> Forge:
    if forge.registration_url is None:
        raise unregistrable(forge)
    made = registration.register(forge, forge.registration_url, machine.title())
    say.trace("dynamic: registered")
    own = Registration(made.redirect, made.url, made.token)
    return forge._replace(client_id=made.client_id, client_secret=made.secret, own=own)


def unregistrable(forge: Forge) -> RefusedError:
    """Where programs may not register, and nobody has said who we are there."""
    if forge.client_id:
        return RefusedError(
            f"not signed in to {forge.name}: it does not know the client {forge.client_id}, or wants its secret, "
            "which is in memory no more",
            f"an owner gets it another one: git credential-forge register {forge.url} --as-owner",
            f"or, where somebody has its secret: set credential.{forge.url}.oauthClientSecret",
        )
    set_it = f"set credential.{forge.url}.oauthClientId and …oauthClientSecret"
    callback = forge.kind.redirect
    return RefusedError(
        f"not signed in to {forge.name}: programs may not register themselves there, and no client id is set",
        f"an owner of it creates an application at {forge.page(forge.kind.registration or '')}, with the callback URL "
        f"{callback} and a secret",
        f"then {set_it}; and …oauthRedirectURL, if its callback URL is another one",
        f"`git credential-forge register {forge.url} --as-owner` does all of that for an owner",
    )
