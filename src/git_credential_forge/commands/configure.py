"""`configure` and `unconfigure`: one include in the global git config, and a file of ours that it names.

The include goes before everything else, so that the system's helper is cleared and the helpers that people have for
single hosts still win; appended at the end, our empty `helper` would wipe them. `unconfigure` takes out exactly the
bytes that were put in.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys

from git_credential_forge import git, machine, say
from git_credential_forge.errors import ForgeError
from git_credential_forge.origin import Origin, parse

_BOM = b"\xef\xbb\xbf"
_BEGIN = machine.begin("configure", "unconfigure")
_MADE = "# the global git config was made by configure\n"
_SECTION = re.compile(rb"[ \t]*\[[ \t]*([A-Za-z0-9.-]+)[ \t]*(\"(?:[^\"\\]|\\.)*\")?[ \t]*\][ \t]*")
# The helper by its name, by the path of its launcher, or as `configure` writes it.
_OURS = re.compile(r"^forge(?=\s|$)|git-credential-forge(?=[\s'\"]|$)|git_credential_forge=")
_EMPTY_HELPER = re.compile(rb"[ \t]*helper[ \t]*=[ \t]*(\"\"[ \t]*)?([#;].*)?", re.IGNORECASE)


def configure_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Have git use this helper: for every address, or for some."
    parser.add_argument("url", nargs="*", metavar="URL", help="only for these addresses, like https://codeberg.org")


def unconfigure_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Take out of the git config what configure put in."


def configure(options: argparse.Namespace) -> int:
    origins = [_origin(url) for url in options.url]
    launcher = _launcher()
    ours, theirs = machine.path(), _global_file()
    machine.check_writable(theirs)
    before = machine.read(theirs)
    content = before or b""
    others = _theirs(theirs) if before else []  # before anything is written: without git, nothing is
    by_hand = _by_hand(others) if not origins and _remove(content, ours) == content else None
    if by_hand:
        say.result(f"git uses git-credential-forge already, by helper = {by_hand} in {machine.short(theirs)}")
        return 0
    made = _MADE if before is None or _noted_made(ours) else ""
    general = not origins or _is_general(ours)
    sections = _helper_config(launcher, [] if general else [*_configured_urls(ours), *(o.url for o in origins)])
    machine.put(_BEGIN, made + sections)
    if _remove(content, ours) == content:
        machine.replace(theirs, _insert(content, ours))
    where = "every address" if general else " and ".join(origin.url for origin in origins)
    say.result(f"git uses git-credential-forge for {where}")
    say.result(f"  by {machine.short(ours)}, included first in {machine.short(theirs)}")
    _name_others(ours, others)
    return 0


def unconfigure(_: argparse.Namespace) -> int:
    ours = machine.path()
    found = {path: machine.read(path) or b"" for path in _global_files()}
    theirs = next((path for path, content in found.items() if _remove(content, ours) != content), "")
    after = _remove(found.get(theirs, b""), ours)
    if not theirs:
        say.result("git was not using git-credential-forge")
    elif not after and _noted_made(ours):
        os.unlink(os.path.realpath(theirs))
        say.result(f"removed {machine.short(theirs)}, which configure had made")
    else:
        machine.replace(theirs, after)
        say.result(f"taken out of {machine.short(theirs)}; the rest is as it was")
    machine.take_out(_BEGIN)
    return 0


# -- our own file -----------------------------------------------------------------------------------------


def _helper_config(launcher: str, urls: list[str]) -> str:
    """The sections that set our helper. The empty one before it clears what was set further out; the path goes to
    the shell, and the whole to git, each with its own quotes. Silent when the program is gone."""
    command = (
        '!f() { test -r "$git_credential_forge" && . "$git_credential_forge"; }; '
        f"git_credential_forge={shlex.quote(launcher)} f"
    )
    value = command.replace("\\", "\\\\").replace('"', '\\"')
    body = f'\thelper =\n\thelper = "{value}"\n'
    return "".join(f'[credential "{url}"]\n{body}' for url in dict.fromkeys(urls)) or f"[credential]\n{body}"


def _is_general(ours: str) -> bool:
    return any(key == "credential.helper" for key, _ in _listed(ours))


def _configured_urls(ours: str) -> list[str]:
    return [key[len("credential.") : -len(".helper")] for key, value in _listed(ours) if value and key.count(".") > 1]


def _listed(ours: str) -> list[tuple[str, str]]:
    return _helpers(ours) if os.path.exists(ours) else []


def _helpers(path: str) -> list[tuple[str, str]]:
    return git.config("config", "-z", "--file", path, "--get-regexp", r"^credential\..*helper$")


def _theirs(path: str) -> list[tuple[str, str]]:
    """What stands in the person's file. Raises ForgeError where git cannot read that."""
    if git.run("config", "--file", os.path.realpath(path), "--list")[0] != 0:
        raise ForgeError(f"git cannot read {path}", f"where it is wrong: git config --file {shlex.quote(path)} --list")
    return _helpers(os.path.realpath(path))


def _by_hand(others: list[tuple[str, str]]) -> str | None:
    """Our helper, as the person has set it for every address: behind the last empty one, which clears those before."""
    general = [value for key, value in others if key == "credential.helper"]
    counting = general[len(general) - general[::-1].index("") :] if "" in general else general
    return next((value for value in counting if _OURS.search(value)), None)


def _noted_made(ours: str) -> bool:
    return _MADE.encode() in (machine.read(ours) or b"")


def _launcher() -> str:
    """The launcher beside the program that runs, as people call it: a link in ~/.local/bin outlives what it names."""
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "git-credential-forge")
    found = git.find("git-credential-forge")
    if found and os.path.realpath(found) == os.path.realpath(beside):
        beside = found
    if not os.path.isfile(beside):
        raise ForgeError(f"{beside} is missing: install git-credential-forge again")
    if any(character in beside for character in "\n\r\0"):
        raise ForgeError("the path of git-credential-forge has a line end in it, which git cannot take")
    return beside


# -- the person's file ------------------------------------------------------------------------------------


def _global_files() -> list[str]:
    """The files that git takes for global settings, in its order: $GIT_CONFIG_GLOBAL alone, else XDG's, then
    ~/.gitconfig."""
    named = os.environ.get("GIT_CONFIG_GLOBAL")
    if named is not None:
        if not named:
            raise ForgeError("GIT_CONFIG_GLOBAL is empty, so git reads no global config")
        return [os.path.abspath(named)]
    home = os.environ.get("HOME")
    if not home:
        raise ForgeError("HOME is not set, so git reads no global config")
    xdg = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    return [os.path.join(xdg, "git", "config"), os.path.join(home, ".gitconfig")]


def _global_file() -> str:
    """Where our include goes: into the first of them, so that helpers in the second still win; into the second, where
    a general empty `helper` in it would wipe ours, and where there is no first."""
    first, *rest = _global_files()
    if not rest:
        return first
    empty = _after_last_empty_helper(machine.read(rest[0]) or b"") is not None
    return rest[0] if empty or not os.path.exists(first) else first


def _insert(content: bytes, ours: str) -> bytes:
    """Put the include first, behind a BOM; where a general empty `helper` follows, right behind that, or it would
    wipe ours."""
    eol = _eol(content)
    at = _after_last_empty_helper(content)
    if at is None:
        start = len(_BOM) if content.startswith(_BOM) else 0
        return content[:start] + _include(ours, eol) + eol + content[start:]
    return content[:at] + eol + _include(ours, eol) + eol + b"[credential]" + content[at:]


def _remove(content: bytes, ours: str) -> bytes:
    for eol in (b"\r\n", b"\n"):
        block = _include(ours, eol)
        for inserted in (eol + block + eol + b"[credential]", block + eol):
            if inserted in content:
                return content.replace(inserted, b"", 1)
    return content


def _include(ours: str, eol: bytes) -> bytes:
    """Our file by its place in the home, so that a global config that was copied means each machine's own."""
    path = machine.short(ours).replace("\\", "\\\\").replace('"', '\\"').encode("utf-8", "surrogateescape")
    return b"[include]" + eol + b'\tpath = "' + path + b'"'


def _eol(content: bytes) -> bytes:
    first = content.find(b"\n")
    return b"\r\n" if first > 0 and content[first - 1 : first] == b"\r" else b"\n"


def _after_last_empty_helper(content: bytes) -> int | None:
    """Where the line of the last general empty `helper` ends (without its line end), or None."""
    at, general, found = 0, False, None
    for line in content.split(b"\n"):
        rest = line.removeprefix(_BOM) if at == 0 else line
        rest = rest.rstrip(b"\r")
        section = _SECTION.match(rest)
        if section:
            general = section[1].lower() == b"credential" and not section[2]
            rest = rest[section.end() :]
        if general and _EMPTY_HELPER.fullmatch(rest):
            found = at + len(line.rstrip(b"\r"))
        at += len(line) + 1
    return found


# -- what else there is -----------------------------------------------------------------------------------


def _name_others(ours: str, others: list[tuple[str, str]]) -> None:
    """Name the general helpers of theirs that stay, and what that means; and what already serves single hosts."""
    own = {value for key, value in _listed(ours) if value}
    for key, value in others:
        if not value or value in own:
            continue
        if key == "credential.helper":
            pattern = "^" + re.sub(r"([][\\.^$*+?(){}|])", r"\\\1", value) + "$"
            say.result(f"another helper stays: {value}; git gives it your tokens to store")
            say.result(f"  to remove it: git config --global --unset-all credential.helper {shlex.quote(pattern)}")
        else:
            host = key[len("credential.") : -len(".helper")]
            say.result(f"{host} stays with {value}")


def hint(origin: Origin) -> None:
    """Say that git does not ask this program for an address, where that is so: a sign-in alone changes nothing for
    git."""
    asked = False
    for key, value in git.config("config", "-z", "--get-regexp", r"^credential\..*helper$"):
        where = parse(key[len("credential.") : -len(".helper")])  # None: all addresses, or a wildcard, or a name
        if where is None or (where.origin == origin and where.path in ("", "/")):
            asked = bool(_OURS.search(value)) or (asked and value != "")  # an empty one clears those before it
    if not asked:
        say.line("git does not ask this program yet; to have it ask: git credential-forge configure")


def _origin(url: str) -> Origin:
    if "@" in url:
        host = say.clean(url.rpartition("@")[2])
        raise ForgeError(f"set up for every account there: leave out the name before {host}")
    parsed = parse(url if "://" in url or "." not in url else f"https://{url}")
    if parsed is None or parsed.path not in ("", "/") or parsed.query:
        raise ForgeError(f"not the address of a host, like https://codeberg.org: {say.address(url)}")
    return parsed.origin
