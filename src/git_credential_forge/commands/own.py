"""An application of a person's own, for this machine: created and deleted by the forge's calls, each in one tab.

What the shared application cannot give: with it, Forgejo ends this machine's sign-in when another one signs in, and its
tokens may do all that the person may.
"""

from __future__ import annotations

from collections.abc import Callable

from git_credential_forge import ask, flight, identify, machine, say, sign_in
from git_credential_forge.errand import Errand
from git_credential_forge.errors import ForgeError, RefusedError, TryElsewhereError, UnreachableError, WrongAccountError
from git_credential_forge.oauth import obtain, registration, token, wire
from git_credential_forge.oauth.authorize import Grant
from git_credential_forge.oauth.registration import Application
from git_credential_forge.oauth.wire import Refusal
from git_credential_forge.protocol import alike
from git_credential_forge.recognise import Forge


def shared(forge: Forge) -> Forge:
    """The forge as the client that it ships, whatever the configuration says: one token of it makes applications."""
    client_id, scopes = forge.kind.client_id, forge.kind.scopes
    return forge._replace(client_id=client_id, client_secret=None, scopes=scopes, redirect=forge.kind.redirect)


def known_there(forge: Forge) -> bool:
    """Whether the forge has the shared application; without it, no call can be made. Raises UnreachableError."""
    found = token.ask(shared(forge), wire.probe_form(forge.redirect)).found
    if isinstance(found, Refusal) and found.dead_client:
        say.line(f"{forge.name} does not know the application that {forge.kind.name} usually ships")
        say.line("so you create one of your own on its page")
        return False
    return True


def create(errand: Errand, forge: Forge, name: str, again: str, *, agreed: bool) -> str:
    """1. Say what will be created and why, and ask. 2. Sign in as the shared client. 3. Create the application, or take
    the one that is there, and drop that token. 4. In the same tab, sign in as the new client. 5. Keep its id, then the
    sign-in. Whatever stops it: up to 5 nothing has changed here, and what is at the forge by then is said. Its id."""
    _explain(forge, name)
    if not agreed:
        _ask("create it?", f"{again} --yes", "nothing was created")
    made: list[Forge] = []

    def then(granted: Grant) -> Forge:
        application = _obtain(shared(forge), granted, name, machine.kept(forge.url, "oauthClientId"))
        scopes = errand.settings.scopes or forge.kind.own_scopes
        made.append(shared(forge)._replace(client_id=application.client_id, scopes=scopes))
        return made[0]

    try:
        grant = _sign_in(errand, shared(forge), then)
        machine.keep(forge.url, {"oauthClientId": made[0].client_id or "", "oauthScopes": made[0].scopes})
    except BaseException:
        if made:
            say.line(f"the application is at {forge.name} all the same: {_page(forge)}")
            say.line(f"`{again}` takes it up again")
        raise
    sign_in.take_in(errand, made[0], grant)
    return made[0].client_id or ""


def delete(errand: Errand, url: str, client_id: str, *, agreed: bool) -> bool:
    """Delete the application at the forge, if it has such calls and the person wants it; whether it is done. Only a
    token of the shared client may do that, and nothing of it is kept."""
    forge = _find(errand, url, needed=agreed)
    if forge is None or not forge.kind.registration:
        return False
    if not forge.kind.own_applications or not client_id:
        say.line(f"the application stays at {forge.name}; to delete it there: {_page(forge)}")
        return False
    if not agreed:
        if not ask.terminal():
            say.line(f"the application stays at {forge.name}; to delete it there: {_page(forge)}")
            return False
        say.line(f"the application can be deleted at {forge.name} too, which ends its tokens; you sign in for that")
        if not ask.agreed("delete it there?", otherwise=True):
            say.line(f"it stays; to delete it there: {_page(forge)}")
            return False

    def then(granted: Grant) -> None:
        bearer = granted.token.access_token
        ours = [each for each in registration.applications(shared(forge), bearer) if each.client_id == client_id]
        if not ours:
            raise RefusedError(
                f"{granted.account or 'who signed in'} has no such application at {forge.name}; nothing was changed",
                f"to forget it here alone: git credential-forge unregister {url} --keep-application",
            )
        registration.delete(shared(forge), bearer, ours[0])

    _sign_in(errand, shared(forge), then)
    return True


def _find(errand: Errand, url: str, *, needed: bool) -> Forge | None:
    """The forge, if it can be told; to forget what is kept here, it need not be."""
    try:
        return identify.forge(errand, None, wanted=True)
    except ForgeError as error:
        if needed:
            here = f"to forget it here alone: git credential-forge unregister {url} --keep-application"
            raise ForgeError(error.message, here) from None
        say.line(f"the application may be there still: {error.message}")
        return None


def _explain(forge: Forge, name: str) -> None:
    say.line(f'{forge.name} gets an application for this computer alone, called "{name}"')
    say.line("other computers then no longer end its sign-in, and its tokens are good for git and your name alone")
    say.line("in one tab you sign in with the shared application, to create it, and then with the new one")


def _ask(question: str, without: str, otherwise: str) -> None:
    if not ask.terminal():
        raise ForgeError(f"{otherwise}: no terminal is there to ask on", f"to answer yes: {without}")
    if not ask.agreed(question, otherwise=True):
        raise ForgeError(otherwise)


def _obtain(forge: Forge, granted: Grant, name: str, kept: str | None) -> Application:
    """The application of this machine: the one whose id is kept, or that has its name, or a new one."""
    bearer = granted.token.access_token
    there = [each for each in registration.applications(forge, bearer) if each.serves(forge.redirect)]
    ours = next((each for each in there if each.client_id == kept), None)
    if ours:
        used = f'the application "{say.clean(ours.name)}" is this machine\'s already, and is used'
        say.line(f"{used}; for another, unregister it first")
        return ours
    same = next((each for each in there if each.name == name), None)
    if same:
        say.line(f'the application "{say.clean(name)}" is there already, and is used; --name makes another')
        return same
    made = registration.create(forge, bearer, name)
    say.line(f'created "{name}"; the page now asks for it')
    return made


def _sign_in(errand: Errand, forge: Forge, then: Callable[[Grant], Forge | None]) -> Grant:
    """A grant of whatever client `then` ends with, under the lock by which one process asks for an origin."""
    seen: list[str | None] = []

    def admit(account: str | None) -> None:
        asked = next(filter(None, (*seen, errand.request.asked)), None)
        if asked and account and not alike(account, asked):
            raise WrongAccountError(f"you signed in as {account}, and not as {say.clean(asked)}; nothing was kept")
        seen.append(account)

    place = errand.vault.place if errand.vault else None
    patience = errand.settings.sign_in_timeout

    def waiting() -> None:
        say.line(f"another git is signing in to {forge.name}, waiting for it (Ctrl-C to stop waiting)")

    with flight.acting(place, flight.sign_in_name(errand.origin), patience, errand.gone, waiting=waiting) as mine:
        if not mine:
            raise UnreachableError(f"another git's sign-in to {forge.name} did not end within {patience} s")
        try:
            return obtain.sign_in(
                forge, errand.settings, errand.surroundings, errand.gone, admit, account=errand.request.asked, then=then
            )
        except TryElsewhereError as error:
            raise ForgeError(error.message, "run it in a terminal, or set BROWSER to what opens a browser") from None


def _page(forge: Forge) -> str:
    return forge.page(forge.kind.registration or "")
