"""What people set in their git configuration, from one table of keys. Read once, on a miss only."""

from __future__ import annotations

import os
from typing import NamedTuple

from git_credential_forge import git, say
from git_credential_forge.secret import Secret

# Field of Settings -> keys below `credential` that set it, ours and those of git-credential-oauth first, then
# Git Credential Manager's spelling. The manual page is checked against this table.
KEYS: dict[str, tuple[str, ...]] = {
    "client_id": ("oauthClientId",),
    "client_secret": ("oauthClientSecret",),
    "scopes": ("oauthScopes",),
    "authorize_url": ("oauthAuthURL", "oauthAuthorizeEndpoint"),
    "token_url": ("oauthTokenURL", "oauthTokenEndpoint"),
    "device_url": ("oauthDeviceAuthURL", "oauthDeviceEndpoint"),
    "secret_in_header": ("oauthUseClientAuthHeader",),
    "redirect_url": ("oauthRedirectURL", "oauthRedirectUri"),
    "default_username": ("oauthDefaultUserName",),
    "flow": ("forgeFlow",),
    "coder": ("forgeCoder",),
    "bearer": ("forgeBearer",),
    "allow_http": ("forgeAllowHttp", "allowUnsafeRemotes"),
    "sign_in_timeout": ("forgeSignInTimeout",),
    "quiet_period": ("forgeQuietPeriod",),
    "interactive": ("interactive",),
    "store": ("forgeStore",),
    "store_insecure": ("forgeStoreInsecure",),
}
CHOICES = {"flow": ("auto", "browser", "device", "paste", "never"), "coder": ("auto", "never")}
_OF_CLIENT = ("client_secret", "scopes", "redirect_url")  # what belongs to one application
_FALSE = frozenset({"false", "no", "off", "0", ""})


class Settings(NamedTuple):
    """What holds for one address. None where nothing is set; addresses may be relative to the forge."""

    client_id: str | None = None
    client_secret: Secret | None = None
    scopes: str | None = None
    authorize_url: str | None = None
    token_url: str | None = None
    device_url: str | None = None
    secret_in_header: bool = False
    redirect_url: str | None = None
    default_username: str | None = None
    flow: str = "auto"
    coder: str = "auto"
    bearer: bool = False
    allow_http: bool = False
    sign_in_timeout: int = 300  # seconds
    quiet_period: int = 60  # seconds
    interactive: bool = True
    store: str | None = None
    store_insecure: bool = False


class HttpSettings(NamedTuple):
    """How git would connect to an address (git-config(1), `http.*`, and curl's environment)."""

    proxy: str | None = None
    ca_file: str | None = None
    ca_path: str | None = None
    verify: bool = True


def directory() -> str:
    """Where the machine-local file of `configure` is; a relative $XDG_CONFIG_HOME is void, by the XDG rules."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.config")
    return os.path.join(base, "git-credential-forge")


def read(url: str) -> Settings:
    """The settings for an address. The machine-local file counts even where nothing includes it, behind all that the
    person's own configuration says."""
    kept = _fields(git.urlmatch("credential", url, os.path.join(directory(), "gitconfig")))
    said = _fields(git.urlmatch("credential", url))
    if "client_id" in kept and said.get("client_id", kept["client_id"]) != kept["client_id"]:
        for field in _OF_CLIENT:  # another client of the person's own: what was kept for ours is not for that one
            if said.get(field) == kept.pop(field, None):
                said.pop(field, None)
    values = {field: _convert(field, value) for field, value in (kept | said).items()}
    return Settings(**{k: v for k, v in values.items() if v is not None})  # type: ignore[arg-type]


def _fields(found: dict[str, str]) -> dict[str, str]:
    """Field of Settings -> what is set for it, in the spelling that counts first."""
    values = ((field, [found[key.lower()] for key in keys if key.lower() in found]) for field, keys in KEYS.items())
    return {field: said[0] for field, said in values if said}


def _convert(field: str, value: str) -> object:
    if field in ("bearer", "allow_http", "secret_in_header", "store_insecure"):
        return value.lower() not in _FALSE
    if field == "interactive":
        return value.lower() not in (*_FALSE, "never")
    if field in ("sign_in_timeout", "quiet_period"):
        if value.isascii() and value.isdecimal() and len(value) < 6:  # noqa: PLR2004 # more than a day is a slip
            return int(value)
        say.line(f"credential.{KEYS[field][0]} is no number of seconds, so it is not used: {say.clean(value)}")
        return None
    if field == "default_username" and not value.isprintable():  # it becomes a line of a file, and of the protocol
        say.line(f"credential.{KEYS[field][0]} has a control character in it, so it is not used: {say.clean(value)}")
        return None
    if field in CHOICES:
        if value.lower() in CHOICES[field]:
            return value.lower()
        say.line(f"credential.{KEYS[field][0]} knows {', '.join(CHOICES[field])}; not used: {say.clean(value)}")
        return None
    return Secret(value) if field == "client_secret" else value


def read_http(url: str) -> HttpSettings:
    """How to connect to an address: its `http.*` settings, then what the environment says, as git has it."""
    found = git.urlmatch("http", url)
    environment = os.environ
    no_verify = environment.get("GIT_SSL_NO_VERIFY")
    return HttpSettings(
        proxy=_proxy(url, found.get("proxy")),
        ca_file=environment.get("GIT_SSL_CAINFO") or _path(found.get("sslcainfo")),
        ca_path=environment.get("GIT_SSL_CAPATH") or _path(found.get("sslcapath")),
        verify=no_verify is None and found.get("sslverify", "true").lower() not in _FALSE,
    )


def _proxy(url: str, configured: str | None) -> str | None:
    """`http.proxy` (empty: none), else the environment's; neither for a host that no_proxy names."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0].lower()
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    names = ("https_proxy", "HTTPS_PROXY") if scheme == "https" else ("http_proxy",)  # HTTP_PROXY: CVE-2016-5385
    environment = next((os.environ[key] for key in (*names, "all_proxy", "ALL_PROXY") if os.environ.get(key)), None)
    proxy = configured if configured is not None else environment
    excluded = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if not proxy or _excluded(name.strip("[]"), excluded):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _excluded(host: str, patterns: str) -> bool:
    """curl's rule: a name covers itself and what ends in it behind a dot; a lone star covers all."""
    for pattern in patterns.replace(",", " ").lower().split():
        bare = pattern.lstrip(".").strip("[]")
        if pattern == "*" or host == bare or host.endswith("." + bare):
            return True
    return False


def _path(value: str | None) -> str | None:
    return os.path.expanduser(value) if value else None
