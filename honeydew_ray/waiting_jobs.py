"""What a queue's clients may do to a job that no worker has: cancel it, move it to another queue, revive an abandoned one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from honeydew_ray import failpoints, lifecycle
from honeydew_ray.clock import Clock
from honeydew_ray.errors import HoneydewError, JobInProgress, JobNotFound
from honeydew_ray.event_log import EventLog
from honeydew_ray.events import EventKind
from honeydew_ray.floor import Floor
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobState
from honeydew_ray.replies import Replies
from honeydew_ray.stores.base import Query, Store
from honeydew_ray.transport import Transport

_DEPARTURE_S = 30.0  # two queues that wait for each other's answers must not do so for ever


class WaitingJobs:
    """Takes jobs out of the line, or back into it, at somebody's word.

    Invariant: a job that is moved is held here until the other queue has custody of it.
    """

    def __init__(self, queue: str, store: Store, transport: Transport, clock: Clock, replies: Replies, events: EventLog,
                 floor: Floor) -> None:
        self._queue = queue
        self._store = store
        self._transport = transport
        self._clock = clock
        self._replies = replies
        self._events = events
        self._floor = floor

    async def cancel(self, job_id: JobId) -> CancelOutcome:
        """Take a job off the queue, if it waits."""
        return await self._floor.mailbox.ask(lambda: self._cancel(job_id))

    async def move(self, job_id: JobId, queue: str) -> None:
        """Put a job in another queue, then take it off this one.

        Raises `JobNotFound`, `JobInProgress`, or what the other queue raises; then it stays here.
        """
        if queue == self._queue:
            raise HoneydewError(f"job {job_id} is in queue {queue!r} already")
        await asyncio.shield(self._floor.background.spawn(self._move(job_id, queue)))  # whoever asked may leave; the job must not stay held

    async def revive(self, job_id: JobId) -> None:
        """Put an abandoned job back in line, its failures and redeliveries counted anew. Raises `JobNotFound` if it is not abandoned."""
        job = await self._floor.mailbox.ask(lambda: self._claim_dead(job_id))
        self._replies.drop(job_id)
        await self._floor.settlement.insist(lambda: self._revive(job))

    async def departed(self, jobs: Sequence[JobRecord]) -> None:
        """Wait until what left here under these ids is gone: a job back before that would pass for known, and be removed."""
        leaving: list[asyncio.Future[Any]] = [released for job in jobs for released in self._floor.holdings.released(job.id)]
        monitors = [self._floor.monitors[job.id] for job in jobs if job.id in self._floor.monitors]
        leaving += [monitor.concluded for monitor in monitors if monitor.answered]
        if leaving and (await asyncio.wait(leaving, timeout=_DEPARTURE_S))[1]:
            raise HoneydewError(f"queue {self._queue!r} has yet to let go of a job that is to come back to it")

    async def _move(self, job_id: JobId, queue: str) -> None:
        job = await self._floor.mailbox.ask(lambda: self._hold(job_id))
        self._floor.holdings.hold(job)
        settlement = self._floor.settlement
        try:
            await self._transport.enqueue(queue, [lifecycle.arrived(job, queue, self._clock.now())])
            failpoints.hit("move.between")
        except BaseException:
            await settlement.insist(lambda: settlement.put_back([job]))
            raise
        else:
            await settlement.insist(lambda: self._let_go(job, queue))
        finally:
            self._floor.holdings.release(job)

    # -- commands, one at a time -----------------------------------------------------------------

    async def _cancel(self, job_id: JobId) -> CancelOutcome:
        page = await self._store.page(Query(ids=[job_id]))
        try:
            outcome = await self._store.cancel(job_id)
        except Exception:  # the store may have done it, or do it yet: whoever waits for the job must hear of it
            if page.jobs:
                self._floor.background.spawn(self._floor.settlement.insist(lambda: self._finish_cancel(page.jobs[0])))
            raise
        if outcome is CancelOutcome.CANCELLED:
            self._cancelled(page.jobs[0] if page.jobs else None)
        return outcome

    async def _finish_cancel(self, job: JobRecord) -> None:
        outcome = await self._store.cancel(job.id)
        known = self._floor.settlement.in_hand(job.id) or self._replies.find(job.id)  # its end is told, or will be when it is written
        if outcome is CancelOutcome.CANCELLED or not (known or (await self._store.page(Query(ids=[job.id]))).jobs):
            self._cancelled(job)

    def _cancelled(self, job: JobRecord | None) -> None:
        if job is not None:  # else somebody put it there between the two looks
            self._replies.ended(lifecycle.cancelled(job, self._clock.now()))
            self._events.tell(EventKind.CANCELLED, job)
            self._floor.isolation.forget(job.id)
        self._floor.settlement.emptied.set()
        self._floor.made_room()

    async def _hold(self, job_id: JobId) -> JobRecord:
        reserved = await self._store.reserve(1, self._clock.now(), only=job_id)
        if reserved.jobs:
            self._floor.made_room()
            return reserved.jobs[0]
        page = await self._store.page(Query(ids=[job_id], state=JobState.IN_PROGRESS))
        if page.jobs:
            raise JobInProgress(f"job {job_id} runs already; cancel it with running=True, or wait for its end")
        raise JobNotFound(f"queue {self._queue!r} has no waiting job {job_id}")

    async def _let_go(self, job: JobRecord, queue: str) -> None:
        record = lifecycle.moved(job, queue, self._clock.now())
        await self._store.ack([record])
        self._replies.ended(record)
        self._events.tell(EventKind.MOVED, record, to_queue=queue)
        self._floor.isolation.forget(job.id)
        self._floor.settlement.emptied.set()

    async def _claim_dead(self, job_id: JobId) -> JobRecord:
        reserved = await self._store.reserve(1, self._clock.now(), only=job_id, abandoned=True)
        if not reserved.jobs:
            raise JobNotFound(f"queue {self._queue!r} has no abandoned job {job_id}")
        return reserved.jobs[0]

    async def _revive(self, job: JobRecord) -> None:
        await self._store.nack([lifecycle.revived(job, self._clock.now())])
        self._events.tell(EventKind.REVIVED, job)
