"""Authorization code with PKCE (RFC 6749, section 4.1; RFC 7636; RFC 8252): the person's part and ours."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable
from typing import NamedTuple

from git_credential_forge import say
from git_credential_forge.errors import AbandonedError, ForgeError, RefusedError, TryElsewhereError, UnreachableError
from git_credential_forge.oauth import dynamic, http, page, token, whoami, wire
from git_credential_forge.oauth.browser import Opener
from git_credential_forge.oauth.loopback import Listener
from git_credential_forge.oauth.paste import Terminal
from git_credential_forge.oauth.wire import Attempt, Callback, Refusal, Token
from git_credential_forge.origin import parse
from git_credential_forge.recognise import Forge

LOOK = 100  # milliseconds between looks at the opener, the probe and git
REMIND = 15  # seconds until a person is told that we still wait


class Ways(NamedTuple):
    """How a person can be reached, and how long."""

    browser: bool
    paste: bool
    patience: int  # seconds
    gone: Callable[[], bool]  # whether nobody is left to read our answer
    account: str | None = None  # whom the forge is to suggest


class Grant(NamedTuple):
    token: Token
    account: str | None  # None where the forge does not say
    forge: Forge  # as the client that it was granted to


def sign_in(
    forge: Forge,
    ways: Ways,
    admit: Callable[[str | None], None],
    then: Callable[[Grant], Forge | None] = lambda _: None,
) -> Grant:
    """Let a person sign in, and get the token.

    1. Listen on this machine, and register it where that is to be done. 2. Say what will be seen, and open the browser;
    give a terminal the address for paste. 3. Wait for the answer, which the listener or the terminal brings, and check
    it. 4. Exchange the code. 5. Ask who it is, and whether `admit` has them (it raises RefusedError). 6. Only then tell
    the browser that it worked; or, where `then` makes another client of what the first token may do, do all of it for
    that one, in the same tab.

    Raises RefusedError, UnreachableError, TryElsewhereError, AbandonedError. Leaves nothing behind.
    """
    with contextlib.ExitStack() as stack:
        listener, forge = stack.enter_context(dynamic.listening(forge))
        terminal = Terminal.find() if ways.paste else None
        if terminal:  # entered last: it is given back first, before a shell looks at it
            stack.enter_context(terminal)
        conversation = _Conversation(forge, ways, listener, terminal)
        try:
            grant = _grant(conversation, conversation.hold(), admit)
            further = then(grant)
            if further:
                grant = _grant(conversation, conversation.go_on(further), admit)
        except (RefusedError, UnreachableError, TryElsewhereError) as error:
            why = error.message.removeprefix(f"not signed in to {forge.name}: ")
            listener.show(page.not_signed_in(forge.name, why))
            raise
        listener.show(page.signed_in(forge.name, grant.account))
        return grant


def _grant(conversation: _Conversation, callback: Callback, admit: Callable[[str | None], None]) -> Grant:
    """Steps 4 and 5."""
    forge = conversation.forge
    say.trace("authorize: callback arrived")
    granted = _exchange(forge, callback, conversation.listener.redirect_uri)
    say.trace("authorize: token arrived")
    account = whoami.ask(forge, granted)
    admit(account)
    return Grant(granted, account, forge)


class _Conversation:
    """What goes on while a person signs in."""

    def __init__(self, forge: Forge, ways: Ways, listener: Listener, terminal: Terminal | None) -> None:
        self.forge = forge
        self.ways = ways
        self.listener = listener
        self.terminal = terminal if terminal and terminal.reading else None
        opener = Opener() if ways.browser else None
        self.opener = opener if opener and not opener.exhausted else None
        self._begin()
        self.issuer = wire.Issuer(forge.issuer, forge.announces_iss)
        self.probed: list[RefusedError] = []

    def _begin(self) -> None:
        self.browser_attempt = Attempt.fresh()
        self.paste_attempt = Attempt.fresh()  # its state is seen on a screen, so it is not the browser's

    def hold(self) -> Callback:
        """Steps 2 and 3: returns an answer with a right state."""
        if not (self.opener or self.terminal):
            raise self._nobody()
        target = self._address(self.browser_attempt)
        self.listener.serve([self.browser_attempt, self.paste_attempt], self.issuer, target)
        self._announce()
        self._open()
        if self.forge.kind.client_id:
            http.in_background(self._probe)
        else:
            http.in_background(http.preload)
        return self._wait()

    def go_on(self, forge: Forge) -> Callback:
        """The same once more for another client of this forge: in the tab that waits, or else as the first time."""
        self.forge = forge
        self._begin()
        attempts = [self.browser_attempt, self.paste_attempt]
        if not self.listener.go_on(attempts, self.issuer, self._address(self.browser_attempt)):
            self.opener = Opener() if self.opener else None
            if self.terminal:
                self._offer_paste(self.terminal)
            self._open()
        return self._wait()

    def _address(self, attempt: Attempt) -> str:
        return wire.authorize_url(self.forge, attempt, self.listener.redirect_uri, self.ways.account)

    def _announce(self) -> None:
        where = f"signing in to {self.forge.name}"
        say.line(f"{where} in your browser" if self.opener else where)
        if self.forge.built_in:
            say.line(
                f'the page will name the application "{self.forge.kind.shown_as}", the one that {self.forge.kind.name} '
                "ships for helpers like this"
            )
        if self.terminal:
            self._offer_paste(self.terminal)

    def _offer_paste(self, terminal: Terminal) -> None:
        address = self._address(self.paste_attempt)
        lead = "no browser here? open" if self.opener else "open"
        say.on(terminal.descriptor, f"{lead} {address} anywhere, then paste here the address you end on")

    def _open(self) -> None:
        """Start an opener, or the next one; without any left, it is the terminal's turn."""
        if self.opener:
            self.opener.next(self.listener.start_address())
            if not self.opener.exhausted:
                return
            self.opener = None
            if self.terminal:
                say.line("no browser could be opened here")
        if not self.terminal:
            raise self._nobody()

    def _nobody(self) -> TryElsewhereError:
        return TryElsewhereError(
            f"not signed in to {self.forge.name}: no browser can be opened here, and no terminal is there to ask on",
            f"run: git credential-forge login {self.forge.url}",
        )

    def _wait(self) -> Callback:
        started = time.monotonic()
        deadline, remind = started + self.ways.patience, started + REMIND
        poll = select.poll()
        poll.register(self.listener.descriptor, select.POLLIN)
        if self.terminal:
            poll.register(self.terminal.descriptor, select.POLLIN)
        while time.monotonic() < deadline:
            ready = dict(poll.poll(LOOK))
            callback = self.listener.take() or self._pasted(ready, poll)
            if callback:
                return callback
            if self.ways.gone():
                raise AbandonedError
            if self.probed:
                raise self.probed[0]
            if self.opener and not self.listener.opened and self.opener.failed():
                self._open()
            if time.monotonic() >= remind:
                remind = deadline
                left = max(1, round((deadline - time.monotonic()) / 60))
                say.line(f"still waiting for the browser, Ctrl-C to cancel ({left} min left)")
        raise RefusedError(f"not signed in to {self.forge.name}: nobody answered within {self.ways.patience} s")

    def _pasted(self, ready: dict[int, int], poll: select.poll) -> Callback | None:
        """What was pasted, checked exactly as the listener checks; wrong input may be tried again."""
        if not self.terminal or self.terminal.descriptor not in ready:
            return None
        lines = self.terminal.take()
        if not self.terminal.reading:
            poll.unregister(self.terminal.descriptor)
        return next(filter(None, map(self._check_pasted, lines)), None)

    def _check_pasted(self, text: str) -> Callback | None:
        address = parse(text if "://" in text else f"http://{text}")
        ours = parse(self.listener.redirect_uri)
        attempts = [self.browser_attempt, self.paste_attempt]
        if address and ours and (address.origin, address.path or "/") == (ours.origin, ours.path or "/"):
            callback = wire.parse_callback(address.query, attempts, self.issuer, by_path=True)
            if callback:
                return callback
        if self.terminal:
            ends_on = f"it begins with {self.listener.redirect_uri}, and is needed whole"
            say.on(self.terminal.descriptor, f"not the address this sign-in ends on: {ends_on}")
        return None

    def _probe(self) -> None:
        """Ask, beside the person, whether the forge knows the client at all: those that do not show a page and never
        call back."""
        try:
            found, status, _ = token.ask(self.forge, wire.probe_form(self.listener.redirect_uri))
        except ForgeError:
            return  # the browser will show what is wrong
        if isinstance(found, Refusal) and found.dead_client:
            self.probed.append(unknown_client(self.forge))
        elif status in (403, 404) and not isinstance(found, Refusal):
            self.probed.append(
                RefusedError(
                    f"not signed in to {self.forge.name}: it has no sign-in for applications (HTTP {status} at "
                    f"{self.forge.kind.token or 'its token endpoint'})",
                    *type_a_password(self.forge),
                )
            )


def unknown_client(forge: Forge) -> RefusedError:
    shipped = f"the application that {forge.kind.name} usually ships"
    which = shipped if forge.built_in else "the client id that is set for it"
    if forge.own:
        which = "the client that this machine has registered, which it was told of a moment ago"
    return RefusedError(f"not signed in to {forge.name}: it does not know {which}", client_id_remedy(forge))


def client_id_remedy(forge: Forge) -> str:
    return f"`git credential-forge register {forge.url}` shows what to enter where, and keeps what you get"


def type_a_password(forge: Forge) -> tuple[str]:
    command = f"git config --global credential.{forge.url}.forgeFlow never"
    return (f"to type a password or token there instead: {command}",)


def refused(forge: Forge, refusal: Refusal) -> RefusedError:
    """What a forge's refusal means for the person."""
    if refusal.error == "access_denied":
        return RefusedError(f"not signed in to {forge.name}: you denied the request in the browser")
    said = refusal.description if refusal == wire.MIX_UP else f"it said: {say.clean(str(refusal))}"
    return RefusedError(f"not signed in to {forge.name}: {said}", *_hints(forge, refusal))


def _hints(forge: Forge, refusal: Refusal) -> tuple[str, ...]:
    if "different scope" in refusal.description and forge.kind.applications:
        page_address = forge.page(forge.kind.applications)
        return (f"you granted this application other rights before: take that back at {page_address}, and try again",)
    return ()


def demand_scopes(forge: Forge, granted: Token) -> None:
    """Raises RefusedError for a token with which git could not do what was asked for."""
    missing = granted.lacks(forge.scopes)
    if missing:
        raise RefusedError(f"not signed in to {forge.name}: it granted less than was asked for, not {missing}")


def _exchange(forge: Forge, callback: Callback, redirect_uri: str) -> Token:
    """The token for a code (RFC 6749, section 4.1.3). Raises RefusedError, UnreachableError."""
    if callback.refusal:
        raise refused(forge, callback.refusal)
    try:
        found = token.ask(forge, wire.exchange_form(forge, callback, redirect_uri)).found
    except UnreachableError as error:
        raise UnreachableError(f"not signed in to {forge.name}: {error.message}") from None
    if isinstance(found, Token):
        demand_scopes(forge, found)
        return found
    if isinstance(found, Refusal) and found.dead_client:
        raise unknown_client(forge)
    if isinstance(found, Refusal):
        raise refused(forge, found)
    raise UnreachableError(f"not signed in to {forge.name}: its token endpoint is of no use: {found.reason}")
