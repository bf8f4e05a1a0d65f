"""What keeps a queue's jobs from being run, in words for whoever waits for one."""

from __future__ import annotations

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
