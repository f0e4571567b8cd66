"""The large files beside the repositories: Git LFS's batch call and its basic transfers, as Gitea has them.

Which objects there are is the same for all repositories of a forge. A request has been let in, or refused, by the
same token as git's own.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from tests.support.httpserver import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.httpserver import Request

PATH = ".git/info/lfs/"
CHALLENGE = 'Basic realm="gitea-lfs"'
MEDIA = "application/vnd.git-lfs+json"


class Objects:
    """What was uploaded, by its id."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.allowed: Callable[[], None] = lambda: None  # called when a batch has been let in

    def serve(self, request: Request, url: str) -> Answer:
        """The answer to somebody who may read and write; `url` is the forge's."""
        called = request.target.partition(PATH)[2]
        if called == "objects/batch":
            return self._batch(request, url)
        key = called.removeprefix("objects/")
        if request.method == "PUT" and hashlib.sha256(request.body).hexdigest() == key:
            self.held[key] = request.body
            return Answer(200, [], b"")
        if request.method == "GET" and key in self.held:
            return Answer(200, [("Content-Type", "application/octet-stream")], self.held[key])
        return said(404, "not found")

    def _batch(self, request: Request, url: str) -> Answer:
        asked = json.loads(request.body)
        self.allowed()
        base = f"{url}{request.target.removesuffix('batch')}"
        upload = asked["operation"] == "upload"
        objects = []
        for wanted in asked["objects"]:
            link = {"href": base + wanted["oid"], "header": {"Authorization": request.header("Authorization")}}
            due = (wanted["oid"] in self.held) != upload  # what is there is not uploaded again
            objects.append({**wanted, "actions": {asked["operation"]: link} if due else {}})
        return Answer(200, [("Content-Type", MEDIA)], json.dumps({"transfer": "basic", "objects": objects}).encode())


def said(status: int, message: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, [("Content-Type", MEDIA), *headers], json.dumps({"message": message}).encode())


def unauthorized() -> Answer:
    """With a token or without one: unlike git's own side, this one says its challenge always."""
    return said(401, "Unauthorized", ("WWW-Authenticate", CHALLENGE))
