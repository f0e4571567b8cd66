"""The client that this machine has registered at a server, and what is secret of it: all of it stays in the vault."""

from __future__ import annotations

from typing import NamedTuple

from git_credential_forge import say
from git_credential_forge.recognise import Forge, Registration
from git_credential_forge.secret import Secret


class Client(NamedTuple):
    client_id: str
    secret: Secret | None
    token_url: str  # which the secret was made for
    own: Registration


def of(forge: Forge) -> Client | None:
    """The one that a forge is signed in to by, if this machine has registered it."""
    if forge.own is None or forge.client_id is None:
        return None
    return Client(forge.client_id, forge.client_secret, forge.token_url, forge.own)


def used(forge: Forge, client: Client) -> Forge | None:
    """The forge by this client; None if the configuration names another one, or its secret, or another endpoint."""
    named = forge.client_id == client.client_id and forge.client_secret is None
    if not (named or forge.client_id is None) or forge.token_url != client.token_url:
        return None
    return forge._replace(client_id=client.client_id, client_secret=client.secret, own=client.own)


def renewed(client: Client, newest: Client | None) -> Client:
    """What is newest of a client that a session is by: its secret and its redirect address can have changed."""
    if newest is None or newest.client_id != client.client_id:
        return client
    own = newest.own if newest.own.token else client.own._replace(redirect=newest.own.redirect)
    return newest._replace(own=own)


def encode(client: Client) -> Secret:
    import json

    secret, own = client.secret, client.own
    fields = [secret and secret.reveal(), own.redirect, own.url, own.token and own.token.reveal()]
    return Secret(json.dumps([1, client.client_id, client.token_url, *fields], separators=(",", ":")))


def decode(text: Secret) -> Client | None:
    """A client, or None for one that another version of this program wrote."""
    import json

    try:
        version, client_id, token_url, secret, redirect, url, token = json.loads(text.reveal())
    except (ValueError, TypeError, RecursionError):
        version = 0
    if version != 1:
        say.trace("client: one that this version does not read")
        return None
    own = Registration(redirect, url, Secret(token) if token else None)
    return Client(client_id, Secret(secret) if secret else None, token_url, own)
