"""A wheel of this tree in a venv of its own, and fresh homes with one helper set up in each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from gits import Git
from peers import Peer

ROOT = Path(__file__).resolve().parents[1]
HOST = "codeberg.org"
ACCOUNT = "alice"
TOKEN = "t" * 858  # bytes: what a Forgejo gives
LIFETIME = 7200  # seconds
FOR_EVER = 4102444800  # seconds since 1970: the peer's cached token does not end while we measure

# Run by the installed Python. The daemon is started and told as ever once; for thousands of sign-ins it is then
# told directly, in the words of git's own client, which takes 0.1 ms instead of 10.
_SAVE = """
import json, socket, sys
from git_credential_forge import daemon, forges, recognise, session
from git_credential_forge.oauth.wire import Token
from git_credential_forge.origin import of_request
from git_credential_forge.secret import Secret
from git_credential_forge.settings import Settings
from git_credential_forge.vault import Vault
def tell(at, request, lifetime):
    with socket.socket(socket.AF_UNIX) as to:
        to.connect(at.socket)
        to.sendall(b"action=store\\ntimeout=%d\\n" % lifetime + request + b"\\n")
        to.shutdown(socket.SHUT_WR)
        to.recv(1)
given = json.load(sys.stdin)
token = Token(Secret(given["token"]), lifetime=36000, refresh_token=Secret("refresh"))
for number, host in enumerate(given["hosts"]):
    if number == 1:
        daemon.store = tell
    origin = of_request("https", host)
    forge = recognise.build(forges.FORGEJO, origin, "", Settings(), certain=True)
    signed_in = session.make(forge, given["account"], token, None)
    Vault(daemon.place(), given["lifetime"]).save(origin, signed_in)
"""


class Home(NamedTuple):
    """A home in which one helper is set up, and the git that is used there."""

    directory: Path
    git: Git
    environment: dict[str, str]

    def run(self, *command: str, given: str = "") -> str:
        done = subprocess.run(
            command, input=given, env=self.environment, cwd=self.directory, capture_output=True, text=True, check=True
        )
        return done.stdout

    def set(self, *helpers: str) -> None:
        """Name the helpers in the global git config."""
        for helper in helpers:
            self.run(self.git.program, "config", "--global", "--add", "credential.helper", helper)


class Installed(NamedTuple):
    """The venv that our wheel is in."""

    bin: Path

    @property
    def python(self) -> str:
        return str(self.bin / "python")

    @property
    def launcher(self) -> str:
        return str(self.bin / "git-credential-forge")

    @property
    def main(self) -> str:
        return str(self.bin / "git-credential-forge--main")


def install(work: Path, tree: Path = ROOT) -> Installed:
    """A tree, built and installed anew."""
    wheels, venv = work / "wheel", work / "installed"
    shutil.rmtree(wheels, ignore_errors=True)
    if not (venv / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = str(venv / "bin/pip")
    subprocess.run([pip, "wheel", "-q", "--no-deps", "--wheel-dir", str(wheels), str(tree)], check=True)
    wheel = str(next(wheels.glob("*.whl")))
    subprocess.run([pip, "install", "-q", wheel], check=True)
    subprocess.run([pip, "install", "-q", "--force-reinstall", "--no-deps", wheel], check=True)
    return Installed(venv / "bin")


def home(at: Path, git: Git, installed: Installed, peer: Peer | None = None, **more: str) -> Home:
    """A fresh one: nothing of the machine's owner, no CI, no certificates, no proxy; git's repair not needed."""
    at.mkdir(parents=True)
    programs = [installed.bin, *([peer.directory] if peer else []), git.directory]
    path = ":".join([*dict.fromkeys(map(str, programs)), "/usr/bin", "/bin"])
    environment = {"HOME": str(at), "PATH": path, "LANG": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1", **more}
    if git.exec_path:
        environment["GIT_EXEC_PATH"] = str(git.exec_path)
    return Home(at, git, environment)


def ours(at: Path, git: Git, installed: Installed, helper: str | None = None, hosts: tuple[str, ...] = (HOST,)) -> Home:
    """Our helper, signed in at each of `hosts`; as `configure` sets it up, or as `helper` says."""
    made = home(at, git, installed)
    if helper is None:
        made.run(installed.launcher, "configure")
    else:
        made.set(helper)
    given = {"hosts": hosts, "account": ACCOUNT, "token": TOKEN, "lifetime": LIFETIME}
    made.run(installed.python, "-c", _SAVE, given=json.dumps(given))
    return made


def theirs(at: Path, git: Git, installed: Installed, peer: Peer | None) -> Home:
    """`cache`, alone or with git-credential-oauth behind it, and the same token."""
    made = home(at, git, installed, peer)
    made.set(f"cache --timeout {LIFETIME}", *(["oauth"] if peer else []))
    fields = f"protocol=https\nhost={HOST}\nusername={ACCOUNT}\npassword={TOKEN}\npassword_expiry_utc={FOR_EVER}\n\n"
    subprocess.run(
        [git.program, "credential", "approve"],
        input=fields,
        env=made.environment,
        cwd=at,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # the daemon that is started here holds them
    )
    return made


def close(made: Home) -> None:
    """End the daemons of a home."""
    for socket in made.directory.glob(".cache/*/**/socket"):
        made.run(made.git.program, "credential-cache", "--socket", str(socket), "exit")
