"""The manual page says all that there is to type and to set."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.surroundings import ROOT

# Asked of the installed program, so that a word cannot be forgotten here as well.
TOLD = """
import argparse, json
from importlib import import_module
from git_credential_forge import cli, commands, settings
words = {"verb": [*commands.VERBS, "get", "store", "erase", "capability"], "option": [], "key": []}
for verb, name in commands.VERBS.items():
    parser = argparse.ArgumentParser()
    getattr(import_module(f"git_credential_forge.commands.{name}"), f"{verb}_options")(parser)
    words["option"] += [option for action in parser._actions for option in action.option_strings]
words["option"] += [word.strip("[],.") for word in cli.HELP.split() if word.strip("[],.").startswith("-")]
words["key"] = [key for keys in settings.KEYS.values() for key in keys]
print(json.dumps(words))
"""


@pytest.fixture(scope="module")
def words(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    told = subprocess.run(
        [str(installed / "python"), "-c", TOLD],
        env={"HOME": str(tmp_path_factory.mktemp("home"))},
        capture_output=True,
        check=True,
        timeout=60,
    )
    found: dict[str, list[str]] = json.loads(told.stdout)
    return found


@pytest.fixture(scope="module")
def page() -> str:
    """The source without its comments and roff's escapes."""
    text = (ROOT / "man" / "git-credential-forge.1").read_text()
    lines = [line for line in text.splitlines() if not line.startswith('.\\"')]
    return "\n".join(lines).replace("\\-", "-").replace("\\&", "")


def test_each_verb_has_its_place(words: dict[str, list[str]], page: str) -> None:
    """Every verb that the program knows is in the manual, as a command or an item of its own."""
    assert len(words["verb"]) >= 9
    missing = [
        verb for verb in words["verb"] if not re.search(rf"(?m)^\.(Cm|Ic|It Cm|It Ic|It Ar)\b.*\b{verb}\b", page)
    ]
    assert missing == []


def test_each_option_has_its_place(words: dict[str, list[str]], page: str) -> None:
    """Every option of every verb is in the manual, as an option."""
    assert {"--paste", "--all", "--json", "--timeout", "--socket", "-h", "--version"} <= set(words["option"])
    names = {option.lstrip("-"): option for option in words["option"]}
    missing = [
        option for name, option in names.items() if not re.search(rf"(?m)^\..*\bFl (?:\w+ \| )?-?{name}(?![\w-])", page)
    ]
    assert missing == []


def test_each_setting_has_its_place(words: dict[str, list[str]], page: str) -> None:
    """Every key that the program reads from git's configuration is in the manual, in both spellings."""
    assert {"oauthClientId", "forgeFlow", "oauthAuthorizeEndpoint"} <= set(words["key"])
    missing = [key for key in words["key"] if not re.search(rf"\b{key}\b", page)]
    assert missing == []


def test_no_key_of_ours_is_only_in_the_manual(words: dict[str, list[str]], page: str) -> None:
    """What the manual calls a setting of this program is one: a key that nothing reads is a promise not kept."""
    said = set(re.findall(r"\b(?:forge[A-Z]\w*|oauth[A-Z]\w*)\b", page))
    assert said - set(words["key"]) == set()
