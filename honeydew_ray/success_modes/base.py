"""What a queue tells the policy that follows its successes."""

from __future__ import annotations

from abc import ABC, abstractmethod

from honeydew_ray.job import JobRecord


class SuccessMode(ABC):
    """Is told of each job that succeeded, in order, after the job has left its queue.

    It runs in the queue's process, on a thread of its own. If it raises, the error is logged and
    the job stays done; if it falls far behind, successes are dropped and their number logged.
    """

    @abstractmethod
    def succeeded(self, job: JobRecord) -> None:
        """A job is done: ``enqueued_at``, ``started_at`` and ``completed_at`` are set, and
        ``job.value()`` unpickles its result."""
