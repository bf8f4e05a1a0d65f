"""What the end of a job that did not succeed is to those who wait for its result."""

from __future__ import annotations

from honeydew_ray import payload
from honeydew_ray.errors import JobAbandoned, JobCancelled, JobFailed, JobMoved, WorkerTraceback
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobSnapshot, JobState


def error_of(end: JobSnapshot, queue: str) -> JobCancelled | JobFailed:
    """The error for a job of this queue that ended otherwise than done; its causes are what the job raised, if that can be rebuilt
    here, and the traceback in the worker."""
    if end.state is JobState.CANCELLED:
        return JobCancelled(f"job {end.id} of queue {queue!r} was cancelled")
    failure = end.last_error or Failure("exception", "JobMoved", f"the job was moved to queue {end.moved_to!r}")
    if end.state is JobState.MOVED:
        error: JobFailed = JobMoved(end.id, end.moved_to or "", failure, end.attempts)
    else:
        error = JobAbandoned(end.id, queue, failure, end.attempts)
    original = _original(failure)
    seen = WorkerTraceback(failure.traceback) if failure.traceback else None
    if original is not None and seen is not None:
        BaseException.__setattr__(original, "__cause__", seen)  # pickled, it lost its traceback; its class may forbid assignments
    error.__cause__ = seen if original is None else original
    return error


def _original(failure: Failure) -> BaseException | None:
    if failure.exception is None:
        return None
    try:
        original = payload.loads(failure.exception)
    except Exception:  # its class may not be importable here; the text says what it was
        return None
    return original if isinstance(original, BaseException) else None
