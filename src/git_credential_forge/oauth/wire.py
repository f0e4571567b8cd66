"""OAuth messages as values: built and taken apart, strictly. No I/O."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from git_credential_forge.origin import parse
from git_credential_forge.recognise import Forge
from git_credential_forge.secret import Secret

TOKEN = 65_536  # characters; the longest seen are RS256 JWTs of a few thousand
LONGEST_LIFE = 315_360_000  # seconds: ten years; more would not fit every git's clock

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
DEVICE_INTERVAL = 5  # seconds, where the server says none (RFC 8628, section 3.2); also what `slow_down` adds
_DEVICE_LIFE = 300  # seconds, where it does not say that either

_USER_CODE = re.compile(r"[\x21-\x7e]{1,64}")
_VISIBLE = re.compile(r"[\x21-\x7e]+")  # VSCHAR of RFC 6749, appendix A, without the space
_CALLBACK_KEYS = ("code", "state", "error", "error_description", "iss")
# A dead grant, by body and not by status (reference forges.md, 11.3). Gitea and Forgejo call a used, an expired
# and a malformed refresh token `unauthorized_client`; GitHub says `bad_refresh_token`.
_DEAD_GRANT = frozenset({"invalid_grant", "unauthorized_client", "bad_refresh_token"})
_DEAD_CLIENT = frozenset({"invalid_client", "incorrect_client_credentials"})


class Token(NamedTuple):
    """A token response (RFC 6749, section 5.1). `lifetime` in seconds, None if the server did not say."""

    access_token: Secret
    refresh_token: Secret | None
    lifetime: int | None
    granted: str | None = None  # its scope, None where the server did not say
    id_token: Secret | None = None  # OpenID Connect's

    def lacks(self, scopes: str) -> str:
        """Which of these scopes were not granted; where the server says nothing, it granted all (section 5.1). Who may
        write may read: Bitbucket does not name `repository` beside `repository:write`."""
        granted = set((scopes if self.granted is None else self.granted).replace(",", " ").split())
        implied = {scope.removesuffix(":write") for scope in granted}
        return " ".join(sorted(set(scopes.split()) - granted - implied))


class DeviceCode(NamedTuple):
    """A device authorization response (RFC 8628, section 3.2). Times in seconds."""

    device_code: Secret
    user_code: str
    page: str  # where a person enters it
    whole_page: str | None  # the same with the code in it
    lifetime: int
    interval: int


class Refusal(NamedTuple):
    """An error response (RFC 6749, section 5.2), as words of the server's."""

    error: str
    description: str

    @property
    def dead_grant(self) -> bool:
        return self.error in _DEAD_GRANT

    @property
    def dead_client(self) -> bool:
        return self.error in _DEAD_CLIENT

    def __str__(self) -> str:
        return f"{self.description} ({self.error})" if self.description else self.error


class Broken(NamedTuple):
    """Neither: the reason why the answer cannot be used, without anything from the answer that may be secret."""

    reason: str


MIX_UP = Refusal("mix-up", "the answer came from another server")


class Issuer(NamedTuple):
    """What `iss` in an authorization response has to be (RFC 9207). `name`: None where nobody told; `announced`: it
    must be there."""

    name: str | None
    announced: bool


UNKNOWN_ISSUER = Issuer(None, announced=False)


class Callback(NamedTuple):
    """An authorization response with the right state. Either a code or a refusal."""

    verifier: Secret
    code: Secret | None
    refusal: Refusal | None


class Attempt(NamedTuple):
    """One authorization request: the state that its response must carry, the verifier that its code needs."""

    state: Secret
    verifier: Secret

    @classmethod
    def fresh(cls) -> Attempt:
        return cls(Secret.fresh(), Secret.fresh())


def authorize_url(forge: Forge, attempt: Attempt, redirect_uri: str, account: str | None = None) -> str:
    """The authorization request (RFC 6749, section 4.1.1; RFC 7636, section 4.3: S256, never plain). `account`: whom
    the forge is to suggest, where it takes a hint."""
    digest = hashlib.sha256(attempt.verifier.reveal().encode()).digest()
    query = {
        "response_type": "code",
        "client_id": forge.client_id or "",
        "redirect_uri": redirect_uri,
        "state": attempt.state.reveal(),
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    if forge.scopes:
        query["scope"] = forge.scopes
    if account and forge.kind.hint:
        query[forge.kind.hint] = account
    query |= {**dict(forge.kind.extra), **_resource(forge)}
    joint = "&" if "?" in forge.authorize_url else "?"
    return forge.authorize_url + joint + urlencode(query, quote_via=quote)


def exchange_form(forge: Forge, callback: Callback, redirect_uri: str) -> dict[str, str]:
    code = callback.code.reveal() if callback.code else ""
    grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    return {**grant, "code_verifier": callback.verifier.reveal(), **_resource(forge)}


def refresh_form(forge: Forge, refresh_token: Secret) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal(), **_resource(forge)}


def probe_form(redirect_uri: str) -> dict[str, str]:
    """A code grant that cannot succeed: its error tells whether the client exists (reference forges.md, 1.6)."""
    return {"grant_type": "authorization_code", "code": "probe", "redirect_uri": redirect_uri}


def _resource(forge: Forge) -> dict[str, str]:
    """RFC 8707: where it is asked for, it is repeated at each token."""
    return {"resource": forge.resource} if forge.resource else {}


def parse_callback(query: str, attempts: list[Attempt], issuer: Issuer, *, by_path: bool = False) -> Callback | None:
    """An authorization response, or None for anything that has not exactly one state, and a right one.

    Until the state has been found right, nothing else in the query is looked at (RFC 9700, section 2.1). But where the
    path cannot be guessed, or was pasted by a person, a bare `access_denied` counts without one: so the Coder of 2025
    sends it.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=32, errors="strict")
    except ValueError:
        return None
    keys = [key for key, _ in pairs if key in _CALLBACK_KEYS]
    found = dict(pairs)
    if len(keys) != len(set(keys)):  # RFC 6749, section 3.1: no parameter twice
        return None
    if by_path and [(key, found[key]) for key in keys] == [("error", "access_denied")]:
        return Callback(attempts[0].verifier, None, Refusal("access_denied", ""))
    if "state" not in found:
        return None
    answered = Secret(found["state"])
    # Every attempt is compared, so that the time tells nothing about which one fits.
    fitting = [attempt for attempt in attempts if attempt.state == answered]
    if not fitting or ("code" in found) == ("error" in found):
        return None
    if not _fits(issuer, found.get("iss")):
        return Callback(fitting[0].verifier, None, MIX_UP)
    if "error" in found:
        refusal = Refusal(found["error"], found.get("error_description", ""))
        return Callback(fitting[0].verifier, None, refusal)
    if not _VISIBLE.fullmatch(found["code"]):
        return None
    return Callback(fitting[0].verifier, Secret(found["code"]), None)


def _fits(issuer: Issuer, said: str | None) -> bool:
    if said is None:
        return not issuer.announced
    return issuer.name is None or said.rstrip("/") == issuer.name.rstrip("/")


def parse_token(status: int, content_type: str, body: bytes, location: str = "") -> Token | Refusal | Broken:
    """What a token endpoint answered. `error` counts whatever the status: GitHub sends errors with 200."""
    if 300 <= status < 400:  # noqa: PLR2004 # never followed: code and token would go along
        elsewhere = parse(location)
        return Broken(f"it redirects to {elsewhere.origin.netloc if elsewhere else 'another place'}")
    fields = _fields(content_type, body)
    if fields is None:
        what = "a web page" if "html" in content_type.lower() else "no OAuth answer"
        return Broken(f"it answered with {what} (HTTP {status})")
    error, description = fields.get("error"), fields.get("error_description")
    if isinstance(error, str) and error:
        return Refusal(error, description if isinstance(description, str) else "")
    if status != 200:  # noqa: PLR2004
        return Broken(f"it answered with HTTP {status} and no OAuth error")
    return _token(fields)


def _token(fields: dict[str, object]) -> Token | Broken:
    access, refresh, kind = (fields.get(key) for key in ("access_token", "refresh_token", "token_type"))
    if not _is_token(access):
        return Broken("its access_token is missing or malformed")
    if not isinstance(kind, str) or kind.lower() != "bearer":  # RFC 6749, section 7.1
        return Broken("its token_type is not bearer")
    if refresh is not None and refresh != "" and not _is_token(refresh):
        return Broken("its refresh_token is malformed")
    lifetime = _seconds(fields.get("expires_in"))
    if lifetime is not None and lifetime <= 0:
        return Broken("its expires_in is no lifetime")
    scope = fields.get("scope", fields.get("scopes"))
    granted = scope if isinstance(scope, str) and scope else None  # a GitHub App's are none of OAuth's: it says ""
    identity = Secret(str(fields["id_token"])) if _is_token(fields.get("id_token")) else None
    return Token(Secret(str(access)), Secret(str(refresh)) if refresh else None, lifetime, granted, identity)


def device_form(forge: Forge) -> dict[str, str]:
    return {**({"scope": forge.scopes} if forge.scopes else {}), **_resource(forge)}


def device_token_form(forge: Forge, code: DeviceCode) -> dict[str, str]:
    return {"grant_type": DEVICE_GRANT, "device_code": code.device_code.reveal(), **_resource(forge)}


def parse_device(status: int, content_type: str, body: bytes) -> DeviceCode | Refusal | Broken:
    """What a device authorization endpoint answered. What is shown to a person is made of visible characters, and the
    addresses are such as a browser opens."""
    fields = _fields(content_type, body)
    error = fields.get("error") if fields else None
    if fields and isinstance(error, str) and error:
        description = fields.get("error_description")
        return Refusal(error, description if isinstance(description, str) else "")
    if fields is None or status != 200:  # noqa: PLR2004
        return Broken(f"it answered with {'a web page' if 'html' in content_type.lower() else f'HTTP {status}'}")
    device, user = fields.get("device_code"), fields.get("user_code")
    page, whole = fields.get("verification_uri"), fields.get("verification_uri_complete")
    if not _is_token(device) or not (isinstance(user, str) and _USER_CODE.fullmatch(user)):
        return Broken("its device code is missing or malformed")
    if not (isinstance(page, str) and parse(page)):
        return Broken("its verification_uri is no address")
    lifetime, interval = _seconds(fields.get("expires_in")), _seconds(fields.get("interval"))
    return DeviceCode(
        Secret(str(device)),
        user,
        page,
        whole if isinstance(whole, str) and parse(whole) else None,
        max(lifetime or _DEVICE_LIFE, 1),
        min(max(interval or DEVICE_INTERVAL, 1), _DEVICE_LIFE),
    )


def _is_token(value: object) -> bool:
    return isinstance(value, str) and len(value) <= TOKEN and bool(_VISIBLE.fullmatch(value))


def _seconds(value: object) -> int | None:
    """`expires_in`, a number or (some servers) its text; None where it is absent, 0 where it is nonsense."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0
    try:
        return int(min(float(value), LONGEST_LIFE))
    except (ValueError, OverflowError):
        return 0


def _fields(content_type: str, body: bytes) -> dict[str, object] | None:
    """A JSON object, or the form that GitHub sends; None for anything else."""
    try:
        text = body.decode("utf-8")
        if "x-www-form-urlencoded" in content_type.lower():
            return dict(parse_qsl(text, strict_parsing=True, max_num_fields=64))
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
