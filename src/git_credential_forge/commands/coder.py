"""`coder`: the forges that a Coder deployment holds tokens of for its workspaces, seen and changed from outside."""

from __future__ import annotations

import argparse
import re

from git_credential_forge import commands, daemon, say, settings, surroundings
from git_credential_forge.coder import deployment, external_auth, link
from git_credential_forge.coder.deployment import Access
from git_credential_forge.coder.external_auth import Link, Provider
from git_credential_forge.vault import Vault


def coder_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "See, link and unlink the forges that a Coder deployment holds tokens of (external auth)."
    parser.add_argument("action", choices=tuple(_ACTIONS))
    parser.add_argument("id", nargs="?", type=_id, metavar="ID", help="of a forge, as list shows it")
    parser.add_argument("--url", metavar="URL", help="the deployment; else CODER_URL, or where its CLI is signed in")
    parser.add_argument("--json", action="store_true", help="for programs: version, times as seconds since 1970")
    commands.add_vault_options(parser)
    parser.set_defaults(mistyped=parser.error)


def coder(options: argparse.Namespace) -> int:
    if options.action == "list" and options.id:
        options.mistyped("list takes no ID")
    if options.action != "list" and not options.id:
        options.mistyped(f"{options.action} needs an ID; list shows them")
    access = deployment.find(options.url, Vault(daemon.place(options.socket), options.timeout))
    _ACTIONS[options.action](access, options)
    return 0


def _id(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", text):
        raise argparse.ArgumentTypeError("no id that an external auth could have")
    return text


# -- list -------------------------------------------------------------------------------------------------


def _list(access: Access, options: argparse.Namespace) -> None:
    found = external_auth.providers(access)
    if options.json:
        commands.document({"url": access.deployment.url, "providers": [each._asdict() for each in found]})
    elif not found:
        say.result(f"{access.deployment.name} has no external auth; its administrator can set it up")
    else:
        commands.table([_line(each) for each in found])


def _line(of: Provider) -> tuple[str, ...]:
    state = "linked" if of.linked else f"no longer linked ({of.problem})" if of.problem else "not linked"
    until = f"token until {say.until(of.expires)}" if of.expires else ""
    renewal = _either(of.refreshable, "renewed by Coder", "not renewed")
    return (of.id, of.name, of.type, state, until, renewal, _way(of.device), _revocation(of.revocable))


def _way(device: bool | None) -> str:
    return _either(device, "by a code", "in the browser")


def _revocation(revocable: bool | None) -> str:
    return _either(revocable, "can be revoked", "cannot be revoked")


def _either(value: bool | None, yes: str, no: str) -> str:
    """'' for what the server does not say."""
    return "" if value is None else yes if value else no


# -- show -------------------------------------------------------------------------------------------------


def _show(access: Access, options: argparse.Namespace) -> None:
    _tell(access, external_auth.show(access, options.id), as_json=options.json)


def _tell(access: Access, found: Link, *, as_json: bool) -> None:
    if as_json:
        commands.document({"url": access.deployment.url, **_record(found)})
        return
    lines = [
        (found.id, f"{found.name} at {access.deployment.name}"),
        ("linked", f"yes{_who(found)}" if found.linked else "no"),
        ("signs in", _way(found.device)),
        ("its token", _revocation(found.revocable)),
        *(("app", f"installed for {_where(each.account, each.configure_url)}") for each in found.installations),
    ]
    if found.app_installable:
        page = found.app_install_url or "the server names no address that could be opened"
        lines.append(("app", f"{'more' if found.installations else 'still to be installed'}: {page}"))
    commands.table([line for line in lines if line[1]])


def _record(found: Link) -> dict[str, object]:
    user = {"login": found.login, "name": found.full_name} if found.login else None
    installations = [each._asdict() for each in found.installations]
    return {
        "id": found.id,
        "name": found.name,
        "linked": found.linked,
        "user": user,
        "device": found.device,
        "revocable": found.revocable,
        "app_installable": found.app_installable,
        "app_install_url": found.app_install_url,
        "installations": installations,
    }


def _who(found: Link) -> str:
    name = f" ({found.full_name})" if found.full_name else ""
    return f", as {found.login}{name}" if found.login else ""


def _where(account: str, page: str | None) -> str:
    return f"{account or 'somebody'}: {page}" if page else account or "somebody"


# -- login and logout -------------------------------------------------------------------------------------


def _login(access: Access, options: argparse.Namespace) -> None:
    found, name = external_auth.show(access, options.id), access.deployment.name
    before = found.linked
    if not before:
        configured = settings.read(access.deployment.url)
        if found.device:
            link.by_code(access, options.id, configured.sign_in_timeout)
        else:
            around = surroundings.look(configured, asked_for=True)
            link.by_page(access, options.id, configured.sign_in_timeout, browser=around.browser)
        found = external_auth.show(access, options.id)
    if options.json:
        _tell(access, found, as_json=True)
    else:
        say.result(f"{options.id} is {'already ' if before else ''}linked at {name}{_who(found)}")


def _logout(access: Access, options: argparse.Namespace) -> None:
    done = external_auth.unlink(access, options.id)
    if options.json:
        told = {"id": options.id, "linked": False, "token_revoked": done.revoked, "token_revocation_error": done.error}
        commands.document({"url": access.deployment.url, **told})
        return
    say.result(f"unlinked {options.id} at {access.deployment.name}")
    if done.revoked:
        say.result("its token is revoked at the forge")
    elif done.revoked is None:
        say.result("this server does not say whether the forge's token was revoked: assume that it is still valid")
    else:
        why = f" ({done.error})" if done.error else ", as Coder knows no call for that there"
        say.result(f"its token was not revoked at the forge{why}: it stays valid until it ends")


_ACTIONS = {"list": _list, "show": _show, "login": _login, "logout": _logout}
