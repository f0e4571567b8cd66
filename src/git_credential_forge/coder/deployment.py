"""Which Coder deployment a person means, and the session token for it, which goes nowhere else.

What names a deployment, in this order: `--url`, `CODER_URL`, the coder CLI's own files, our sign-ins. Each token is
bound to the address that it came with: `CODER_SESSION_TOKEN` to `CODER_URL`, the CLI's `session` to its `url`.
"""

from __future__ import annotations

import os
import re
import sys
from typing import NamedTuple

from git_credential_forge import fulfil, index, keychain, say, settings, surroundings
from git_credential_forge.errand import Errand
from git_credential_forge.errors import ForgeError
from git_credential_forge.origin import Origin, parse
from git_credential_forge.protocol import Request
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session
from git_credential_forge.vault import Vault

KIND = "coder"
LARGEST = 65_536  # bytes of a file of the CLI's; its tokens have 33
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Deployment(NamedTuple):
    """Where a Coder is: all of its addresses begin with `url`."""

    origin: Origin
    path: str  # '' where it has the host to itself; else it begins with a slash, and does not end with one

    @property
    def url(self) -> str:
        return self.origin.url + self.path

    @property
    def name(self) -> str:
        return self.origin.netloc + self.path


class Access(NamedTuple):
    """A deployment, and how one is let in."""

    deployment: Deployment
    token: Secret
    source: str  # where the token is from, in words
    remedy: str  # what gets a new one


def find(given: str | None, held: Vault) -> Access:
    """The deployment that is meant, and a token for it. Raises ForgeError."""
    deployment = _meant(given, held)
    access = by_environment(deployment) or _by_cli(deployment) or _by_sign_in(deployment, held)
    if access:
        return access
    login = f"run: git credential-forge login {deployment.url}"
    raise ForgeError(f"not signed in to the Coder at {deployment.name}", login, *_unused())


def _meant(given: str | None, held: Vault) -> Deployment:
    if given is not None:
        return _demand(given if "://" in given else f"https://{given}", "--url")
    for address, source in ((os.environ.get("CODER_URL"), "CODER_URL"), (_read("url"), _file("url"))):
        if address:
            return _demand(address, source)
    ours = list(dict.fromkeys(Deployment(origin, session.base) for origin, session in _sign_ins(held)))
    if len(ours) == 1:
        return ours[0]
    if ours:
        known = ", ".join(each.url for each in ours)
        raise ForgeError(f"signed in to several Coders ({known}), so --url has to name one")
    raise ForgeError("no Coder is known here", "name one with --url, or set CODER_URL and CODER_SESSION_TOKEN")


def _demand(address: str, source: str) -> Deployment:
    found = _deployment(address)
    if found is None:
        raise ForgeError(f"{source} is no http(s) address of a Coder: {say.address(address)}")
    if found.origin.scheme == "http" and not found.origin.loopback:
        raise ForgeError(f"over plain http anybody on the way could read the session token: {found.url} ({source})")
    return found


def _deployment(address: str) -> Deployment | None:
    found = parse(address.strip())
    return Deployment(found.origin, found.path.rstrip("/")) if found and not found.query else None


def by_environment(deployment: Deployment) -> Access | None:
    """By CODER_SESSION_TOKEN, if CODER_URL says that it is this deployment's."""
    token = os.environ.get("CODER_SESSION_TOKEN")
    if not token or _deployment(os.environ.get("CODER_URL", "")) != deployment:
        return None
    source = "the session token in CODER_SESSION_TOKEN"
    return Access(deployment, _checked(token, source), source, f"a new one is at {deployment.url}/cli-auth")


def _unused() -> tuple[str, ...]:
    """Why a token that is there was not sent."""
    if not os.environ.get("CODER_SESSION_TOKEN"):
        return ()
    whose = os.environ.get("CODER_URL")
    why = f"it is for CODER_URL, {say.address(whose)}" if whose else "CODER_URL does not say whose it is"
    return (f"CODER_SESSION_TOKEN is not sent there: {why}",)


def _by_cli(deployment: Deployment) -> Access | None:
    """What `coder login` left in files. On macOS it leaves it in a keychain by default, which is the CLI's alone."""
    if _deployment(_read("url")) != deployment:
        return None
    token, path = _read("session"), _file("session")
    source = f"the coder CLI's session token in {say.clean(path)}"
    return Access(deployment, _checked(token, source), source, f"run: coder login {deployment.url}") if token else None


def _file(name: str) -> str:
    """A file of the CLI's, where it has it (coder/coder, cli/config/file.go)."""
    directory = os.environ.get("CODER_CONFIG_DIR")
    if directory:
        return os.path.join(os.path.expanduser(directory), name)
    if sys.platform == "darwin":
        return os.path.expanduser(f"~/Library/Application Support/coderv2/{name}")
    return os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "coderv2", name)


def _read(name: str) -> str:
    """What is in a file of the CLI's; '' where there is none."""
    try:
        with open(_file(name), encoding="utf-8", errors="replace") as file:
            return file.read(LARGEST).strip()
    except OSError:
        return ""


def _checked(token: str, source: str) -> Secret:
    if not _TOKEN.fullmatch(token.strip()):
        raise ForgeError(f"{source} has characters in it that no token has")
    return Secret(token.strip())


def _sign_ins(held: Vault) -> list[tuple[Origin, Session]]:
    found = []
    for origin in index.origins(held.place):
        for row in index.read(held.place, origin):
            held.keychain = keychain.chosen(settings.read(origin.url + row.base)) if row.kept else None
            session = held.session(origin, row.base, row.account)
            if session and session.kind == KIND:
                found.append((origin, session))
    return found


def _by_sign_in(deployment: Deployment, held: Vault) -> Access | None:
    """Our own sign-in, refreshed if need be: what `get` would give, and no browser."""
    origin, base = deployment
    configured = settings.read(deployment.url)
    held.keychain = keychain.chosen(configured)
    session = held.session(origin, base, None)
    if session is None or session.kind != KIND:
        return None
    request = Request(protocol=origin.scheme, host=origin.netloc, path=base.strip("/") or None)
    around = surroundings.look(configured, asked_for=True)
    errand = Errand(request, origin, base, held, lambda: False, configured, around)
    answer = fulfil.held_now(errand)
    if answer is None:
        with fulfil.turn(errand) as turn:
            got = None if turn.answer else fulfil.go_on(errand, held.session(origin, base, None), turn)
            answer = turn.answer or (got.answer if got else None)
    source = f"the token of the sign-in of {session.account}"
    remedy = f"run: git credential-forge login {deployment.url}"
    return Access(deployment, answer.password, source, remedy) if answer else None
