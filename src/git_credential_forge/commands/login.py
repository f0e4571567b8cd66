"""`login`: sign in now, whatever is held, and end a pause after a refusal."""

from __future__ import annotations

import argparse
import os

from git_credential_forge import commands, daemon, git, keychain, say, settings, sign_in, surroundings
from git_credential_forge.commands import configure
from git_credential_forge.errand import Errand, address, base_of
from git_credential_forge.errors import ForgeError, TryElsewhereError
from git_credential_forge.origin import Origin, of_request
from git_credential_forge.protocol import Request, has_control
from git_credential_forge.vault import Vault

_NAME_IT = "name a forge by its address, like https://codeberg.org"
_IN_A_TERMINAL = "run it in a terminal"


def login_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Sign in to a forge now, in your browser."
    parser.add_argument("where", nargs="?", default="origin", metavar="URL|REMOTE", help="else the remote origin")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--paste", action="store_true", help="show the address, and read the one your browser ends on")
    ways.add_argument("--device", action="store_true", help="show a code to enter in any browser")
    commands.add_vault_options(parser)


def login(options: argparse.Namespace) -> int:
    request = request_for(options.where)
    origin = origin_of(request, options.where)
    configured = settings.read(address(origin, request))
    if options.paste or options.device:
        configured = configured._replace(flow="paste" if options.paste else "device")
    if configured.flow == "never":
        configured = configured._replace(flow="auto")
    held = Vault(daemon.place(options.socket), options.timeout)
    held.keychain = keychain.chosen(configured)
    look = surroundings.look(configured, asked_for=True)
    if not look.interactive:
        raise ForgeError("no browser is opened for root by sudo: sign in as yourself")
    base = base_of(origin, request, held)
    errand = Errand(request, origin, base, held, lambda: False, configured, look, anew=True)
    try:
        got = sign_in.obtain(errand)
    except TryElsewhereError as error:
        raise _elsewhere(error, origin, configured.flow) from None
    if got is None and origin.scheme == "http" and not (origin.loopback or configured.allow_http):
        raise sign_in.over_plain_http(origin.netloc, origin.url)
    if got is None:
        raise ForgeError(
            f"{origin.netloc} is no forge that this program knows",
            f"if it speaks OAuth: git config --global credential.{origin.url}.oauthClientId ID",
        )
    configure.hint(origin)
    return 0


def _elsewhere(error: TryElsewhereError, origin: Origin, flow: str) -> ForgeError:
    """Why it cannot be done here, and what would help who has typed the command."""
    if not error.hints:
        return ForgeError(error.message)
    if flow == "paste":
        return ForgeError(f"not signed in to {origin.netloc}: no terminal is there to paste into", _IN_A_TERMINAL)
    tried = os.environ.get("BROWSER", "")
    no = f"; {say.clean(tried)} has opened none" if tried else ""
    browser = "" if flow == "device" else f", or set BROWSER to a program that opens a browser{no}"
    return ForgeError(error.message, f"{_IN_A_TERMINAL}{browser}")


def origin_of(request: Request, where: str) -> Origin:
    """Where a person who typed `where` signs in. Raises ForgeError."""
    origin = of_request(request.protocol, request.host)
    if origin is None:
        hints = () if where.isascii() else ("write its name as it is looked up, which begins with xn--",)
        raise ForgeError(f"not an http(s) address that one can sign in to: {say.address(where)}", *hints)
    return origin


def request_for(where: str) -> Request:
    """The request that git would make for an address, a remote's name, or a bare host."""
    found = where if "://" in where else git.remote_url(where) or (f"https://{where}" if "." in where else None)
    if found is None:
        raise ForgeError(f"no remote is named {say.address(where)}", _NAME_IT)
    protocol, separator, rest = found.partition("://")
    protocol = protocol.lower()
    if not separator or protocol not in ("https", "http"):
        raise ForgeError(f"git does not reach {say.address(found)} by https", _NAME_IT)
    netloc, _, path = rest.partition("/")
    userinfo, _, host = netloc.rpartition("@")
    from urllib.parse import unquote

    username = unquote(userinfo.partition(":")[0]) or None
    request = Request(protocol=protocol, host=host, path=path or None, username=username)
    if has_control(request):
        raise ForgeError(f"there is a control character in {say.address(found)}")
    return request
