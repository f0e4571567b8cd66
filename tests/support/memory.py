"""What git's cache daemon holds for a home, and sign-ins put there without a forge."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = 7200  # seconds
CLIENT_ID = "a4792ccc-144e-407e-86c9-5e7d8d9c3269"  # the one that Forgejo and Gitea register themselves
# Run by the installed Python, so that it is the installed vault that writes.
SAVE = """
import json, sys, time
from git_credential_forge import daemon
from git_credential_forge.origin import of_request
from git_credential_forge.secret import Secret
from git_credential_forge.session import Session
from git_credential_forge.vault import Vault
for one in json.load(sys.stdin):
    scheme, host, now = one.pop("scheme"), one.pop("host"), int(time.time())
    expiry = one.pop("expiry") or now + one.pop("lifetime", 3600)
    one |= {"access_token": Secret(one["access_token"]), "refresh_token": Secret(one["refresh_token"])}
    url = f"{scheme}://{host}{one['base']}"
    session = Session(expiry=expiry, margin=60, issuer=url, scopes="", signed_in_at=now, issued_at=now, kind="forgejo",
                      token_url=url + "/login/oauth/access_token", **one)
    Vault(daemon.place(), 7200).save(of_request(scheme, host), session)
"""


def lines(*pairs: str) -> bytes:
    """A request: each line, and the blank one."""
    return "".join(f"{pair}\n" for pair in (*pairs, "")).encode("utf-8", "surrogateescape")


def oldest(answer: bytes) -> bytes:
    """The answer as git's oldest caches give it. Those from 2.40 on say last when it ends, where that is known, and
    those from 2.46 on say first what they can."""
    kept = re.fullmatch(
        rb"(?:capability\[\]=authtype\n)?(.*?)(?:password_expiry_utc=\d+\n)?(\n?)", answer, flags=re.DOTALL
    )
    return b"".join(kept.groups()) if kept else answer


def sign_in(
    host: str = "example.com",
    account: str = "alice",
    token: str = "",
    *,
    scheme: str = "https",
    base: str = "",
    expiry: int = 0,
    client_id: str = CLIENT_ID,
) -> dict[str, object]:
    """One sign-in for `save`; without an expiry the token lives for an hour."""
    return {
        "scheme": scheme,
        "host": host,
        "account": account,
        "access_token": token or f"token-of-{account}",
        "refresh_token": f"refresh-of-{account}",
        "base": base,
        "expiry": expiry,
        "client_id": client_id,
    }


def save(installed: Path, environment: dict[str, str], *sign_ins: dict[str, object]) -> None:
    """Sign-ins, as the vault keeps them once a forge has given a token."""
    subprocess.run(
        [str(installed / "python"), "-c", SAVE],
        input=json.dumps(sign_ins),
        env=environment,
        text=True,
        check=True,
        timeout=60,
    )


def directory(environment: dict[str, str]) -> Path:
    return Path(environment["HOME"], ".cache/git-credential-forge")


# A daemon ends with its last entry, and whoever asks in that moment is not heard: so one entry stays.
STAYS = lines("protocol=none", "host=stays", "username=nobody", "password=none")


class Memory:
    """git's cache daemon of one home, asked as its own client asks it, only without a process for each question."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self.directory = directory(environment)
        self.socket = self.directory / "socket"

    def ask(self, request: bytes) -> bytes:
        """What the daemon gives; nothing where none runs."""
        return self._say(b"action=get\ntimeout=1\n" + request)

    def empty(self, hosts: list[tuple[str, str]]) -> None:
        """Have a daemon that runs forget all that it holds for these: one entry at a time, as git 2.39 does it."""
        for protocol, host in hosts:
            where = lines(f"protocol={protocol}", f"host={host}")
            while self.ask(where):
                self._say(b"action=erase\ntimeout=1\n" + where)

    def _say(self, message: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.socket))
            except OSError:
                return b""
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    def store(self, *requests: bytes) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if requests and not self.socket.exists():
            self._client(f"--timeout={KEPT}", "store", given=STAYS)  # which starts the daemon
        for request in requests:
            self._say(b"action=store\ntimeout=%d\n" % KEPT + request)

    def end(self) -> None:
        self._client("exit")

    def dump(self, hosts: list[tuple[str, str]], users: list[str], paths: list[str]) -> dict[str, bytes]:
        """All that it gives for these: `host user path` -> what is given."""
        found = {}
        for protocol, host in hosts:
            if self.ask(lines(f"protocol={protocol}", f"host={host}")):  # else there is nothing of that host
                for where, request in _questions(protocol, host, users, paths):
                    answer = self.ask(request)
                    if answer:
                        found[where] = answer
        return found

    def _client(self, *arguments: str, given: bytes = b"") -> None:
        subprocess.run(
            ["git", "credential-cache", "--socket", str(self.socket), *arguments],
            input=given,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=20,
        )


def _questions(protocol: str, host: str, users: list[str], paths: list[str]) -> Iterator[tuple[str, bytes]]:
    for user in users:
        for path in paths:
            named = [f"username={user}", *([f"path={path}"] if path else [])]
            yield f"{protocol}://{user}@{host} {path}", lines(f"protocol={protocol}", f"host={host}", *named)
