"""argv -> verb. Puts standard output aside, catches what goes wrong, and is the only place with an exit status.

What git calls exits 0 whatever happened, 130 on an interrupt; a command that a person typed exits 1 when it could
not do its work, 2 when it was typed wrong, 70 on a mistake of ours.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from git_credential_forge import daemon, operations, protocol, say, surroundings
from git_credential_forge.errors import AbandonedError, BadRequestError, ForgeError, TerminatedError, VaultError
from git_credential_forge.vault import TIMEOUT, Vault

FAILED, USAGE, MISTAKE, INTERRUPTED = 1, 2, 70, 130

HELP = """\
git-credential-forge: sign in to your forge through the browser, once

  git credential-forge configure [URL...]     have git use it, everywhere or for these addresses
  git credential-forge unconfigure            take that back, byte for byte
  git credential-forge login [URL|REMOTE]     sign in now                 [--device|--paste]
  git credential-forge logout URL | --all     forget a sign-in
  git credential-forge status                 what is signed in, and until when    [--json]
  git credential-forge register URL           get a client id of your own          [--yes]
  git credential-forge unregister URL         forget it again
  git credential-forge coder ACTION [ID]      list, show, login, logout: forges linked at a Coder
  git credential-forge demo                   all of it, with a forge of its own   [--headless]
  git credential-forge get|store|erase        what git calls; options before it:
      --timeout SECONDS    how long to keep what is not used (7200)
      --socket PATH        where git's cache daemon listens

  -h, --help, also behind a command    --version        The manual: man git-credential-forge
"""

_BY_GIT = ("get", "store", "erase")
_LARGEST = 8 << 20  # bytes of a request: the longest line is 1 MiB, and there are a few


def run(arguments: list[str]) -> int:
    """The exit status."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    out = _put_stdout_aside()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    by_git = _is_by_git(arguments)
    try:
        return _dispatch(arguments, out)
    except AbandonedError:
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except ForgeError as error:
        say.lines(error.message, error.hints)
        return 0 if by_git else FAILED
    except Exception as error:  # noqa: BLE001 # the one boundary: git goes on, and no trace shows a value
        say.line(f"a mistake of this program ({type(error).__name__}); GIT_TRACE_FORGE=1 shows where")
        _where(error)
        return 0 if by_git else MISTAKE


def end(status: int) -> NoReturn:
    """A thread may still speak to a server: Python takes itself apart beside it, and sometimes crashes over that."""
    with contextlib.suppress(OSError, ValueError):  # nobody reads; it is closed
        if sys.stdout:
            sys.stdout.flush()
    os._exit(status)


def _dispatch(arguments: list[str], out: int) -> int:
    if any(word in ("-h", "--help") for word in arguments) and not _is_command(arguments):
        return 0 if _write(out, HELP.encode()) else FAILED
    if "--version" in arguments:
        from git_credential_forge import __version__

        return 0 if _write(out, f"git-credential-forge {__version__}\n".encode()) else FAILED
    if _is_by_git(arguments):
        return _serve(arguments[-1], _options(arguments[:-1]), out)
    if arguments[-1:] == ["capability"]:
        _write(out, protocol.CAPABILITIES)
        return 0
    return _command(arguments, out)


def _is_by_git(arguments: list[str]) -> bool:
    """git puts the operation last, behind the options of its configuration."""
    return bool(arguments) and arguments[-1] in _BY_GIT and (len(arguments) == 1 or arguments[0].startswith("-"))


def _is_command(arguments: list[str]) -> bool:
    from git_credential_forge import commands

    return bool(arguments) and arguments[0] in commands.VERBS


def _command(arguments: list[str], out: int) -> int:
    """A command that a person typed: its results go to standard output."""
    if _is_command(arguments):
        from git_credential_forge import commands

        sys.stdout = os.fdopen(os.dup(out), "w", buffering=1, encoding="utf-8", errors="replace")
        try:
            return commands.run(arguments)
        except BrokenPipeError:
            return FAILED  # who read it has seen enough
        except OSError as error:
            raise ForgeError(f"{error.strerror}: {error.filename or 'standard output'}") from None
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.close()
    perhaps_git = len(arguments) == 1 or (bool(arguments) and arguments[0].startswith("-"))
    if perhaps_git and not arguments[-1].startswith("-") and sys.stdin and not sys.stdin.isatty():
        return 0  # git-credential(1): an operation that a helper does not know is passed over in silence
    if arguments:
        say.line(f"there is no such command: {say.clean(' '.join(arguments))}")
    _write(2, HELP.encode())
    return USAGE


def _serve(operation: str, options: dict[str, str], out: int) -> int:
    """One operation of git's."""
    given = _read_request()
    held = None
    try:
        request = protocol.parse(given)
        held = _vault(options)
    except VaultError as error:
        if operation == "get":  # the `store` or `erase` behind it need not say it again
            say.lines(error.message, error.hints)
    if operation == "get":
        answer = operations.get(request._replace(for_lfs=surroundings.for_lfs()), held, _reader_gone(out))
        say.trace("cli: answering git")
        _write(out, answer)
    elif operation == "store":
        operations.store(request, held)
    else:
        operations.erase(request, held)
    return 0


def _vault(options: dict[str, str]) -> Vault | None:
    if surroundings.foreign_home():
        return None
    timeout = options.get("timeout", str(TIMEOUT))
    if not (timeout.isascii() and timeout.isdecimal()) or not 0 < int(timeout) < 1 << 31:
        say.line(f"--timeout is a number of seconds, so it is not used: {say.clean(timeout)}")
        timeout = str(TIMEOUT)
    return Vault(daemon.place(options.get("socket")), int(timeout))


def _options(words: list[str]) -> dict[str, str]:
    """--timeout and --socket, with a space or an equals sign, as git credential-cache takes them."""
    found: dict[str, str] = {}
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if name not in ("--timeout", "--socket") or not (equals or left):
            raise ForgeError(f"unknown option before the operation: {say.clean(name)}")
        found[name[2:]] = value if equals else left.pop(0)
    return found


def _read_request() -> bytes:
    """Standard input up to the blank line or the end, in bytes: text mode takes a lone CR for a line end."""
    data = bytearray()
    while not (data.endswith(b"\n\n") or data == b"\n"):
        try:
            more = os.read(0, 65_536)
        except OSError:  # closed by who started us
            break
        if not more:
            break
        data += more
        if len(data) > _LARGEST:
            raise BadRequestError("refused a request that is too long")
    return bytes(data)


def _put_stdout_aside() -> int:
    """Keep standard output for the answer alone: what a child or a library prints goes to stderr (GCM #178)."""
    while (spare := os.open(os.devnull, os.O_RDWR)) < 3:  # noqa: PLR2004 # what who started us has closed
        pass
    os.close(spare)
    out = os.dup(1)
    os.dup2(2, 1)
    return out


def _reader_gone(out: int) -> Callable[[], bool]:
    """A question: has the reader of our answer gone? git's death reaches a helper by no signal."""
    poll = select.poll()
    poll.register(out, 0)
    return lambda: any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in poll.poll(0))


def _write(fd: int, data: bytes) -> bool:
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BrokenPipeError:
        return False  # who asked is gone
    except OSError as error:
        say.line(f"the answer could not be written: {error.strerror}")
        return False
    return True


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TerminatedError


def _where(error: BaseException) -> None:
    """The places that an error came through, without any value."""
    trace = error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        say.trace(f"  {os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
