"""Where we run, and so what we may do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from git_credential_forge import surroundings
from git_credential_forge.settings import Settings
from git_credential_forge.surroundings import Surroundings

if TYPE_CHECKING:
    from pathlib import Path

LINUX = {"DISPLAY": ":0"}


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux without display, editor, SSH, CI or sudo."""
    told = (
        "CI",
        "BROWSER",
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "SSH_CONNECTION",
        "SUDO_USER",
        "WSL_INTEROP",
        "WSL_DISTRO_NAME",
        "VSCODE_IPC_HOOK_CLI",
        "FLATPAK_ID",
        "SNAP_NAME",
        "DBUS_SESSION_BUS_ADDRESS",
    )
    for name in (*told, "GIT_TERMINAL_PROMPT", "GCM_INTERACTIVE", "VSCODE_GIT_FETCH_SILENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.mark.parametrize(
    ("environment", "interactive"),
    [
        ({}, True),
        *(({"GIT_TERMINAL_PROMPT": value}, False) for value in ("0", "false", "False", "no", "off")),
        *(({"GIT_TERMINAL_PROMPT": value}, True) for value in ("1", "true", "yes")),
        *(({"GCM_INTERACTIVE": value}, False) for value in ("0", "false", "never", "Never")),
        *(({"GCM_INTERACTIVE": value}, True) for value in ("", "1", "auto", "always")),
        *(({"VSCODE_GIT_FETCH_SILENT": value}, False) for value in ("1", "true")),
        *(({"VSCODE_GIT_FETCH_SILENT": value}, True) for value in ("", "0", "false")),
        *(({"CI": value}, False) for value in ("true", "1", "yes", "woodpecker")),
        *(({"CI": value}, True) for value in ("", "0", "false", "False")),
    ],
)
@pytest.mark.parametrize("setting", [True, False])
def test_interactive(
    environment: dict[str, str], interactive: bool, setting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody is asked only where nothing says that nobody is there; who typed the command is there in any case."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings(interactive=setting)
    assert surroundings.look(settings).interactive is (interactive and setting)
    assert surroundings.look(settings, asked_for=True).interactive is True


@pytest.mark.parametrize(
    ("platform", "environment", "browser"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"DISPLAY": "", "WAYLAND_DISPLAY": ""}, False),
        ("linux", {"BROWSER": "firefox"}, True),
        ("linux", {"BROWSER": ""}, False),
        ("linux", {"SSH_CONNECTION": "a 1 b 2"}, False),
        ("linux", {"SSH_CONNECTION": "a 1 b 2", "DISPLAY": "localhost:10.0"}, True),
        ("linux", {"SSH_CONNECTION": "a 1 b 2", "BROWSER": "/vscode/browser.sh"}, True),
        ("linux", {"WSL_DISTRO_NAME": "Debian"}, True),
        ("linux", {"WSL_INTEROP": "/run/WSL/1_interop"}, True),
        ("linux", {"SSH_CONNECTION": "a 1 b 2", "VSCODE_IPC_HOOK_CLI": "/run/x.sock"}, True),
        ("linux", {"VSCODE_IPC_HOOK_CLI": ""}, False),
        ("linux", {"FLATPAK_ID": "com.example.Editor", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus"}, True),
        ("linux", {"FLATPAK_ID": "com.example.Editor"}, False),
        ("linux", {"SNAP_NAME": "editor", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus"}, True),
        ("linux", {"SNAP_NAME": "a-server"}, False),
        ("linux", {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus"}, False),
        ("darwin", {}, True),
        ("darwin", {"SSH_CONNECTION": "a 1 b 2"}, False),
        ("darwin", {"SSH_CONNECTION": "a 1 b 2", "DISPLAY": ":0"}, False),
        ("darwin", {"SSH_CONNECTION": "a 1 b 2", "BROWSER": "x"}, True),
    ],
)
def test_browser(platform: str, environment: dict[str, str], browser: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the person can see it: $BROWSER says so, else there is a display, macOS at its own keyboard, or WSL."""
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert surroundings.look(Settings()) == Surroundings(interactive=True, browser=browser, sudo=False)


def test_flatpak_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a shell in the sandbox has lost the variable, the file that each has is enough."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/bus")
    monkeypatch.setattr(surroundings, "_FLATPAK", str(tmp_path / ".flatpak-info"))
    assert not surroundings.look(Settings()).browser
    (tmp_path / ".flatpak-info").touch()
    assert surroundings.look(Settings()).browser


@pytest.mark.parametrize(
    ("user", "uid", "sudo"), [(None, 0, False), ("alice", 0, True), ("alice", 1000, False), ("", 0, True)]
)
def test_sudo(user: str | None, uid: int, sudo: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """root in somebody else's place opens nothing and asks nothing, even when the command was typed."""
    for name, value in LINUX.items():
        monkeypatch.setenv(name, value)
    if user is not None:
        monkeypatch.setenv("SUDO_USER", user)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    expected = Surroundings(interactive=not sudo, browser=not sudo, sudo=sudo)
    assert surroundings.look(Settings()) == expected
    assert surroundings.look(Settings(), asked_for=True) == expected


@pytest.mark.parametrize(
    ("user", "uid", "where", "foreign"),
    [
        ("alice", 0, "hers", True),
        ("alice", 0, "root's", False),
        ("alice", 0, "missing", True),
        ("alice", 1000, "hers", False),
        (None, 0, "hers", False),
    ],
)
def test_foreign_home(
    user: str | None, uid: int, where: str, foreign: bool, *, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What root writes into another's home locks its owner out; root's own home by `sudo -H` is nobody else's."""
    if os.getuid() == 0:
        os.chown(tmp_path, 1000, 1000)
    homes = {"hers": str(tmp_path), "root's": "/", "missing": str(tmp_path / "missing")}
    monkeypatch.setenv("HOME", homes[where])
    if user is not None:
        monkeypatch.setenv("SUDO_USER", user)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert surroundings.foreign_home() is foreign


@pytest.mark.parametrize(
    ("environment", "wsl"), [({}, False), ({"WSL_DISTRO_NAME": "x"}, True), ({"WSL_INTEROP": "x"}, True)]
)
def test_wsl(environment: dict[str, str], wsl: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either of the variables that Windows gives its Linux."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert surroundings.wsl() is wsl
