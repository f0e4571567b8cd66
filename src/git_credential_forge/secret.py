"""A value that must not be seen: tokens, codes, verifiers, states, client secrets, passwords.

It does not print, format, pickle, copy or compare loosely. Whoever needs the characters asks for them by
name, so that `grep reveal` shows each place where a secret leaves its wrapping.
"""

from __future__ import annotations

import os
from typing import NoReturn


class Secret:
    """One secret text. `reveal()` is the only way to its characters."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    @classmethod
    def fresh(cls) -> Secret:
        """256 random bits in 43 characters of the unreserved set (RFC 7636, section 4.1): what `secrets` does, without
        its import."""
        import base64

        return cls(base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode())

    def reveal(self) -> str:
        return self.__text

    def __eq__(self, other: object) -> bool:
        """In constant time; comparing with anything but a Secret is a mistake, so it raises TypeError."""
        if not isinstance(other, Secret):
            raise TypeError("a secret is compared with secrets only")
        import hmac  # brings OpenSSL with it, and who waits for another's sign-in compares nothing

        return hmac.compare_digest(_bytes(self.__text), _bytes(other.__text))

    __hash__ = None  # type: ignore[assignment] # a dictionary would compare it early and loosely

    def __repr__(self) -> str:
        return "<secret>"

    def __format__(self, spec: str) -> str:
        return "<secret>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is neither pickled nor copied")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
