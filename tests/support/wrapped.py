"""The program as installed, with other records: what a forge needs to be served is a record, and no code."""

from __future__ import annotations

import shutil
from pathlib import Path

# Before anything else has looked at the records.
_MAIN = """#!{python}
import sys
from git_credential_forge import forges
from git_credential_forge.forges import Kind

{change}
forges.KINDS = tuple(kinds)
forges.BY_KEY.update({{kind.key: kind for kind in kinds}})

from git_credential_forge.start import main
sys.exit(main())
"""
_MOVE = """
def moved(value):
    if isinstance(value, str):
        for host in {elsewhere!r}:
            value = value.replace("https://" + host + "/", {url!r} + "/")
    return value

kinds = [Kind(*map(moved, kind))._replace(hosts=({host!r},)) if kind.key == {key!r} else kind for kind in forges.KINDS]
"""
_ADD = "kinds = [*forges.KINDS, {record}]"


def with_moved(installed: Path, directory: Path, key: str, host: str, *elsewhere: str) -> Path:
    """Where the record of this key has one host, `host`, which has also what is `elsewhere`: for forges that exist
    once in the world."""
    return _write(installed, directory, _MOVE.format(key=key, host=host, url=f"http://{host}", elsewhere=elsewhere))


def with_record(installed: Path, directory: Path, record: str) -> Path:
    """Where there is one more; `record` is the text of it."""
    return _write(installed, directory, _ADD.format(record=record))


def _write(installed: Path, directory: Path, change: str) -> Path:
    directory.mkdir()
    shutil.copy(installed / "git-credential-forge", directory)
    main = directory / "git-credential-forge--main"
    main.write_text(_MAIN.format(python=installed / "python", change=change))
    main.chmod(0o755)
    return directory
