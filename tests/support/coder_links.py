"""Coder's external auth: for people, and for the agents of workspaces. See `tests.support.coder`."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.coder_clients import MISSING
from tests.support.coder_people import UUID, Entry, moment, problem, say
from tests.support.coder_tokens import Tokens
from tests.support.httpserver import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 60  # seconds that a request may listen in a test that has gone wrong
NAMES = {"gitlab": "GitLab", "github": "GitHub", "azure-devops": "Azure DevOps"}
WITH_A_NAME = {"gitlab": "oauth2", "bitbucket-cloud": "x-token-auth", "bitbucket-server": "x-token-auth"}


@dataclass
class Provider:
    id: str
    type: str
    match: str
    device: bool
    supports_revocation: bool
    app_installable: bool
    app_install_url: str
    installations: list[dict[str, Any]]

    @property
    def name(self) -> str:
        return NAMES.get(self.type, self.type.capitalize())


@dataclass
class Link:
    token: str
    expires: float | None
    refreshable: bool
    made: float
    refused: bool = False  # by the forge, which Coder finds out whenever it is asked

    @property
    def good(self) -> bool:
        return not self.refused and (self.refreshable or self.expires is None or self.expires > time.time())


class ExternalAuth(Tokens):
    """Links belong to everybody here; there is one workspace."""

    def __init__(self) -> None:
        super().__init__()
        self.agent_token = self.note("agent_token", "11111111-2222-3333-4444-555555555555")
        self.device: list[str] = []
        self.device_token = self.note("device_token", "token-by-device-flow")
        self.interval = 1
        self.revocation = (True, "")
        self.cut_after: float | None = None
        self._providers: dict[str, Provider] = {}
        self._links: dict[str, Link] = {}
        self._devices: dict[str, str] = {}  # device code: the provider
        self._changed = threading.Condition()
        self._ended = False

    # What a test may do.

    def add(
        self,
        id: str,  # noqa: A002 # as Coder calls it
        *,
        type: str = "gitea",  # noqa: A002
        match: str,
        device: bool = False,
        supports_revocation: bool = False,
        app_installable: bool = False,
        app_install_url: str = "",
        installations: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Of several that match, the last counts."""
        self._providers[id] = Provider(
            id, type, match, device, supports_revocation, app_installable, app_install_url, list(installations)
        )

    def link(self, id: str, token: str, *, expires: float | None = None, refreshable: bool = True) -> None:  # noqa: A002
        """The person has linked, or has linked anew. Who listens is answered."""
        self.note("external_token", token)
        with self._changed:
            self._links[id] = Link(token, expires, refreshable, time.time())
            self._changed.notify_all()

    def unlink(self, id: str) -> None:  # noqa: A002
        self._links.pop(id, None)

    def spoil(self, id: str) -> None:  # noqa: A002
        """The forge takes this token no more."""
        self._links[id].refused = True

    def stop_listening(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    # For people.

    def external_auth(self, entry: Entry) -> Answer:
        if not self.person(entry.session):
            return self.signed_out(entry.session)
        providers = [self._listed(provider) for provider in self._providers.values()]
        return say(200, {"providers": providers, "links": [_described(*found) for found in self._links.items()]})

    def external_auth_of(self, entry: Entry, id: str) -> Answer:  # noqa: A002
        if not self.person(entry.session):
            return self.signed_out(entry.session)
        provider = self._providers.get(id)
        if provider is None:
            return problem(404, MISSING)
        return self._end_link(id) if entry.method == "DELETE" else say(200, self._shown(provider))

    def _listed(self, provider: Provider) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": provider.id,
            "type": provider.type,
            "device": provider.device,
            "display_name": provider.name,
            "display_icon": f"/icon/{provider.type}.svg",
            "allow_refresh": True,
            "allow_validate": True,
        }
        if self.generation == 2026:
            found["supports_revocation"] = provider.supports_revocation
            found["code_challenge_methods_supported"] = ["S256"]
        return found

    def _shown(self, provider: Provider) -> dict[str, Any]:
        link = self._links.get(provider.id)
        linked = link is not None and link.good
        user = {"id": 1, "login": "alice", "avatar_url": "", "profile_url": "https://github.com/alice", "name": "A"}
        found = {
            "authenticated": linked,
            "device": provider.device,
            "display_name": provider.name,
            "user": user if linked and provider.type == "github" else None,
            "app_installable": provider.app_installable,
            "installations": provider.installations if linked else [],
            "app_install_url": provider.app_install_url,
        }
        return found | ({"supports_revocation": provider.supports_revocation} if self.generation == 2026 else {})

    def _end_link(self, id: str) -> Answer:  # noqa: A002
        if id not in self._links:
            if self.generation == 2026:
                return problem(404, MISSING)
            return problem(500, "Failed to delete external auth link.", "fetch object: sql: no rows in result set")
        del self._links[id]
        if self.generation == 2025:
            return say(200, "OK")
        revoked, error = self.revocation
        if not self._providers[id].supports_revocation:
            return say(200, {"token_revoked": False})
        return say(200, {"token_revoked": revoked} | ({"token_revocation_error": error} if error else {}))

    def device_flow(self, entry: Entry, id: str) -> Answer:  # noqa: A002
        if not self.person(entry.session):
            return self.signed_out(entry.session)
        provider = self._providers.get(id)
        if provider is None:
            return problem(404, MISSING)
        if entry.method == "GET":
            return self._device_code(provider)
        if not provider.device:
            return problem(400, "Git auth provider does not support device flow.")
        if self._devices.get(entry.form.get("device_code", "")) != id:
            return problem(400, "Failed to exchange device code.", "incorrect_device_code")
        detail = self.device.pop(0) if self.device else "authorization_pending"
        if detail:
            return problem(400, "Failed to exchange device code.", detail)
        self.link(id, self.device_token)
        return Answer(204, [], b"")

    def _device_code(self, provider: Provider) -> Answer:
        if not provider.device:
            return problem(400, "Git auth device flow not supported.")
        number = len(self._devices)
        code = self.note("device_code", f"device-code-{number}-of-{provider.id}")
        self._devices[code] = provider.id
        found = {"device_code": code, "user_code": f"WDJB-{number:04}"}
        where = f"{self.url}/{provider.id}/login/device"
        return say(200, found | {"verification_uri": where, "expires_in": 900, "interval": self.interval})

    # For agents.

    def agent(self, entry: Entry) -> Answer:
        token = entry.session
        if not UUID.fullmatch(token):
            detail = f"An agent token must be a valid UUIDv4. (len {len(token)})"
            return problem(401, "Workspace agent token invalid.", detail)
        if token != self.agent_token:
            detail = "The agent cannot authenticate until the workspace provision job has been completed. "
            detail += "If the job is no longer running, this agent is invalid."
            return problem(401, "Workspace agent not authorized.", detail)
        match, id_ = entry.query.get("match", ""), entry.query.get("id", "")
        if not match and not id_:
            return problem(400, "'url' or 'id' must be provided!")
        if match and id_:
            return problem(400, "'url' and 'id' cannot be provided together!")
        provider = self._meant(match) if match else self._providers.get(id_)
        if provider is None:
            return self._no_provider(match) if match else problem(404, MISSING)
        if "listen" in entry.query:
            self._wait_for(provider.id)
        return say(200, self._told(provider))

    def _meant(self, match: str) -> Provider | None:
        found = [provider for provider in self._providers.values() if re.search(provider.match, match)]
        return found[-1] if found else None

    def _no_provider(self, match: str) -> Answer:
        regexes = ", ".join(f"{provider.id}={json.dumps(provider.match)}" for provider in self._providers.values())
        return problem(
            404,
            f'No matching external auth provider found in Coder for the url "{match}".',
            "The configured external auth provider have regex filters that do not match the url. "
            f"Provider url regex: {regexes}",
        )

    def _wait_for(self, id: str) -> None:  # noqa: A002
        """It never says "not yet": the request stays open until there is a link, or something on the way has
        enough of it."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._is_linked(id), self.cut_after or PATIENCE)
            if not self._is_linked(id):
                raise ConnectionAbortedError("cut")

    def _is_linked(self, id: str) -> bool:  # noqa: A002
        return id in self._links and self._links[id].good

    def _told(self, provider: Provider) -> dict[str, Any]:
        found = dict.fromkeys(("access_token", "token_extra", "url", "type", "username", "password"), "")
        told: dict[str, Any] = found | {"token_extra": None}
        link = self._links.get(provider.id)
        if link is None or not link.good:
            return told | {"url": f"{self.url}/external-auth/{provider.id}"}
        told |= {"access_token": link.token, "type": provider.type}
        if provider.type in WITH_A_NAME:
            return told | {"username": WITH_A_NAME[provider.type], "password": link.token}
        return told | {"username": link.token}


def _described(id: str, link: Link) -> dict[str, Any]:  # noqa: A002
    return {
        "provider_id": id,
        "created_at": moment(link.made),
        "updated_at": moment(link.made),
        "has_refresh_token": link.refreshable,
        "expires": "0001-01-01T00:00:00Z" if link.expires is None else moment(link.expires),
        "authenticated": link.good,
        "validate_error": "" if link.good else "token failed to validate",
    }
