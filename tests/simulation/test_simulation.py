"""Simulated lives of queues: whatever goes wrong, every promise is kept. ``make simulate SEEDS=5000`` runs more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.run import run
from tests.simulation.scenario import FAULTS

BATCHES = 8
SEEDS = 200
REPLAYED = range(6)

_DIGESTS = "from tests.simulation.run import run; print(*(run(seed).history.digest() for seed in range(6)))"


def happened(seeds: range) -> Counter[str]:
    """Run these seeds; what happened in them, by kind. Fails on the first that breaks a promise."""
    events: Counter[str] = Counter()
    for seed in seeds:
        outcome = run(seed)
        assert not outcome.complaints, str(outcome)
        for event in outcome.history.events:
            events[event.kind] += 1
            if event.kind == "fault":
                events[str(dict(event.facts)["what"])] += 1
    return events


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_promise_is_kept(batch: int) -> None:
    size = SEEDS // BATCHES
    events = happened(range(batch * size, (batch + 1) * size))
    for kind in ("start", "end", "told", "down", "answered", "healed"):  # against runs in which nothing happens
        assert events[kind] >= size / 2, f"only {events[kind]} events {kind!r} in {size} runs"


def test_every_fault_comes_up() -> None:
    planned: Counter[str] = Counter()
    for seed in range(30):
        planned.update(str(dict(event.facts)["what"]) for event in run(seed).history.events if event.kind == "fault")
    assert set(FAULTS) <= planned.keys()
    assert any(what.startswith("at ") for what in planned), "no failpoint was hit"


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
