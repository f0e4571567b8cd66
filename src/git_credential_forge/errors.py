"""What can go wrong, for the one place that catches (`cli`). A message is what a person reads."""

from __future__ import annotations


class ForgeError(Exception):
    """Expected: one line that says what and why, and lines that say what to do about it."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints


class BadRequestError(ForgeError):
    """What git, or somebody in its place, sent breaks the rules of git-credential(1)."""


class VaultError(ForgeError):
    """Memory cannot be used: nothing can be kept."""


class UnreachableError(ForgeError):
    """No usable answer came from the network. `sent`: the request may have arrived, and only its answer be lost."""

    def __init__(self, message: str, *hints: str, sent: bool = False) -> None:
        super().__init__(message, *hints)
        self.sent = sent


class RefusedError(ForgeError):
    """A sign-in ended without a token, and whoever waits for the same one may share the reason."""


class WrongAccountError(RefusedError):
    """Somebody else came back than the remote asks for."""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM or SIGHUP: the process has to end, and nobody has refused anything."""


class TryElsewhereError(ForgeError):
    """This way to sign in cannot be gone here and now; says what to type instead."""


class AbandonedError(Exception):
    """Nobody is left to read the answer: git is gone."""
