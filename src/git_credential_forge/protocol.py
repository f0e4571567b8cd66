"""git-credential(1) as bytes: what git sends, what it is answered. No I/O.

Read and written: `key=value` lines, each ended by LF and nothing else, up to a blank line or the end. That
the text once left the line end open was CVE-2024-52006; that a helper took CR for one, CVE-2024-50338.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from git_credential_forge.errors import BadRequestError
from git_credential_forge.secret import Secret

LINE = 65_535  # bytes: git-credential(1), "INPUT/OUTPUT FORMAT"
LONG_LINE = 1 << 20  # bytes, where a token stands: long ones are normal (CVE-2025-48386 was a short buffer)
STATE = "forge:"  # our prefix in state[]; behind it the password_expiry_utc of the answer, which names the token

_SECRET = frozenset({"password", "credential", "oauth_refresh_token"})
_SINGLE = frozenset({*_SECRET, "protocol", "host", "path", "username", "password_expiry_utc", "authtype", "ephemeral"})
_MANY = ("capability", "wwwauth", "state")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_NEGOTIATE = re.compile(r"\s*negotiate\b", re.IGNORECASE)
_FIXED_NAMES = frozenset({"oauth2", "x-token-auth", "git"})  # ask for nobody: forges take any name beside a token


class Request(NamedTuple):
    """What git asks. A key that was not said is None; one that was said empty is ''."""

    protocol: str | None = None
    host: str | None = None
    path: str | None = None
    username: str | None = None
    password: Secret | None = None
    password_expiry_utc: str | None = None
    oauth_refresh_token: Secret | None = None
    authtype: str | None = None
    credential: Secret | None = None
    ephemeral: str | None = None
    capability: tuple[str, ...] = ()
    wwwauth: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    for_lfs: bool = False  # git does not say it: git-lfs asks through it

    @property
    def asked(self) -> str | None:
        """The account that is asked for; None if anybody will do."""
        return None if is_fixed_name(self.username) else self.username

    @property
    def state_of_ours(self) -> str | None:
        return next((value for value in self.state if value.startswith(STATE)), None)

    @property
    def refused(self) -> int | None:
        """On a `get` that git makes after a 401 (from 2.46 on): the expiry that names the token which was refused."""
        figure = (self.state_of_ours or "").removeprefix(STATE)
        return int(figure) if figure.isdecimal() and len(figure) < 16 else None  # noqa: PLR2004 # a time, not a bomb

    @property
    def token(self) -> Secret | None:
        """What git was given, however it has sent it."""
        return self.password or self.credential

    @property
    def repairable(self) -> bool:
        """Whether git asks again after a 401, if it is told to. Where the server offers Negotiate too, that takes the
        one extra round, and nobody calls `erase`."""
        negotiates = any(_NEGOTIATE.match(value) for value in self.wwwauth)
        return "state" in self.capability and not (negotiates or self.for_lfs)


class Answer(NamedTuple):
    """What git is given, and what the cache keeps. `expiry`: seconds since 1970, None where nobody knows it.
    `announced`: the capabilities that the cache says with it, from git 2.46 on."""

    username: str
    password: Secret
    expiry: int | None
    announced: tuple[str, ...] = ()
    bearer: bool = False  # to be sent by Bearer, where git can (from 2.46 on)


def is_fixed_name(name: str | None) -> bool:
    return not name or name in _FIXED_NAMES


def alike(one: str, other: str) -> bool:
    """Whether forges take two names for the same account's: `Alice` and `alice`. Nothing but the case of ASCII
    letters is overlooked: `straße` and `strasse` are two people."""
    return one.encode("utf-8", "surrogateescape").lower() == other.encode("utf-8", "surrogateescape").lower()


def parse(data: bytes) -> Request:
    """A request of git's. Raises BadRequestError; a key that we do not know is passed over."""
    single: dict[str, str] = {}
    many: dict[str, list[str]] = {key: [] for key in _MANY}
    for line in data.split(b"\n"):
        if not line:
            break
        key, value = _pair(line)
        if key.endswith("[]") and key[:-2] in many:
            if value:
                many[key[:-2]].append(value)
            else:  # starts the list anew
                many[key[:-2]].clear()
        elif key in _SINGLE and single.setdefault(key, value) != value:
            raise BadRequestError(f"refused a request that says {key} twice")
    fields: dict[str, str | Secret] = {k: Secret(v) if k in _SECRET else v for k, v in single.items()}
    return Request(**fields, **{key: tuple(values) for key, values in many.items()})  # type: ignore[arg-type]


def _pair(line: bytes) -> tuple[str, str]:
    if b"\0" in line or b"\r" in line:
        raise BadRequestError("refused a request with a NUL or a carriage return in it")
    key, equals, value = line.partition(b"=")
    if not equals:
        raise BadRequestError("refused a request with a line that has no '='")
    name = key.decode("utf-8", "surrogateescape")
    if name in ("wwwauth[]", "state[]") and len(line) > LINE:
        return "", ""  # a server's words, or another helper's: no reason to refuse git
    if len(line) > (LONG_LINE if name in _SECRET else LINE):
        raise BadRequestError("refused a request with a line that is too long")
    return name, value.decode("utf-8", "surrogateescape")


def has_control(request: Request) -> bool:
    """Whether a key that chooses where and as whom to sign in has a control byte in it."""
    return any(_CONTROL.search(text or "") for text in (request.host, request.path, request.username))


def encode(pairs: list[tuple[str, str | Secret | None]]) -> bytes:
    """Lines of the protocol without the blank one at the end. A value that would break a line raises
    BadRequestError (CVE-2020-5260), and nothing is written."""
    out = bytearray()
    for key, value in pairs:
        if value is None:
            continue
        text = value.reveal() if isinstance(value, Secret) else value
        data = text.encode("utf-8", "surrogateescape")
        if b"\0" in data or b"\r" in data or b"\n" in data:
            raise BadRequestError(f"refused to write a {key} that has a line end in it")
        out += key.encode() + b"=" + data + b"\n"
    return bytes(out)


def encode_answer(answer: Answer, request: Request, *, minted: bool) -> bytes:
    """The answer for git, in the order in which git's cache gives it, so that it is the launcher's to the byte.

    `minted`: the token is fresh, or an answer to a refusal; then git is not told to come again, so that it calls
    `erase` if this one is bad too.
    """
    expiry = None if answer.expiry is None else str(answer.expiry)
    pairs: list[tuple[str, str | Secret | None]] = [
        *(("capability[]", name) for name in answer.announced),
        ("username", answer.username),
        ("password", answer.password),
        ("password_expiry_utc", expiry),
    ]
    if answer.bearer and "authtype" in request.capability:
        pairs = [("capability[]", "authtype"), ("authtype", "Bearer"), ("credential", answer.password)]
        pairs.append(("password_expiry_utc", expiry))
    if expiry and "state" in request.capability:
        pairs += [("capability[]", "state"), ("state[]", STATE + expiry)]
        if request.repairable and not minted:
            pairs.append(("continue", "1"))
    return encode(pairs) + b"\n"


QUIT = b"quit=1\n\n"  # git asks no other helper and prompts for nothing
CAPABILITIES = b"version 0\ncapability authtype\ncapability state\n"
