"""Give a failed job up."""

from __future__ import annotations

from dataclasses import dataclass

from honeydew_ray.decisions import Decision, Discard
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.job import JobRecord


@dataclass(frozen=True)
class Abandon(FailureMode):
    """A failed job goes to the queue's list of abandoned jobs, and its waiter gets `JobAbandoned`.

    >>> from honeydew_ray.testing.jobs import make_job
    >>> Abandon().decide(make_job(), Failure("exit", "WorkerDied", "exit code 1"))
    Discard()
    """

    def decide(self, job: JobRecord, failure: Failure) -> Decision:
        return Discard()
