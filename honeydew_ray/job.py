"""A job as its queue knows it."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from honeydew_ray.failure import Failure
from honeydew_ray.payload import Payload

JobId = Any
"""A string made by the client; in a poll queue the row's key, a tuple if compound."""


class JobState(str, Enum):
    """Where a job is; each says who moves it next."""

    DELAYED = "delayed"  # the clock: it is not due yet
    PENDING = "pending"  # the dispatcher: it is in line
    IN_PROGRESS = "in_progress"  # its monitor: a worker has it
    DONE = "done"  # nobody: it succeeded
    ABANDONED = "abandoned"  # a person: it is in the dead list
    MOVED = "moved"  # the other queue
    CANCELLED = "cancelled"  # nobody

    __str__ = str.__str__


FINAL_STATES = frozenset({JobState.DONE, JobState.ABANDONED, JobState.MOVED, JobState.CANCELLED})
"""Those in which a job has ended, well or not."""

_LAST_ATTEMPT_UNCOUNTED = frozenset({JobState.IN_PROGRESS, JobState.DONE, JobState.CANCELLED})


class CancelOutcome(str, Enum):
    """What became of an attempt to cancel a job."""

    CANCELLED = "cancelled"
    IN_PROGRESS = "in_progress"
    NOT_FOUND = "not_found"

    __str__ = str.__str__


class Token(NamedTuple):
    """Names one attempt at one job, for good; an outcome that carries another token changes nothing."""

    job_id: JobId
    attempt: int
    incarnation: str


class JobRecord(NamedTuple):
    """A job as its queue knows it, and as failure and success modes see it.

    Only the transitions in `honeydew_ray.lifecycle` make a record in another state. A tuple, because
    each job is copied four times on its way, and a tuple copies several times faster than a dataclass.
    Times are wall-clock seconds since the epoch.
    """

    id: JobId
    queue: str
    method: str  # the method's name, or a function's module and name
    payload: Payload
    is_function: bool = False  # the payload brings the function itself
    priority: int = 0  # higher runs first
    timeout_s: float | None = None
    client: str | None = None  # who is sent the result; None: nobody asked
    enqueued_at: float | None = 0.0  # None: a row that its poll queue has yet to reserve; the table does not tell since when it is there
    due_at: float = 0.0  # 0.0: as soon as it is there
    state: JobState = JobState.PENDING
    seq: int = 0  # place in line within a priority, given by the store; 0: not placed yet
    attempt: int = 0  # number of the latest attempt; numbers of attempts that never started stay used
    incarnation: str = ""  # of the queue that issued the current attempt
    failures: int = 0  # attempts that failed through the job's own fault; what Retry counts
    redeliveries: int = 0  # attempts given back through no fault of the job
    private: Any = None  # the failure mode's own note
    last_error: Failure | None = None
    started_at: float | None = None
    completed_at: float | None = None
    result: Payload | None = None
    moved_to: str | None = None

    @property
    def token(self) -> Token:
        """The current attempt's token."""
        return Token(self.id, self.attempt, self.incarnation)

    @property
    def attempts(self) -> int:
        """How many attempts started: those that failed, those given back, and the current or last."""
        return self.failures + self.redeliveries + (self.started_at is not None and self.state in _LAST_ATTEMPT_UNCOUNTED)

    @property
    def waited_s(self) -> float | None:
        """How long the job was due before its current or last attempt started, in seconds; None if none has."""
        since = max(self.enqueued_at or 0.0, self.due_at)
        return None if self.started_at is None else max(self.started_at - since, 0.0)  # clocks may be set back

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments, unpickled here and now."""
        return self.payload.load()[1]

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments, unpickled here and now."""
        return self.payload.load()[2]

    def value(self) -> Any:
        """The result of a job that is done, unpickled here and now; None before."""
        return None if self.result is None else self.result.load()


class JobSnapshot(NamedTuple):
    """How a job stands, for those who look at it from outside; ``result`` only when it is done."""

    id: JobId
    state: JobState
    method: str
    attempts: int
    enqueued_at: float | None
    started_at: float | None
    completed_at: float | None
    last_error: Failure | None
    moved_to: str | None
    result: Payload | None
    progress: Any = None

    @classmethod
    def of(cls, job: JobRecord, progress: Any = None) -> JobSnapshot:
        """The outward view of a record."""
        return cls(job.id, job.state, job.method, job.attempts, job.enqueued_at, job.started_at, job.completed_at,
                   job.last_error, job.moved_to, job.result, progress)
