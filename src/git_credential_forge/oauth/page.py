"""What the browser shows at the end: one page, which needs nothing from outside and lets nothing in.

Its one line of script takes code and state out of the address bar; the policy admits that line by its hash.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
from typing import NamedTuple

from git_credential_forge import say


class Page(NamedTuple):
    """Status and words. All words may come from outside: they are cleaned and escaped when the page is made."""

    status: int
    title: str
    heading: str
    sentence: str
    hint: str


def signed_in(forge: str, account: str | None) -> Page:
    who = f"as {account}. " if account else ""
    return Page(200, forge, f"Signed in to {forge}", f"{who}You can close this tab and go back to your terminal.", "")


def not_signed_in(forge: str, why: str) -> Page:
    sentence = say.clean(why)
    sentence = sentence[:1].upper() + sentence[1:]
    return Page(200, forge, f"Not signed in to {forge}", sentence, "Close this tab; git will say how to ask again.")


NOT_EXPECTED = Page(
    400, "git-credential-forge", "Nothing happened", "Nobody waits for this address.", "You can close this tab."
)
NOT_FOUND = NOT_EXPECTED._replace(status=404)
METHOD = NOT_EXPECTED._replace(status=405)


def render(page: Page) -> bytes:
    """The whole HTTP response."""
    from html import escape  # dear, and not needed before a browser has been started

    template, policy = _template()
    if not page.hint:
        template = template.replace("<p>@hint@</p>\n", "")
    body = re.sub("@([a-z]+)@", lambda place: escape(say.clean(getattr(page, place[1]))), template)
    return respond(page.status, body.encode(), policy)


def redirect(to: str) -> bytes:
    """303 to an address that we made."""
    return respond(303, b"", "default-src 'none'", f"Location: {to}\r\n")


def respond(status: int, body: bytes, policy: str, more: str = "") -> bytes:
    reason = {200: "OK", 303: "See Other", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}[status]
    allow = "Allow: GET\r\n" if status == 405 else ""  # noqa: PLR2004
    head = (
        f"HTTP/1.1 {status} {reason}\r\n{more}{allow}"
        "Content-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Content-Security-Policy: {policy}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'\r\n"
        "Cache-Control: no-store\r\n"
        "Referrer-Policy: no-referrer\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "X-Frame-Options: DENY\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


@functools.cache
def _template() -> tuple[str, str]:
    """The template, and the policy that admits its script and its style by their hashes."""
    with open(os.path.join(os.path.dirname(__file__), "page.html"), encoding="utf-8") as file:
        text = file.read()
    policy = "default-src 'none'"
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        inside = text.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        policy += f"; {directive} 'sha256-{digest}'"
    return text, policy
