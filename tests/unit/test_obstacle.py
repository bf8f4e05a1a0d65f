"""What keeps jobs from being run, in words."""

from __future__ import annotations

import pytest

from honeydew_ray import QueueStatus, WorkerState, WorkerStatus
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobSnapshot, JobState
from honeydew_ray.obstacle import obstacle_of, standing_of


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


@pytest.mark.parametrize(("state", "attempts", "started_at", "said"), [
    (JobState.IN_PROGRESS, 2, 88.0, "attempt 2 has been under way for 12.0 s"),
    (JobState.IN_PROGRESS, 1, 100.5, "attempt 1 has been under way for 0.0 s"),  # by a clock ahead of ours
    (JobState.PENDING, 0, None, "it is pending, after 0 attempt(s)"),
    (JobState.DELAYED, 3, 88.0, "it is delayed, after 3 attempt(s)"),
    (JobState.DONE, 1, 88.0, "it ended just now"),
])
def test_how_a_job_stands(state, attempts, started_at, said):
    assert standing_of(_snapshot(state, attempts, started_at, None), 100.0) == said


def test_how_a_job_stands_that_failed_before():
    job = _snapshot(JobState.PENDING, 1, 88.0, Failure("exit", "WorkerExited", "it called os._exit"))
    assert standing_of(job, 100.0) == "it is pending, after 1 attempt(s); one before ended so: exit: WorkerExited: it called os._exit"


def _snapshot(state, attempts, started_at, last_error):
    return JobSnapshot("a", state, "classify", attempts, 80.0, started_at, None, last_error, None, None)
