"""`register` and `unregister`: a client id of one's own, for this machine alone."""

from __future__ import annotations

import argparse
import shlex

from git_credential_forge import ask, commands, daemon, identify, keychain, machine, recognise, say, settings
from git_credential_forge import surroundings as around
from git_credential_forge.client import Client
from git_credential_forge.commands import as_owner, by_hand, configure, logout, own
from git_credential_forge.commands.login import origin_of, request_for
from git_credential_forge.errand import Errand, address, base_of
from git_credential_forge.errors import ForgeError, RefusedError
from git_credential_forge.oauth import metadata, registration
from git_credential_forge.oauth.metadata import ElsewhereError
from git_credential_forge.origin import Url
from git_credential_forge.recognise import Forge, Registration
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session
from git_credential_forge.vault import Vault

_NAME = machine.title()


def register_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Get a client id of your own at a forge, and keep it on this machine."
    parser.add_argument("where", metavar="URL", help="the forge")
    parser.add_argument("--yes", action="store_true", help="create an application of your own without a question")
    parser.add_argument("--name", type=_name, default=_NAME, help="what to call it (%(default)s)")
    parser.add_argument("--as-owner", action="store_true", help="create it by the session token of a Coder's owner")
    parser.add_argument("--client-id", metavar="ID", help="one that you have; without a terminal, else read from stdin")
    commands.add_vault_options(parser)


def unregister_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Forget a client id that register has kept, and its sign-ins."
    parser.add_argument("where", metavar="URL", help="the forge")
    parser.add_argument("--yes", action="store_true", help="delete the application there without a question")
    parser.add_argument("--keep-application", action="store_true", help="let it be there")
    commands.add_vault_options(parser)


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("a name is needed")
    return text


def register(options: argparse.Namespace) -> int:
    """1. Recognise the forge. 2. Get a client: given, by the person's own application, by RFC 7591, by hand. 3. Keep
    it. Up to there nothing has changed here."""
    errand = _errand(options)
    _demand_tls(errand)
    forge, described = _recognise(errand)
    name = say.clean(options.name)
    # Not with another origin's tokens: those of the shared application may do all that the person may there.
    shared = forge.kind.own_applications if not described and not options.as_owner else None
    if options.client_id is None and shared and own.known_there(forge):
        again = f"git credential-forge register {forge.url}" + ("" if name == _NAME else f" --name {shlex.quote(name)}")
        _report(errand, forge, own.create(errand, forge, name, again, agreed=options.yes))
        return 0
    if forge.kind.registers_at_sign_in and (options.as_owner or forge.registration_url):
        forge = as_owner.with_own_port(forge)
    typed = False
    if options.as_owner:
        made = as_owner.create(forge, name)
    elif options.client_id is None and forge.registration_url:
        made = registration.register(forge, forge.registration_url, name)
        say.line(f'{forge.name} has registered this program as "{name}"')
    else:
        made, typed = by_hand.ask(forge, name, options.client_id, browser=errand.surroundings.browser), True
    in_vault = errand.vault if forge.kind.registers_at_sign_in else None
    machine.keep(forge.url, {**described, **_values(forge, made, secret=typed or in_vault is None)})
    if in_vault:
        _keep(errand, in_vault, forge, made, typed=typed)
    _report(errand, forge, made.client_id)
    say.result(f"the next git command signs in; or now: git credential-forge login {forge.url}")
    return 0


def _keep(errand: Errand, vault: Vault, forge: Forge, made: registration.Client, *, typed: bool) -> None:
    """Where a sign-in looks for its client in the vault: the secrets that nobody has typed are there alone. The client
    before goes, and the sign-ins by it, which no git is to be given any more."""
    before = vault.client(forge.origin, forge.scope)
    if typed:
        vault.forget_client(forge.origin, forge.scope)
    else:
        own = Registration(made.redirect, made.url, made.token)
        vault.keep_client(forge.origin, forge.scope, Client(made.client_id, made.secret, forge.token_url, own))
    if made.secret and not typed:
        how_long = "until git's cache ends, as at a reboot; this command then gets another"
        say.line(f"its secret is in memory alone, {how_long}")
    if before and before.client_id != made.client_id:
        sessions = [each for each in _sessions(errand) if each.client_id == before.client_id]
        gone = before.own.token is not None and _take_back(errand, [before])
        _end(errand, [(each, before.secret) for each in sessions], "the one before", deleted=gone)


def unregister(options: argparse.Namespace) -> int:
    errand = _errand(options)
    url = _registered(errand)
    ours = _clients(errand, url)
    if url is None and not ours:
        raise ForgeError(f"register has kept nothing for {errand.origin.url} on this machine")
    clients = [machine.kept(url, "oauthClientId") or ""] if url else sorted({each.client_id for each in ours})
    mine = [each for each in ours if each.client_id in clients]
    if options.keep_application:
        deleted = False
    elif url and not any(each.own.token for each in mine):
        deleted = own.delete(errand, url, clients[0], agreed=options.yes)
    else:
        deleted = _take_back(errand, mine)
    sessions = [each for each in _sessions(errand) if each.client_id in clients]
    signed_in = [(each, logout.secret_of(errand.origin, each)) for each in sessions]
    if url:
        machine.drop(url)
        say.result(f"forgot the client id for {url}, which was in {machine.short(machine.path())}")
    _end(errand, signed_in, "it", deleted=deleted)
    lasting = errand.vault.client(errand.origin, _base(errand, url)) if errand.vault else None
    if errand.vault and lasting and lasting.client_id in clients:
        errand.vault.forget_client(errand.origin, _base(errand, url))
    if deleted:
        say.result("the application is deleted, and its tokens have ended")
    return 0


def _end(errand: Errand, signed_in: list[tuple[Session, Secret | None]], by: str, *, deleted: bool) -> None:
    """Forget sign-ins by a client that is gone here; what its forge still takes is ended, or said."""
    for session, secret in signed_in:
        if errand.vault:
            errand.vault.forget(errand.origin, session.base, session.account)
        say.result(f"forgot {session.account} at {errand.origin.netloc}, who was signed in by {by}")
        if not deleted:
            logout.end(session, secret)


def _base(errand: Errand, url: str | None) -> str:
    return url.removeprefix(errand.origin.url) if url else errand.base


def _sessions(errand: Errand) -> list[Session]:
    vault = errand.vault
    rows = vault.rows(errand.origin, None) if vault else []
    found = [vault.session(errand.origin, row.base, row.account) for row in rows] if vault else []
    return [each for each in found if each]


def _clients(errand: Errand, url: str | None) -> list[Client]:
    """Those that this machine has registered there by itself: of its sign-ins, and the one that outlives them."""
    path = errand.request.path
    ours = [each.client() for each in _sessions(errand) if not path or recognise.covers(each.base, path)]
    lasting = errand.vault.client(errand.origin, _base(errand, url)) if errand.vault else None
    return [each for each in (*ours, lasting) if each]


def _take_back(errand: Errand, mine: list[Client]) -> bool:
    """End these clients where they are registered; whether all are gone."""
    gone = [registration.take_back(each.own) for each in {each.client_id: each for each in mine}.values()]
    if not all(gone):
        say.line(f"the application stays at {errand.origin.netloc}: it could not be deleted now")
    return all(gone)


def _report(errand: Errand, forge: Forge, client_id: str) -> None:
    say.result(f"the client id {client_id} for {forge.url} is kept in {machine.short(machine.path())}")
    counts = settings.read(address(errand.origin, errand.request)).client_id
    if counts != client_id:
        say.line(f"your git config names another one, which goes before it: {say.clean(counts or '')}")
        say.line(f"to take that out: git config --global --unset credential.{forge.url}.oauthClientId")
    configure.hint(errand.origin)


def _values(forge: Forge, made: registration.Client, *, secret: bool) -> dict[str, str | Secret]:
    values: dict[str, str | Secret] = {"oauthClientId": made.client_id}
    if forge.kind.registers_at_sign_in and made.redirect != forge.kind.redirect:
        values["oauthRedirectURL"] = made.redirect
    if made.secret and secret:
        values["oauthClientSecret"] = made.secret
    if forge.kind.own_scopes and forge.scopes == forge.kind.scopes:
        values["oauthScopes"] = forge.kind.own_scopes  # the default is for the client that the forge ships
    return values


def _errand(options: argparse.Namespace) -> Errand:
    request = request_for(options.where)
    origin = origin_of(request, options.where)
    configured = settings.read(address(origin, request))._replace(client_id=None, client_secret=None)  # a new one
    if configured.token_url and configured.token_url == machine.kept(origin.url, "oauthTokenURL"):
        configured = configured._replace(authorize_url=None, token_url=None)  # found and asked about anew
    if configured.flow in ("never", "device"):
        configured = configured._replace(flow="auto")
    look = around.look(configured, asked_for=True)
    if not look.interactive:
        raise ForgeError("nothing is registered for root by sudo: do it as yourself")
    held = Vault(daemon.place(options.socket), options.timeout)
    held.keychain = keychain.chosen(configured)
    return Errand(request, origin, base_of(origin, request, held), held, lambda: False, configured, look, anew=True)


# -- which forge it is ------------------------------------------------------------------------------------


def _recognise(errand: Errand) -> tuple[Forge, dict[str, str | Secret]]:
    """The forge, and what the configuration has to say of it besides its client, so that it is found again."""
    origin, path, configured = errand.origin, errand.request.path, errand.settings
    if recognise.kind_of(origin, configured, (), None) is None:
        errand = errand._replace(request=errand.request._replace(wwwauth=metadata.challenges(origin, path)))
    try:
        forge = identify.forge(errand, None, wanted=True)
        if forge is None:
            metadata.discover_resource(origin, f"{origin.url}/.well-known/oauth-protected-resource")
    except ElsewhereError as error:
        return _elsewhere(errand, error.server)
    if forge is None:
        raise ForgeError(
            f"{origin.netloc} is no forge that this program knows, and does not say where to sign in",
            f"if it speaks OAuth, set credential.{origin.url}.oauthAuthURL and …oauthTokenURL, and try again",
        )
    return forge, {}


def _elsewhere(errand: Errand, server: Url) -> tuple[Forge, dict[str, str | Secret]]:
    """A forge that leaves the sign-in to another origin's server, if the person says that it is the right one."""
    origin, there = errand.origin, server.origin
    say.line(f"{origin.netloc} leaves the sign-in to {there.netloc}")
    say.line(f"who is there gets your consent, and tokens that {origin.netloc} takes")
    if not ask.terminal():
        raise RefusedError(
            f"nothing was registered: no terminal is there to ask whether {there.netloc} is the right place",
            f"if it is, set credential.{origin.url}.oauthAuthURL and …oauthTokenURL to its endpoints, and try again",
        )
    if not ask.agreed(f"is {there.netloc} where you sign in for it?", otherwise=False):
        raise RefusedError("nothing was registered")
    found = metadata.discover(there, server.path.rstrip("/"), wanted=True)
    if found is None:
        raise RefusedError(f"{there.netloc} does not say where to sign in, or says it wrongly")
    ends = {"oauthAuthURL": found.authorize_url, "oauthTokenURL": found.token_url}
    configured = errand.settings._replace(authorize_url=found.authorize_url, token_url=found.token_url)
    kind = recognise.kind_by_metadata(found)
    forge = recognise.build(kind, origin, "", configured, found, certain=True, path=errand.request.path)
    return forge, dict(ends)


def _demand_tls(errand: Errand) -> None:
    origin = errand.origin
    if origin.scheme == "http" and not (origin.loopback or errand.settings.allow_http):
        raise RefusedError(
            f"nothing was registered: over plain http anybody on the way to {origin.netloc} reads along",
            f"to allow it all the same: git config --global credential.{origin.url}.forgeAllowHttp true",
        )


# -- what is kept already ---------------------------------------------------------------------------------


def _registered(errand: Errand) -> str | None:
    """The address, of those that something is kept for, that the person means."""
    wanted = errand.origin.url
    paths = (url.removeprefix(wanted) for url in machine.registered() if f"{url}/".startswith(f"{wanted}/"))
    fitting = [path for path in paths if not path or recognise.covers(path, errand.request.path)]
    return wanted + max(fitting, key=len) if fitting else None
