"""A secret leaves its wrapping in one way only."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import re
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from git_credential_forge.oauth.wire import Attempt, Token
from git_credential_forge.protocol import Answer
from git_credential_forge.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

relaxed = settings(deadline=None)
CHARACTERS = "XYZ-0123456789-hush"

SHOWN: dict[str, Callable[[Any], object]] = {
    "str": str,
    "repr": repr,
    "ascii": ascii,
    "f-string": lambda secret: f"{secret} {secret!r} {secret!s} {secret:>60} {secret:s}",
    "format": lambda secret: "{} {0.__class__}".replace("{}", "{0}").format(secret),
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - that is what is tried
    "in a tuple": lambda secret: [str(Answer("u", secret, 1)), repr(Token(secret, secret, 1)), str({"k": [secret]})],
    "in an exception": lambda secret: traceback.format_exception(ValueError(secret, Attempt(secret, secret))),
    "in a log record": lambda secret: logging.LogRecord("n", 30, "p", 1, "%s %r", (secret, secret), None).getMessage(),
}
REFUSED: dict[str, Callable[[Any], object]] = {
    **{f"pickle {number}": lambda secret, n=number: pickle.dumps(secret, n) for number in range(6)},  # type: ignore[misc]
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of a tuple with it": lambda secret: copy.deepcopy(Answer("u", secret, 1)),
    "json": json.dumps,
    "hash": hash,
    "vars": vars,
    "iter": list,
    "len": len,
    "index": lambda secret: secret[0],
    "add": lambda secret: secret + "",
    "join": "".join,
    "bytes": bytes,
    "order": lambda secret: secret < secret,  # noqa: PLR0124
    "equal to str": lambda secret: secret == CHARACTERS,
    "not equal to str": lambda secret: secret != CHARACTERS,
    "str equal to it": lambda secret: CHARACTERS == secret,  # noqa: SIM300
    "equal to None": lambda secret: secret == None,  # noqa: E711
    "in a list of str": lambda secret: secret in [CHARACTERS, ""],
}


@pytest.mark.parametrize("way", SHOWN)
def test_does_not_print(way: str) -> None:
    """Whatever shows it shows that it is a secret, and nothing of it."""
    shown = str(SHOWN[way](Secret(CHARACTERS)))
    assert "<secret>" in shown
    assert "hush" not in shown
    assert "XYZ" not in shown


@pytest.mark.parametrize("way", REFUSED)
def test_is_not_handed_on(way: str) -> None:
    """Pickled, copied, hashed, compared with text, taken for text: TypeError, without the characters."""
    with pytest.raises(TypeError) as caught:
        REFUSED[way](Secret(CHARACTERS))
    assert "hush" not in str(caught.value)


@relaxed
@given(st.text(min_size=8, max_size=60), st.text("<>=^+- #0123456789sdxf", max_size=6))
def test_any_text_in_any_format(text: str, form: str) -> None:
    """No format reveals a part, whatever the text."""
    secret = Secret(text)
    shown = {repr(secret), str(secret), f"{secret}", format(secret, form), f"{(secret,)}"}
    assert shown == {"<secret>", "(<secret>,)"}
    assert secret.reveal() == text


@relaxed
@given(st.binary(max_size=20), st.binary(max_size=20))
@example(b"a secret", b"a secre")
@example(b"a secret", b"a secret\0")
@example(b"a secret", b"A secret")
@example(b"", b"\0")
def test_equality(one: bytes, other: bytes) -> None:
    """Equal characters, equal secrets, also where the bytes are no text."""
    first, second = (Secret(data.decode("utf-8", "surrogateescape")) for data in (one, other))
    assert (first == second) == (one == other)
    assert (first != second) == (one != other)
    assert first == Secret(first.reveal())


def test_has_no_dictionary_to_look_into() -> None:
    """Nor a place for more: what prints an object's attributes finds none."""
    secret: Any = Secret(CHARACTERS)
    assert not hasattr(secret, "__dict__")
    with pytest.raises(AttributeError):
        secret.text = "x"


def test_fresh() -> None:
    """256 bits in the characters that need no quoting anywhere, never the same twice."""
    texts = [Secret.fresh().reveal() for _ in range(100)]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", text) for text in texts)
    assert len(set(texts)) == len(texts)
    assert all(len({text[place] for text in texts}) > 10 for place in range(42)), "each character varies"
