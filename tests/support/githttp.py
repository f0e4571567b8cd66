"""git's own server side, `git http-backend`, behind a request that has been let in."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

from tests.support.httpserver import Answer
from tests.support.surroundings import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.httpserver import Request

GIT = shutil.which("git", path=os.environ.get("PATH", os.defpath)) or "git"
FIRST_COMMIT = b"""commit refs/heads/main
committer Alice <alice@example.org> 1700000000 +0000
data 6
first
M 644 inline README
data 6
hello
"""


class Repositories:
    """Bare repositories below `directory`, `owner/name.git` each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "repositories"
        self._directory.mkdir()
        self._environment = clean_environment(directory / "git-home")

    def create(self, owner: str, name: str) -> str:
        """With one commit on `main`, whose id is returned."""
        path = self.path(owner, name)
        self._git("init", "--quiet", "--bare", "--initial-branch=main", str(path))
        self._git("-C", str(path), "fast-import", "--quiet", stdin=FIRST_COMMIT)
        return self.head(owner, name)

    def head(self, owner: str, name: str, branch: str = "main") -> str:
        return self._git("-C", str(self.path(owner, name)), "rev-parse", "--verify", f"refs/heads/{branch}")

    def path(self, owner: str, name: str) -> Path:
        return self._directory / owner / f"{name}.git"

    def has(self, path: str) -> bool:
        """Whether `/owner/name.git/…` is in one of them; an owner can be a group in a group."""
        return (self._directory / f"{path.partition('.git/')[0].lstrip('/')}.git").is_dir()

    def serve(self, request: Request, user: str) -> Answer:
        path, _, query = request.target.partition("?")
        environment = self._environment | {
            "GIT_PROJECT_ROOT": str(self._directory),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": request.header("Content-Type"),
            "CONTENT_LENGTH": str(len(request.body)),
            "HTTP_CONTENT_ENCODING": request.header("Content-Encoding"),
            "GIT_PROTOCOL": request.header("Git-Protocol"),
            "REMOTE_USER": user,
            "REMOTE_ADDR": "127.0.0.1",
        }
        with tempfile.TemporaryFile() as stdin:
            stdin.write(request.body)
            stdin.seek(0)
            done = subprocess.run(
                [GIT, "http-backend"],
                env=environment,
                stdin=stdin,
                capture_output=True,
                check=False,
                timeout=120,
            )
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        answered = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
        if not answered.keys():
            return Answer(500, [], done.stderr)
        return Answer(int(answered.get("Status", "200").split()[0]), answered.items(), rest)

    def _git(self, *arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            [GIT, *arguments],
            env=self._environment,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()
