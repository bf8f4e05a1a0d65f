"""What keeps jobs from being run, in words."""

from __future__ import annotations

import pytest

from honeydew_ray import QueueStatus, WorkerState, WorkerStatus
from honeydew_ray.obstacle import obstacle_of


def status(*workers, suspended=False, trouble=None):
    listed = [WorkerStatus(f"photos/default/{number}", None, state, error=error) for number, (state, error) in enumerate(workers)]
    return QueueStatus("photos", 1, 0, 0, 0, suspended, "MemoryStore", listed, trouble=trouble)


FAILED = (WorkerState.FAILED_INIT, "OSError: no weights\nTraceback")
PENDING = (WorkerState.PENDING, None)
STARTING = (WorkerState.STARTING, None)
IDLE = (WorkerState.IDLE, None)


@pytest.mark.parametrize(("given", "said"), [
    (status(), 'no workers; start_workers("photos", ...)'),
    (status(IDLE, suspended=True), "suspended; resume()"),
    (status(IDLE, trouble="database away"), "database away"),
    (status(STARTING, FAILED), "no worker of the queue is up: OSError: no weights"),
    (status(PENDING, PENDING), "2 worker(s) wait for room"),
    (status(PENDING, STARTING), "still starting"),
])
def test_nobody_works(given, said):
    text = obstacle_of(given)
    assert text is not None
    assert said in text
    assert "\n" not in text


@pytest.mark.parametrize("state", [WorkerState.IDLE, WorkerState.BUSY, WorkerState.DRAINING])
def test_one_worker_will_do(state):
    assert obstacle_of(status(FAILED, PENDING, (state, None))) is None
