"""What is held, in the memory of git's own cache daemon, and for how long; sessions in a keychain too, if one is set.

Answers are exactly what git is given. Sessions are all that is needed to go on when an answer has ended: one
line of JSON in the password of an entry under a host that nobody can own (`origin.HIDDEN`).
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from git_credential_forge import client, daemon, index, say
from git_credential_forge.client import Client
from git_credential_forge.daemon import Place
from git_credential_forge.errors import VaultError
from git_credential_forge.index import KEPT, Row
from git_credential_forge.origin import Origin
from git_credential_forge.protocol import Answer, Request, alike, encode, parse
from git_credential_forge.secret import Secret
from git_credential_forge.session import FOR_EVER, Session, decode
from git_credential_forge.session import encode as encode_session

if TYPE_CHECKING:
    from git_credential_forge.keychain import Keychain

TIMEOUT = 7200  # seconds, unless --timeout says otherwise: what git's documentation suggests for its cache
_MOST_ERASED = 64  # entries; a bound, should the cache not do as it is told


class Vault:
    """Answers and sessions at one place, each kept `timeout` seconds after it was last needed. `keychain` is set once
    the settings are known, which is on a miss."""

    def __init__(self, place: Place, timeout: int = TIMEOUT) -> None:
        self.place = place
        self.timeout = timeout
        self.keychain: Keychain | None = None

    # -- reading ------------------------------------------------------------------------------------------

    def row(self, origin: Origin, base: str, asked: str | None) -> Row | None:
        """The sign-in that a request means: the one it names, else the origin's first. Forges do not tell
        `Alice` from `alice`."""
        return next((row for row in self.rows(origin, asked) if row.base == base), None)

    def rows(self, origin: Origin, asked: str | None) -> list[Row]:
        """The sign-ins that a name can mean; all, without one."""
        rows = index.read(self.place, origin)
        if asked is None:
            return rows
        rows.sort(key=lambda row: row.account != asked)  # an exact match before a like one
        return [row for row in rows if alike(row.account, asked)]

    def answer(self, origin: Origin, base: str, asked: str | None) -> Answer | None:
        """What git was given last for this account, unless it is about to end."""
        now = time.time()
        row = self.row(origin, base, asked)
        if row is None or row.base or now >= row.answer_end:
            return None
        if index.overdue(self.place, origin, now):
            with daemon.lock(self.place, _index_lock(origin)), contextlib.suppress(OSError):
                index.settle(self.place, origin, now)
        return self._get(_answer_entry(origin, row.account))

    def session(self, origin: Origin, base: str, asked: str | None) -> Session | None:
        row = self.row(origin, base, asked)
        if row is None or time.time() >= row.session_end:
            return None
        held = self._get(_session_entry(origin, row.account, row.base))
        if held:
            return decode(held.password)
        return self.keychain.get(origin, row.account, row.base) if self.keychain and row.kept else None

    def kept_in(self, row: Row | None) -> str | None:
        """The keychain that has the session of a sign-in; None for memory alone."""
        return self.keychain.name if self.keychain and row and row.kept else None

    def lost(self, origin: Origin, row: Row) -> bool:
        """Whether the cache should have this sign-in still, and has nothing: the daemon that had it is gone."""
        kept = row.answer_end > 0 and time.time() < row.session_end
        return kept and not daemon.ask(self.place, _session_entry(origin, row.account, row.base))

    def holds(self, origin: Origin, session: Session) -> bool:
        """Whether a session that was read a while ago is the one that is held."""
        now = self.session(origin, session.base, session.account)
        if now is None:  # a keychain may have been locked meanwhile, or the daemon is gone
            row = self.row(origin, session.base, session.account)
            return row is not None and (self.kept_in(row) is not None or self.lost(origin, row))
        return (now.access_token, now.refresh_token) == (session.access_token, session.refresh_token)

    def _get(self, entry: bytes) -> Answer | None:
        found = parse(daemon.ask(self.place, entry))
        if found.username is None or found.password is None:
            return None
        expiry = found.password_expiry_utc or ""
        return Answer(found.username, found.password, int(expiry) if expiry.isdecimal() else None, found.capability)

    # -- writing ------------------------------------------------------------------------------------------
    # Up to `save` nothing has changed. A new name goes first: what no name points to is never found again. Then the
    # session: with it alone nothing is lost.

    def save(
        self, origin: Origin, session: Session, *, after: Session | None = None, unchanged: bool = False
    ) -> None:
        """Keep a session and its answer, both lifetimes starting anew; a keychain need not hear of one whose tokens are
        `unchanged`, and is not told of one that Coder lends. With `after`, only if that is the one that is held: who
        has signed out meanwhile, or in anew, stays so. Raises VaultError."""
        now = time.time()
        with daemon.lock(self.place, _index_lock(origin)):
            if after and not self.holds(origin, after):
                return
            before = self.row(origin, session.base, session.account)
            if session.refused and not session.base:
                self._drop_answer(origin, session.account)
            answer_life = int(min(self.timeout, session.expiry - session.margin - now)) if session.usable(now) else 0
            session_life = max(answer_life, 0) + self.timeout
            self._note_name(origin, Row(0, int(now) + session_life, session.base, session.account), now)
            entry = _session_entry(origin, session.account, session.base)
            daemon.store(self.place, entry + encode([("password", encode_session(session))]), session_life)
            say.trace("vault: session kept")
            if answer_life > 0 and not session.base and not session.bearer:
                self._store_answer(origin, session, answer_life)
                say.trace("vault: answer kept")
            row = Row(int(now) + max(answer_life, 0), int(now) + session_life, session.base, session.account)
            if unchanged and self.kept_in(before):
                row = row._replace(session_end=KEPT)
            self._write_row(origin, row, now)
            say.trace("vault: names written")
            if self.keychain and not row.kept and not session.lent and self.keychain.put(origin, session):
                self._write_row(origin, row._replace(session_end=KEPT), now)
                say.trace("vault: session kept in the keychain")

    def refuse(self, origin: Origin, session: Session) -> Session:
        """The forge has refused this access token: drop the answer, keep the session to refresh with. Returns it."""
        refused = session._replace(refused=True)
        self.save(origin, refused, after=session)
        return refused

    def forget(self, origin: Origin, base: str, account: str, as_of: Row | None = None, *, over: bool = False) -> bool:
        """Drop the answer and the session of one sign-in; whether nothing of it is left. One that is `over`, and that
        nobody gave up, may stay the default account by its name alone (`index.remaining`). With `as_of`, because memory
        has none: only if it was not saved anew since, nor forgotten, and nothing from a keychain."""
        with daemon.lock(self.place, _index_lock(origin)):
            before, now = index.read(self.place, origin), time.time()
            if as_of and as_of not in before:
                return False
            meant = [row for row in before if (row.base, row.account) == (base, account)]
            left = [row for row in before if row not in meant]
            if over:
                left = index.remaining([row.ended(now) if row in meant else row for row in before], now)
                if left == before:
                    return True
            daemon.erase(self.place, _session_entry(origin, account, base))
            if not base:
                self._drop_answer(origin, account)
            self._write_index(origin, left, now)
            kept = self.keychain if any(row.kept for row in meant) and not as_of else None
            return kept.erase(origin, account, base) if kept else True

    def succeed(self, origin: Origin, old: Row, account: str) -> None:
        """Put a living account in the place of a default one that has no session any more, unless that has changed
        since; a keychain keeps what it has."""
        with daemon.lock(self.place, _index_lock(origin)):
            rows = index.read(self.place, origin)
            heir = next((row for row in rows if (row.base, row.account) == (old.base, account)), None)
            if heir and old in rows:
                rows.remove(heir)
                rows[rows.index(old)] = heir
                self._write_index(origin, rows, time.time())

    # -- the client that this machine has registered at a forge: it outlives the sign-ins by it ------------

    def keep_client(self, origin: Origin, base: str, registered: Client) -> None:
        """Keep it in place of another, for as long as there is memory. Raises VaultError."""
        secret = encode([("password", client.encode(registered))])
        daemon.store(self.place, _client_entry(origin, base) + secret, FOR_EVER)

    def client(self, origin: Origin, base: str) -> Client | None:
        """The one that is kept; where memory has forgotten, that of the newest sign-in by one."""
        held = parse(daemon.ask(self.place, _client_entry(origin, base))).password
        if held:
            return client.decode(held)
        rows = [row for row in index.read(self.place, origin) if row.base == base]
        sessions = [self.session(origin, base, row.account) for row in rows]
        by_one = [session for session in sessions if session and session.client()]
        # Within a second, the row that came later.
        return max(reversed(by_one), key=lambda session: session.issued_at).client() if by_one else None

    def outlive(self, origin: Origin, session: Session | None) -> None:
        """Have the client of a session that is about to be forgotten outlive it."""
        if session and session.client() and (lasting := self.client(origin, session.base)):
            with contextlib.suppress(VaultError):
                self.keep_client(origin, session.base, lasting)

    def forget_client(self, origin: Origin, base: str) -> None:
        daemon.erase(self.place, _client_entry(origin, base))

    def _store_answer(self, origin: Origin, session: Session, lifetime: int) -> None:
        answer = session.answer()
        secret: list[tuple[str, str | Secret | None]] = [
            ("username", answer.username),
            ("password", answer.password),
            ("password_expiry_utc", str(answer.expiry)),
        ]
        daemon.store(self.place, _answer_entry(origin, session.account) + encode(secret), lifetime)

    def _drop_answer(self, origin: Origin, account: str) -> None:
        daemon.erase(self.place, _answer_entry(origin, account))

    def _note_name(self, origin: Origin, row: Row, now: float) -> None:
        """Of a sign-in that is about to be kept, if it has no name yet."""
        living = [(old.base, old.account) for old in index.read(self.place, origin) if old.session_end > now]
        if (row.base, row.account) not in living:
            self._write_row(origin, row, now)
            say.trace("vault: name noted")

    def _write_row(self, origin: Origin, row: Row, now: float) -> None:
        rows = index.remaining(index.read(self.place, origin), now)
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


def _answer_entry(origin: Origin, account: str) -> bytes:
    """The account stands in the path: the username is the one that the forge wants beside a token, and that can be the
    same for all accounts. Behind a tab, for which no request is answered: a password that git had us keep for a
    repository of that name is not taken for ours."""
    return encode([("protocol", origin.scheme), ("host", origin.netloc), ("path", f"\t{account}")])


def _session_entry(origin: Origin, account: str, base: str) -> bytes:
    where = [("protocol", "https"), ("host", origin.hidden), ("path", base.strip("/") or None)]
    return encode([*where, ("username", account)])


def _client_entry(origin: Origin, base: str) -> bytes:
    """Behind a tab, which no account has."""
    return encode([("protocol", "https"), ("host", origin.hidden), ("username", f"\t{base}")])


def _foreign(request: Request, capabilities: tuple[str, ...]) -> bytes:
    announced = [("capability[]", name) for name in request.capability if name in capabilities]
    where = [("protocol", request.protocol), ("host", request.host), ("path", request.path)]
    return encode([*announced, *where, ("username", request.username)])


def _index_lock(origin: Origin) -> str:
    return f"lock-names-{origin.scheme}-{origin.netloc}"
