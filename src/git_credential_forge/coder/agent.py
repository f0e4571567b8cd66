"""The API for the agent of a Coder workspace: the token of the forge that the person has linked in Coder.

The agent's own token goes to CODER_AGENT_URL, and nowhere else. Whatever comes back is somebody else's text until it
has been looked at.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import quote, urlencode

from git_credential_forge import say
from git_credential_forge.coder import api
from git_credential_forge.errors import ForgeError, UnreachableError
from git_credential_forge.oauth import http
from git_credential_forge.oauth.http import Response
from git_credential_forge.oauth.wire import TOKEN
from git_credential_forge.origin import Url, parse
from git_credential_forge.secret import Secret

HOLD = 30.0  # seconds that a request may be held open: less than proxies allow, and one that is cut is asked again
_PATH = "/api/v2/workspaceagents/me/external-auth"
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_NAME = 255  # characters of a user name; those that Coder gives have six, or twelve


class Agent(NamedTuple):
    """Who asks, and whom."""

    deployment: Url
    token: Secret
    source: str  # where the token is from, as people know it

    @property
    def name(self) -> str:
        return self.deployment.origin.netloc + self.deployment.path

    def url(self, match: str) -> str:
        """Where the token for an address is asked for."""
        query = urlencode({"match": match}, quote_via=quote, safe="")
        return f"{self.deployment.origin.url}{self.deployment.path}{_PATH}?{query}"


class Linked(NamedTuple):
    token: Secret
    username: str  # that the forge wants beside it; '' where any name will do


class Unlinked(NamedTuple):
    """The person has to link the forge first, or anew."""

    page: str
    ours: bool  # it is the deployment's own


class NoProvider(NamedTuple):
    """Coder knows nothing of this address."""

    said: str


class Failed(NamedTuple):
    """Why there is no answer, with whose fault it is; and whether asking again is of no use."""

    reason: str
    for_good: bool = False


Verdict = Linked | Unlinked | NoProvider | Failed


def find() -> Agent:
    """The agent that this workspace's environment names. Raises ForgeError."""
    address = os.environ.get("CODER_AGENT_URL", "").strip()
    found = parse(address)
    if found is None or found.query:
        raise ForgeError(f"CODER_AGENT_URL is no http(s) address: {say.address(address)}")
    if found.origin.scheme == "http" and not found.origin.loopback:
        raise ForgeError("CODER_AGENT_URL is no https address, and the agent token could be read on the way")
    token, source = os.environ.get("CODER_AGENT_TOKEN", "").strip(), "CODER_AGENT_TOKEN"
    if not token:
        path = os.environ.get("CODER_AGENT_TOKEN_FILE", "")
        token, source = _read(path), f"CODER_AGENT_TOKEN_FILE, {say.clean(path)}"
    if not _is_text(token, TOKEN):
        raise ForgeError(f"what is in {source} is no agent token")
    return Agent(found._replace(path=found.path.rstrip("/")), Secret(token), source)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(TOKEN + 2).strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no path"
        raise ForgeError(f"CODER_AGENT_TOKEN_FILE, {say.clean(path)}, cannot be read: {why}") from None


def ask(agent: Agent, match: str, *, listen: bool = False) -> Verdict:
    """What Coder has for an address. With `listen` it answers once there is a token, and not before."""
    url, deadline = agent.url(match), HOLD if listen else http.DEADLINE
    try:
        answer = http.get(f"{url}&listen=true" if listen else url, session=agent.token, deadline=deadline)
    except UnreachableError as error:
        return Failed(error.message)
    return judge(agent, answer)


def judge(agent: Agent, answer: Response) -> Verdict:
    """An answer, taken apart."""
    said = api.words(answer, agent.token)
    if answer.status == 401:  # noqa: PLR2004
        return Failed(f"{agent.name} refuses the agent token of {agent.source}{f': {said}' if said else ''}", True)
    if answer.status == 404 and said:  # noqa: PLR2004
        return NoProvider(said)
    stranger = api.stranger(answer)
    if stranger:
        return Failed(f"{agent.name} is no Coder now: {stranger}")
    if answer.status != 200:  # noqa: PLR2004
        return Failed(f"{agent.name} said: {said}" if said else f"{agent.name} answered with HTTP {answer.status}")
    return _found(agent, api.fields(answer) or {}) or Failed(f"the answer of {agent.name} cannot be used")


def _found(agent: Agent, fields: dict[str, object]) -> Linked | Unlinked | None:
    token, page, username, password = (fields.get(key) for key in ("access_token", "url", "username", "password"))
    if token:
        # Where the forge takes any name, Coder has the token as the name, and no password (forges.md, 4.2).
        if not _is_text(token, TOKEN) or (password and password != token):
            return None
        if not password:
            return Linked(Secret(str(token)), "")
        return Linked(Secret(str(token)), str(username)) if _is_text(username, _NAME) else None
    address = parse(page) if isinstance(page, str) else None
    return Unlinked(str(page), address.origin == agent.deployment.origin) if address else None


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and bool(_VISIBLE.fullmatch(value))
