"""The file of settings that is this machine's alone, and how a file of settings is replaced.

`configure` and `register` each put blocks into it, which begin and end with a comment; what a person puts beside them
stays. `~/.gitconfig` is synchronised between machines, this one is not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator

from git_credential_forge import git, settings
from git_credential_forge.errors import ForgeError
from git_credential_forge.secret import Secret

PRIVATE = 0o600
_END = "# to here\n"
_TRIES = 100
_PATIENCE = 2.0  # seconds
_LOOK = 0.005  # seconds
_FROM = "# from here written by git credential-forge "
_REGISTERED = re.compile(re.escape(_FROM) + r"register (\S+); unregister removes it\n")


def path() -> str:
    return os.path.join(settings.directory(), "gitconfig")


def title() -> str:
    """What an application of this machine's is called at a forge."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", os.uname().nodename.partition(".")[0])[:63].strip("-")
    return f"git-credential-forge on {name or 'this computer'}"


def begin(command: str, taken_out_by: str) -> str:
    """The line with which a command's block begins."""
    return f"{_FROM}{command}; {taken_out_by} removes it\n"


def put(first: str, inside: str, *, mode: int | None = None) -> None:
    """Put a block, from its first line on, where it stood, or at the end."""
    written = (first + inside + _END).encode("utf-8", "surrogateescape")
    with _alone():
        before, after = _around(first)
        replace(path(), before + written + after, mode=mode)


def take_out(first: str) -> None:
    """Take a block out. A file with nothing else in it goes, and so does its directory."""
    if read(path()) is None:
        return
    with _alone():
        before, after = _around(first)
        replace(path(), before + after)
        if not before + after:
            os.unlink(path())
            with contextlib.suppress(OSError):  # something of the person's is in there
                os.rmdir(os.path.dirname(path()))


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One process at a time changes the file: sign-ins at two forges may each keep a client. By its directory, as the
    file itself is replaced; where there are no locks, without."""
    descriptor = _locked()
    try:
        yield
    finally:
        os.close(descriptor)


def _locked() -> int:
    """The directory, made if need be. Who took out the last block may have taken it away since."""
    directory = os.path.dirname(path())
    for left in reversed(range(_TRIES)):
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and left:
                continue
            raise ForgeError(f"{directory}: {error.strerror}") from None
        _lock(descriptor)
        if _is_there(descriptor, directory):
            return descriptor
        os.close(descriptor)
    raise ForgeError(f"{directory} is taken away again and again")


def _lock(descriptor: int) -> None:
    """Not waited for for ever: anybody who may look into the directory can hold it."""
    ends = time.monotonic() + _PATIENCE
    while not _is_mine(descriptor) and time.monotonic() < ends:
        time.sleep(_LOOK)


def _is_mine(descriptor: int) -> bool:
    """Also where there are no locks, as in some homes on a network."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_there(descriptor: int, directory: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(directory))
    except FileNotFoundError:
        return False


def _around(first: str) -> tuple[bytes, bytes]:
    """What stands before a block and behind it."""
    content = read(path()) or b""
    before, found, rest = content.partition(first.encode())
    inside, end, after = rest.partition(_END.encode())
    if found and (not end or _FROM.encode() in inside):
        raise ForgeError(f'{path()} has been changed: of what begins with "{first.strip()}" the end is missing')
    if not found and before and not before.endswith(b"\n"):
        before += b"\n"
    return before, after


# -- applications -----------------------------------------------------------------------------------------


def registered() -> list[str]:
    """The addresses that `register` has kept something for."""
    return _REGISTERED.findall((read(path()) or b"").decode("utf-8", "replace"))


def keep(url: str, values: dict[str, str | Secret]) -> None:
    """Keep what was registered for a forge, in place of what was kept before. Up to here nothing has changed."""
    lines = [f"\t{key} = {_quoted(value)}\n" for key, value in values.items()]
    put(begin(f"register {url}", "unregister"), f'[credential "{url}"]\n' + "".join(lines), mode=PRIVATE)


def drop(url: str) -> None:
    take_out(begin(f"register {url}", "unregister"))


def kept(url: str, key: str) -> str | None:
    """What stands in this file for a forge."""
    found = git.config("config", "-z", "--file", path(), "--list") if os.path.exists(path()) else []
    wanted = f"credential.{url}.{key.lower()}"
    return next((value for name, value in reversed(found) if name == wanted), None)


def _quoted(value: str | Secret) -> str:
    text = value.reveal() if isinstance(value, Secret) else value
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


# -- files ------------------------------------------------------------------------------------------------


def read(name: str) -> bytes | None:
    try:
        with open(name, "rb") as file:
            return file.read()
    except FileNotFoundError:
        if os.path.islink(name):
            raise ForgeError(f"{name} is a link to {os.path.realpath(name)}, which is not there") from None
        return None
    except OSError as error:
        raise ForgeError(f"{name}: {error.strerror}") from None


def check_writable(name: str) -> os.stat_result | None:
    target = os.path.realpath(name)
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):  # a device would be replaced by a file
        raise ForgeError(f"{target} is not a regular file")
    if not found.st_mode & stat.S_IWUSR:  # root may write it all the same; its owner has said no
        raise ForgeError(f"{target} is write-protected")
    return found


def replace(name: str, content: bytes, *, mode: int | None = None) -> None:
    """Write the file that a path leads to, whole or not at all; its owner is kept, and unless one is given its mode."""
    import tempfile  # dear, and no sign-in needs it before its browser has been started

    target, found = os.path.realpath(name), check_writable(name)
    if mode is None:
        mode = stat.S_IMODE(found.st_mode) if found else 0o666 & ~_umask()
    aside = ""
    try:
        descriptor, aside = tempfile.mkstemp(prefix=".gitconfig-", dir=os.path.dirname(target))
        with open(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            if found and (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
            os.fsync(file.fileno())
        os.replace(aside, target)
        aside = ""
    except OSError as error:
        raise ForgeError(f"{target}: {error.strerror}") from None
    finally:
        if aside:  # also when it is interrupted: there may be a secret in it
            with contextlib.suppress(OSError):
                os.unlink(aside)


def short(name: str) -> str:
    """A path as people write it."""
    home = os.path.expanduser("~")
    return "~" + name[len(home) :] if name.startswith(home + "/") else name


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
