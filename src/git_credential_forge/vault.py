"""What is held, in the memory of git's own cache daemon, and for how long.

Answers are exactly what git is given. Sessions are all that is needed to go on when an answer has ended: one
line of JSON in the password of an entry under a host that nobody can own (`origin.HIDDEN`).
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import NamedTuple

from git_credential_forge import daemon, index, say
from git_credential_forge.daemon import Place
from git_credential_forge.errors import BadRequestError, VaultError
from git_credential_forge.index import Row
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import Answer, Request, encode, parse
from git_credential_forge.secret import Secret

TIMEOUT = 7200  # seconds, unless --timeout says otherwise: what git's documentation suggests for its cache
MARGIN = 60  # seconds: a token about to expire would end within a long push
_MOST_ERASED = 64  # entries; a bound, should the cache not do as it is told
FOR_EVER = 315_360_000  # seconds: ten years, for tokens that the forge gives no end; every git accepts the sum


class Session(NamedTuple):
    """One sign-in of one account at one forge. Times are seconds since 1970."""

    account: str
    access_token: Secret
    expiry: int  # at least 1 more than that of the token before it, so that it names the token
    margin: int  # seconds
    refresh_token: Secret | None
    client_id: str
    kind: str  # of the forge, see `forges`
    base: str  # path of the forge, '' where it has the host to itself
    issuer: str
    token_url: str
    whoami_url: str | None
    scopes: str
    signed_in_at: int
    refused: bool = False  # the forge has refused the access token: it is not given to git again

    def usable(self, now: float) -> bool:
        """Whether the access token may be given to git."""
        return not self.refused and now < self.expiry - self.margin

    def answer(self) -> Answer:
        return Answer(self.account, self.access_token, self.expiry)


def margin(lifetime: float) -> int:
    """How many seconds before its end a token of this lifetime is no longer given to git."""
    return int(min(MARGIN, lifetime / 10))


class Vault:
    """Answers and sessions at one place, each kept `timeout` seconds after it was last needed."""

    def __init__(self, place: Place, timeout: int = TIMEOUT) -> None:
        self.place = place
        self.timeout = timeout

    # -- reading ------------------------------------------------------------------------------------------

    def row(self, origin: Origin, base: str, asked: str | None) -> Row | None:
        """The sign-in that a request means: the one it names, else the origin's first. Forges do not tell
        `Alice` from `alice`."""
        rows = [row for row in index.read(self.place, origin) if row.base == base]
        if asked is None:
            return rows[0] if rows else None
        exact = [row for row in rows if row.account == asked]
        return (exact or [row for row in rows if row.account.casefold() == asked.casefold()] or [None])[0]

    def answer(self, origin: Origin, base: str, asked: str | None) -> Answer | None:
        """What git was given last for this account, unless it is about to end."""
        now = time.time()
        row = self.row(origin, base, asked)
        if row is None or row.base or now >= row.answer_end:
            return None
        with contextlib.suppress(OSError):
            index.settle(self.place, origin, index.read(self.place, origin), now)
        return self._get(origin.netloc, origin.scheme, row.account)

    def session(self, origin: Origin, base: str, asked: str | None) -> Session | None:
        row = self.row(origin, base, asked)
        if row is None or time.time() >= row.session_end:
            return None
        kept = self._get(origin.hidden, "https", row.account, row.base)
        return _decode(kept.password) if kept else None

    def _get(self, host: str, protocol: str, account: str, base: str = "") -> Answer | None:
        found = parse(daemon.ask(self.place, _entry(host, protocol, account, base)))
        if found.username is None or found.password is None:
            return None
        expiry = found.password_expiry_utc or ""
        return Answer(found.username, found.password, int(expiry) if expiry.isdecimal() else None)

    # -- writing ------------------------------------------------------------------------------------------
    # Up to `save` nothing has changed. The session goes first: with it alone nothing is lost.

    def save(self, origin: Origin, session: Session) -> None:
        """Keep a session and its answer, both lifetimes starting anew. Raises VaultError."""
        now = time.time()
        with daemon.lock(self.place, _index_lock(origin)):
            answer_life = int(min(self.timeout, session.expiry - session.margin - now)) if session.usable(now) else 0
            session_life = max(answer_life, 0) + self.timeout
            entry = _entry(origin.hidden, "https", session.account, session.base)
            daemon.store(self.place, entry + encode([("password", _encode(session))]), session_life)
            if answer_life > 0 and not session.base:
                self._store_answer(origin, session.answer(), answer_life)
            row = Row(int(now) + max(answer_life, 0), int(now) + session_life, session.base, session.account)
            self._write_row(origin, row, now)

    def refuse(self, origin: Origin, session: Session) -> None:
        """The forge has refused this access token: drop the answer, keep the session to refresh with."""
        self._drop_answer(origin, session.account)
        self.save(origin, session._replace(refused=True))

    def forget(self, origin: Origin, account: str | None = None) -> None:
        """Drop answers and sessions of one account of an origin, or of all."""
        with daemon.lock(self.place, _index_lock(origin)):
            rows = index.read(self.place, origin)
            for row in rows:
                if account in (None, row.account):
                    daemon.erase(self.place, _entry(origin.hidden, "https", row.account, row.base))
                    self._drop_answer(origin, row.account)
            kept = [row for row in rows if account not in (None, row.account)]
            self._write_index(origin, kept, time.time())

    def _store_answer(self, origin: Origin, answer: Answer, lifetime: int) -> None:
        entry = _entry(origin.netloc, origin.scheme, answer.username)
        secret: list[tuple[str, str | Secret | None]] = [
            ("password", answer.password),
            ("password_expiry_utc", str(answer.expiry)),
        ]
        daemon.store(self.place, entry + encode(secret), lifetime)

    def _drop_answer(self, origin: Origin, account: str) -> None:
        daemon.erase(self.place, _entry(origin.netloc, origin.scheme, account))

    def _write_row(self, origin: Origin, row: Row, now: float) -> None:
        rows = [old for old in index.read(self.place, origin) if old.session_end > now]
        for place, old in enumerate(rows):
            if (old.base, old.account) == (row.base, row.account):
                rows[place] = row
                break
        else:
            rows.append(row)
        self._write_index(origin, rows, now)

    def _write_index(self, origin: Origin, rows: list[Row], now: float) -> None:
        try:
            index.write(self.place, origin, rows, now)
        except OSError as error:
            raise VaultError(f"nothing is kept in memory: {self.place.directory}: {error.strerror}") from None

    # -- what is not ours: passed through, rebuilt from its fields ----------------------------------------

    def pass_get(self, request: Request) -> bytes:
        """What the cache has for somebody else's request, as it comes, with the blank line that ends it."""
        found = daemon.ask(self.place, _foreign(request, ("authtype",)))
        return found + b"\n" if found else b""

    def pass_store(self, request: Request) -> None:
        secrets: list[tuple[str, str | Secret | None]] = [
            ("password", request.password),
            ("authtype", request.authtype),
            ("credential", request.credential),
            ("ephemeral", request.ephemeral),
            ("password_expiry_utc", request.password_expiry_utc),
            ("oauth_refresh_token", request.oauth_refresh_token),
        ]
        daemon.store(self.place, _foreign(request, ("authtype", "state")) + encode(secrets), self.timeout)

    def pass_erase(self, request: Request) -> None:
        """Compared and named by us: the cache of git before 2.42 looks at no password, and without a username
        takes another account's entry."""
        pattern = _foreign(request, ())
        for _ in range(_MOST_ERASED):  # that git also takes only the first entry that fits
            held = parse(daemon.ask(self.place, pattern))
            if held.username is None or not (request.password is None or held.password == request.password):
                return
            named = request._replace(username=held.username)
            daemon.erase(self.place, _foreign(named, ()) + encode([("password", held.password)]))


def _entry(host: str, protocol: str, account: str, base: str = "") -> bytes:
    fields: list[tuple[str, str | Secret | None]] = [("protocol", protocol), ("host", host)]
    return encode([*fields, ("path", base.strip("/") or None), ("username", account)])


def _foreign(request: Request, capabilities: tuple[str, ...]) -> bytes:
    announced = [("capability[]", name) for name in request.capability if name in capabilities]
    where = [("protocol", request.protocol), ("host", request.host), ("path", request.path)]
    return encode([*announced, *where, ("username", request.username)])


def _index_lock(origin: Origin) -> str:
    return f"lock-names-{origin.scheme}-{origin.netloc}"


def _encode(session: Session) -> Secret:
    fields = session._asdict()
    fields["access_token"] = session.access_token.reveal()
    fields["refresh_token"] = session.refresh_token and session.refresh_token.reveal()
    return Secret(json.dumps({"version": 1, **fields}, separators=(",", ":")))


def _decode(text: Secret) -> Session | None:
    """A session, or None for one that another version of this program wrote."""
    try:
        fields = json.loads(text.reveal())
        if fields.pop("version") != 1:
            return None
        fields["access_token"] = Secret(fields["access_token"])
        fields["refresh_token"] = Secret(fields["refresh_token"]) if fields["refresh_token"] else None
        return Session(**fields)
    except (ValueError, TypeError, KeyError, AttributeError, BadRequestError):
        say.trace("vault: a session that this version does not read")
        return None
