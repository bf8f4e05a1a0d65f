"""Simulated lives of queues: whatever goes wrong, every promise is kept. ``make simulate SEEDS=5000`` runs more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.run import run
from tests.simulation.scenario import CASES, FAULTS

SEEDS = 200
REPLAYED = range(6)

_DIGESTS = "from tests.simulation.run import run; print(*(run(seed).history.digest() for seed in range(6)))"


@pytest.mark.timeout(900)  # half a minute where nothing else runs
def test_every_promise_is_kept_and_everything_comes_about() -> None:
    """One test for all runs, as only all together can tell that no fault and no case is left out."""
    events, came_about = Counter[str](), Counter[str]()
    for seed in range(SEEDS):
        outcome = run(seed)
        assert not outcome.complaints, str(outcome)
        events.update(event.kind for event in outcome.history.events)
        came_about += outcome.happened()
    for kind in ("start", "end", "told", "down", "answered", "healed"):  # against runs in which nothing happens
        assert events[kind] >= SEEDS / 2, f"only {events[kind]} events {kind!r} in {SEEDS} runs"
    assert {what for what in (*FAULTS, *CASES) if not came_about[what]} == set()
    assert any(what.startswith("at ") for what in came_about), "no failpoint was hit"


def test_a_seed_replays_a_run() -> None:
    once, again = ([run(seed).history.digest() for seed in REPLAYED] for _ in range(2))
    assert once == again
    assert len(set(once)) == len(REPLAYED), "seeds must differ in what happens"


def test_a_seed_replays_a_run_in_another_process() -> None:
    root = Path(__file__).parents[2]
    digests = [
        subprocess.run([sys.executable, "-c", _DIGESTS], env={**os.environ, "PYTHONHASHSEED": hash_seed}, cwd=root, check=True,
                       capture_output=True, text=True).stdout.split()
        for hash_seed in ("1", "2")
    ]
    assert digests[0] == digests[1] == [run(seed).history.digest() for seed in REPLAYED]
