"""The commands that people type, one file each."""

from __future__ import annotations

import argparse
import json
from importlib import import_module

from git_credential_forge import say, surroundings
from git_credential_forge.errors import ForgeError
from git_credential_forge.vault import TIMEOUT

VERBS = {"configure": "configure", "unconfigure": "configure", "login": "login", "logout": "logout", "status": "status"}
VERBS |= {"register": "register", "unregister": "register", "demo": "demo", "coder": "coder"}

_EPILOG = "The manual: man git-credential-forge"


def run(arguments: list[str]) -> int:
    """The exit status of a command; argparse ends the process where it was typed wrong."""
    verb = arguments[0]
    module = import_module(f"{__name__}.{VERBS[verb]}")
    parser = argparse.ArgumentParser(prog=f"git credential-forge {verb}", allow_abbrev=False, epilog=_EPILOG)
    getattr(module, f"{verb}_options")(parser)
    if any(word in ("-h", "--help") for word in arguments):
        parser.print_help()
        return 0
    # Of `coder show --json ID`, else, the ID would not be understood.
    parse = parser.parse_intermixed_args if verb == "coder" else parser.parse_args
    options = parse(arguments[1:])
    if surroundings.foreign_home():
        raise ForgeError("this is root in somebody else's home (sudo), where nothing is written: run it as yourself")
    status: int = getattr(module, verb)(options)
    return status


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) < 1 << 31:
        raise argparse.ArgumentTypeError("not a number of seconds")
    return int(text)


def add_vault_options(parser: argparse.ArgumentParser) -> None:
    how_long = f"how long to keep what is not used ({TIMEOUT})"
    parser.add_argument("--timeout", type=_seconds, default=TIMEOUT, metavar="SECONDS", help=how_long)
    parser.add_argument("--socket", metavar="PATH", help="where git's cache daemon listens")


def table(lines: list[tuple[str, ...]]) -> None:
    """For people: columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say.result("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def document(fields: dict[str, object]) -> None:
    """For programs: JSON, whose version comes first."""
    for line in json.dumps({"version": 1, **fields}, indent=2).split("\n"):
        say.result(line)
