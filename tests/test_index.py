"""The names file: what the launcher reads, and when it has to ask Python."""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_credential_forge import index
from git_credential_forge.daemon import Place
from git_credential_forge.index import Row
from git_credential_forge.origin import Origin
from tests.support.surroundings import clean_environment

relaxed = settings(deadline=None)
ESCAPE = "surrogateescape"
NOW = 1_700_000_000
FORGE = Origin("https", "forge.example", 443)
ALICE = Row(NOW + 100, NOW + 7300, "", "alice")
BOB = Row(NOW + 50, NOW + 7250, "", "bob")

names = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=""), min_size=1, max_size=30)
rows = st.builds(
    Row,
    st.integers(min_value=0, max_value=1 << 40),
    st.integers(min_value=0, max_value=1 << 40),
    st.sampled_from(["", "/sub", "/a/b"]),
    names
    | st.binary(max_size=9).map(
        lambda data: "x" + data.hex() + data.translate(None, b"\t\n\0").decode("utf-8", ESCAPE)
    ),
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path), str(tmp_path / "socket"))


def file_of(place: Place) -> Path:
    return Path(place.directory, "account-https-forge.example")


@relaxed
@given(st.lists(rows, min_size=1, max_size=9))
def test_round_trip(written: list[Row]) -> None:
    """Rows come back as they went, in their order, whatever bytes a name is made of."""
    with tempfile.TemporaryDirectory() as directory:
        place = Place(directory, f"{directory}/socket")
        index.write(place, FORGE, written, NOW)
        assert index.read(place, FORGE) == written
        assert os.listdir(directory) == ["account-https-forge.example"]


def test_the_first_line_is_for_the_launcher(place: Place, home: Path) -> None:
    """The default account, as the shell's `read` reads it; then a line for each sign-in."""
    index.write(place, FORGE, [BOB, ALICE], NOW)
    command = 'IFS= read -r account <"$0" && printf %s "$account"'
    done = subprocess.run(
        ["sh", "-c", command, file_of(place)], env=clean_environment(home), stdout=subprocess.PIPE, check=True
    )
    assert done.stdout == b"bob"
    expected = f"bob\n{NOW + 50}\t{NOW + 7250}\t\tbob\n{NOW + 100}\t{NOW + 7300}\t\talice\n"
    assert file_of(place).read_text() == expected


@pytest.mark.parametrize(
    ("held", "now", "due"),
    [
        ([ALICE], NOW, NOW + 100),
        ([ALICE, BOB], NOW, NOW + 50),
        ([BOB, ALICE], NOW + 60, NOW + 100),
        ([ALICE], NOW + 100, NOW + 7300),
        ([ALICE, BOB], NOW + 1000, NOW + 7250),
        ([ALICE, BOB], NOW + 7250, NOW + 7300),
        ([ALICE, Row(NOW, NOW + 60, "", "bob")], NOW, NOW + 60),
        ([ALICE, BOB._replace(base="/sub")], NOW, 0),
        ([ALICE._replace(base="/sub")], NOW, 0),
    ],
)
def test_when_python_has_to_look(held: list[Row], now: int, due: int, place: Place) -> None:
    """The file's time is the first end, of an answer or a session, that is still to come; long past, where paths
    matter. What is over is taken out."""
    index.write(place, FORGE, held, now)
    assert file_of(place).stat().st_mtime == due
    os.utime(file_of(place), (1, 1))
    index.settle(place, FORGE, now)
    assert file_of(place).stat().st_mtime == due


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("alice", []),
        ("alice\n", []),
        ("alice\n1\t2\t\talice", [Row(1, 2, "", "alice")]),
        ("alice\n1\t2\talice\n", []),
        ("alice\n1\t2\t\talice\tmore\n", []),
        ("alice\nx\t2\t\talice\n-1\t2\t\talice\n1.5\t2\t\talice\n", []),
        ("alice\n\0\n1\t2\t\tbob\n", [Row(1, 2, "", "bob")]),
        ("alice\n1\t2\t\ta\r\n", [Row(1, 2, "", "a\r")]),
        (f"alice\n{'9' * 5000}\t2\t\talice\n1\t2\t\tbob\n", [Row(1, 2, "", "bob")]),
    ],
)
def test_a_damaged_file_is_none(text: str, found: list[Row], place: Place) -> None:
    """A line that is no sign-in is passed over, and nothing is raised."""
    file_of(place).write_bytes(text.encode())
    assert index.read(place, FORGE) == found


@pytest.mark.parametrize(
    ("now", "overdue", "left", "due"),
    [
        (NOW + 49, False, [ALICE, BOB], NOW + 50),
        (NOW + 50, True, [ALICE, BOB], NOW + 100),
        (NOW + 100, True, [ALICE, BOB], NOW + 7250),
        (NOW + 7250, True, [ALICE], NOW + 7300),
        (NOW + 7300, True, [], None),
    ],
)
def test_settle(now: int, overdue: bool, left: list[Row], due: int | None, place: Place) -> None:
    """Once something has ended the launcher no longer trusts the file, until what is over has been taken out of it."""
    index.write(place, FORGE, [ALICE, BOB], NOW)
    assert index.overdue(place, FORGE, now) is overdue
    index.settle(place, FORGE, now)
    assert index.read(place, FORGE) == left
    assert index.overdue(place, FORGE, now) is False, "also where there is no file any more"
    assert file_of(place).stat().st_mtime == due if due else not file_of(place).exists()


BELOW = Row(NOW + 50, NOW + 7250, "/code", "carol")


@pytest.mark.parametrize(
    ("rows", "now", "left"),
    [
        ([BOB, ALICE], NOW + 7249, [BOB, ALICE]),
        ([BOB, ALICE], NOW + 7250, [BOB, ALICE]),
        ([ALICE, BOB], NOW + 7250, [ALICE]),
        ([BOB, ALICE], NOW + 7300, []),
        ([BELOW, ALICE], NOW + 7250, [ALICE]),
        ([BOB, ALICE.ended(NOW)], NOW, [BOB]),
        ([ALICE.ended(NOW), BOB], NOW, [ALICE.ended(NOW), BOB]),
    ],
)
def test_the_default_account_stays(rows: list[Row], now: int, left: list[Row]) -> None:
    """By its name, also when its sign-in is over: while another account at that forge is signed in, and no longer."""
    assert index.remaining(rows, now) == left


def test_nothing_to_read(place: Place) -> None:
    """No file, a directory in its place, no permission: no sign-ins."""
    assert index.read(place, FORGE) == []
    file_of(place).mkdir()
    assert index.read(place, FORGE) == []


def test_without_rows_there_is_no_file(place: Place) -> None:
    """What remains of nobody is nothing; that there was nothing is no error."""
    index.write(place, FORGE, [ALICE], NOW)
    index.write(place, FORGE, [], NOW)
    index.write(place, FORGE, [], NOW)
    assert os.listdir(place.directory) == []


def test_only_we_may_read_it(place: Place) -> None:
    """Names are nobody else's business, whatever the umask."""
    mask = os.umask(0)
    try:
        index.write(place, FORGE, [ALICE], NOW)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(file_of(place).stat().st_mode) == 0o600


def test_a_link_in_its_place_is_replaced(place: Place, tmp_path: Path) -> None:
    """Not followed: what it leads to stays as it was."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    file_of(place).symlink_to(elsewhere)
    index.write(place, FORGE, [ALICE], NOW)
    assert elsewhere.read_text() == "precious"
    assert index.read(place, FORGE) == [ALICE]
    assert not file_of(place).is_symlink()


def test_a_failure_leaves_nothing_behind(place: Place) -> None:
    """Written aside and renamed; where that fails the half-made file goes away, and the caller is told."""
    file_of(place).mkdir()
    with pytest.raises(OSError, match="directory"):
        index.write(place, FORGE, [ALICE], NOW)
    assert os.listdir(place.directory) == [file_of(place).name]


def test_stamp(place: Place) -> None:
    """It tells a waiter that the file has changed, come or gone, without reading it."""
    stamps = [index.stamp(place, FORGE)]
    for rows in ([ALICE], [ALICE._replace(session_end=NOW + 7301)], [ALICE, BOB], []):
        index.write(place, FORGE, rows, NOW)
        stamps.append(index.stamp(place, FORGE))
        assert index.stamp(place, FORGE) == stamps[-1]
    assert stamps[0] is stamps[4] is None
    assert all(one != two for one, two in itertools.pairwise(stamps))


def test_origins(place: Place) -> None:
    """Every origin with sign-ins, and nothing else that lies there."""
    wanted = [
        Origin("http", "127.0.0.1", 3000),
        Origin("https", "[::1]", 8443),
        Origin("https", "a-b.example", 443),
        FORGE,
    ]
    for origin in reversed(wanted):
        index.write(place, origin, [ALICE], NOW)
    for name in (
        "socket",
        "now",
        "lock-names-https-forge.example",
        "account-ftp-x",
        "account-https-",
        "account-https-a b",
    ):
        Path(place.directory, name).touch()
    assert index.origins(place) == wanted
