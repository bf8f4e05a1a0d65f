"""The SQLite store, killed at each of its failpoints: what it acknowledged is there, what it let go is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = int(os.environ.get("HONEYDEW_CRASH_RUNS", "300"))
POINTS = ["enq.pre_commit", "enq.post_commit", "disp.post_reserve", "ack.pre_commit", "ack.post_commit", "nack.pre"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_step_the_file_holds_what_was_acknowledged(tmp_path: Path, point: str) -> None:
    program = [sys.executable, "-m", "tests.contracts.crash_runs", point, str(RUNS), str(tmp_path)]
    finished = subprocess.run(program, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert finished.stdout.splitlines()[-1:] == [f"{point}: {RUNS} kills, 0 complaints"], finished.stdout[-3000:] + finished.stderr[-3000:]
    assert finished.returncode == 0
