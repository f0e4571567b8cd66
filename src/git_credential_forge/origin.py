"""Where something is: scheme, host, port. The one answer to "is this the same place?"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ipaddress import IPv6Address

_PORTS = {"https": 443, "http": 80}
_NAME = re.compile(r"[A-Za-z0-9.-]{1,253}")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::([0-9]{1,5}))?")
_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?", re.IGNORECASE)
# RFC 3986: what may stand in a URL. Spaces, quotes, backslashes and everything beyond ASCII may not.
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,16384}")

# Sessions live under hosts with this ending: nobody can ever own one (RFC 6761). It is asked for by nobody else.
HIDDEN = "git-credential-forge.invalid"


class Origin(NamedTuple):
    """A host that people sign in to. Host in lower case, an IPv6 address in its brackets."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """As git writes it for the credential protocol: the port only where it is not the scheme's own."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def loopback(self) -> bool:
        return self.host in ("localhost", "[::1]") or bool(re.fullmatch(r"127(\.[0-9]{1,3}){3}", self.host))

    @property
    def hidden(self) -> str:
        """The host under which this origin's sessions are kept. No colon: keychain helpers cut there. A host that
        itself ends like a port or in `.http` has its port said, so that no two origins share a name."""
        host = _ipv6(self.host[1:-1]).exploded.replace(":", "-") if self.host[0] == "[" else self.host
        last = host.rpartition(".")[2]
        plain = self.port == _PORTS[self.scheme] and not last.isdecimal() and last != "http"
        port = "" if plain else f".{self.port}"
        return f"{host}{port}{'.http' if self.scheme == 'http' else ''}.{HIDDEN}"


class Url(NamedTuple):
    """An address taken apart. `path` begins with a slash or is empty; `query` has no question mark."""

    origin: Origin
    path: str
    query: str


def of_request(protocol: str | None, host: str | None) -> Origin | None:
    """The origin that a request of git's names, or None where nobody can sign in: other protocol, odd host."""
    if protocol not in _PORTS or not host:
        return None
    return _origin(protocol, host)


def parse(url: str) -> Url | None:
    """An http(s) URL without userinfo and fragment, made of RFC 3986's characters alone; else None."""
    match = _URL.fullmatch(url)
    if not match or not _URL_CHARACTERS.fullmatch(url):
        return None
    origin = _origin(match[1].lower(), match[2])
    return Url(origin, match[3], (match[4] or "")[1:]) if origin else None


def is_hidden(host: str | None) -> bool:
    """Whether a request names a host of ours that is not to be asked for, however it is spelt."""
    if not host:
        return False
    name = host.rpartition("@")[2].partition(":")[0].lower().rstrip(".")
    return name == HIDDEN or name.endswith("." + HIDDEN)


def _origin(scheme: str, netloc: str) -> Origin | None:
    match = _HOST.fullmatch(netloc)
    if not match:
        return None
    host, port = match[1].lower(), int(match[2] or _PORTS[scheme])
    if not 0 < port < 65536:  # noqa: PLR2004
        return None
    if host[0] == "[":
        try:
            address = _ipv6(host[1:-1])
        except ValueError:
            return None
        mapped = address.ipv4_mapped  # which Python writes with dots from 3.13 on
        host = "[::ffff:{:x}:{:x}]".format(*divmod(int(mapped), 1 << 16)) if mapped else f"[{address.compressed}]"
    return Origin(scheme, host, port)


def _ipv6(text: str) -> IPv6Address:
    """Raises ValueError."""
    import ipaddress  # dear, and hardly ever needed

    return ipaddress.IPv6Address(text)
