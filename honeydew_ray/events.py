"""What happens in a queue, as values."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from enum import Enum
from typing import Any, NamedTuple

from honeydew_ray.arguments import refuse
from honeydew_ray.failure import Failure


class EventKind(str, Enum):
    """What happened; a string too: ``event.kind == "failed"``.

    The first eleven are about a job. An attempt begins with ``STARTED`` and ends with one of ``SUCCEEDED``,
    ``FAILED``, ``REDELIVERED``, ``RECALLED`` and ``CANCELLED``; what is decided about a failed one follows it:
    ``RETRYING``, ``MOVED`` or ``ABANDONED``.
    """

    ENQUEUED = "enqueued"  # the queue has custody of it
    STARTED = "started"  # an attempt was issued to a worker
    PROGRESSED = "progressed"  # it published progress
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # an attempt failed through the job's own fault
    RETRYING = "retrying"  # it is to run again, after delay_s
    REDELIVERED = "redelivered"  # an attempt came back through no fault of the job; it runs again
    RECALLED = "recalled"  # an attempt was taken back, or its worker was gone, before it started
    MOVED = "moved"  # it is in another queue now
    ABANDONED = "abandoned"  # it is in the dead list
    CANCELLED = "cancelled"
    REVIVED = "revived"  # an abandoned job was submitted again
    WORKER_STARTED = "worker_started"  # a worker is ready for its first job
    WORKER_DIED = "worker_died"  # its process is gone
    WORKER_STOPPED = "worker_stopped"  # it was stopped on purpose
    NODE_LOST = "node_lost"  # a node with workers of this queue died
    QUEUE_STARTED = "queue_started"  # the queue's process opened its store; the first event of each incarnation
    SUSPENDED = "suspended"
    RESUMED = "resumed"

    __str__ = str.__str__


class Event(NamedTuple):
    """One thing that happened in a queue. Times are seconds, ``at`` since the epoch; None: does not apply.

    ``number`` counts a queue's events from 1 in each incarnation of its process, without gaps: two events
    whose numbers are not neighbours have something between them that was not kept, or not asked for.
    ``failure`` is the reason of a failure and of what follows from it, its texts cut to size and without
    the exception itself. ``waited_s`` is how long the job was due before this attempt started, ``ran_s``
    how long the attempt ran. On a worker that died, ``job_id`` is the job it had in hand.

    >>> event = Event(7, 1700000000.0, EventKind.SUCCEEDED, "photos", job_id="a1", method="classify", attempt=1, ran_s=0.25)
    >>> event.kind == "succeeded"
    True
    >>> print(event)
    2023-11-14T22:13:20.000Z photos succeeded job=a1 method=classify attempt=1 ran_s=0.250
    """

    number: int
    at: float
    kind: EventKind
    queue: str
    job_id: Any = None
    method: str | None = None
    attempt: int | None = None
    worker: str | None = None
    node: str | None = None
    failure: Failure | None = None
    waited_s: float | None = None
    ran_s: float | None = None
    delay_s: float | None = None  # enqueued, retrying: not before so many seconds from then
    to_queue: str | None = None  # moved: where it is now
    progress: Any = None  # progressed: what it published
    pid: int | None = None  # worker_started: its process

    def facts(self) -> dict[str, Any]:
        """What is known, as plain data that JSON can hold; what does not apply is left out.

        >>> Event(1, 5.0, EventKind.MOVED, "photos", job_id=("a", 1), to_queue="dead").facts()
        {'number': 1, 'at': 5.0, 'kind': 'moved', 'queue': 'photos', 'job_id': "('a', 1)", 'to_queue': 'dead'}
        """
        facts = {name: value for name, value in self._asdict().items() if value is not None}
        facts["kind"] = str(self.kind)
        if "job_id" in facts and not isinstance(self.job_id, (str, int)):
            facts["job_id"] = repr(self.job_id)
        if self.failure is not None:
            failure = self.failure
            reason: dict[str, Any] = {"kind": failure.kind, "class_name": failure.class_name, "message": failure.message}
            reason |= {"exit_code": failure.exit_code, "signal": failure.signal, "traceback": failure.traceback or None}
            facts["failure"] = {name: value for name, value in reason.items() if value is not None}
        return facts

    def __str__(self) -> str:
        return f"{_when(self.at)} {self.queue} {self.kind}{''.join(_shown(self))}"


def _when(at: float) -> str:
    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(event: Event) -> list[str]:
    """The facts of an event on one line, whatever its texts hold: control characters are written as escapes."""
    shown = [
        ("job", event.job_id), ("method", event.method), ("attempt", event.attempt), ("worker", event.worker), ("node", event.node),
        ("pid", event.pid), ("waited_s", event.waited_s), ("ran_s", event.ran_s), ("delay_s", event.delay_s), ("to", event.to_queue),
        ("progress", event.progress), ("reason", None if event.failure is None else str(event.failure)),
    ]
    return [f" {name}={_plain(value)}" for name, value in shown if value is not None]


def _plain(value: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text.isprintable() else ascii(text)


def expect_kinds(where: str, kinds: Iterable[EventKind | str]) -> frozenset[EventKind]:
    """Kinds of events, by themselves or by name. Raises ``ValueError`` for one that does not exist."""
    given = [kinds] if isinstance(kinds, str) else list(kinds)
    for kind in given:
        if kind not in list(EventKind):
            raise refuse(where, "kinds", kind, f"some of {', '.join(EventKind)}", 'kinds=["failed", "abandoned"]')
    return frozenset(EventKind(kind) for kind in given)
