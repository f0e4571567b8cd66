"""`configure` and `unconfigure` with real git: the rest of the person's configuration is as it was, byte for byte."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.memory import lines, save, sign_in

BOM = b"\xef\xbb\xbf"
GH = b'[credential "https://github.com"]\n\thelper =\n\thelper = "!f() { echo username=me; echo password=of-gh; }; f"\n'
GLAB = GH.replace(b"github.com", b"gitlab.example").replace(b"of-gh", b"of-glab").replace(b"=\n", b"= \n")
USER = b"[user]\n\tname = A\n\temail = a@example.org\n"
SYSTEM = b'[credential]\n\thelper = "!f() { echo username=s; echo password=of-the-system; }; f"\n'
TOKEN = "token-of-alice"
ODD = "p a'th\"$(id)`id`\\x#y;z"


class Done(NamedTuple):
    status: int
    out: str
    err: str


class Person:
    """Somebody with a home, git and the installed program."""

    def __init__(self, home: Path, launcher: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.launcher = launcher
        self.environment = environment | {"GIT_TERMINAL_PROMPT": "0"}
        self.config = home / ".gitconfig"
        self.ours = home / ".config/git-credential-forge/gitconfig"

    def run(self, *command: str, given: bytes = b"") -> Done:
        done = subprocess.run(
            command, input=given, env=self.environment, capture_output=True, check=False, timeout=60, cwd=self.home
        )
        return Done(done.returncode, *(said.decode(errors="surrogateescape") for said in (done.stdout, done.stderr)))

    def forge(self, *words: str) -> Done:
        return self.run(str(self.launcher), *words)

    def parses(self) -> bool:
        return self.run("git", "config", "--global", "--includes", "--list").status == 0

    def password(self, host: str) -> str:
        """What git would be given for a host; empty where nothing would be."""
        done = self.run("git", "credential", "fill", given=lines("protocol=https", f"host={host}"))
        return next((line[9:] for line in done.out.splitlines() if line.startswith("password=")), "")

    def tree(self) -> dict[str, tuple[int, bytes]]:
        """Each file, link and directory of the home but for caches: its mode, and its contents or target."""
        found = {}
        for path in sorted(self.home.rglob("*")):
            name = str(path.relative_to(self.home))
            if not name.startswith(".cache"):
                found[name] = (path.lstat().st_mode, _contents(path))
        return found


def _contents(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(path.readlink())
    return path.read_bytes() if path.is_file() else b""


@pytest.fixture
def person(home: Path, installed: Path, environment: dict[str, str]) -> Person:
    """Signed in at a forge; the system has a helper of its own."""
    system = home / "system"
    system.write_bytes(SYSTEM)
    del environment["GIT_CONFIG_NOSYSTEM"]
    environment["GIT_CONFIG_SYSTEM"] = str(system)
    save(installed, environment, sign_in("forge.example"), sign_in("github.com"), sign_in("gitlab.example"))
    (home / ".config").mkdir()  # its making is no change of a person's configuration
    return Person(home, installed / "git-credential-forge", environment)


CONTENTS: dict[str, bytes] = {
    "gh": USER + GH,
    "gh and glab": GH + GLAB + USER,
    "includes": b'[include]\n\tpath = other\n[includeIf "gitdir:~/projects/"]\n\tpath = work\n' + USER,
    "empty": b"",
    "one line end": b"\n",
    "comments": b"# mine\n; and mine\n\n" + USER,
    "no line end": USER.rstrip(b"\n"),
    "CRLF": (USER + GH).replace(b"\n", b"\r\n"),
    "CRLF, no line end": USER.replace(b"\n", b"\r\n").rstrip(b"\r\n"),
    "BOM": BOM + USER,
    "BOM alone": BOM,
    "BOM and CRLF": BOM + USER.replace(b"\n", b"\r\n"),
    "not UTF-8": USER + b"[alias]\n\tx = !echo \xff\xfe\xe9\n",
    "general empty helper": USER + b"[credential]\n\thelper =\n" + GH,
    "general empty helper, last": USER + b"[credential]\n\thelper =",
    "general empty helper, spaces": b"  [credential]  \n  \thelper\t= \t\n\tuseHttpPath = false\n" + GH,
    "general empty helper, comments": b'[credential] ; mine\n\thelper = # nothing\n\thelper = "" ; nothing\n' + GH,
    "general empty helper, quoted": b'[credential]\n\thelper = ""\n' + GH,
    "general empty helper on one line": b"[credential] helper =\n" + GH,
    "general empty helper on one line, last": GH + b"[credential] helper =",
    "general empty helper, CRLF": b"[credential]\r\n\thelper =\r\n" + GH.replace(b"\n", b"\r\n"),
    "general empty helper, capitals": b"[CREDENTIAL]\n\tHelper =\n" + GH,
    "two general empty helpers": b"[credential]\n\thelper =\n" + GH + b"[credential]\n\thelper =\n" + USER,
    "general empty helper behind a BOM": BOM + b"[credential]\n\thelper =\n",
}


WIPES_GH = ("general empty helper on one line, last", "two general empty helpers")


@pytest.mark.parametrize("name", CONTENTS)
def test_the_file_is_as_it_was(person: Person, name: str) -> None:
    """Between configure (also twice) and unconfigure git's configuration parses and we answer; afterwards every byte,
    mode and name is as before."""
    person.config.write_bytes(CONTENTS[name])
    person.config.chmod(0o640)
    (person.home / "other").write_bytes(USER)
    before, whole = person.tree(), person.run("git", "config", "--global", "--list").out
    assert person.forge("configure").status == 0
    first = person.config.read_bytes()
    assert first != CONTENTS[name]
    assert person.forge("configure").status == 0
    assert person.config.read_bytes() == first
    assert person.parses()
    assert person.password("forge.example") == TOKEN
    kept = person.run("git", "config", "--global", "--list").out.splitlines()
    assert [line for line in kept if not line.startswith("include.path=~/")] == [
        line for line in whole.splitlines() if not line.startswith("include.path=~/")
    ]
    assert person.forge("unconfigure").status == 0
    assert person.tree() == before
    assert person.parses()


@pytest.mark.parametrize("name", [name for name in CONTENTS if GH in CONTENTS[name].replace(b"\r", b"")])
def test_helpers_of_single_hosts_still_answer(person: Person, name: str) -> None:
    """gh's helper goes on answering for github.com, unless the person's own file has wiped it; ours for the others,
    and the system's for nobody."""
    person.config.write_bytes(CONTENTS[name])
    before = person.password("github.com")
    assert person.forge("configure").status == 0
    assert person.password("github.com") == (before or TOKEN)
    assert before == ("" if name in WIPES_GH else "of-gh")
    assert person.password("forge.example") == TOKEN
    assert person.password("gitlab.example") == ("of-glab" if GLAB in CONTENTS[name] else TOKEN)
    assert person.password("elsewhere.example") == ""


def test_a_file_that_was_not_there_is_gone_again(person: Person) -> None:
    """Without a global config one is made, and removed again: also when configure was called twice."""
    before = person.tree()
    for _ in range(2):
        assert person.forge("configure").status == 0
    assert stat.S_IMODE(person.config.stat().st_mode) == 0o666 & ~_umask()
    assert person.password("forge.example") == TOKEN
    assert person.forge("unconfigure").out == "removed ~/.gitconfig, which configure had made\n"
    assert person.tree() == before


def test_a_file_that_we_made_and_somebody_wrote_in_stays(person: Person) -> None:
    """What the person wrote meanwhile is kept."""
    person.forge("configure")
    with person.config.open("ab") as file:
        file.write(USER)
    assert person.forge("unconfigure").status == 0
    assert person.config.read_bytes() == USER


@pytest.mark.parametrize("links", [["dotfiles/gitconfig"], ["one", "dotfiles/gitconfig"], ["absolute"]])
def test_links_are_followed_and_kept(person: Person, links: list[str]) -> None:
    """A link, or a link to a link, stays one; the file at its end is changed, its mode 0600 kept."""
    target = person.home / "dotfiles/gitconfig"
    target.parent.mkdir()
    target.write_bytes(USER)
    target.chmod(0o600)
    person.config.symlink_to(target if links == ["absolute"] else links[0])
    if len(links) > 1:
        (person.home / links[0]).symlink_to(links[1])
    before = person.tree()
    assert person.forge("configure").status == 0
    assert person.config.is_symlink()
    assert target.read_bytes().endswith(USER)
    assert target.read_bytes() != USER
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert person.password("forge.example") == TOKEN
    assert person.forge("unconfigure").status == 0
    assert person.tree() == before


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("moved", [False, True])
def test_the_xdg_file_is_as_it_was(person: Person, beside: bool, moved: bool) -> None:
    """The XDG file instead of ~/.gitconfig, or beside it: we answer, no file is made, both come back as they were."""
    if moved:
        person.environment["XDG_CONFIG_HOME"] = str(person.home / "xdg")
    xdg = person.home / ("xdg" if moved else ".config") / "git/config"
    xdg.parent.mkdir(parents=True)
    xdg.write_bytes(GH)
    if beside:
        person.config.write_bytes(USER)
    before = person.tree()
    assert person.forge("configure").status == 0
    assert person.config.exists() == beside
    assert person.password("forge.example") == TOKEN
    assert person.forge("unconfigure").status == 0
    assert person.tree() == before


@pytest.mark.parametrize("beside", [False, True])
def test_gh_in_the_xdg_file_still_answers(person: Person, beside: bool) -> None:
    """A helper for github.com wins in whichever of the two files it stands."""
    xdg = person.home / ".config/git/config"
    xdg.parent.mkdir(parents=True)
    xdg.write_bytes(GH)
    if beside:
        person.config.write_bytes(USER)
    assert person.forge("configure").status == 0
    assert person.password("forge.example") == TOKEN
    assert person.password("github.com") == "of-gh"


def test_git_config_global_names_the_file(person: Person) -> None:
    """$GIT_CONFIG_GLOBAL is what git reads, so it is what we change."""
    named = person.home / "named"
    named.write_bytes(GH)
    person.config.write_bytes(USER)
    person.environment["GIT_CONFIG_GLOBAL"] = str(named)
    before = person.tree()
    assert person.forge("configure").status == 0
    assert person.config.read_bytes() == USER
    assert person.password("forge.example") == TOKEN
    assert person.password("github.com") == "of-gh"
    assert person.forge("unconfigure").status == 0
    assert person.tree() == before
    person.environment["GIT_CONFIG_GLOBAL"] = ""
    refused = person.forge("configure")
    assert (refused.status, refused.err) == (1, "forge: GIT_CONFIG_GLOBAL is empty, so git reads no global config\n")


def test_unconfigure_without_configure_changes_nothing(person: Person) -> None:
    """It says that there was nothing to take back."""
    person.config.write_bytes(USER)
    before = person.tree()
    done = person.forge("unconfigure")
    assert done == (0, "git was not using git-credential-forge\n", "")
    assert person.tree() == before


# -- refused ----------------------------------------------------------------------------------------------


def _dangling(person: Person) -> str:
    person.config.symlink_to("nowhere")
    return f"{person.config} is a link to {person.home / 'nowhere'}, which is not there"


def _protected(person: Person) -> str:
    person.config.write_bytes(USER)
    person.config.chmod(0o444)
    return f"{person.config} is write-protected"


def _protected_target(person: Person) -> str:
    target = person.home / "target"
    target.write_bytes(USER)
    target.chmod(0o400)
    person.config.symlink_to("target")
    return f"{target} is write-protected"


def _a_directory(person: Person) -> str:
    person.config.mkdir()
    return f"{person.config}: Is a directory"


def _ours_a_directory(person: Person) -> str:
    person.ours.mkdir(parents=True)
    return f"{person.ours}: Is a directory"


def _ours_in_a_file(person: Person) -> str:
    person.ours.parent.write_bytes(b"mine\n")
    return f"{person.ours.parent}"


@pytest.mark.parametrize(
    "make", [_dangling, _protected, _protected_target, _a_directory, _ours_a_directory, _ours_in_a_file]
)
def test_what_cannot_be_done_is_refused_in_words(person: Person, make: Callable[[Person], str]) -> None:
    """One line that names the file and why, exit status 1, and nothing is changed: also not by root."""
    said = make(person)
    before = person.tree()
    done = person.forge("configure")
    assert (done.status, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert done.err.startswith(f"forge: {said}")
    assert person.tree() == before


def test_without_git_nothing_is_changed(person: Person) -> None:
    """git is asked before anything is written."""
    person.config.write_bytes(USER)
    before = person.tree()
    person.environment["PATH"] = str(person.home)
    done = person.run(f"{person.launcher}--main", "configure")
    assert done == (1, "", "forge: git is not on the PATH\n")
    assert person.tree() == before


def test_unconfigure_refuses_a_protected_file(person: Person) -> None:
    """The owner's write bit counts on the way back too, and our file stays until the include is gone."""
    person.config.write_bytes(USER)
    person.forge("configure")
    person.config.chmod(0o444)
    before = person.tree()
    done = person.forge("unconfigure")
    assert done == (1, "", f"forge: {person.config} is write-protected\n")
    assert person.tree() == before


@pytest.mark.parametrize(
    "url", ["codeberg", "ftp://codeberg.org", "https://codeberg.org/alice", "https://", "https://a b"]
)
def test_what_is_no_address_of_a_host_is_refused(person: Person, url: str) -> None:
    """In words, with nothing changed."""
    before = person.tree()
    done = person.forge("configure", url)
    assert done == (1, "", f"forge: not the address of a host, like https://codeberg.org: {url}\n")
    assert person.tree() == before


def test_a_name_before_the_host_is_refused(person: Person) -> None:
    before = person.tree()
    done = person.forge("configure", "https://alice:word@codeberg.org")
    assert done == (1, "", "forge: set up for every account there: leave out the name before codeberg.org\n")
    assert person.tree() == before


def test_a_bare_host(person: Person) -> None:
    """As `login` takes it."""
    assert person.forge("configure", "codeberg.org").out.startswith(
        "git uses git-credential-forge for https://codeberg.org\n"
    )


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFIFO])
def test_what_is_no_file_stays(person: Person, home: Path, kind: int) -> None:
    """GIT_CONFIG_GLOBAL=/dev/null is how people switch that config off: root would replace the device by a file."""
    device = home / "device"
    if kind == stat.S_IFCHR and os.geteuid() != 0:
        pytest.skip("not here: only root can make a device")
    os.mknod(device, 0o666 | kind, os.makedev(1, 3))
    elsewhere = Person(home, person.launcher, person.environment | {"GIT_CONFIG_GLOBAL": str(device)})
    done = elsewhere.forge("configure")
    assert done == (1, "", f"forge: {device} is not a regular file\n")
    assert stat.S_IFMT(device.lstat().st_mode) == kind
    assert not person.ours.exists()


def test_a_config_that_git_cannot_read(person: Person) -> None:
    """Nothing would come of it, as git itself ends there."""
    person.config.write_bytes(b"[user\n name = x\n")
    before = person.tree()
    where = f"forge: where it is wrong: git config --file {person.config} --list\n"
    assert person.forge("configure") == (1, "", f"forge: git cannot read {person.config}\n{where}")
    assert person.tree() == before
    person.config.unlink()  # or git would not end its daemon


def test_without_a_home(person: Person) -> None:
    """git has no global config then; the home that the system knows is not asked for."""
    before = person.tree()
    bare = Person(person.home, person.launcher, person.environment | {"HOME": ""})
    assert bare.forge("configure") == (1, "", "forge: HOME is not set, so git reads no global config\n")
    assert person.tree() == before


@pytest.mark.parametrize(
    ("config", "by_hand"),
    [
        ("[credential]\n\thelper =\n\thelper = forge --timeout=28800\n", "forge --timeout=28800"),
        ("[credential]\n\thelper = store\n\thelper = forge\n", "forge"),
        ("[credential]\n\thelper = '/a b/git-credential-forge' -x\n", "'/a b/git-credential-forge' -x"),
        ("[credential]\n\thelper = forge\n\thelper =\n", None),
        ("[credential]\n\thelper = store --file /home/forge/.creds\n", None),
        ("[credential]\n\thelper = store --file /forge\n", None),
        ('[credential "https://codeberg.org"]\n\thelper = forge\n', None),
    ],
)
def test_what_is_set_by_hand_is_left_alone(person: Person, config: str, by_hand: str | None) -> None:
    """The manual shows that way, with a lifetime of one's own: nothing is added to it, and no removal advised."""
    person.config.write_text(config)
    done = person.forge("configure")
    assert done.status == 0
    if by_hand:
        said = f"git uses git-credential-forge already, by helper = {by_hand} in ~/.gitconfig\n"
        assert done == (0, said, "")
        assert person.config.read_text() == config
    else:
        assert done.out.startswith("git uses git-credential-forge for every address\n")


# -- single origins ---------------------------------------------------------------------------------------


def test_single_origins(person: Person) -> None:
    """`configure URL` serves these hosts alone; another adds to them; the rest keeps the helper it had."""
    person.config.write_bytes(USER + GH)
    before = person.tree()
    done = person.forge("configure", "https://forge.example")
    assert done.out.startswith("git uses git-credential-forge for https://forge.example\n")
    assert person.password("forge.example") == TOKEN
    assert person.password("gitlab.example") == "of-the-system"
    assert person.forge("configure", "https://gitlab.example").status == 0
    assert person.password("forge.example") == TOKEN
    assert person.password("gitlab.example") == TOKEN
    assert person.password("github.com") == "of-gh"
    assert person.password("elsewhere.example") == "of-the-system"
    assert person.parses()
    assert person.forge("unconfigure").status == 0
    assert person.tree() == before


# -- the configured line ----------------------------------------------------------------------------------


def test_the_line_is_silent_when_the_program_is_gone(person: Person, installed: Path) -> None:
    """An uninstalled or copied set-up says nothing: git goes on as without a helper."""
    gone = _moved(person, installed, "gone")
    assert gone.forge("configure").status == 0
    shutil.rmtree(gone.launcher.parent)
    asked = lines("protocol=https", "host=forge.example")
    helper = gone.run("git", "config", "--global", "--includes", "credential.helper").out.strip()
    for operation in ("get", "store", "erase"):
        done = gone.run("sh", "-c", f"{helper.removeprefix('!')} {operation}", given=asked)
        assert (done.out, done.err) == ("", "")
    fill = gone.run("git", "credential", "fill", given=asked)
    assert fill == gone.run("git", "-c", "credential.helper=", "credential", "fill", given=asked)


def test_a_copied_config_means_each_home_its_own_file(person: Person) -> None:
    """The include names our file by its place in the home: another machine has another home, or another file in it."""
    person.forge("configure")
    there = person.home / "there"
    ours = there / ".config/git-credential-forge/gitconfig"
    ours.parent.mkdir(parents=True)
    ours.write_text("[credential]\n\thelper = of-there\n")
    shutil.copy(person.config, there)
    person.environment["HOME"] = str(there)
    assert person.run("git", "config", "--global", "--includes", "--get-all", "credential.helper").out == "of-there\n"


def test_an_include_of_a_missing_file_is_silent(person: Person) -> None:
    """A global config that was copied to another machine names a file that is not there: git says nothing."""
    person.config.write_bytes(USER)
    person.forge("configure")
    shutil.rmtree(person.ours.parent)
    assert person.run("git", "config", "user.name") == (0, "A\n", "")


@pytest.mark.parametrize(
    "name", ["a b", "it's", 'say "x"', "$HOME", "back\\slash", "ha#sh", "se;mi", "ü", "$(id)`id`", "\\\"'", ODD]
)
def test_any_path_of_the_program_works(person: Person, installed: Path, name: str) -> None:
    """Spaces, quotes, dollar signs, backslashes, comment signs: the line works as git reads it."""
    moved = _moved(person, installed, name)
    before = moved.tree()
    assert moved.forge("configure").status == 0
    assert moved.parses()
    assert moved.password("forge.example") == TOKEN
    stored = moved.run(
        "git", "credential", "approve", given=lines("protocol=https", "host=n.example", "username=u", "password=p")
    )
    assert stored == (0, "", "")
    assert moved.password("n.example") == "p"
    assert moved.forge("unconfigure").status == 0
    assert moved.tree() == before


@pytest.mark.parametrize("name", ["a b", 'say "x"', "back\\slash", "ha#sh", ODD])
def test_any_path_of_our_file_works(person: Person, name: str) -> None:
    """The include's path is quoted for git, whatever is in it."""
    person.environment["XDG_CONFIG_HOME"] = str(person.home / name)
    (person.home / name).mkdir()
    person.config.write_bytes(USER)
    before = person.tree()
    assert person.forge("configure").status == 0
    assert person.parses()
    assert person.password("forge.example") == TOKEN
    assert person.forge("unconfigure").status == 0
    assert person.tree() == before


def _moved(person: Person, installed: Path, name: str) -> Person:
    """The same person with the program in a directory of that name."""
    directory = person.home / name
    directory.mkdir()
    for program in ("git-credential-forge", "git-credential-forge--main"):
        shutil.copy2(installed / program, directory)
    return Person(person.home, directory / "git-credential-forge", person.environment)


# -- other general helpers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "helper",
    ["cache", "store --file=~/x y", '!f() { echo "$1" | cat; }; f', "/a/b.c*d[e]", "!a'b\\c", "manager|core^$"],
)
def test_other_general_helpers_are_named_and_can_be_removed(person: Person, helper: str) -> None:
    """Each general helper that stays is named, with what that means and the command that removes it: as printed."""
    person.config.write_bytes(USER)
    for one in ("osxkeychain", helper):
        person.run("git", "config", "--global", "--add", "credential.helper", one)
    done = person.forge("configure")
    assert f"another helper stays: {helper}; git gives it your tokens to store" in done.out.splitlines()
    start = "  to remove it: "
    commands = [line.removeprefix(start) for line in done.out.splitlines() if line.startswith(start)]
    assert len(commands) == 2
    assert person.run("sh", "-c", commands[1]) == (0, "", "")
    left = person.run("git", "config", "--global", "--get-all", "credential.helper").out
    assert left == "osxkeychain\n"
    assert person.run("sh", "-c", commands[0]).status == 0
    assert person.run("git", "config", "--global", "--no-includes", "--get-all", "credential.helper").out == ""
    assert person.password("forge.example") == TOKEN


def test_a_host_with_a_helper_of_its_own_is_named(person: Person) -> None:
    """The person learns that we do not serve it."""
    person.config.write_bytes(b'[credential "https://github.com"]\n\thelper = fake\n')
    assert "https://github.com stays with fake" in person.forge("configure").out.splitlines()


def test_what_configure_says(person: Person) -> None:
    """Where it was written, in the words that a person would use."""
    assert person.forge("configure").out == (
        "git uses git-credential-forge for every address\n"
        "  by ~/.config/git-credential-forge/gitconfig, included first in ~/.gitconfig\n"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
