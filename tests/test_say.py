"""The only voice, and what it lets through."""

from __future__ import annotations

import os
import re
import time
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from git_credential_forge import say

if TYPE_CHECKING:
    from collections.abc import Iterator

relaxed = settings(deadline=None)
# Unicode's property Bidi_Control (PropList.txt), whole.
BIDI_CONTROL = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
INVISIBLE = set("\u200b\u200c\u200d\u2060\ufeff")


def hostile(text: str) -> list[str]:
    """What moves a cursor, ends a line, turns the direction of text or hides in it."""
    categories = ("Cc", "Cs", "Zl", "Zp")
    bad = BIDI_CONTROL | INVISIBLE
    return [hex(ord(c)) for c in text if c in bad or unicodedata.category(c) in categories]


ALL_HOSTILE = [chr(c) for c in range(0x110000) if hostile(chr(c))]
texts = st.text(st.characters() | st.sampled_from(ALL_HOSTILE), max_size=400)


def test_no_hostile_character_passes() -> None:
    """Each control and direction character there is, one by one (CVE-2024-50349)."""
    passed = [hex(ord(c)) for c in ALL_HOSTILE if c in say.clean(f"a{c}b")]
    assert passed == []


@relaxed
@given(texts)
@example("\x1b[2J\x1b]0;title\x07")
def test_clean(text: str) -> None:
    """Nothing hostile, never too long, and nothing more to clean the second time."""
    cleaned = say.clean(text)
    assert hostile(cleaned) == []
    assert len(cleaned) <= 300
    assert say.clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("token was already used", "token was already used"),
        ("Zugriff für Jürgen 🔑 拒绝", "Zugriff für Jürgen 🔑 拒绝"),
        ("  a\r\n\tb\x00\x1b[31mc  ", "a b [31mc"),
        ("x" * 300, "x" * 300),
        ("x" * 301, "x" * 299 + "…"),
        ("\n" * 500, ""),
    ],
)
def test_clean_keeps_words(text: str, cleaned: str) -> None:
    """Ordinary words in any script stay as they are; a run of the rest is one space."""
    assert say.clean(text) == cleaned


@relaxed
@given(texts)
def test_one_line_is_one_line(text: str) -> None:
    """On a terminal too, whatever stands in it: one prefix, one line end, no control between."""
    reader, writer = os.pipe()
    try:
        say.on(writer, text)
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    assert said.startswith("forge: ")
    assert said.endswith("\n")
    assert hostile(said[:-1]) == []


def test_lines_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """A message and its hints, each behind the prefix; nothing on standard output."""
    say.lines("not signed in", ("do\nthis", "or that \udcff"))
    assert capfd.readouterr() == ("", "forge: not signed in\nforge: do this\nforge: or that  \n")


def test_result_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """A result has no prefix, and no control character of an account's either."""
    say.result("alice\x1b[2J\u202e")
    say.result()
    assert capsys.readouterr() == ("alice [2J \n\n", "")


def test_nobody_listens() -> None:
    """A standard error that is closed or broken is no reason to lose an answer."""
    reader, broken = os.pipe()
    os.close(reader)
    kept = os.dup(2)
    try:
        os.dup2(broken, 2)
        say.lines("one", ("two",))
        os.close(2)
        say.line("three")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(broken)
    say.on(99_999, "four")


@pytest.mark.parametrize(("value", "traced"), [(None, False), ("", False), ("0", False), ("1", True), ("true", True)])
def test_trace(
    value: str | None, traced: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Only when asked for; then a time and a clean event."""
    if value is not None:
        monkeypatch.setenv("GIT_TRACE_FORGE", value)
    say.trace("http: GET\x1bto x")
    said = capfd.readouterr().err
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} http: GET to x\n" if traced else "", said)


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone in which it is past twelve now, so that no midnight comes while a test runs."""
    monkeypatch.setenv("TZ", f"NOON{time.gmtime().tm_hour - 12:+d}")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("noon")
def test_until() -> None:
    """The clock for today, and the day with it for any other, also the same day of another month."""
    now = time.time()
    assert re.fullmatch(r"1[0-4]:[0-5][0-9]", say.until(now))
    for days in (1, -1, 31, 365, 366):
        at = now + days * 86_400
        assert say.until(at) == time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
