"""A short run of the hammer: every kind of fault once, and every job accounted for."""

from __future__ import annotations

import pytest

from tests.cluster.scripts import run_script


@pytest.mark.hammer
@pytest.mark.timeout(300)
def test_a_minute_of_kills_loses_nothing() -> None:
    finished = run_script("-m", "tests.hammer", "--seconds", "35", "--seed", "1", timeout_s=280)
    assert finished.code == 0, finished
    last = finished.output.splitlines()[-1]
    assert last == "passed: seed 1", finished
