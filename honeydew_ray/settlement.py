"""Where attempts end: each verdict becomes the job's next record, which the store takes before anybody hears of it."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from honeydew_ray import lifecycle
from honeydew_ray.background import Background
from honeydew_ray.clock import Clock
from honeydew_ray.errors import PayloadError
from honeydew_ray.event_log import EventLog
from honeydew_ray.holdings import Holdings
from honeydew_ray.job import FINAL_STATES, JobId, JobRecord, JobState
from honeydew_ray.judge import Judge
from honeydew_ray.lease import Lease, Verdicts
from honeydew_ray.mailbox import Mailbox
from honeydew_ray.monitor import JobMonitor, Succeeded, Verdict
from honeydew_ray.replies import Replies
from honeydew_ray.stores.base import Store
from honeydew_ray.transport import Transport
from honeydew_ray.workforce import Workforce

log = logging.getLogger("honeydew_ray")

STORE_RETRY_S = 1.0
_REMOVED = frozenset({JobState.DONE, JobState.MOVED, JobState.CANCELLED})


class _Conclusion(NamedTuple):
    record: JobRecord
    job: JobRecord  # as it was in progress
    monitor: JobMonitor | None = None  # None: nobody watched the attempt, as the queue lost its process under it
    frees: Lease | None = None  # the worker becomes free with it, as its lease is over
    ran_s: float | None = None  # as measured by its worker


class Settlement:
    """Settles each attempt once.

    Invariants: a job that the store holds in progress has exactly one monitor here, or is among the
    holdings, unless it was just found again after the queue lost its process; the store has committed
    before anybody hears of it.
    """

    def __init__(self, store: Store, transport: Transport, judge: Judge, clock: Clock, replies: Replies, workforce: Workforce,
                 mailbox: Mailbox, background: Background, events: EventLog, made_room: Callable[[], None],
                 tell_success: Callable[[JobRecord], None] | None) -> None:
        self.monitors: dict[JobId, JobMonitor] = {}
        self.holdings = Holdings()
        self.emptied = asyncio.Event()
        self.succeeded = self.failed = 0  # attempts, since the queue was opened
        self._store = store
        self._transport = transport
        self._judge = judge
        self._clock = clock
        self._replies = replies
        self._workforce = workforce
        self._mailbox = mailbox
        self._background = background
        self._events = events
        self._made_room = made_room
        self._tell_success = tell_success
        self._called_off: set[JobId] = set()

    def in_hand(self, job_id: JobId) -> JobRecord | None:
        """The job, in progress, if it was claimed and is not settled: known, though the store may have let it go already."""
        monitor = self.monitors.get(job_id)
        return self.holdings.find(job_id) if monitor is None else monitor.job

    def call_off(self, job_id: JobId) -> None:
        """Should the job go back in line, it is cancelled instead."""
        self._called_off.add(job_id)

    async def conclude(self, verdicts: Verdicts, frees: Lease | None = None) -> None:
        """Settle the jobs of these verdicts. ``frees``: a lease whose worker becomes free when they are settled."""
        done = [(monitor, verdict) for monitor, verdict in verdicts if isinstance(verdict, Succeeded)]
        others = [(monitor, verdict) for monitor, verdict in verdicts if not isinstance(verdict, Succeeded)]
        for monitor, verdict in others:  # a failure mode takes its time, and the others need not wait for it
            self._background.spawn(self._conclude(monitor, verdict))
        conclusions = [_Conclusion(await self._judge.judge(monitor.job, verdict), monitor.job, monitor, ran_s=verdict.ran_s)
                       for monitor, verdict in done]
        if conclusions:
            conclusions[-1] = conclusions[-1]._replace(frees=frees)
            await self._mailbox.put_all(self._take, conclusions)

    async def conclude_unwatched(self, job: JobRecord, verdict: Verdict) -> None:
        """Settle a job that nobody watches."""
        self.holdings.hold(job)
        await self._mailbox.put(self._take, _Conclusion(await self._judge.judge(job, verdict), job))

    async def insist(self, command: Callable[[], Awaitable[None]]) -> None:
        """Run a command that settles a job held without a monitor, until the store has taken it."""
        while True:
            try:
                return await self._mailbox.ask(command)
            except Exception:
                log.exception("the store failed to settle a held job; trying again in %g s", STORE_RETRY_S)
                await asyncio.sleep(STORE_RETRY_S)

    async def put_back(self, jobs: Sequence[JobRecord]) -> None:
        """A command: jobs that were claimed and not issued go back in line, as if they had not been claimed."""
        now = self._clock.now()
        await self._store.nack([lifecycle.gave_back(job, now) for job in jobs])

    async def _conclude(self, monitor: JobMonitor, verdict: Verdict) -> None:
        await self._mailbox.put(self._take, _Conclusion(await self._judge.judge(monitor.job, verdict), monitor.job, monitor))

    async def _take(self, conclusions: list[_Conclusion]) -> None:
        if self._store.overlapping:  # other commands need not wait for the commit
            self._background.spawn(self._settle(conclusions))
        else:
            await self._settle(conclusions)

    async def _settle(self, conclusions: list[_Conclusion]) -> None:
        settled = [self._unless_called_off(conclusion) for conclusion in conclusions] if self._called_off else conclusions
        leaving = [conclusion.record for conclusion in settled if conclusion.record.state in _REMOVED]
        staying = [conclusion.record for conclusion in settled if conclusion.record.state not in _REMOVED]
        try:
            if leaving:
                await self._ack(leaving)
            if staying:
                await self._store.nack(staying)
        except Exception as error:
            self._settle_later(settled, error)
            return
        self._replies.ended(*(conclusion.record for conclusion in settled if conclusion.record.state in FINAL_STATES))
        for conclusion in settled:
            self._concluded(conclusion)
        if self._store.overlapping and staying:
            self._mailbox.look()

    async def _ack(self, leaving: list[JobRecord]) -> None:
        for record, held in zip(leaving, await self._store.ack(leaving), strict=True):
            if not held and record.state is JobState.CANCELLED:  # it is back in line: an earlier try put it there before it failed
                await self._store.cancel(record.id)
                self._made_room()

    def _settle_later(self, conclusions: list[_Conclusion], error: Exception) -> None:
        """Committed or not, once more does no harm: `Store.ack` and `Store.nack` are idempotent."""
        log.error("the store failed to settle %d jobs; trying again in %g s", len(conclusions), STORE_RETRY_S, exc_info=error)
        for conclusion in conclusions:  # each by itself, so that one that the store cannot take does not hold up the others
            storable = self._storable(conclusion, error) if len(conclusions) == 1 else conclusion
            take = functools.partial(self._take)  # unlike any other, so that the mailbox makes no batch of them
            asyncio.get_running_loop().call_later(STORE_RETRY_S, self._mailbox.post, take, storable)

    def _storable(self, conclusion: _Conclusion, error: Exception) -> _Conclusion:
        """A job whose note the store can never take goes to the dead list, with both errors shown, rather than be tried for ever."""
        record = conclusion.record
        if not isinstance(error, PayloadError) or record.last_error is None:
            return conclusion
        failure = record.last_error.followed_by(error, "storing the failure mode's note")
        return conclusion._replace(record=lifecycle.abandoned(conclusion.job, failure, self._clock.now()))

    def _concluded(self, conclusion: _Conclusion) -> None:
        record, job, monitor, frees, ran_s = conclusion
        self._called_off.discard(record.id)
        self.succeeded += record.state is JobState.DONE
        self.failed += record.last_error is not job.last_error
        if record.state is JobState.DONE and self._tell_success is not None:
            self._tell_success(record)
        if monitor is None:
            self.holdings.release(job)
        else:
            if self.monitors.get(record.id) is monitor:  # else the store had put the job back before it failed, and it was issued again
                del self.monitors[record.id]
            self._transport.settled(monitor.worker, monitor.token)
            monitor.conclude(record)
        self._events.concluded(job, record, None if monitor is None else monitor.worker, ran_s)
        if frees is not None:
            self._workforce.finished(frees)
        if not self.monitors:
            self.emptied.set()

    def _unless_called_off(self, conclusion: _Conclusion) -> _Conclusion:
        record = conclusion.record
        if record.id in self._called_off and record.state in (JobState.PENDING, JobState.DELAYED):
            return conclusion._replace(record=lifecycle.cancelled(record, self._clock.now()))
        return conclusion
