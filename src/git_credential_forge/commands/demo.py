"""`demo`: the whole of it, against a forge that lives as long as the command. Here: its home, and that it is gone."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import site
import sys
import tempfile
import time
from typing import NoReturn

from git_credential_forge import git, say
from git_credential_forge.demo.story import Story
from git_credential_forge.errors import ForgeError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KEPT = ("GIT_EXEC_PATH", "GIT_TRACE_FORGE")
# With every other GIT_*: what would lead git or the helper out of the demo's home, or keep it from asking.
_DROPPED = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CI", "GCM_INTERACTIVE", "VSCODE_GIT_FETCH_SILENT", "SUDO_USER")
_CONFIG = """\
[user]
	name = alice
	email = alice@example.org
[gc]
	auto = 0
[credential]
	forgeSignInTimeout = {}
"""


def demo_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Clone, push and fetch with the installed helper, against a small forge on this machine."
    parser.add_argument("--headless", action="store_true", help="open no browser: a stand-in fills in the pages")


def demo(options: argparse.Namespace) -> int:
    installed = os.path.dirname(os.path.abspath(sys.argv[0]))
    if not os.access(f"{installed}/git-credential-forge", os.X_OK):
        raise ForgeError(f"{installed}/git-credential-forge is missing: install git-credential-forge again")
    git.demand()
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    openers = [] if options.headless else _openers()
    say.result("a forge on this machine, an empty home in which the installed helper is set up, and git as you have it")
    stand_in = "no browser is opened: a small stand-in fills in the forge's pages over HTTP"
    say.result("your browser opens twice: press Sign in, and Authorize" if openers else stand_in)
    begun = time.monotonic()
    with contextlib.ExitStack() as traces:
        root = tempfile.mkdtemp(prefix="forge-demo-")
        traces.callback(_remove, root)
        story = Story(root, _environment(root, installed, openers))
        traces.callback(story.close)
        traces.callback(_undisturbed)
        story.tell()
    say.result(f"proved in {time.monotonic() - begun:.1f} s:")
    say.result("  a sign-in is one tab, also for many gits at once, and its code is bound by PKCE")
    say.result("  after it no push asks: a token that has ended or is refused is renewed, no refresh token used twice")
    say.result("nothing of it is left: the forge, the home and what was in memory are gone")
    return 0


def _environment(root: str, installed: str, openers: list[str]) -> dict[str, str]:
    """A person's environment, with a home of its own in which nothing is set up yet; and where they will work."""
    os.mkdir(f"{root}/home")
    os.mkdir(f"{root}/work")
    _show_packages_of_user(f"{root}/home")
    with open(f"{root}/home/.gitconfig", "w", encoding="utf-8") as file:
        file.write(_CONFIG.format(300 if openers else 20))
    here = os.environ
    stand_in = [sys.executable, "-I", os.path.join(os.path.dirname(__file__), "../demo/browser.py"), f"{root}/cookies"]
    dropped = {name for name in here if name.startswith("GIT_") and name not in _KEPT} | {*_DROPPED}
    return {name: value for name, value in here.items() if name not in dropped} | {
        "HOME": f"{root}/home",
        "PATH": f"{installed}{os.pathsep}{here.get('PATH', os.defpath)}",
        "BROWSER": ":".join(openers) or shlex.join(stand_in),
        "GIT_CONFIG_NOSYSTEM": "1",
        "no_proxy": f"{here.get('no_proxy', '')},127.0.0.1".lstrip(","),
    }


def _show_packages_of_user(home: str) -> None:
    """Python looks for what `pip install --user` has installed below $HOME: there too, if we are among that."""
    base = os.path.realpath(site.getuserbase())
    below = os.path.relpath(base, os.path.realpath(os.path.expanduser("~")))
    if os.path.realpath(__file__).startswith(f"{base}{os.sep}") and not below.startswith(os.pardir):
        at = os.path.join(home, below)
        os.makedirs(os.path.dirname(at), exist_ok=True)
        os.symlink(base, at)


def _openers() -> list[str]:
    """What opens the person's browser, by the helper's own rules, as entries for $BROWSER; in the person's own home,
    which is not the demo's. Told here once more, so that the demo does not take over a mistake of the helper."""
    here, mac = os.environ, sys.platform == "darwin"
    if "SUDO_USER" in here and os.geteuid() == 0:
        return []
    found = [entry for entry in here.get("BROWSER", "").split(":") if entry.strip()]
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "WSL_INTEROP")
    if found or ("SSH_CONNECTION" not in here if mac else any(map(here.get, displays))):
        found += ["open"] if mac else ["wslview", "xdg-open"]
    names = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    home = shlex.join(f"{name}={here[name]}" for name in names if name in here)
    return [f"env -u BROWSER {home} {entry}" for entry in found if shutil.which(_program(entry))]


def _program(entry: str) -> str:
    try:
        return shlex.split(entry)[0]
    except ValueError:  # a quote that does not end
        return ""


def _interrupt(*_: object) -> NoReturn:
    _undisturbed()  # once: what the terminal sends, git passes on as well
    raise KeyboardInterrupt


def _undisturbed() -> None:
    """From here on traces are removed, whatever else comes."""
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)


def _remove(root: str) -> None:
    """All of it; a process that has just been ended may still have written."""
    overdue = time.monotonic() + 5
    while os.path.exists(root) and time.monotonic() < overdue:
        shutil.rmtree(root, ignore_errors=True)
    if os.path.exists(root):
        raise ForgeError(f"{root} could not be removed", f"rm -rf {shlex.quote(root)}")
