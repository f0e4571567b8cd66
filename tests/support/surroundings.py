"""What a program started by a test finds around itself: nothing that the machine's owner has set."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]


# As if `configure` had been run, for who asks whether git asks this program: in no file.
SET_UP = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "credential.helper", "GIT_CONFIG_VALUE_0": "forge"}


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Environment with a HOME of its own, PATH and locale: no CI, XDG_*, DISPLAY, proxy, certificate file.

    `more` is added last, so that a test can put one of them back.
    """
    home.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(home),
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        **more,
    }
