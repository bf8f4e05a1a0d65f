"""The steps a job can take: each demands the facts it needs and the state it may start from.

    enqueued ── became_due ──> pending ── claimed ──> in_progress ─┬─ succeeded ──> done
       │                          ^                                ├─ retried ────> pending | delayed
       └── (not due) delayed ─────┘<───────── gave_back ───────────┤
                                                                   ├─ abandoned ──> abandoned
       pending | delayed | in_progress ── cancelled | moved        └─ moved ──────> moved

    abandoned ── claimed ──> in_progress ── revived ──> pending
"""

from __future__ import annotations

from typing import Any

from honeydew_ray.errors import InvalidTransition
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.payload import Payload

_WAITING = frozenset({JobState.PENDING, JobState.DELAYED})
_ALIVE = _WAITING | {JobState.IN_PROGRESS}
_RUNNING = frozenset({JobState.IN_PROGRESS})


def enqueued(job: JobRecord, queue: str, now: float, delay_s: float = 0.0) -> JobRecord:
    """A new job takes its place in a queue, due ``delay_s`` seconds from now."""
    _demand(job, "enqueued", _WAITING)
    return job._replace(queue=queue, enqueued_at=now, due_at=now + delay_s, state=_waiting_state(delay_s))


def arrived(job: JobRecord, queue: str, now: float, failure: Failure | None = None) -> JobRecord:
    """A job comes from another queue: same id and arguments, its counts begun anew, its due time kept.

    Nobody waits for it here until somebody asks: who waited for it there is told that it moved.
    """
    _demand(job, "arrived", _ALIVE)
    return job._replace(
        queue=queue, enqueued_at=now, state=_waiting_state(job.due_at - now), seq=0, attempt=0, incarnation="",
        failures=0, redeliveries=0, private=None, started_at=None, completed_at=None, client=None,
        last_error=failure or job.last_error,
    )


def became_due(job: JobRecord) -> JobRecord:
    """A delayed job's time has come."""
    _demand(job, "became_due", frozenset({JobState.DELAYED}))
    return job._replace(state=JobState.PENDING)


def claimed(job: JobRecord, incarnation: str, now: float) -> JobRecord:
    """The queue takes a job, to issue it to a worker, to move it, or, if it was abandoned, to revive it.

    One to be revived is as good as revived: should the queue's process end before it is, the job is redelivered with counts begun anew.
    """
    _demand(job, "claimed", _WAITING | {JobState.ABANDONED})
    if job.state is JobState.ABANDONED:
        job = job._replace(failures=0, redeliveries=0, private=None)
    return job._replace(
        state=JobState.IN_PROGRESS, attempt=job.attempt + 1, incarnation=incarnation, started_at=now, completed_at=None,
    )


def succeeded(job: JobRecord, now: float, result: Payload | None) -> JobRecord:
    """A worker ran the job to its end."""
    _demand(job, "succeeded", _RUNNING)
    return job._replace(state=JobState.DONE, completed_at=now, result=result)


def retried(job: JobRecord, failure: Failure, now: float, delay_s: float, private: Any) -> JobRecord:
    """The failure mode wants another attempt: to the end of the line, after ``delay_s`` seconds."""
    _demand(job, "retried", _RUNNING)
    return job._replace(
        state=_waiting_state(delay_s), due_at=now + delay_s, seq=0, failures=job.failures + 1,
        private=private, last_error=failure, started_at=None,
    )


def redelivered(job: JobRecord, reason: Failure) -> JobRecord:
    """An attempt came back through no fault of the job: to its old place in line, counted."""
    _demand(job, "redelivered", _RUNNING)
    return job._replace(state=JobState.PENDING, redeliveries=job.redeliveries + 1, last_error=reason, started_at=None)


def gave_back(job: JobRecord, now: float) -> JobRecord:
    """An attempt never started: to its old place in line, as if it had not been issued.

    The attempt's number stays used, so that its token can never be valid again.
    """
    _demand(job, "gave_back", _RUNNING)
    return job._replace(state=_waiting_state(job.due_at - now), started_at=None)


def revived(job: JobRecord, now: float) -> JobRecord:
    """Somebody submits an abandoned job again: to the end of the line, its counts begun anew.

    Numbers of attempts go on, so that no old token is valid again; the last error stays for whoever looks.
    """
    _demand(job, "revived", _RUNNING)
    return job._replace(
        state=JobState.PENDING, due_at=now, seq=0, failures=0, redeliveries=0, private=None, started_at=None,
        completed_at=None,
    )


def abandoned(job: JobRecord, failure: Failure, now: float) -> JobRecord:
    """The failure mode gave the job up."""
    _demand(job, "abandoned", _RUNNING)
    return job._replace(state=JobState.ABANDONED, failures=job.failures + 1, last_error=failure, completed_at=now)


def moved(job: JobRecord, queue: str, now: float, failure: Failure | None = None) -> JobRecord:
    """The job is safe in another queue."""
    _demand(job, "moved", _ALIVE)
    failures = job.failures + (failure is not None)
    return job._replace(state=JobState.MOVED, moved_to=queue, failures=failures, last_error=failure or job.last_error, completed_at=now)


def cancelled(job: JobRecord, now: float) -> JobRecord:
    """The job was called off."""
    _demand(job, "cancelled", _ALIVE)
    return job._replace(state=JobState.CANCELLED, completed_at=now)


def _waiting_state(delay_s: float) -> JobState:
    return JobState.DELAYED if delay_s > 0 else JobState.PENDING


def _demand(job: JobRecord, step: str, allowed: frozenset[JobState]) -> None:
    if job.state not in allowed:
        wanted = " or ".join(sorted(allowed))
        raise InvalidTransition(f"job {job.id} is {job.state} and cannot be {step}: that takes a job that is {wanted}")
