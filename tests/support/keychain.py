"""A keychain for tests: a credential helper that keeps its entries as files in a directory, and can be broken."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Entries are found by all that is asked for, and by no less. What stands in `broken` is done first.
HELPER = """#!/bin/sh
for operation do :; done
cd {directory} || exit 9
echo "$operation" >>calls
key= password=
while IFS= read -r line; do
  case $line in '') break ;; password=*) password=$line ;; *) key="$key $line" ;; esac
done
if [ -e broken ]; then . ./broken; fi
entry=entries/$(printf %s "$key" | tr / _)
case $operation in
  get) if [ -e "$entry" ]; then cat "$entry"; fi ;;
  store) printf '%s\\n' "$password" >"$entry" ;;
  erase) rm -f "$entry" ;;
esac
"""


class Keychain:
    def __init__(self, directory: Path, name: str = "git-credential-box") -> None:
        self._directory = directory
        self.entries = directory / "entries"
        self.entries.mkdir(parents=True)
        self.helper = directory / "bin" / name
        self.helper.parent.mkdir()
        self.helper.write_text(HELPER.format(directory=shlex.quote(str(directory))))
        self.helper.chmod(0o755)
        self._calls = directory / "calls"
        self._calls.touch()

    def calls(self) -> list[str]:
        """The operations that were asked of it since this was last asked."""
        found = self._calls.read_text().split()
        self._calls.write_text("")
        return found

    def contents(self) -> dict[str, str]:
        """What each entry is asked by -> what is kept there."""
        return {path.name.strip(): path.read_text() for path in sorted(self.entries.iterdir())}

    def breaks(self, shell: str) -> None:
        (self._directory / "broken").write_text(shell + "\n")

    def mend(self) -> None:
        (self._directory / "broken").unlink()
