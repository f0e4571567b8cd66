"""The machine-local file: blocks go in and out, and what stands beside them stays."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from git_credential_forge import machine
from git_credential_forge.errors import ForgeError
from git_credential_forge.secret import Secret

URL = "https://forge.example"


@pytest.fixture(autouse=True)
def ours(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return home / ".config/git-credential-forge/gitconfig"


@pytest.mark.parametrize(
    "value", ["plain", 'say "x"', "back\\slash", "a # b ; c", " spaces ", "=", "$(id)", 'two\nlines"']
)
def test_any_value(ours: Path, value: str) -> None:
    """What is kept is what git reads, and what we read."""
    machine.keep(URL, {"oauthClientId": value, "oauthClientSecret": Secret(value)})
    command = ["git", "config", "--file", str(ours), "-z", "--get", f"credential.{URL}.oauthClientSecret"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == value + "\0"
    assert machine.kept(URL, "oauthClientId") == value
    assert machine.registered() == [URL]


def test_each_its_own(ours: Path) -> None:
    """Blocks are found by their address, one that begins like another too; the last one leaves no file."""
    for url in (URL, f"{URL}:8443", f"{URL}/sub"):
        machine.keep(url, {"oauthClientId": url})
    machine.keep(URL, {"oauthClientId": "again"})
    assert machine.registered() == [URL, f"{URL}:8443", f"{URL}/sub"]
    machine.drop(f"{URL}:8443")
    assert machine.registered() == [URL, f"{URL}/sub"]
    assert machine.kept(URL, "oauthClientId") == "again"
    assert machine.kept(f"{URL}:8443", "oauthClientId") is None
    machine.drop(URL)
    machine.drop(f"{URL}/sub")
    machine.drop(f"{URL}/sub")
    assert not ours.parent.exists()


def test_many_at_once(ours: Path) -> None:
    """No block is lost, whoever else puts one in or takes one out, also the last one with the directory."""
    urls = [f"https://{number}.example" for number in range(8)]

    def keep_and_drop(url: str) -> None:
        for _ in range(20):
            machine.keep(url, {"oauthClientId": url})
            assert url in machine.registered()
            machine.drop(url)
        machine.keep(url, {"oauthClientId": url})

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(keep_and_drop, urls)] == [None] * 8
    assert sorted(machine.registered()) == urls
    assert [*ours.parent.iterdir()] == [ours]


def test_a_file_without_a_last_line_end(ours: Path) -> None:
    """A block begins on a line of its own."""
    ours.parent.mkdir(parents=True)
    ours.write_text("[credential]\n\tforgeFlow = paste")
    machine.keep(URL, {"oauthClientId": "an-id"})
    assert machine.kept(URL, "oauthClientId") == "an-id"
    assert ours.read_text().startswith("[credential]\n\tforgeFlow = paste\n#")


def test_an_end_that_is_missing(ours: Path) -> None:
    """Nothing is taken for ours whose end cannot be told: what stands behind it would go."""
    machine.keep(URL, {"oauthClientId": "an-id"})
    machine.keep(f"{URL}/sub", {"oauthClientId": "another"})
    damaged = ours.read_text().replace("# to here\n", "", 1)
    ours.write_text(damaged)
    with pytest.raises(ForgeError, match=r"has been changed: of what begins with .* the end is missing$"):
        machine.drop(URL)
    with pytest.raises(ForgeError):
        machine.keep(URL, {"oauthClientId": "more"})
    assert ours.read_text() == damaged


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_interrupted(ours: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """The file is as it was, and none with a secret in it is left beside it."""
    machine.keep(URL, {"oauthClientId": "an-id"})
    before = ours.read_bytes()

    def fails(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises((KeyboardInterrupt, ForgeError)):
        machine.keep(URL, {"oauthClientId": "another", "oauthClientSecret": Secret("a secret")})
    assert ours.read_bytes() == before
    assert os.listdir(ours.parent) == ["gitconfig"]
