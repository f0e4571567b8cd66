"""The process behind `tests.support.browser.Browser`: see `tests.support.child` for how it is spoken to."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from playwright.async_api import Error, async_playwright

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, Request

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
PASSWORD = "input[type=password]"
NAME = "input[name=username], input[name=user_name], input[type=email]"
GRANT = "input[name=allow], button[name=granted][value=true], #authorize-app"
DENY = "#authorizationForm input[type=submit]:not([name]), button[name=granted][value=false]"
PATIENCE = 60_000  # milliseconds for one page
MOST_PAGES = 8


class Tab:
    def __init__(self, url: str, page: Page) -> None:
        self.url = url
        self.page = page
        self.state = "loading"
        self.failure = ""
        self.asked_for = url
        self.console: list[str] = []
        page.on("request", self._on_request)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.console.append(str(error)))

    def _on_request(self, request: Request) -> None:
        if request.is_navigation_request() and request.frame == self.page.main_frame:
            self.asked_for = request.url

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console.append(message.text)

    async def record(self) -> dict[str, Any]:
        title = text = ""
        with suppress(Error):  # a page on its way to the next has neither
            title = await self.page.title()
            text = await self.page.inner_text("body", timeout=2000)
        shown = self.page.url
        return {
            "handed_over": self.url,
            "state": self.state,
            "address": shown if urlsplit(shown).scheme in {"http", "https"} else self.asked_for,
            "title": title,
            "text": text,
            "failure": self.failure,
            "console": self.console,
        }


class Driver:
    """The person: one context, a task for each tab."""

    def __init__(self, context: BrowserContext, user: str, password: str, mode: str) -> None:
        self._context = context
        self._user = user
        self._password = password
        self._grants = mode != "deny"
        self._may_press = asyncio.Event()
        if mode != "hold":
            self._may_press.set()
        self._tabs: list[Tab] = []
        self._moved = asyncio.Condition()
        self._strays: list[str] = []
        context.set_default_timeout(PATIENCE)
        context.on("request", self._on_request)

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).hostname not in {"127.0.0.1", "localhost", None}:
            self._strays.append(request.url)

    async def open(self, url: str) -> None:
        """A new tab, walked through to where it comes to rest."""
        tab = Tab(url, await self._context.new_page())
        self._tabs.append(tab)
        await self._walk(tab)

    async def visit(self, url: str) -> dict[str, Any]:
        tab = Tab(url, await self._context.new_page())
        await self._walk(tab)
        return await tab.record()

    async def tabs(self) -> list[dict[str, Any]]:
        return [await tab.record() for tab in self._tabs]

    async def wait(self, number: int, timeout: float) -> list[dict[str, Any]]:
        def at_rest() -> bool:
            return sum(tab.state != "loading" for tab in self._tabs) >= number

        async with self._moved:
            try:
                await asyncio.wait_for(self._moved.wait_for(at_rest), timeout)
            except asyncio.TimeoutError:
                states = [(tab.state, tab.page.url) for tab in self._tabs]
                raise TimeoutError(f"waited {timeout} s for {number} tabs, there are {states}") from None
        return await self.tabs()

    async def release(self, grant: bool) -> None:
        self._grants = grant
        self._may_press.set()

    async def strays(self) -> list[str]:
        return self._strays

    async def screenshot(self, path: str, tab: int) -> None:
        await self._tabs[tab].page.screenshot(path=path)

    async def _walk(self, tab: Tab) -> None:
        try:
            await tab.page.goto(tab.url)
            for _ in range(MOST_PAGES):
                if not await self._act(tab):
                    break
        except Error as error:
            tab.failure = error.message.splitlines()[0]
        await self._rest(tab, "done")

    async def _act(self, tab: Tab) -> bool:
        """One page further, if this is a page on which the person has something to do."""
        page = tab.page
        if await page.locator(PASSWORD).count():
            await page.locator(NAME).first.fill(self._user)
            await page.locator(PASSWORD).first.fill(self._password)
            await self._leave(page, page.locator(f"form:has({PASSWORD}) [type=submit]").first)
        elif await page.locator(GRANT).count():
            if not self._may_press.is_set():
                await self._rest(tab, "held")
                await self._may_press.wait()
                tab.state = "loading"
            await self._leave(page, page.locator(GRANT if self._grants else DENY).first)
        else:
            return False
        return True

    async def _leave(self, page: Page, button: Locator) -> None:
        async with page.expect_navigation():
            await button.click(no_wait_after=True)

    async def _rest(self, tab: Tab, state: str) -> None:
        async with self._moved:
            tab.state = state
            self._moved.notify_all()


class Lines(asyncio.Protocol):
    """Whole lines from a pipe into a queue, and None at its end."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.queue.put_nowait(line.decode())

    def connection_lost(self, _error: Exception | None) -> None:
        self.queue.put_nowait(None)


async def read_lines(descriptor: int) -> asyncio.Queue[str | None]:
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    _, lines = await asyncio.get_running_loop().connect_read_pipe(Lines, pipe)
    return lines.queue


async def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    orders = await read_lines(0)
    start = json.loads(await orders.get() or "")
    given = start["arguments"]
    addresses = await read_lines(os.open(given["pipe"], os.O_RDWR | os.O_NONBLOCK))
    tasks: set[asyncio.Task[None]] = set()

    def answer(number: int, said: dict[str, Any]) -> None:
        print(json.dumps({"number": number, **said}), file=answers, flush=True)

    async def obey(order: dict[str, Any]) -> None:
        try:
            answer(order["number"], {"result": await getattr(driver, order["name"])(**order["arguments"])})
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is told
            answer(order["number"], {"error": f"{type(error).__name__}: {error}"})

    async def take_addresses() -> None:
        while (url := await addresses.get()) is not None:
            keep(driver.open(url))

    def keep(work: Any) -> None:
        task = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            given["profile"],
            executable_path=given["chromium"],
            headless=True,
            args=ARGUMENTS,
            ignore_https_errors=True,
            handle_sigint=False,
        )
        driver = Driver(context, given["user"], given["password"], given["mode"])
        keep(take_addresses())
        answer(start["number"], {"result": None})
        while (line := await orders.get()) is not None:
            keep(obey(json.loads(line)))
        for task in tasks:
            task.cancel()
        await context.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
