"""What keeps a queue's jobs from being run, and how one stands, in words for whoever waits for it."""

from __future__ import annotations

from honeydew_ray.job import FINAL_STATES, JobSnapshot, JobState
from honeydew_ray.status import QueueStatus, WorkerState

_ABLE = frozenset({WorkerState.IDLE, WorkerState.BUSY, WorkerState.DRAINING})


def obstacle_of(status: QueueStatus) -> str | None:
    """Why no job of the queue starts now, and what can be done about it; None if a worker is up and nothing holds it back.

    >>> obstacle_of(QueueStatus("photos", 1, 0, 0, 0, False, "MemoryStore"))
    'the queue has no workers; start_workers("photos", ...) starts some'
    """
    if status.trouble is not None:
        return f"the queue's store has trouble: {status.trouble}"
    if status.suspended:
        return "the queue is suspended; resume() lets its jobs start"
    if not status.workers:
        return f'the queue has no workers; start_workers("{status.name}", ...) starts some'
    states = {worker.state for worker in status.workers}
    if states & _ABLE:
        return None
    errors = [worker.error.splitlines()[0] for worker in status.workers if worker.error]
    if errors:
        return f"no worker of the queue is up: {errors[0]}"
    if WorkerState.STARTING in states:
        return "the queue's workers are still starting"
    return f"the queue's {len(status.workers)} worker(s) wait for room in the cluster, whose CPUs and the like `ray status` shows"


def standing_of(job: JobSnapshot, now: float) -> str:
    """How a job stands that nothing is known to hold up."""
    if job.state in FINAL_STATES:
        return "it ended just now"
    if job.state is JobState.IN_PROGRESS and job.started_at is not None:
        text = f"attempt {job.attempts} has been under way for {max(now - job.started_at, 0.0):.1f} s"
    else:
        text = f"it is {job.state}, after {job.attempts} attempt(s)"
    return text if job.last_error is None else f"{text}; one before ended so: {job.last_error}"
