"""The page at the end of a sign-in, in a real browser: Debian's Chromium, headless."""

from __future__ import annotations

import select
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

from git_credential_forge.oauth import page as pages
from git_credential_forge.oauth.loopback import Listener, Redirect
from git_credential_forge.oauth.page import Page
from git_credential_forge.oauth.wire import Attempt, Issuer
from tests.support.browser import CHROMIUM
from tests.support.browser_driver import ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal

    from playwright import sync_api

    from tests.support.signing_in import StandIn

SIGNED_IN = pages.signed_in("codeberg.org", "alice")
LONG = "the server is closed today & says <script>alert(1)</script> " * 4
REFUSED = pages.not_signed_in("forge.example", f"it said: {LONG}")


@dataclass
class Sight:
    """What was seen at the end of a sign-in."""

    page: sync_api.Page
    listener: str  # host and port
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def chromium() -> Iterator[sync_api.Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


def sign_in(
    chromium: sync_api.Browser, stand_in: StandIn, verdict: Page, scheme: Literal["dark", "light"] = "light"
) -> Sight:
    """From the start address through the forge and back to the listener, which then shows `verdict`."""
    listener = Listener(Redirect("127.0.0.1", 0, ""))
    attempt = Attempt.fresh()
    target = f"{stand_in.url}/login/oauth/authorize?redirect_uri={listener.redirect_uri}&state={attempt.state.reveal()}"
    listener.serve([attempt], Issuer(stand_in.url, announced=False), target)

    def answer() -> None:
        select.select([listener.descriptor], [], [], 20)
        listener.show(verdict)

    answering = threading.Thread(target=answer)
    answering.start()
    opened = chromium.new_context(color_scheme=scheme, viewport={"width": 900, "height": 520}).new_page()
    sight = Sight(opened, listener.host)
    opened.on("request", lambda request: sight.requests.append(request.url))
    opened.on("console", lambda message: sight.console.append(message.text))
    opened.on("pageerror", lambda error: sight.console.append(str(error)))
    opened.goto(listener.start_address())
    answering.join()
    opened.wait_for_load_state("networkidle")
    assert listener.take() is not None
    listener.close()
    return sight


def test_signed_in(chromium: sync_api.Browser, stand_in: StandIn, tmp_path: Path) -> None:
    """The page says who is signed in where; no error in the console, nothing asked of anybody else (3.3, 10)."""
    sight = sign_in(chromium, stand_in, SIGNED_IN)
    assert sight.page.title() == "codeberg.org"
    assert sight.page.inner_text("h1") == "Signed in to codeberg.org"
    said = sight.page.inner_text("body").split("\n\n")
    assert said[:2] == [
        "Signed in to codeberg.org",
        "as alice. You can close this tab and go back to your terminal.",
    ]
    assert sight.console == []
    assert {urlsplit(url).netloc for url in sight.requests} == {sight.listener, stand_in.host}
    sight.page.screenshot(path=tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 5000


def test_code_and_state_are_gone_from_the_address_bar(chromium: sync_api.Browser, stand_in: StandIn) -> None:
    """Neither the address bar nor the history holds code or state: the policy lets that script run (3.3, 12)."""
    sight = sign_in(chromium, stand_in, SIGNED_IN)
    assert any("code=" in url and "state=" in url for url in sight.requests)
    assert sight.page.url == f"http://{sight.listener}/"
    assert sight.page.evaluate("location.href") == f"http://{sight.listener}/"
    assert sight.page.evaluate("history.length") == 2  # about:blank, and this page without its query
    assert stand_in.code not in sight.page.content()


def test_words_of_a_server_stay_words(chromium: sync_api.Browser, stand_in: StandIn) -> None:
    """Markup in an error's description is shown as text, and none of it runs (3.3, 9)."""
    sight = sign_in(chromium, stand_in, REFUSED)
    assert sight.page.inner_text("h1") == "Not signed in to forge.example"
    assert "says <script>alert(1)</script> the" in sight.page.inner_text("p >> nth=0")
    assert sight.page.locator("script").count() == 1
    assert sight.console == []


def test_nothing_else_is_let_in(chromium: sync_api.Browser, stand_in: StandIn) -> None:
    """The policy stops scripts, styles, images and requests that are not the page's own (3.3, 10)."""
    sight = sign_in(chromium, stand_in, SIGNED_IN)
    stopped = sight.page.evaluate(
        """async (url) => {
            const violated = []
            document.addEventListener("securitypolicyviolation", e => violated.push(e.effectiveDirective))
            for (const [tag, text] of [["script", "window.ran = true"], ["style", "h1{color:red}"]]) {
                const added = document.createElement(tag)
                added.textContent = text
                document.head.append(added)
            }
            const image = document.createElement("img")
            const over = new Promise(done => image.onerror = done)
            image.src = url
            document.body.append(image)
            await over
            const fetched = await fetch(url).then(() => "fetched", () => "stopped")
            return [window.ran ?? "did not run", fetched, ...violated.sort()]
        }""",
        f"{stand_in.url}/pixel",
    )
    assert stopped == ["did not run", "stopped", "img-src", "script-src-elem", "style-src-elem"]
    assert all(request.target != "/pixel" for request in stand_in.asked)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_colours_follow_the_scheme(
    chromium: sync_api.Browser, stand_in: StandIn, scheme: Literal["dark", "light"]
) -> None:
    """In a dark scheme the page is light on dark, in a light one dark on light."""
    sight = sign_in(chromium, stand_in, SIGNED_IN, scheme)
    text = sight.page.evaluate("getComputedStyle(document.body).color")
    canvas = sight.page.evaluate(
        """() => {
            const probe = document.createElement("p")
            probe.style.setProperty("background-color", "Canvas")
            document.body.append(probe)
            return getComputedStyle(probe).backgroundColor
        }"""
    )
    assert (_brightness(text) > 200, _brightness(canvas) < 60) == ((True, True) if scheme == "dark" else (False, False))


def test_it_fits_a_small_screen(chromium: sync_api.Browser, stand_in: StandIn) -> None:
    """A phone's width shows the longest sentence without scrolling sideways."""
    sight = sign_in(chromium, stand_in, REFUSED)
    sight.page.set_viewport_size({"width": 320, "height": 560})
    assert sight.page.evaluate("document.documentElement.scrollWidth") <= 320


def _brightness(colour: str) -> float:
    channels = [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(channels) / 3
