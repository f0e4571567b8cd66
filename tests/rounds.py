"""Rounds of disorder: sixteen gets at once while things go wrong, drawn from a seed, and what must hold afterwards.

Each round has a home, a forge and a person's browser. Before it nothing is cached, or there is a sign-in, fresh or
ended by the clock or dead at the forge. Moments are counted in what has happened (an event in the program's trace, a
get that has ended), never in seconds: a fault falls upon the round when so much has happened.

`tests/e2e/test_rounds.py` runs them; one alone: `pytest 'tests/e2e/test_rounds.py::test_a_round[17]'`.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from tests.support.signing_in import answer_of
from tests.support.storm import OwnInstall, Running, Storm, StormyForge, directory, held_locks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.gentle_browser import GentleBrowser
    from tests.support.person import Person

GETS = 16
PATIENCE = 60.0  # seconds until a round counts as stuck
MOMENTS = 24  # in a round as much happens at least, unless all are answered from memory
HALT = 0.5  # seconds that the authorization server does nothing
LASTING = re.compile(r"socket|now|account-.*|found-.*|lock-.*")  # what the program's directory may hold between gits
TRACED = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} (.*)$", re.MULTILINE)
EVENTS = (
    "flight: holding refresh",
    "http: POST",
    "refresh: token arrived",
    "flight: holding sign-in",
    "browser:",
    "authorize: callback arrived",
    "authorize: token arrived",
    "vault: session kept",
    "vault: answer kept",
    "vault: names written",
    "flight: done waiting",
    "cli: answering git",
)


class Fault(NamedTuple):
    what: str
    after: int  # things that have happened


class Plan(NamedTuple):
    """All that a seed says."""

    before: str  # cold, warm, over (by the clock) or dead (at the forge)
    roles: list[str]  # of each get: get, fill, fetch; or refused, whose token is then refused
    faults: list[Fault]
    jumps: list[int]  # what the clock is off by, from one jump to the next, in seconds


def plan(seed: int) -> Plan:
    draw = random.Random(seed)
    before = draw.choice(["cold", "warm", "over", "dead"])
    back = draw.random() < 0.25
    # git has the right clock, and drops what ends before it: behind it, only we are asked.
    roles = ["get", "refused"] if back else ["get", "get", "fill", "fetch", "refused"]
    kinds = ["kill", "die", "die", "expire", "unavailable", "halt", "jump"]
    whats = [draw.choice(kinds) for _ in range(draw.randint(2, 5))]
    while whats.count("unavailable") > 1:  # a refresh has three tries, so one of them has to be heard
        whats[whats.index("unavailable")] = "expire"
    faults = [Fault(what, draw.randrange(MOMENTS)) for what in whats]
    # No further ahead at once than a sign-in is kept.
    jumps = [draw.choice([-600, -3600, -18_000, -86_400] if back else [600, 3000, 3600, 7000]) for _ in whats]
    return Plan(
        before,
        [draw.choice(roles) for _ in range(GETS)],
        sorted(faults, key=lambda fault: fault.after),
        sorted(jumps, reverse=True) if back else jumps,
    )


class Get(NamedTuple):
    """One get of a round, or what follows one whose token was refused: an erase, another get."""

    role: str
    running: Running


class Round:
    """`run` it, then `verdict`: what does not hold, in words."""

    def __init__(
        self, seed: int, person: Person, own: OwnInstall, forge: StormyForge, browser: GentleBrowser
    ) -> None:
        self.draw = random.Random(f"while {seed} runs")
        self.plan = plan(seed)
        self.person, self.own, self.forge, self.browser = person, own, forge, browser
        self.fired: Counter[str] = Counter()  # of what is known to have happened
        self.killed: set[Running] = set()
        self.gets: list[Get] = []
        self.refused: set[str] = set()  # tokens of which we said so
        self.unavailable = 0
        self.causes = 0  # why a token may have to be refreshed, besides those
        self.wrong: list[str] = []
        self._go_on: list[tuple[float, Callable[[], None]]] = []

    def run(self) -> None:
        self._prepare()
        with Storm(self.person) as self.storm, ExitStack() as stack:
            for role in self.plan.roles:
                self._start(role)
            faults, ended = list(self.plan.faults), set[Running]()
            deadline = time.monotonic() + PATIENCE
            while self._goes_on():
                happened = self._happened() + len(ended)
                for fault in [each for each in faults if each.after <= happened]:
                    if self._may(fault.what):
                        faults.remove(fault)
                        getattr(self, f"_{fault.what}")(stack)
                if time.monotonic() > deadline:
                    self.wrong.append(f"stuck: {[get.running.said for get in self.gets]}")
                    break
                self.storm.listen(0.02)
                self._resume()
                for get in [one for one in self.gets if not (one.running in ended or self.storm.speaks(one.running))]:
                    ended.add(get.running)
                    self._follow(get)
        self.fired["die"] = sum("killed" in TRACED.findall(get.running.err) for get in self.gets)
        self.fired["unavailable"] = self.unavailable - self.forge.unavailable
        self._last()

    def _goes_on(self) -> bool:
        return bool(self._go_on) or any(self.storm.speaks(get.running) for get in self.gets)

    # Before, and the gets themselves.

    def _prepare(self) -> None:
        if self.plan.before == "cold":
            return
        assert answer_of(self.person.git("credential-forge", "get", given=self._asks()).out)["username"] == "alice"
        if self.plan.before == "over":
            self._jump_to(3600 if self.plan.jumps[0] > 0 else 0)
        elif self.plan.before == "dead":
            self.forge.expire_access_tokens()
            self.causes += 1

    def _asks(self, *more: str) -> str:
        return "\n".join([*("protocol=https", f"host={self.forge.host}"), *more, "", ""])

    def _start(self, role: str, *more: str) -> None:
        """`more`: further lines of the request."""
        launcher = str(self.own.bin / "git-credential-forge")
        if role == "fetch":
            [one] = self.storm.start("git", "ls-remote", "-q", self.forge.repo_url(), "HEAD")
        elif role == "fill":
            [one] = self.storm.start("git", "credential", "fill", given=f"url={self.forge.url}\n\n")
        else:
            [one] = self.storm.start(launcher, "erase" if role == "erase" else "get", given=self._asks(*more))
        self.gets.append(Get(role, one))

    def _follow(self, get: Get) -> None:
        """A token was refused: git of 2.46 or newer asks again and says so, an older one erases it and asks later."""
        answer = fields(get.running.done.out)
        if get.role == "erase":
            self._start("get")
        if get.role != "refused" or "password" not in answer:
            return
        self.refused.add(answer["password"])
        expiry = answer.get("password_expiry_utc")  # older caches do not keep it, and their gits ask no second time
        if expiry and self.draw.random() < 0.5:
            self._start("get", "username=alice", "capability[]=state", f"state[]=forge:{expiry}")
        else:
            self._start("erase", "username=alice", f"password={answer['password']}")

    def _happened(self) -> int:
        return sum(len(TRACED.findall(get.running.err)) for get in self.gets)

    # What goes wrong.

    def _may(self, what: str) -> bool:
        """A helper is there to be killed; a server that is halted expires nothing, nor is it asked who somebody is by
        a token that has just died."""
        if what == "kill":
            return bool(self.storm.helpers())
        asking = [
            get
            for get in self.gets
            if "authorize: callback arrived" in get.running.err and "vault: names written" not in get.running.err
        ]
        return what != "expire" or not (self._go_on or any(not self._was_killed(get.running) for get in asking))

    def _kill(self, _: ExitStack) -> None:
        """A helper, whichever."""
        running, pid = self.draw.choice(self.storm.helpers() or [(None, 0)])
        if running:  # and not gone since
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed.add(running)
                self.fired["kill"] += 1

    def _die(self, _: ExitStack) -> None:
        """Whoever comes first to a certain event, there."""
        self.own.die_at(self.draw.choice(EVENTS))

    def _expire(self, _: ExitStack) -> None:
        self.forge.expire_access_tokens()
        self.causes += 1
        self.fired["expire"] += 1

    def _unavailable(self, _: ExitStack) -> None:
        self.unavailable = self.forge.unavailable = self.draw.randint(1, 2)

    def _halt(self, stack: ExitStack) -> None:
        go_on = stack.enter_context(self.forge.halted())
        self._go_on.append((time.monotonic() + HALT, go_on))
        self.fired["halt"] += 1

    def _resume(self) -> None:
        for one in [one for one in self._go_on if one[0] <= time.monotonic()]:
            self._go_on.remove(one)
            one[1]()

    def _jump(self, _: ExitStack) -> None:
        self._jump_to(self.plan.jumps[self.fired["jump"]])
        self.fired["jump"] += 1

    def _jump_to(self, seconds: int) -> None:
        self.causes += seconds > self.own.shift
        self.own.jump(self.person, seconds)

    # Afterwards.

    def _last(self) -> None:
        """The sign-in is there: a get is answered with a token that is alive, at once or once the other is erased."""
        self.own.spare()
        self.forge.unavailable = 0
        for _ in range(2):
            got = self.person.git("credential-forge", "get", given=self._asks())
            token = fields(got.out).get("password", "")
            if self.forge.alive(token):
                return
            self.refused.add(token)
            erased = self._asks("username=alice", f"password={token}")
            self.person.git("credential-forge", "erase", given=erased)
        self.wrong.append(f"lost: afterwards a get has no token that is alive: {got.err}")

    def verdict(self) -> list[str]:
        self._judge_answers()
        self._judge_requests()
        self._judge_leftovers()
        return self.wrong

    def _judge_answers(self) -> None:
        """Who was not killed has its answer: a token of the forge's, or the commit."""
        issued = self.forge.secrets().get("access_token", [])
        died = len(self.forge.log("refresh")) + self.causes > 0
        for get in self.gets:
            done = get.running.done
            if self._was_killed(get.running) or get.role == "erase":
                continue
            if get.role == "fetch":
                right = done[:2] == (0, f"{self.forge.head()}\tHEAD\n")
                right |= done.status == 128 and died and bool(re.search("Authentication failed|HTTP 401", done.err))
            else:
                answer = fields(done.out)
                right = done.status == 0 and answer.get("username") == "alice" and answer.get("password") in issued
            if not right:
                self.wrong.append(f"{get.role} was not answered: {done.status}, {fields(done.out).keys()}, {done.err}")

    def _judge_requests(self) -> None:
        """A tab for a sign-in that was not there, or that died with its process; a refresh for a token that was over
        or refused; and one refresh that a dead process had and nobody else, which then costs a tab."""
        refreshes = self.forge.log("refresh")
        exchanges = [event for event in self.forge.log("exchange") if event.parameters.get("code") != "probe"]
        failed = [event for event in refreshes if not event.ok]
        tabs = len(self.browser.tabs())
        killed = [get.running for get in self.gets if self._was_killed(get.running)]
        half = sum(_died_in_sign_in(one) for one in killed)
        lost = sum(_died_in_refresh(one) for one in killed)
        used = Counter(event.parameters["refresh_token"] for event in refreshes if event.ok)
        self._hold(tabs <= 1 + half + len(failed), f"{tabs} tabs, {half} of them of the dead, {len(failed)} refused")
        self._hold(len(exchanges) <= tabs, f"{len(exchanges)} exchanges for {tabs} tabs")
        self._hold(all(event.ok for event in exchanges), f"an exchange failed: {[event.error for event in exchanges]}")
        self._hold(len(failed) <= lost, f"{len(failed)} refreshes failed, and {lost} were lost with a killed process")
        self._hold(all(event.parameters["refresh_token"] in used for event in failed), "a good refresh token failed")
        self._hold(max(used.values(), default=1) == 1, "a refresh token was used twice")
        whys = self.causes + len(self.refused)
        self._hold(len(refreshes) - len(failed) <= whys, f"{len(refreshes)} refreshes, for {whys} reasons")

    def _judge_leftovers(self) -> None:
        left = [get.running.below() for get in self.gets if get.running.below()]
        self._hold(not left, f"processes are left: {left}")
        names = sorted(path.name for path in directory(self.person).iterdir())
        strange = [name for name in names if not LASTING.fullmatch(name)]
        self._hold(not strange, f"files are left: {strange}")
        self._hold(not held_locks(self.person), f"locks are held: {held_locks(self.person)}")

    def _was_killed(self, running: Running) -> bool:
        return running in self.killed or "killed" in TRACED.findall(running.err)

    def _hold(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


def fields(answer: str) -> dict[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in answer.splitlines())}


def _died_in_sign_in(one: Running) -> bool:
    """After its browser was opened, and before the sign-in could be found by others."""
    _, _, since = " ".join(TRACED.findall(one.err)).rpartition("browser:")
    return "browser:" in one.err and "vault: names written" not in since


def _died_in_refresh(one: Running) -> bool:
    """After it had begun to ask for a new token, and before that was in memory."""
    _, held, since = " ".join(TRACED.findall(one.err)).rpartition("flight: holding refresh")
    _, asked, then = since.partition("flight: holding sign-in")[0].rpartition("http: POST")
    return bool(held and asked) and "vault: session kept" not in then
