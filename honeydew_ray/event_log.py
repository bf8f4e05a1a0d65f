"""The latest events of a queue, kept for whoever reads them; a reader that is slow misses some and holds up nobody."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from honeydew_ray.clock import Clock
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.events import Event, EventKind
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobRecord, JobState

DEFAULT_KEPT = 10_000
"""How many events a queue keeps: about 2.5 MB."""

MAX_MESSAGE_CHARS = 500
MAX_TRACEBACK_CHARS = 1500
MAX_PROGRESS_CHARS = 200
_PROGRESS_SHARE = 10  # progress has a tenth of the room and never pushes out anything else
LINGER_S = 0.02
BUSY_LINGER_S = 0.1
BUSY, ENOUGH = 10, 500
"""A reader with something to read waits a little for more, and longer if there was much in that time, so that a busy queue is
read in large pieces: answering is what costs the queue, not telling. One that is far behind is answered at once."""

PAGE = 2000
"""The most events of one answer."""

RawEvent = tuple[Any, ...]
"""The fields of an `Event` but for the queue's name, and with the kind as a string: cheap to make, to keep and to send."""


class EventPage(NamedTuple):
    """What a reader gets: events in order, and the number that it has read up to."""

    incarnation: str
    events: list[RawEvent]
    upto: int
    missed: int  # events in between that are not kept any more
    last: int  # the number of the latest event


class EventLog:
    """Numbers and keeps events. Invariant: readers cost nothing while there is nothing new for them.

    Appending is all that the queue ever does for its readers; they come and take. So neither their
    number nor their pace can hold up a job, and memory is bounded by ``kept``; 0 keeps none.
    """

    def __init__(self, queue: str, clock: Clock, kept: int = DEFAULT_KEPT) -> None:
        self.queue = queue
        self.incarnation = ""
        self.last = 0  # the number of the latest event
        self._clock = clock
        self._kept: deque[RawEvent] = deque(maxlen=kept)
        self._progress: deque[RawEvent] = deque(maxlen=-(-kept // _PROGRESS_SHARE))
        self._off = kept == 0
        self._waiting: list[asyncio.Future[None]] = []
        self._lost_nodes: set[str] = set()
        self.closed = False

    # -- what the queue tells ------------------------------------------------------------------

    def tell(self, kind: EventKind, job: JobRecord | None = None, *, at: float | None = None, attempt: int | None = None,
             worker: str | None = None, node: str | None = None, failure: Failure | None = None, waited_s: float | None = None,
             ran_s: float | None = None, delay_s: float | None = None, to_queue: str | None = None, progress: Any = None,
             pid: int | None = None, job_id: Any = None) -> None:
        """Something happened, now or ``at`` a time."""
        if self._off:
            return
        self.last += 1
        method = None
        if job is not None:
            job_id, method = job.id, job.method
        event = (self.last, self._clock.now() if at is None else at, kind._value_, job_id, method, attempt, worker, node, failure,
                 waited_s, ran_s, delay_s, to_queue, progress, pid)
        (self._progress if kind is EventKind.PROGRESSED else self._kept).append(event)
        if self._waiting:
            self._wake()

    def opened(self, incarnation: str) -> None:
        """The queue's process begins, or begins anew."""
        self.incarnation = incarnation
        self.tell(EventKind.QUEUE_STARTED)

    def enqueued(self, jobs: Sequence[JobRecord]) -> None:
        """The queue has custody of these jobs. They come by the thousand, so this is `tell` written out, in a third of its time."""
        if self._off:
            return
        number, keep = self.last, self._kept.append
        for job in jobs:
            number += 1
            at = job.enqueued_at or 0.0  # known of all jobs that are enqueued
            delay_s, failure = job.due_at - at, job.last_error
            keep((number, at, "enqueued", job.id, job.method, None, None, None, None if failure is None else cut(failure),
                  None, None, delay_s if delay_s > 0 else None, None, None, None))
        self.last = number
        if self._waiting and jobs:
            self._wake()

    def started(self, job: JobRecord, worker: WorkerRef) -> None:
        """An attempt was issued."""
        self.tell(EventKind.STARTED, job, at=job.started_at, attempt=job.attempt, worker=worker.id, node=worker.node, waited_s=job.waited_s)

    def progressed(self, job: JobRecord, worker: WorkerRef, progress: Any) -> None:
        """A running job published its progress."""
        if not isinstance(progress, (int, float, type(None))) and len(text := str(progress)) > MAX_PROGRESS_CHARS:
            progress = text[:MAX_PROGRESS_CHARS]
        self.tell(EventKind.PROGRESSED, job, attempt=job.attempt, worker=worker.id, node=worker.node, progress=progress)

    def concluded(self, before: JobRecord, after: JobRecord, worker: WorkerRef | None, ran_s: float | None = None) -> None:
        """An attempt ended, and the store has what came of it: at most two events. ``ran_s``: as its worker measured it."""
        if self._off:
            return
        now = self._clock.now() if after.completed_at is None else after.completed_at
        failure = cut(after.last_error) if after.last_error is not before.last_error else None
        common: dict[str, Any] = {
            "at": now, "attempt": before.attempt, "failure": failure,
            "worker": worker.id if worker is not None else None, "node": worker.node if worker is not None else None,
        }
        if ran_s is None and before.started_at is not None:
            ran_s = max(now - before.started_at, 0.0)
        failed = after.failures > before.failures
        if failed:
            self.tell(EventKind.FAILED, before, waited_s=before.waited_s, ran_s=ran_s, **common)
        match after.state:
            case JobState.DONE:
                self.tell(EventKind.SUCCEEDED, before, waited_s=before.waited_s, ran_s=ran_s, **common)
            case JobState.CANCELLED:
                self.tell(EventKind.CANCELLED, before, ran_s=None if failed else ran_s, **common)
            case JobState.ABANDONED:
                self.tell(EventKind.ABANDONED, before, **common)
            case JobState.MOVED:
                self.tell(EventKind.MOVED, before, to_queue=after.moved_to, **common)
            case _ if failed:
                self.tell(EventKind.RETRYING, before, delay_s=max(after.due_at - now, 0.0), **common)
            case _ if after.redeliveries > before.redeliveries:
                self.tell(EventKind.REDELIVERED, before, ran_s=ran_s, **common)
            case _:
                self.tell(EventKind.RECALLED, before, **common)
        if failure is not None and failure.kind == "node_lost" and failure.node is not None:
            self.node_lost(failure.node)

    def node_lost(self, node: str) -> None:
        """A node with workers of this queue died; told once."""
        if node not in self._lost_nodes:
            self._lost_nodes.add(node)
            self.tell(EventKind.NODE_LOST, node=node)

    # -- what readers ask ----------------------------------------------------------------------

    def read(self, incarnation: str | None, after: int, limit: int = PAGE) -> EventPage:
        """The next events after a number of an incarnation; from the oldest that is kept, if it is another or None."""
        if incarnation != self.incarnation:
            after = 0
        found = list(_newest(self._kept, after))
        if self._progress and self._progress[-1][0] > after:
            found = list(heapq.merge(found, _newest(self._progress, after), key=_number))
        page = found[:limit]
        upto = page[-1][0] if len(found) > limit else max(self.last, after)
        return EventPage(self.incarnation, page, upto, max(upto - after - len(page), 0), self.last)

    async def wait(self, incarnation: str | None, after: int, patience_s: float) -> bool:
        """Whether there is something after that number, now or within ``patience_s`` seconds."""
        if incarnation != self.incarnation:
            return True
        if self.last <= after and not await self._something(patience_s):
            return False
        if self.last - after < ENOUGH and not self.closed:
            await asyncio.sleep(LINGER_S)
            if BUSY < self.last - after < ENOUGH:
                await asyncio.sleep(BUSY_LINGER_S - LINGER_S)
        return self.last > after

    async def _something(self, patience_s: float) -> bool:
        if self.closed:
            return False
        something: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(something)
        await asyncio.wait([something], timeout=patience_s)
        if not something.done():
            self._waiting.remove(something)
        return something.done()

    def close(self) -> None:
        """No more will happen: let every reader go."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()


def event_of(raw: RawEvent, queue: str) -> Event:
    """The event again."""
    return Event(raw[0], raw[1], EventKind(raw[2]), queue, *raw[3:])


def cut(failure: Failure | None) -> Failure | None:
    """A failure of bounded size, without the pickled exception: the ends of its texts say most."""
    if failure is None:
        return None
    if failure.exception is None and len(failure.message) <= MAX_MESSAGE_CHARS and len(failure.traceback) <= MAX_TRACEBACK_CHARS:
        return failure
    message, traceback = failure.message[:MAX_MESSAGE_CHARS], failure.traceback[-MAX_TRACEBACK_CHARS:]
    return replace(failure, message=message, traceback=traceback, exception=None)


def _newest(kept: deque[RawEvent], after: int) -> Iterator[RawEvent]:
    """Those with higher numbers, in order; looks at no others, so that who reads often reads cheaply."""
    found: list[RawEvent] = []
    for event in reversed(kept):
        if event[0] <= after:
            break
        found.append(event)
    return reversed(found)


def _number(event: RawEvent) -> int:
    return event[0]
