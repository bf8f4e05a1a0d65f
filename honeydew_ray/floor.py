"""The shop floor of a queue: where jobs are issued to workers, watched, and settled with the store."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, NamedTuple

from honeydew_ray import failpoints, lifecycle
from honeydew_ray.clock import Clock
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.errors import PayloadError
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobId, JobRecord, JobState, Token
from honeydew_ray.judge import Judge
from honeydew_ray.mailbox import Mailbox
from honeydew_ray.monitor import Interrupted, JobMonitor, Order, Succeeded, WorkerFate
from honeydew_ray.replies import Replies
from honeydew_ray.stores.base import Query, Store
from honeydew_ray.transport import Transport
from honeydew_ray.workforce import Workforce

log = logging.getLogger("honeydew_ray")

_STORE_RETRY_S = 1.0
_REFUSED_RETRY_S = 0.5
_LONGEST_NAP_S = 60.0  # the wall clock may be set back or forward while a delayed job waits
_REMOVED = frozenset({JobState.DONE, JobState.MOVED, JobState.CANCELLED})
FINAL_STATES = _REMOVED | {JobState.ABANDONED}


class _Conclusion(NamedTuple):
    record: JobRecord
    monitor: JobMonitor | None = None  # None: nobody watched the attempt, as the queue lost its process under it
    frees: bool = False  # whether the worker becomes free with it


class Floor:
    """Issues jobs to free workers, and settles each attempt once.

    Invariants: a job that the store holds in progress has exactly one monitor here, unless it is on
    its way to another queue or found again after the queue lost its process; while the floor is
    shut no attempt is issued; the store has committed before anybody hears of it.
    """

    def __init__(self, store: Store, transport: Transport, judge: Judge, clock: Clock, replies: Replies, workforce: Workforce,
                 tell_success: Callable[[JobRecord], None] | None) -> None:
        self.mailbox = Mailbox(self._dispatch_safely)
        self.monitors: dict[JobId, JobMonitor] = {}
        self.shut = True  # no attempt is issued: suspended, not open yet, or closed
        self.emptied = asyncio.Event()
        self._store = store
        self._transport = transport
        self._judge = judge
        self._clock = clock
        self._replies = replies
        self._workforce = workforce
        self._tell_success = tell_success
        self._called_off: set[JobId] = set()
        self._resumed: dict[str, JobMonitor] = {}  # by worker: what an earlier process of the queue left it with
        self._reattached = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._alarm: asyncio.TimerHandle | None = None

    # -- issuing -------------------------------------------------------------------------------

    def look(self) -> None:
        """Have the dispatcher look again, when the commands in line are done."""
        self.mailbox.post(_nothing, None)

    def set_alarm(self, due: float | None) -> None:
        """Look again at this time, or only when something happens."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if due is not None:
            nap = min(max(due - self._clock.now(), 0.0), _LONGEST_NAP_S)
            self._alarm = asyncio.get_running_loop().call_later(nap, self.look)

    async def _dispatch_safely(self) -> None:
        try:
            await self._dispatch()
        except Exception:  # a store in trouble: the jobs are safe where they are, so wait and look again
            log.exception("the store failed; trying again in %g s", _STORE_RETRY_S)
            self.set_alarm(self._clock.now() + _STORE_RETRY_S)

    async def _dispatch(self) -> None:
        """Issue jobs while there are jobs and free workers; then set the alarm for the next delayed one."""
        while not self.shut:
            free = self._workforce.available()
            reserved = await self._store.reserve(free, self._clock.now()) if free > 0 else None
            if reserved is None:
                return  # no alarm needed: a worker that becomes free brings us back here
            self.set_alarm(reserved.next_due)
            if not reserved.jobs:
                return
            failpoints.hit("disp.post_reserve")
            left_over = [job for job in reserved.jobs if not self._issue(job)]
            if left_over:  # the dispatcher has nobody for these: do not spin, but look again, as its mind may change
                soon = self._clock.now() + _REFUSED_RETRY_S
                self.set_alarm(soon if reserved.next_due is None else min(soon, reserved.next_due))
                await self._give_back(left_over)
                return

    def _issue(self, job: JobRecord) -> bool:
        worker = self._workforce.check_out(job)
        if worker is None:
            return False
        monitor = self.monitors[job.id] = JobMonitor(job, worker, self._transport)
        self._workforce.serves(worker, monitor)
        self.spawn(self._follow(monitor))
        return True

    async def _give_back(self, jobs: list[JobRecord]) -> None:
        try:
            await self.put_back(jobs)
        except Exception:
            self.spawn(self.insist(lambda: self.put_back(jobs)))
            raise

    async def put_back(self, jobs: Sequence[JobRecord]) -> None:
        """A command: jobs that were claimed and not issued go back in line, as if they had not been claimed."""
        now = self._clock.now()
        await self._store.nack([lifecycle.gave_back(job, now) for job in jobs])

    async def take_back_unstarted(self) -> None:
        """Take back what was issued and has not started; on return none of it can start."""
        await asyncio.gather(*(self._take_back(monitor) for monitor in list(self.monitors.values()) if not monitor.answered))

    async def _take_back(self, monitor: JobMonitor) -> None:
        recall = asyncio.ensure_future(self._transport.recall(monitor.worker, monitor.token))
        first: list[asyncio.Future[Any]] = [recall, monitor.concluded]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if recall.done() and not recall.cancelled() and recall.exception() is None and recall.result():
            await asyncio.wait([monitor.concluded])
        elif not recall.done():
            recall.cancel()

    # -- settling ------------------------------------------------------------------------------

    async def call_off(self, monitor: JobMonitor) -> JobRecord:
        """Have a job in hand ended and cancelled; what became of it, which may be something else if it ended first."""
        self._called_off.add(monitor.job.id)
        monitor.end(Order.CANCEL)
        return await asyncio.shield(monitor.concluded)

    async def insist(self, command: Callable[[], Awaitable[None]]) -> None:
        """Run a command that settles a job held without a monitor, until the store has taken it."""
        while True:
            try:
                return await self.mailbox.ask(command)
            except Exception:
                log.exception("the store failed to settle a held job; trying again in %g s", _STORE_RETRY_S)
                await asyncio.sleep(_STORE_RETRY_S)

    async def _follow(self, monitor: JobMonitor) -> None:
        verdict, fate = await monitor.watch()
        succeeded = isinstance(verdict, Succeeded) and fate is WorkerFate.FREE
        if succeeded and self._store.durable:  # its worker keeps the answer until it is settled, so it need not wait for the commit
            self._release(monitor, fate)
        if not succeeded:  # the worker need not wait for the failure mode to decide
            self._release(monitor, fate)
        record = await self._judge.judge(monitor.job, verdict)
        await self.mailbox.put(self._take_conclusions, _Conclusion(record, monitor, frees=succeeded))

    def _release(self, monitor: JobMonitor, fate: WorkerFate) -> None:
        if fate is WorkerFate.GONE:
            self._workforce.gone(monitor.worker)
        else:
            self._workforce.finished(monitor, spoilt=fate is WorkerFate.SPOILT)
        self.look()

    async def _take_conclusions(self, conclusions: list[_Conclusion]) -> None:
        if self._store.overlapping:  # other commands need not wait for the commit
            self.spawn(self._settle(conclusions))
        else:
            await self._settle(conclusions)

    async def _settle(self, conclusions: list[_Conclusion]) -> None:
        settled = [conclusion._replace(record=self._unless_called_off(conclusion.record)) for conclusion in conclusions]
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
        for conclusion in settled:
            self._concluded(conclusion)
        if self._store.overlapping and staying:
            self.look()

    async def _ack(self, leaving: list[JobRecord]) -> None:
        for record, held in zip(leaving, await self._store.ack(leaving), strict=True):
            if not held and record.state is JobState.CANCELLED:  # it is back in line: an earlier try put it there before it failed
                await self._store.cancel(record.id)

    def _settle_later(self, conclusions: list[_Conclusion], error: Exception) -> None:
        """Committed or not, once more does no harm: `Store.ack` and `Store.nack` are idempotent."""
        log.error("the store failed to settle %d jobs; trying again in %g s", len(conclusions), _STORE_RETRY_S, exc_info=error)
        for conclusion in conclusions:  # each by itself, so that one that the store cannot take does not hold up the others
            storable = self._storable(conclusion, error) if len(conclusions) == 1 else conclusion
            alone = functools.partial(self._take_conclusions)
            asyncio.get_running_loop().call_later(_STORE_RETRY_S, self.mailbox.post, alone, storable)

    def _storable(self, conclusion: _Conclusion, error: Exception) -> _Conclusion:
        """A job whose note the store can never take goes to the dead list, with both errors shown, rather than be tried for ever."""
        record = conclusion.record
        if not isinstance(error, PayloadError) or record.last_error is None or conclusion.monitor is None:
            return conclusion
        failure = record.last_error.followed_by(error, "storing the failure mode's note")
        return conclusion._replace(record=lifecycle.abandoned(conclusion.monitor.job, failure, self._clock.now()))

    def _concluded(self, conclusion: _Conclusion) -> None:
        record, monitor, frees = conclusion
        self._called_off.discard(record.id)
        if record.state in FINAL_STATES:
            self._replies.ended(record)
        if record.state is JobState.DONE and self._tell_success is not None:
            self._tell_success(record)
        if monitor is not None:
            if self.monitors.get(record.id) is monitor:  # else the store had put the job back before it failed, and it was issued again
                del self.monitors[record.id]
            self._transport.settled(monitor.worker, monitor.token)
            if frees:
                self._workforce.finished(monitor)
            monitor.concluded.set_result(record)
        if not self.monitors:
            self.emptied.set()

    def _unless_called_off(self, record: JobRecord) -> JobRecord:
        if record.id in self._called_off and record.state in (JobState.PENDING, JobState.DELAYED):
            return lifecycle.cancelled(record, self._clock.now())
        return record

    # -- workers that come, and that were there before -------------------------------------------

    async def adopt(self, worker: WorkerRef) -> None:
        """A worker is ready: it joins once it runs nothing, or with the job that an earlier process of the queue left it."""
        await self._reattached.wait()
        monitor = self._resumed.pop(worker.id, None)
        if monitor is not None and not monitor.concluded.done():
            self._workforce.adopt(worker, monitor)
            return
        if await self._transport.wait_idle(worker):
            self._workforce.adopt(worker)
            self.look()

    async def reattached(self) -> None:
        """Return when it is clear what workers hold for an earlier process of the queue: till then a job may run that seems to wait."""
        await self._reattached.wait()

    async def reattach(self, queue: str, held: Sequence[JobRecord]) -> None:
        """Take over what workers hold for an earlier process of the queue, and redeliver only what nobody holds."""
        waiting = {job.token: job for job in held}
        while True:
            if await self._take_over(queue, waiting):
                break
            await asyncio.sleep(_STORE_RETRY_S)
        self._reattached.set()
        lost = Failure("exit", "QueueRestarted", "the queue's process ended while the job was in progress, and no live worker holds it")
        for job in waiting.values():
            record = await self._judge.judge(job, Interrupted(lost.of_attempt(job.attempt, None)))
            await self.mailbox.put(self._take_conclusions, _Conclusion(record))

    async def _take_over(self, queue: str, waiting: dict[Token, JobRecord]) -> bool:
        """Whether it is clear what workers hold; until it is, nothing may be redelivered."""
        try:
            holdings = await self._transport.survivors(queue)
            held = [(worker, token) for worker, tokens in holdings for token in tokens]
            held.sort(key=lambda pair: pair[1] not in waiting)  # those that are surely meant come first
            for worker, token in held:
                await self._resume(worker, token, waiting)
        except Exception:
            log.exception("it is not clear yet what workers hold; trying again in %g s", _STORE_RETRY_S)
            return False
        return True

    def nothing_to_reattach(self) -> None:
        """The store kept nothing: whatever workers hold, nobody waits for."""
        self._reattached.set()

    async def _resume(self, worker: WorkerRef, token: Token, waiting: dict[Token, JobRecord]) -> None:
        if any(monitor.token == token for monitor in self.monitors.values()):
            return  # taken over already, before something else failed
        known = token if token in waiting else _same_attempt(token, waiting)
        job = waiting.pop(known) if known is not None else await self.mailbox.ask(lambda: self._claim_again(token))
        if job is None:  # settled before the process ended
            self._transport.settled(worker, token)
            return
        spent_s = 0.0 if job.started_at is None else max(self._clock.now() - job.started_at, 0.0)
        monitor = JobMonitor(job, worker, self._transport, resumed=token, spent_s=spent_s)
        self.monitors[job.id] = self._resumed[worker.id] = monitor
        self.spawn(self._follow(monitor))

    async def _claim_again(self, token: Token) -> JobRecord | None:
        """A job whose claim was not committed when the process ended waits in the store; if a worker holds it, claim it anew."""
        now = self._clock.now()
        page = await self._store.page(Query(ids=[token.job_id]))
        if not page.jobs or page.jobs[0].state not in (JobState.PENDING, JobState.DELAYED) or page.jobs[0].attempt + 1 != token.attempt:
            return None
        claimed = await self._store.reserve(1, now, only=token.job_id)
        return claimed.jobs[0] if claimed.jobs else None

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the commands."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the loop keeps only weak references
        task.add_done_callback(self._tasks.discard)
        return task


def _same_attempt(token: Token, waiting: Iterable[Token]) -> Token | None:
    """The token under which an earlier process took this attempt over, and claimed it anew, before it was lost too."""
    return next((other for other in waiting if other.job_id == token.job_id and other.attempt == token.attempt), None)


async def _nothing(_: list[None]) -> None:
    """A command that only brings the dispatcher to look again."""
