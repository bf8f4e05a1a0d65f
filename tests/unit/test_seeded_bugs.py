"""The seeded bugs are still where they can be planted. ``make seeded-bugs`` shows that each is caught."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.seeded_bugs.bugs import BUGS, HAMMERED, Bug

ROOT = Path(__file__).parents[2]


ALL = {bug.name: bug for bug in [*BUGS, *(hammered.bug for hammered in HAMMERED)]}


@pytest.mark.parametrize("bug", ALL.values(), ids=ALL)
def test_a_seeded_bug_can_be_planted(bug: Bug, tmp_path: Path) -> None:
    copy = tmp_path / bug.file
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / bug.file, copy)
    bug.plant(tmp_path)
    changed = copy.read_text()
    assert changed != (ROOT / bug.file).read_text()
    compile(changed, bug.file, "exec")


def test_a_bug_that_has_lost_its_place_says_so(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match="holds 0 times"):
        Bug("lost", "file.py", "y = 1\n", "y = 2\n").plant(tmp_path)
