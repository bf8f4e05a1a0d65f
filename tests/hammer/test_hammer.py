"""A short run of the hammer: every kind of fault once, and every job accounted for."""

from __future__ import annotations

import pytest

from tests.cluster.scripts import run_script

SHORT_S = 35
SHORT_SEED = 1


@pytest.mark.hammer
@pytest.mark.timeout(300)
def test_a_minute_of_kills_loses_nothing() -> None:
    finished = run_script("-m", "tests.hammer", "--seconds", SHORT_S, "--seed", SHORT_SEED, timeout_s=280)
    assert finished.code == 0, finished
    assert finished.output.splitlines()[-1] == f"passed: seed {SHORT_SEED}", finished
