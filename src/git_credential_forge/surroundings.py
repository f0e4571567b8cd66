"""Where we run, and so what we may do: ask somebody, open a browser, use a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NamedTuple

from git_credential_forge.settings import Settings

_FLATPAK = "/.flatpak-info"
_OFF = ("0", "false", "no", "off")


class Surroundings(NamedTuple):
    interactive: bool  # somebody is there to be asked
    browser: bool  # a browser can be opened here
    sudo: bool  # root in somebody else's home: nothing is opened, nothing written


def look(settings: Settings, *, asked_for: bool = False) -> Surroundings:
    """`asked_for`: a person typed the command, so they are there, whatever a variable says."""
    sudo = "SUDO_USER" in os.environ and os.geteuid() == 0
    interactive = asked_for or (settings.interactive and not _told_not_to_ask())
    return Surroundings(interactive and not sudo, _browser() and not sudo, sudo)


def foreign_home() -> bool:
    """root by sudo in a home that is not root's: what is written there would lock its owner out."""
    if "SUDO_USER" not in os.environ or os.geteuid() != 0:
        return False
    try:
        return os.stat(os.path.expanduser("~")).st_uid != 0
    except OSError:
        return True


def _told_not_to_ask() -> bool:
    """git's own switch, Git Credential Manager's, the one VS Code sets for its background fetches, and CI's."""
    environment = os.environ
    return (
        environment.get("GIT_TERMINAL_PROMPT", "1").lower() in _OFF
        or environment.get("GCM_INTERACTIVE", "").lower() in (*_OFF, "never")
        or environment.get("VSCODE_GIT_FETCH_SILENT", "").lower() not in ("", *_OFF)
        or environment.get("CI", "").lower() not in ("", *_OFF)
    )


def _browser() -> bool:
    environment = os.environ
    if environment.get("BROWSER"):
        return True  # before the question about SSH: VS Code's opens one on the other end
    if sys.platform == "darwin":
        return "SSH_CONNECTION" not in environment
    display = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    return bool(display or wsl() or remote_editor() or _sandboxed())


def wsl() -> bool:
    """Whether this Linux runs inside Windows, whose programs can open the browser."""
    return "WSL_DISTRO_NAME" in os.environ or "WSL_INTEROP" in os.environ


def remote_editor() -> bool:
    """Whether this is the far end of a VS Code (SSH, container, Codespaces), whose `code` opens a browser at the near
    one. In its terminals $BROWSER does that too; this is for where a start-up file has taken it away."""
    return bool(os.environ.get("VSCODE_IPC_HOOK_CLI"))


def for_lfs() -> bool:
    """Whether git-lfs asks, by `git credential fill`. Told to continue, it tries the token that was refused again and
    again, and never asks for another (git-lfs 3.6). Known from /proc alone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid = os.getppid()
        while (name := _read(f"/proc/{pid}/comm").strip()) in ("git", "git-credential-") or name.endswith("sh"):
            pid = int(_read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1])
        return name == "git-lfs"
    return False


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def workspace() -> bool:
    """Whether this is a Coder workspace, whose agent may ask Coder for tokens."""
    environment = os.environ
    token = environment.get("CODER_AGENT_TOKEN") or environment.get("CODER_AGENT_TOKEN_FILE")
    return bool(token and environment.get("CODER_AGENT_URL"))


def _sandboxed() -> bool:
    """Whether an editor of Flatpak or Snap has started us: `xdg-open` in there asks the desktop outside, by the bus of
    the session, and needs no display."""
    if not os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return False
    return bool(os.environ.get("FLATPAK_ID") or os.environ.get("SNAP_NAME")) or os.path.exists(_FLATPAK)
