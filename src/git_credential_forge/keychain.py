"""Sessions in a keychain (`credential.forgeStore`), by way of a helper that git would run for it.

Memory is asked first, so a keychain is read only when memory has forgotten, and written when a session changes. One
that is locked, hangs or fails is not an empty one: nothing is taken from that, one line says so, and memory goes on.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time

from git_credential_forge import git, say, session
from git_credential_forge.errors import ForgeError
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import encode, parse
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session
from git_credential_forge.settings import Settings

PATIENCE = 3.0  # seconds for a call: whether somebody unlocks it is not waited for while git stands still
PATIENCE_IN_ALL = 9.0  # seconds for all calls of a process: who waits for a refresh waits for them too
PIECE = 900  # characters of a session in an entry: before git 2.42 these helpers cut a line at 1023 bytes
MOST = 16  # pieces of a session

# A piece: which writing it is of, whether more follow, and its part of the JSON.
_PIECE = re.compile(r"([0-9a-f]{8})([+.])(.*)", re.DOTALL)

_PERHAPS = "is it locked?"
_FAILED = {
    "get": ("gave no sign-in", "going on from memory"),
    "put": ("did not keep the sign-in", "it is kept in memory"),
    "erase": ("did not erase the sign-in", "it is still there"),
}


class Keychain:
    """A helper that keeps sessions. After its first failure it is left alone by this process."""

    def __init__(self, helper: str, name: str, *, quiet: bool = False) -> None:
        self.name = name
        self.failed = False
        self._helper = helper
        self._quiet = quiet
        self._left = PATIENCE_IN_ALL

    def get(self, origin: Origin, account: str, base: str) -> Session | None:
        """The session of an account, if it is there and whole. Helpers that look at less than all that is asked give
        somebody else's: so it has to be for the same origin, account and path."""
        text, writing = "", ""
        for number in range(1, MOST + 1):
            match = _PIECE.fullmatch(self._piece(origin, account, base, number))
            if not match or writing not in ("", match[1]):
                break
            text, writing = text + match[3], match[1]
            if match[2] == ".":
                found = _decode(text, origin)
                if found and (found.account, found.base) == (account, base):
                    return found
                break
        self._say("get", f"it gave nothing; {_PERHAPS}")  # as libsecret does where nobody can be asked to unlock it
        return None

    def put(self, origin: Origin, kept: Session) -> bool:
        """Whether it is kept now. What was there is erased first: git's osxkeychain long replaced nothing."""
        fields = json.loads(session.encode(kept).reveal())
        text = json.dumps({"origin": origin.url, **fields}, separators=(",", ":"))
        pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
        if len(pieces) > MOST:
            self._fail("put", "its tokens are too long")
            return False
        self._erase(origin, kept.account, kept.base, "put")
        writing = os.urandom(4).hex()
        for number, piece in enumerate(pieces, 1):
            password = Secret(f"{writing}{'.' if number == len(pieces) else '+'}{piece}")
            entry = _entry(origin, kept.account, kept.base, number)
            self._run("store", entry + encode([("password", password)]), "put")
        return not self.failed

    def erase(self, origin: Origin, account: str, base: str) -> bool:
        """Whether it is gone now."""
        if not self._erase(origin, account, base, "erase"):
            self._fail("erase", f"it gave nothing; {_PERHAPS}")
        return not self.failed

    def _erase(self, origin: Origin, account: str, base: str, wanted: str) -> int:
        """How many pieces there were. The last one first: what a death leaves is found from its first one."""
        there = 0
        while there < MOST and self._piece(origin, account, base, there + 1, wanted):
            there += 1
        for number in range(there, 0, -1):
            self._run("erase", _entry(origin, account, base, number), wanted)
        return there

    def _piece(self, origin: Origin, account: str, base: str, number: int, wanted: str = "get") -> str:
        out = self._run("get", _entry(origin, account, base, number), wanted)
        try:
            password = parse(out).password
        except ForgeError:
            self._fail(wanted, "it answered nonsense")
            return ""
        return password.reveal() if password else ""

    def _run(self, operation: str, given: bytes, wanted: str) -> bytes:
        """What the helper prints; nothing once it has failed."""
        if self.failed:
            return b""
        if self._left <= 0:
            self._fail(wanted, "it takes too long")
            return b""
        say.trace(f"keychain: {operation}")
        begun = time.monotonic()
        try:
            status, out = git.helper(self._helper, operation, given, min(PATIENCE, self._left))
        except ForgeError as error:
            self._fail(wanted, f"{error.message}; {_PERHAPS}")
            return b""
        finally:
            self._left -= time.monotonic() - begun
        if status:
            self._fail(wanted, f"exit status {status}; is it installed and unlocked?")
        return b"" if status else out

    def _fail(self, wanted: str, why: str) -> None:
        self.failed = True
        self._say(wanted, why)

    def _say(self, wanted: str, why: str) -> None:
        did_not, so = _FAILED[wanted]
        if not self._quiet:
            say.line(f"{self.name} {did_not} ({why}): {so}")
        self._quiet = True  # one line


def chosen(settings: Settings, *, quiet: bool = False) -> Keychain | None:
    """The keychain that the settings name; None, and a line, for one that is refused. `quiet`: nobody is there to read
    a line."""
    value = settings.store
    if not value:
        return None
    name = "your keychain" if value[0] == "!" else say.clean(_program(value).removeprefix("git-credential-"))
    refusal = _refusal(value, settings)
    if refusal and not quiet:
        say.lines(f"credential.forgeStore is not used, sign-ins are kept in memory: {refusal[0]}", refusal[1:])
    return None if refusal else Keychain(value, name, quiet=quiet)


def _refusal(value: str, settings: Settings) -> tuple[str, ...]:
    program = _program(value)
    path = value if os.path.isabs(value) else git.find(f"git-credential-{program}")
    leads_to = os.path.basename(os.path.realpath(path)) if path else ""
    names = f"git-credential-{value} {leads_to}".replace("_", "-")
    if "credential-forge" in names:
        return ("it names this program",)
    if re.search(r"credential-store\b", names) and not settings.store_insecure:
        return (
            "store writes them to a file as plain text",
            "to have that all the same: git config --global credential.forgeStoreInsecure true",
        )
    return ()


def _program(value: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    return os.path.basename(words[0]) if words else ""


def _entry(origin: Origin, account: str, base: str, number: int) -> bytes:
    """The path is never empty: asked without one, libsecret gives and erases what has any."""
    where = [("protocol", "https"), ("host", origin.hidden), ("path", f"{number}{base}")]
    return encode([*where, ("username", account)])


def _decode(text: str, origin: Origin) -> Session | None:
    try:
        fields = json.loads(text)
        if fields.pop("origin") != origin.url:
            return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return session.decode(Secret(json.dumps(fields)))
