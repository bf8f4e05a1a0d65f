"""The SQLite store, killed at each of its failpoints and between them: what it acknowledged is there, what it let go is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.crash_runs import BY_PARENT

RUNS = int(os.environ.get("HONEYDEW_CRASH_RUNS", "300"))
POINTS = ["enq.pre_commit", "enq.post_commit", "disp.post_reserve", "ack.pre_commit", "ack.post_commit", "nack.pre", BY_PARENT]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """One for each point, all at once: most of a run is waiting for commits. They leave other tests the processors."""
    folder, root = tmp_path_factory.mktemp("crashes"), Path(__file__).parents[2]
    started = {
        point: subprocess.Popen(["nice", "-n", "19", sys.executable, "-m", "tests.contracts.crash_runs", point, str(RUNS), str(folder)],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=root)
        for point in POINTS
    }
    yield started
    for program in started.values():
        with program:
            program.kill()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_step_the_file_holds_what_was_acknowledged(programs: dict[str, subprocess.Popen[str]], point: str) -> None:
    output, _ = programs[point].communicate()
    assert output.splitlines()[-1:] == [f"{point}: {RUNS} kills, 0 complaints"], output[-3000:]
    assert programs[point].returncode == 0
