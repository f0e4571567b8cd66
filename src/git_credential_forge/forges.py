"""The kinds of forge, as data: one record each. Adding a forge is adding a record."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """What is the same at every forge of a kind. Addresses are relative to the forge's base."""

    key: str
    name: str
    authorize: str
    token: str
    hosts: tuple[str, ...] = ()  # exactly these; look-alikes are nobody
    realms: tuple[str, ...] = ()  # of the Basic challenge, exactly
    vague_realms: tuple[str, ...] = ()  # which say no more than that it may be one
    client_id: str | None = None  # one that the forge itself registers for programs like this
    shown_as: str = ""  # what the consent page then calls the program
    scopes: str = ""
    redirect: str = "http://127.0.0.1"  # to which the port is added
    whoami: str | None = None
    whoami_field: str = "login"
    says_401_for_tokens_only: bool = False  # and never for a repository that one may not see
    applications: str | None = None  # the page where a person sees and ends what they granted


# Gitea registers these on every instance at start-up (models/auth/oauth2.go, BuiltinApplications), and Forgejo
# kept it. Both call themselves "Gitea" in the challenge, and answer alike: reference forges.md, 1, 2 and 12.
# The scope stays empty: another one than the first for this client ends in "a grant exists with different scope".
FORGEJO = Kind(
    key="forgejo",
    name="Forgejo or Gitea",
    authorize="login/oauth/authorize",
    token="login/oauth/access_token",  # noqa: S106 # an address
    hosts=("codeberg.org", "gitea.com", "code.forgejo.org"),
    realms=("Gitea", "Forgejo"),
    vague_realms=("gitea-lfs",),  # of large files, and also where OAuth is switched off
    client_id="a4792ccc-144e-407e-86c9-5e7d8d9c3269",
    shown_as="git-credential-oauth",
    whoami="api/v1/user",
    says_401_for_tokens_only=True,
    applications="user/settings/applications",
)

# A server that the configuration describes, or its own metadata; nothing is known about it but that.
OTHER = Kind(key="other", name="OAuth server", authorize="", token="")

KINDS = (FORGEJO,)
BY_KEY = {kind.key: kind for kind in (*KINDS, OTHER)}
