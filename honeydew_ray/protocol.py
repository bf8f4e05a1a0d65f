"""What the clients of a queue and the queue say to each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from honeydew_ray import lifecycle
from honeydew_ray.job import JobId, JobRecord, JobSnapshot
from honeydew_ray.payload import Buffer, Payload


class QueueInfo(NamedTuple):
    """What a client must know of the queue it talks to."""

    incarnation: str
    durable: bool
    max_pending: int | None = None


class Submission(NamedTuple):
    """What the jobs of one enqueue have in common."""

    client: str | None  # who is to be sent the results; None: nobody
    delay_s: float
    priority: int
    timeout_s: float | None
    patience_s: float = 0.0  # how long they may wait at the door of a full queue


class Row(NamedTuple):
    """What each job of an enqueue has for itself; its large buffers come as arguments of the call."""

    job_id: JobId
    method: str
    is_function: bool
    data: bytes
    buffers: int


class Collected(NamedTuple):
    """Numbered ends of jobs for one client, for one incarnation of the queue; ``forgotten``: what was kept for it before is not."""

    incarnation: str
    ends: list[tuple[int, JobSnapshot]]
    closed: bool
    forgotten: bool


def new_job(queue: str, common: Submission, row: Row, owned: Iterator[Buffer], now: float) -> JobRecord:
    """A job as it was submitted; ``owned`` are the large buffers of all jobs of the submission, in order."""
    buffers = tuple(next(owned) for _ in range(row.buffers)) if row.buffers else ()
    blank = JobRecord(row.job_id, queue, row.method, Payload(row.data, buffers), row.is_function,
                      common.priority, common.timeout_s, common.client)
    return lifecycle.enqueued(blank, queue, now, common.delay_s)
