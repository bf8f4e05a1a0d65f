"""Put a failed job in another queue."""

from __future__ import annotations

from dataclasses import dataclass

from honeydew_ray.arguments import expect_name
from honeydew_ray.decisions import Decision, MoveTo
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.job import JobRecord


@dataclass(frozen=True)
class Move(FailureMode):
    """A failed job goes to ``queue`` under the same id, and its waiter gets `JobMoved`.

    >>> from honeydew_ray.testing.jobs import make_job
    >>> Move("dead_letters").decide(make_job(), Failure("exit", "WorkerDied", "exit code 1"))
    MoveTo(queue='dead_letters')
    """

    queue: str

    def __post_init__(self) -> None:
        expect_name("Move", "queue", self.queue)

    def decide(self, job: JobRecord, failure: Failure) -> Decision:
        return MoveTo(self.queue)
