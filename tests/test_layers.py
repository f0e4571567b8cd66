"""The shape of the house: which module may know, start or say what. Read from the source, without a run."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest

from tests.support.surroundings import ROOT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = "git_credential_forge"
SOURCE = ROOT / "src" / PACKAGE
LONGEST_MODULE = 300  # lines
LONGEST_FUNCTION = 60
LONGEST_DEMO = 350
PURE = ("protocol", "origin", "forges", "recognise", "oauth.wire", "coder.api")
EFFECTS = {"os", "socket", "subprocess", "time"}
ABOVE_OAUTH = ("vault", "operations", "cli", "coder", "commands")
VOICES = {"say", "cli"}
# What speaks without being asked to a file: anywhere but in a voice it is a mistake.
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}
SPEAKERS = {"print", "print_exc", "print_exception", "warn", "basicConfig"}
DEVICES = {"/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2"}


def _name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


TEXTS = {_name(path): path.read_text() for path in sorted(SOURCE.rglob("*.py"))}
TREES = {name: ast.parse(text) for name, text in TEXTS.items()}
every_module = pytest.mark.parametrize("module", TREES)


def imports(tree: ast.AST) -> set[str]:
    """Full names of all that is imported anywhere, functions and TYPE_CHECKING included; `from a import b`: both."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be read alone"
            module = node.module or ""
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def ours(tree: ast.AST) -> set[str]:
    """The modules of the package that are imported. Its root is one only where something in it is asked for."""
    names = {name.removeprefix(f"{PACKAGE}.") for name in imports(tree) if name.startswith(f"{PACKAGE}.")}
    return {name for name in names if name in TREES}


def names(tree: ast.AST, module: str) -> bool:
    """Whether it is imported, used by that name, or named whole in a string."""
    return any(name.partition(".")[0] == module for name in imports(tree)) or any(
        (isinstance(node, ast.Name) and node.id == module) or (isinstance(node, ast.Constant) and node.value == module)
        for node in ast.walk(tree)
    )


def spoken(tree: ast.AST) -> Iterator[str]:
    """Where something is written to standard output or standard error."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in STREAMS and _is(node.value, "sys"):
            yield f"{node.lineno}: sys.{node.attr}"
        elif isinstance(node, ast.Constant) and node.value in DEVICES:
            yield f"{node.lineno}: {node.value}"
        elif isinstance(node, ast.Call):
            called = _called(node)
            if called in SPEAKERS:
                yield f"{node.lineno}: {called}()"
            elif called in {"write", "_write", "writev", "fdopen", "open"} and _descriptor(node):
                yield f"{node.lineno}: {called}({_descriptor(node)})"


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _descriptor(node: ast.Call) -> int | None:
    first = node.args[0] if node.args else None
    return first.value if isinstance(first, ast.Constant) and first.value in {1, 2} else None  # type: ignore[return-value]


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def test_the_checks_see_what_they_look_for() -> None:
    """Each on a few lines that break its rule, so that a blind check does not pass for a clean house."""
    tree = ast.parse(
        "import os.path\ndef f():\n  from git_credential_forge import say, vault\n  import httpx as h\n"
        "import_module('httpx')\nsys.stderr.write('')\nprint(1)\nos.write(2, b'')\nwith open('/dev/stderr'): pass\n"
    )
    assert {"os.path", "httpx", "git_credential_forge.say"} <= imports(tree)
    assert ours(tree) == {"say", "vault"}
    assert names(tree, "httpx")
    assert names(ast.parse("import_module('httpx')"), "httpx")
    assert list(spoken(tree)) != []
    assert {said.partition(": ")[2] for said in spoken(tree)} == {"sys.stderr", "print()", "write(2)", "/dev/stderr"}
    assert list(functions(tree)) == [("f", 3)]


def test_no_import_cycle() -> None:
    """Arrows go down, also those inside functions, which are there for cost and not to cure a cycle."""
    graph = {name: ours(tree) - {name} for name, tree in TREES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


@every_module
def test_one_module_knows_httpx(module: str) -> None:
    """All that is said to a forge goes through oauth/http.py."""
    assert names(TREES[module], "httpx") == (module == "oauth.http")


@every_module
def test_two_modules_start_programs(module: str) -> None:
    """git.py runs git, oauth/browser.py the opener. The demo is a program beside ours, and looks after itself."""
    if not module.startswith("demo."):
        assert names(TREES[module], "subprocess") == (module in {"git", "oauth.browser"})


@every_module
def test_the_demo_stands_alone(module: str) -> None:
    """It proves the installed command, so it takes no part of it but its voice, and lends none; it stays small."""
    known = ours(TREES[module])
    if module.startswith("demo."):
        assert {name for name in known if name.partition(".")[0] not in {"demo", "say", "errors"}} == set()
    elif module != "commands.demo":
        assert {name for name in known if name.startswith("demo.")} == set()
    assert sum(len(text.splitlines()) for name, text in TEXTS.items() if name.startswith("demo.")) <= LONGEST_DEMO


@every_module
def test_one_voice(module: str) -> None:
    """Only say.py speaks to the person, and only cli.py and say.result write to standard output."""
    said = list(spoken(TREES[module]))
    if module == "say":
        assert [line for line in said if "stdout" in line] == [line for line in said if "stdout" in line][:1]
        assert _where(TREES["say"], "stdout") == {"result"}
    elif module == "cli":
        assert [line.partition(": ")[2] for line in said if "(2)" in line or "stderr" in line] == ["_write(2)"]
        assert "_write(2, HELP.encode())" in TEXTS["cli"]
    else:
        assert said == []


def _where(tree: ast.AST, stream: str) -> set[str]:
    """The functions that name a stream of sys."""
    return {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr == stream and _is(node.value, "sys")
    }


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_do_nothing(module: str) -> None:
    """What takes bytes apart and decides has no clock, no file, no socket, no process."""
    assert {name.partition(".")[0] for name in imports(TREES[module])} & EFFECTS == set()


@pytest.mark.parametrize("module", [name for name in TREES if name.startswith("oauth")])
def test_oauth_knows_nothing_above_it(module: str) -> None:
    """It speaks to forges; what is kept, and what git asked for, is the business of its callers."""
    assert [name for name in ours(TREES[module]) if name.partition(".")[0] in ABOVE_OAUTH] == []


@every_module
def test_modules_are_short(module: str) -> None:
    """One story for each file."""
    assert len(TEXTS[module].splitlines()) <= LONGEST_MODULE


@every_module
def test_functions_are_short(module: str) -> None:
    """Each fits on a screen."""
    assert [(name, lines) for name, lines in functions(TREES[module]) if lines > LONGEST_FUNCTION] == []


@pytest.mark.parametrize("module", ["cli", "operations", "oauth.authorize", "oauth.obtain"])
def test_what_is_dear_waits_until_it_is_needed(module: str, home: Path) -> None:
    """httpx costs 60 to 90 ms, which a person's look at the browser hides and a refusal in silence does not; tempfile,
    by shutil and random, 3 of the 40 before the browser is started."""
    script = (
        f"import sys; sys.path[:0] = sys.argv[1:]; import {PACKAGE}.{module}; "
        "print([name for name in ('httpx', 'random', 'shutil', 'tempfile') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(SOURCE.parent)],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_who_waits_imports_little(home: Path) -> None:
    """Of many gits at once one acts; what speaks to a forge, and what is dear, is for that one to import."""
    dear = ["_hashlib", "httpx", "json", "socket", "ssl", "urllib.parse"]
    script = (
        f"import sys; sys.path[:0] = sys.argv[1:]; import {PACKAGE}.cli; print([name for name in sys.modules "
        f"if name in {dear} or name.startswith('{PACKAGE}.oauth')])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(SOURCE.parent)],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
