"""One sign-in of one account at one forge: all that is needed to go on when an answer has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from git_credential_forge import say
from git_credential_forge.client import Client
from git_credential_forge.forges import BY_KEY, CODER_WORKSPACE, OTHER
from git_credential_forge.protocol import Answer
from git_credential_forge.recognise import Registration
from git_credential_forge.secret import Secret

if TYPE_CHECKING:
    from git_credential_forge.oauth.wire import Token
    from git_credential_forge.recognise import Forge

MARGIN = 60  # seconds, or a tenth of the token's life: a token about to expire would end within a long push
YOUNG = 300  # seconds
FOR_EVER = 315_360_000  # seconds: ten years, for tokens that the forge gives no end; every git accepts the sum

_SECRETS = ("access_token", "refresh_token", "client_secret", "registration_token")


class Session(NamedTuple):
    """One sign-in of one account at one forge. Times are seconds since 1970."""

    account: str
    access_token: Secret
    expiry: int  # never that of the token before it, so that it names the token
    margin: int  # seconds
    refresh_token: Secret | None
    client_id: str
    kind: str  # of the forge, see `forges`
    base: str  # path of the forge, '' where it has the host to itself
    issuer: str | None
    token_url: str
    scopes: str
    signed_in_at: int
    issued_at: int
    refused: bool = False  # the forge has refused the access token
    repaired: bool = False  # it was issued because the one before had been refused
    bearer: bool = False  # git sends the access token by Bearer, if it can
    username: str = ""  # what git is given with the token, where that is not the account
    revoke_url: str | None = None
    resource: str | None = None
    # Of a client that this machine has registered at the sign-in; else nothing.
    redirect: str = ""
    client_secret: Secret | None = None
    registration_url: str | None = None
    registration_token: Secret | None = None

    def usable(self, now: float) -> bool:
        """Whether the access token may be given to git."""
        return not self.refused and now < self.expiry - self.margin

    def alive(self, now: float) -> bool:
        """Whether it may be given all the same when it should be renewed, and cannot be now."""
        return not self.refused and now < self.expiry - self._least_margin

    @property
    def _least_margin(self) -> int:
        return int(min(MARGIN, (self.expiry - self.issued_at) / 10))

    def put_off(self, now: float, pause: int) -> Session:
        """The same, to be renewed `pause` seconds later, or when it is not alive any more."""
        return self._replace(margin=max(self._least_margin, self.expiry - int(now) - pause))

    def client(self) -> Client | None:
        """The client that it was made by, where this machine has registered that."""
        if not self.redirect:
            return None
        own = Registration(self.redirect, self.registration_url, self.registration_token)
        return Client(self.client_id, self.client_secret, self.token_url, own)

    @property
    def lent(self) -> bool:
        """Whether it is no sign-in of ours: Coder has the token, and is asked for it again."""
        return self.kind == CODER_WORKSPACE.key

    @property
    def who(self) -> str:
        return "the account that is linked in Coder" if self.lent else self.account

    def blameless(self, now: float) -> bool:
        """Whether a refusal says nothing about the access token: it was issued a moment ago, and a newer one would be
        refused as well, or is not to be had."""
        alike = self.repaired and not BY_KEY.get(self.kind, OTHER).says_401_for_tokens_only
        final = self.refresh_token is None and not self.lent
        return 0 <= now - self.issued_at < YOUNG and (alike or final)

    def answer(self) -> Answer:
        return Answer(self.username or self.account, self.access_token, self.expiry, bearer=self.bearer)


def renew(forge: Forge, old: Session, token: Token) -> Session:
    """A session that goes on with a refreshed token."""
    if token.refresh_token is None:  # RFC 6749, section 6: then the old one stays good
        token = token._replace(refresh_token=old.refresh_token)
    return make(forge, old.account, token, old)._replace(signed_in_at=old.signed_in_at, repaired=old.refused)


def make(forge: Forge, account: str, token: Token, previous: Session | None) -> Session:
    """A session from a token response, received now."""
    now = int(time.time())
    lifetime = token.lifetime or FOR_EVER
    margin = int(min(MARGIN, lifetime / 10))
    expiry = now + lifetime
    if previous and expiry <= previous.expiry <= expiry + margin:
        expiry = previous.expiry + 1  # the figure names the token: never twice the same
    early = int(lifetime * (1 - forge.kind.refresh_at)) if token.lifetime and token.refresh_token else 0
    own = forge.own
    return Session(
        account=account,
        access_token=token.access_token,
        expiry=expiry,
        margin=max(margin, early),
        refresh_token=token.refresh_token,
        client_id=forge.client_id or "",
        kind=forge.kind.key,
        base=forge.scope,
        issuer=forge.issuer,
        token_url=forge.token_url,
        scopes=forge.scopes,
        signed_in_at=now,
        issued_at=now,
        bearer=forge.bearer,
        username=forge.kind.username or "",
        revoke_url=forge.revoke_url,
        resource=forge.resource,
        redirect=own.redirect if own else "",
        client_secret=forge.client_secret if own else None,
        registration_url=own.url if own else None,
        registration_token=own.token if own else None,
    )


def encode(session: Session) -> Secret:
    import json

    fields = session._asdict()
    for name in _SECRETS:
        fields[name] = fields[name] and fields[name].reveal()
    return Secret(json.dumps({"version": 1, **fields}, separators=(",", ":")))


def decode(text: Secret) -> Session | None:
    """A session, or None for one that another version of this program wrote."""
    import json

    try:
        fields = json.loads(text.reveal())
        if fields.pop("version") != 1:
            return None
        for name in _SECRETS:
            fields[name] = Secret(fields[name]) if fields.get(name) else None
        if fields["access_token"] is None:
            return None
        return Session(**fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        say.trace("session: one that this version does not read")
        return None
