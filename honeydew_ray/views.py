"""Queues and jobs as plain dictionaries, for ``--json``: numbers, text and lists, nothing that needs a class to be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from honeydew_ray import plain

if TYPE_CHECKING:  # what is described here can be shown from there
    from honeydew_ray.failure import Failure
    from honeydew_ray.job import JobId, JobRecord, JobSnapshot
    from honeydew_ray.status import QueueStatus, WorkerStatus

_KEYS: Mapping[type, Callable[[Any], str]] = {UUID: str, Decimal: str, date: date.isoformat, datetime: datetime.isoformat}


def status_view(status: QueueStatus) -> dict[str, Any]:
    """A queue's status; counts are of jobs, ``succeeded`` and ``failed`` of attempts since the queue's process started."""
    return {
        "name": status.name, "store": status.store, "suspended": status.suspended, "pid": status.pid,
        "pending": status.pending, "delayed": status.delayed, "in_progress": status.in_progress, "abandoned": status.abandoned,
        "succeeded": status.succeeded, "failed": status.failed, "stale": status.stale, "trouble": status.trouble,
        "workers": [worker_view(worker) for worker in status.workers],
    }


def worker_view(worker: WorkerStatus) -> dict[str, Any]:
    """One worker of a status."""
    return {
        "id": worker.id, "group": worker.group, "state": str(worker.state), "node": worker.node, "pid": worker.pid,
        "job": id_view(worker.job), "progress": worker.progress, "error": worker.error,
    }


def job_view(job: JobRecord) -> dict[str, Any]:
    """A job that a queue holds. Times are seconds since the epoch, None if not known; ``arguments`` is a description of Python objects."""
    return {
        "id": id_view(job.id), "queue": job.queue, "state": str(job.state), "method": job.method, "arguments": arguments_of(job),
        "attempts": job.attempts, "failures": job.failures, "redeliveries": job.redeliveries, "priority": job.priority,
        "enqueued_at": job.enqueued_at, "due_at": job.due_at or None, "started_at": job.started_at, "completed_at": job.completed_at,
        "timeout_s": job.timeout_s, "note": job.private, "last_error": failure_view(job.last_error),
    }


def snapshot_view(queue: str, job: JobSnapshot) -> dict[str, Any]:
    """A job that may have left its queue. ``result`` is a description, if there is one."""
    return {
        "id": id_view(job.id), "queue": queue, "state": str(job.state), "method": job.method, "attempts": job.attempts,
        "enqueued_at": job.enqueued_at, "started_at": job.started_at, "completed_at": job.completed_at,
        "progress": job.progress, "moved_to": job.moved_to, "result": result_of(job), "last_error": failure_view(job.last_error),
    }


def failure_view(failure: Failure | None) -> dict[str, Any] | None:
    """How an attempt ended that did not succeed."""
    if failure is None:
        return None
    return {
        "kind": failure.kind, "class_name": failure.class_name, "message": failure.message, "traceback": failure.traceback,
        "exit_code": failure.exit_code, "signal": failure.signal, "attempt": failure.attempt, "node": failure.node,
    }


def id_view(job_id: JobId) -> Any:
    """A job's id: text and numbers as they are, a UUID, a date or a decimal as text, a compound key as a list."""
    if isinstance(job_id, tuple):
        return [id_view(part) for part in job_id]  # pyright: ignore[reportUnknownVariableType]
    if type(job_id) in _KEYS:
        return _KEYS[type(job_id)](job_id)
    return job_id if job_id is None or isinstance(job_id, (str, int, float)) else plain.describe(job_id)


def short_worker(worker: WorkerStatus) -> str:
    """A worker's group and slot, with its process: what tells it apart from the others of its queue."""
    slot = worker.id.rsplit("/", 1)[-1].split("-", 1)[0]
    return f"{worker.group}/{slot}" + (f" (pid {worker.pid})" if worker.pid is not None else "")


def id_text(job_id: JobId) -> str:
    """A job's id as text."""
    shown = id_view(job_id)
    return shown if isinstance(shown, str) else plain.describe(shown)


def arguments_of(job: JobRecord, limit: int = plain.LINE_CHARS) -> str:
    """A job's arguments as one line, read without running anything that they name."""
    if not job.payload.data:
        return f"<{job.payload.nbytes:,} bytes>"
    return plain.describe_call(job.payload.data, job.payload.buffers, limit)


def result_of(job: JobSnapshot, limit: int = plain.LINE_CHARS) -> str | None:
    """A result as one line, read without running anything that it names; None if there is none here."""
    if job.result is None:
        return None
    if job.result.buffers:
        return f"<{job.result.nbytes:,} bytes>"
    return plain.describe_pickle(job.result.data, limit)
