"""A person without a browser: follows redirects, keeps cookies, fills in the sign-in form, grants.

Knows the forms of django-oauth-toolkit, Gitea, Forgejo and oidc-provider. By itself (`python gentle.py --user U
--password-file F URL`; `-` as URL reads it from stdin) it prints the address on which it ended; nothing in
here needs the rest of the tests. For tests that want an opener there is `tests.support.gentle_browser`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_PAGES = 20


@dataclass(frozen=True)
class Ending:
    """Where it ended; `status` is 0 and `failure` says why where nobody answered."""

    address: str
    status: int
    title: str = ""
    text: str = ""
    failure: str = ""


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    name_field: str = ""
    password_field: str = ""
    buttons: list[tuple[str, str, str]] = field(default_factory=list)  # id, name, value

    @property
    def asks_consent(self) -> bool:
        named = any(name in {"allow", "granted"} or id_ == "authorize-app" for id_, name, _ in self.buttons)
        return named or self.fields.get("prompt") == "consent"

    def signed(self, user: str, password: str) -> dict[str, str]:
        return self.fields | {self.name_field: user, self.password_field: password}

    def pressed(self, *, grant: bool) -> dict[str, str]:
        """With the button that grants, or the one that does not."""
        for _, name, value in self.buttons:
            if (name, value) == ("granted", "true" if grant else "false") or (name == "allow" and grant):
                return self.fields | {name: value}
        return self.fields


class Page(HTMLParser):
    """Forms, title and visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.title = ""
        self._words: list[str] = []
        self._inside: list[str] = []
        self.feed(html)
        self.text = " ".join(self._words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag in {"title", "script", "style"}:
            self._inside.append(tag)
        elif tag == "form":
            self.forms.append(Form(said.get("action", ""), said.get("method", "get").lower()))
        elif tag in {"input", "button"} and self.forms:
            self._control(self.forms[-1], tag, said)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if self._inside[-1:] == ["title"]:
            self.title += words
        elif words and not self._inside:
            self._words.append(words)

    def _control(self, form: Form, tag: str, said: dict[str, str]) -> None:
        kind = said.get("type", "submit" if tag == "button" else "text").lower()
        name, value = said.get("name", ""), said.get("value", "")
        if kind == "submit":
            form.buttons.append((said.get("id", ""), name, value))
        elif kind == "password":
            form.password_field = name
        elif kind in {"text", "email"} and not form.name_field:
            form.name_field = name
        elif name and kind not in {"checkbox", "radio", "button"}:
            form.fields[name] = value


def new_client() -> httpx.Client:
    """One browser profile: a cookie jar. Trusts any certificate, as `Browser` does."""
    return httpx.Client(verify=False, trust_env=False, timeout=60, headers={"User-Agent": "gentle"})


def go(
    client: httpx.Client, url: str, user: str, password: str, consent: Callable[[], bool] = lambda: True
) -> Ending:
    """From `url` to where it ends; `consent` is asked at the consent page and may take its time."""
    request = client.build_request("GET", url)
    signing_in = ""
    for _ in range(MOST_PAGES):
        try:
            response = client.send(request)
        except httpx.TransportError as error:
            return Ending(str(request.url), 0, failure=f"{type(error).__name__}: {error}")
        if response.next_request is not None:
            request = response.next_request
            continue
        if signing_in and response.status_code == httpx.codes.FORBIDDEN:
            # Another tab has signed in meanwhile, and so this one's form is void: a person loads the page again.
            request, signing_in = client.build_request("GET", signing_in), ""
            continue
        page = Page(response.text)
        form = next((form for form in page.forms if form.password_field or form.asks_consent), None)
        if form is None:
            return Ending(str(response.url), response.status_code, page.title, page.text)
        signing_in = str(response.url) if form.password_field else ""
        data = form.signed(user, password) if form.password_field else form.pressed(grant=consent())
        request = client.build_request(
            "POST",
            urljoin(str(response.url), form.action),
            data=data,
            headers={"Referer": str(response.url)},
        )
    return Ending(str(request.url), 0, failure="went round in circles")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--user", required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--deny", action="store_true")
    parser.add_argument("url")
    said = parser.parse_args()
    url = sys.stdin.readline().strip() if said.url == "-" else said.url
    with new_client() as client:
        password = said.password_file.read_text().rstrip("\n")
        ending = go(client, url, said.user, password, lambda: not said.deny)
    print(ending.address)
    return 0 if ending.status else 1


if __name__ == "__main__":
    sys.exit(main())
