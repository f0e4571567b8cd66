"""Plays one cell of the matrix: makes the state, kills at the point, looks at what is left, counts the next command."""

from __future__ import annotations

import time
from typing import NamedTuple

from tests.reliability import points
from tests.reliability.points import Cell, Cost, Point
from tests.reliability.stage import Command, Stage, cost
from tests.support.forge import LIFETIME
from tests.support.person import wait_until
from tests.support.signing_in import NAMED

SHORT = 3  # seconds: the life of a token that is to end
LOCKS = {points.SIGN_IN_WAY: "sign-in-", points.REFRESH_WAY: "refresh-", points.REPAIR_WAY: "refresh-"}
ONE = {points.SIGN_IN_WAY: points.SIGN_IN, points.REFRESH_WAY: points.REFRESH, points.REPAIR_WAY: points.REFRESH}


class Outcome(NamedTuple):
    measured: Cost  # of the next command
    wrong: list[str]  # all that was not as it should be; empty when the cell is right


def play(stage: Stage, cell: Cell) -> Outcome:
    """The cell must find the forge as new, and the home empty."""
    wrong: list[str] = []
    _prepare(stage, cell)
    kill = {"leader": _kill_one, "waiter": _kill_waiter, "other": _kill_other}[cell.role]
    kill(stage, cell, wrong)
    wrong += stage.left_behind()
    allowed = cell.point.allowed(rotates=cell.rotates)
    done, measured = stage.fetch()
    if (done.status, done.out, measured) != (0, f"{stage.forge.head()}\tHEAD\n", allowed):
        wrong.append(f"the next command cost {measured}, allowed is {allowed}: {done}")
    said = _said(stage, allowed, cell.point.why)
    if done.err != said:
        wrong.append(f"it said {done.err!r}, not {said!r}")
    again, more = stage.fetch()
    if (again.status, again.err, more) != (0, "", points.MEMORY):
        wrong.append(f"the one after it cost {more}: {again}")
    return Outcome(measured, wrong)


def _prepare(stage: Stage, cell: Cell) -> None:
    """Nothing held; or a token that has ended; or one that the forge refuses."""
    forge = stage.forge
    forge.rotate(on=cell.rotates)
    idle = cell.point.at == points.IDLE
    if cell.way == points.SIGN_IN_WAY and not idle:
        return
    if cell.way == points.REFRESH_WAY:
        forge.set_lifetime(SHORT)
    stage.sign_in()
    if cell.way == points.REFRESH_WAY:
        ended = time.time() + SHORT
        forge.set_lifetime(LIFETIME)
        wait_until(ended)
    elif cell.way == points.REPAIR_WAY:
        forge.expire_access_tokens()


def _kill_one(stage: Stage, cell: Cell, wrong: list[str]) -> None:
    """The only git, or its helper."""
    point = cell.point
    if point.at == points.AT_PAGE:
        looking = stage.browser(looks=True)
        willing = stage.person.environment["BROWSER"]
        stage.use(looking)
        command = stage.start()
        looking.wait_for_tabs(1)
        _strike(stage, command, point, wrong)
        stage.person.environment["BROWSER"] = willing
    elif point.at == points.COMMITTED:
        with stage.forge.holding() as committed:
            command = stage.start()
            committed()
            command.kill(point.victim)
            if point.victim != "git":
                _ended(command, point, wrong)
        if point.victim == "git":
            _ended(command, point, wrong)
    else:
        command = stage.start(point.stop)
        command.stopped()
        _strike(stage, command, point, wrong)


def _strike(stage: Stage, command: Command, point: Point, wrong: list[str]) -> None:
    if point.victim == "daemon":
        stage.kill_daemon()
    else:
        command.kill(point.victim)
    command.go_on()
    _ended(command, point, wrong)


def _ended(command: Command, point: Point, wrong: list[str]) -> None:
    """git ends by itself: without an answer it fails, and asks nobody."""
    expected = point.ends if point.ends is not None else 128 if point.victim == "helper" else -9
    done = command.end()
    if done.status != expected:
        wrong.append(f"the command ended with {done.status}, not {expected}: {done}")


def _kill_waiter(stage: Stage, cell: Cell, wrong: list[str]) -> None:
    """One acts and two wait, of which one is killed: the others are not disturbed."""
    before = len(stage.forge.log())
    with stage.forge.holding() as committed:
        leader = stage.start()
        committed()
        victim, other = stage.start(cell.point.stop), stage.start()
        waiting = [each.helper(holding=f"{LOCKS[cell.way]}https") for each in (victim, other)]
        if cell.point.at == points.COMMITTED:
            victim.kill("helper")
            _ended(victim, cell.point, wrong)
    if cell.point.at == points.EVENT:
        pid = victim.stopped()
        if pid != waiting[0]:
            wrong.append("another helper than the one that waited came to the point")
        victim.kill("helper")
        _ended(victim, cell.point, wrong)
    for name, command in (("the one that acted", leader), ("the other one that waited", other)):
        done = command.end()
        if done[:2] != (0, f"{stage.forge.head()}\tHEAD\n"):
            wrong.append(f"{name} was disturbed: {done}")
    spent = cost(stage.forge.log()[before:])
    if spent != ONE[cell.way]:
        wrong.append(f"all together cost {spent}, not {ONE[cell.way]}")


def _kill_other(stage: Stage, cell: Cell, wrong: list[str]) -> None:
    victim = cell.point.victim
    if victim == "leader and successor":
        _kill_two(stage, cell, wrong)
    elif cell.point.at == points.IDLE and victim == "daemon":
        stage.kill_daemon()
    elif cell.point.at == points.IDLE:
        stage.remove_socket()
    else:
        _kill_one(stage, cell, wrong)


def _kill_two(stage: Stage, cell: Cell, wrong: list[str]) -> None:
    """Of three, the one that acts, and then the one that takes over, at the same point; the third ends well."""
    running = [stage.start(cell.point.stop) for _ in range(3)]
    for _ in range(2):
        acting = stage.first_stopped(running)
        acting.kill("helper")
        _ended(acting, cell.point._replace(victim="helper"), wrong)
        running.remove(acting)
    [last] = running
    last.stopped()
    last.go_on()
    done = last.end()
    if done[:2] != (0, f"{stage.forge.head()}\tHEAD\n"):
        wrong.append(f"the third did not end well: {done}")


def _said(stage: Stage, allowed: Cost, why: str) -> str:
    """What a person reads: nothing; or what a sign-in says, and before it why there is one."""
    host = stage.forge.host
    if not allowed.tabs:
        return ""
    reason = ""
    if why == points.NO_MEMORY:
        reason = f"forge: the sign-in to {host} is forgotten: git's cache daemon, which had it in memory, is gone\n"
    elif allowed.refreshes:
        reason = f"forge: {host} no longer accepts this sign-in (invalid_grant)\n"
    signing = f"forge: signing in to {host} in your browser\n{NAMED}"
    return f"{reason}{signing}forge: signed in as alice at {host}, kept in memory while you work, and two hours more\n"
