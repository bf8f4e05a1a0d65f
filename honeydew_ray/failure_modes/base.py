"""What a queue asks of the policy that deals with a failed job."""

from __future__ import annotations

from abc import ABC, abstractmethod

from honeydew_ray.decisions import Decision
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord


class FailureMode(ABC):
    """Looks at a failed job and decides what becomes of it.

    ``decide`` runs in the queue's process, on a thread of its own. If it raises, or takes longer
    than ten seconds, the job is discarded with both errors shown; it is never lost.
    Run `honeydew_ray.testing.FailureModeContract` against your own.
    """

    @abstractmethod
    def decide(self, job: JobRecord, failure: Failure) -> Decision:
        """`Discard()`, `Requeue(delay_s, private)` or `MoveTo(queue)`.

        ``job.failures`` counts the failures before this one; ``job.private`` is what the last
        `Requeue` noted. Given the same job and failure, give the same answer.
        """
