"""Peak memory (VmHWM) of a hit, of one that waits for another's sign-in, and of a sign-in over TLS."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import homes
import miss
import warm
from debian import MissingError
from forge import Forge
from gits import Git
from homes import Installed

MB = 1e6


def hit(at: Path, git: Git, installed: Installed) -> dict[str, float]:
    """Bytes of each of our processes, by its name, while a `get` is answered from memory. strace holds each process
    for a moment at its end, so that its peak can be read."""
    home = homes.ours(at / "hit", git, installed)
    given = at / "asked"
    given.write_text(warm.ask(git, state=git.states))
    command = [
        *("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=exit_group"),
        *("-e", "inject=exit_group:delay_enter=100000", installed.launcher, "get"),
    ]
    try:
        with given.open() as stdin:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                env=home.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
    except FileNotFoundError:
        raise MissingError("strace is not here") from None
    peaks: dict[tuple[int, str], float] = {}
    while process.poll() is None:
        peaks |= {who: peak for who, peak in _session(process.pid).items() if who[1] != "strace"}
        time.sleep(0.002)
    homes.close(home)
    return _by_name(peaks)


def waiter(at: Path, git: Git, installed: Installed) -> float:
    """Bytes of a Python that waits while another one's browser is open."""
    bell = miss.Bell(at)
    home = bell.home(at / "waiter", git, installed)
    leader = miss.start([installed.launcher, "get"], home, at)
    bell.wait()
    said = at / "said"
    second = miss.start([installed.launcher, "get"], home, at, said)
    end = time.monotonic() + miss.PATIENCE
    while "waiting for it" not in (said.read_text() if said.exists() else ""):
        if time.monotonic() > end:
            raise TimeoutError("the second one does not wait")
        time.sleep(0.05)
    time.sleep(1)
    peak = max(_session(second).values())
    miss.end(second)
    miss.end(leader)
    return peak


def sign_in(at: Path, git: Git, installed: Installed) -> float:
    """Bytes of the Python that signs in: browser, exchange and the question who it is, over TLS with all of the
    system's certificates."""
    forge = Forge(at)
    home = homes.home(at / "sign-in", git, installed, BROWSER=str(forge.browser), SSL_CERT_FILE=str(forge.authorities))
    said = at / "said-by-sign-in"
    request = miss.REQUEST.replace("http\nhost=127.0.0.1:9", f"https\nhost={forge.host}")
    process = miss.start([installed.launcher, "get"], home, at, said, request)
    peaks: dict[tuple[int, str], float] = {}
    end = time.monotonic() + miss.PATIENCE
    while os.waitpid(process, os.WNOHANG)[0] == 0:
        peaks |= _session(process)
        if time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.002)
    homes.close(home)
    if "signed in as alice" not in said.read_text():
        raise AssertionError(f"no sign-in: {said.read_text()}")
    return max(peaks.values())


def _session(leader: int) -> dict[tuple[int, str], float]:
    """VmHWM in bytes of the processes of a session, by number and name."""
    found: dict[tuple[int, str], float] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if int(directory.joinpath("stat").read_text().rpartition(")")[2].split()[3]) != leader:
                continue
            status = dict(line.split(":\t", 1) for line in directory.joinpath("status").read_text().splitlines())
        except (OSError, ValueError):
            continue  # it has ended
        if "VmHWM" in status:
            found[int(directory.name), status["Name"]] = int(status["VmHWM"].split()[0]) * 1024
    return found


def _by_name(peaks: dict[tuple[int, str], float]) -> dict[str, float]:
    names: dict[str, float] = {}
    for (_, name), peak in peaks.items():
        names[name] = max(names.get(name, 0), peak)
    return names
