"""The Python source files to measure: the standard library of the Python that runs this."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

_NOT_THE_LIBRARY = frozenset({"site-packages", "dist-packages", "__pycache__"})


def standard_library() -> Path:
    """The directory that holds the standard library."""
    return Path(sysconfig.get_path("stdlib"))


def python_files(root: Path) -> list[str]:
    """The Python files below ``root``, as sorted paths relative to it; installed packages are left out."""
    found: list[str] = []
    for directory, subdirectories, files in os.walk(root):
        subdirectories[:] = [name for name in subdirectories if name not in _NOT_THE_LIBRARY]
        found += [Path(directory, name).relative_to(root).as_posix() for name in files if name.endswith(".py")]
    return sorted(found)
