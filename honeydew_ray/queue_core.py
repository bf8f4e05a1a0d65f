"""A queue's decisions: what it takes, whom it gives it to, and when a job leaves it."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from honeydew_ray import lifecycle
from honeydew_ray.clock import Clock
from honeydew_ray.dispatchers.base import Dispatcher, WorkerRef
from honeydew_ray.errors import HoneydewError, JobInProgress, JobNotFound, QueueNotFound, QueueSuspended, UnknownMethod
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobSnapshot, JobState
from honeydew_ray.judge import Judge
from honeydew_ray.mailbox import Mailbox
from honeydew_ray.monitor import JobMonitor, Order, Succeeded, WorkerFate
from honeydew_ray.policies import Caller
from honeydew_ray.replies import Replies
from honeydew_ray.roster import Roster
from honeydew_ray.status import QueueStatus
from honeydew_ray.stores.base import Page, Query, Store
from honeydew_ray.transport import Transport
from honeydew_ray.workforce import Workforce

log = logging.getLogger("honeydew_ray")

_STORE_RETRY_S = 1.0
_REFUSED_RETRY_S = 0.5
_DEPARTURE_S = 30.0  # two queues that wait for each other's answers must not do so for ever
_LONGEST_NAP_S = 60.0  # the wall clock may be set back or forward while a delayed job waits
_FINAL = frozenset({JobState.DONE, JobState.ABANDONED, JobState.MOVED, JobState.CANCELLED})
_REMOVED = frozenset({JobState.DONE, JobState.MOVED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How one queue is to behave."""

    name: str
    dispatcher: Dispatcher
    failure_mode: FailureMode
    suspended: bool | None = None  # None: as the store remembers
    result_ttl_s: float = 600.0
    max_redeliveries: int = 20


class _Arrival(NamedTuple):
    jobs: Sequence[JobRecord]
    moved: bool  # they come from another queue
    accepted: asyncio.Future[None]


class _Conclusion(NamedTuple):
    monitor: JobMonitor
    record: JobRecord
    frees: bool  # whether the worker becomes free with it


class QueueCore:
    """The deciding part of a queue: plain Python, told of time and cluster through what is passed in.

    Invariants: a job that the store holds in progress has exactly one monitor here, unless it is
    on its way to another queue; while the queue is suspended no attempt is issued; the store has
    committed before anybody hears of it.
    """

    def __init__(self, policy: QueuePolicy, store: Store, transport: Transport, caller: Caller, clock: Clock,
                 tell_success: Any = None) -> None:
        self.name = policy.name
        self.incarnation = ""
        self.suspended = False
        self.replies = Replies(policy.result_ttl_s)
        self.workforce = Workforce(policy.dispatcher)
        self._wanted_suspended = policy.suspended
        self._store = store
        self._transport = transport
        self._clock = clock
        self._judge = Judge(policy.failure_mode, transport, caller, clock, policy.max_redeliveries)
        self._tell_success = tell_success
        self._mailbox = Mailbox(self._dispatch_safely)
        self._monitors: dict[JobId, JobMonitor] = {}
        self._called_off: set[JobId] = set()
        self._leaving: dict[JobId, asyncio.Future[None]] = {}  # jobs that a caller has moved to another queue, until it is settled
        self._tasks: set[asyncio.Task[Any]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._stopping = False
        self._closed = False
        self._emptied = asyncio.Event()

    async def open(self) -> None:
        """Open the store and take up where it was left: what was in progress goes back in line."""
        opened = await self._store.open(self.name)
        self.incarnation = opened.incarnation
        self.suspended = opened.suspended if self._wanted_suspended is None else self._wanted_suspended
        if self.suspended != opened.suspended:
            await self._store.remember_suspended(self.suspended)
        reason = Failure("exit", "QueueRestarted", "the queue's process ended while the job was in progress")
        if opened.held:
            await self._store.nack([lifecycle.redelivered(job, reason) for job in opened.held])

    # -- clients -----------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[JobRecord], moved: bool = False) -> None:
        """Take custody of jobs, all or none; a job whose id is known here changes nothing.

        ``moved`` says that they come from another queue; one that had left here for there may
        return. Raises `UnknownMethod` if no worker has the method, `QueueNotFound` if the queue is stopping.
        """
        if moved:
            await self._departed(jobs)
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._mailbox.put(self._take_arrivals, _Arrival(jobs, moved, accepted))
        await accepted

    async def cancel(self, job_id: JobId, running: bool = False) -> CancelOutcome:
        """Take a waiting job off the queue; with ``running``, end one in progress too."""
        outcome = await self._mailbox.ask(lambda: self._cancel_waiting(job_id))
        monitor = self._monitors.get(job_id)
        if outcome is not CancelOutcome.IN_PROGRESS or not running or monitor is None:
            return outcome
        self._called_off.add(job_id)
        monitor.end(Order.CANCEL)
        record = await asyncio.shield(monitor.concluded)
        return CancelOutcome.CANCELLED if record.state is JobState.CANCELLED else CancelOutcome.NOT_FOUND

    async def move(self, job_id: JobId, queue: str) -> None:
        """Put a waiting job in another queue, then take it off this one.

        Raises `JobNotFound`, `JobInProgress`, or what the other queue raises; then it stays here.
        """
        if queue == self.name:
            raise HoneydewError(f"job {job_id} is in queue {queue!r} already")
        await asyncio.shield(self._spawn(self._move(job_id, queue)))  # whoever asked may leave; the job must not stay held

    async def suspend(self) -> None:
        """Stop issuing jobs. On return nothing more can start: what was issued and not started is taken back."""
        await self._mailbox.ask(lambda: self._set_suspended(True))
        await asyncio.gather(*(self._take_back(monitor) for monitor in list(self._monitors.values()) if not monitor.answered))

    async def resume(self) -> None:
        """Issue jobs again."""
        await self._mailbox.ask(lambda: self._set_suspended(False))

    async def describe(self, job_id: JobId) -> JobSnapshot | None:
        """How a job stands; None if it is not known, or its end is no longer kept."""
        ended = self.replies.find(job_id)
        if ended is not None:
            return ended._replace(result=None)
        page = await self.page(Query(ids=[job_id]))
        return self._snapshot(page.jobs[0]) if page.jobs else None

    async def page(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
        """Some of the jobs that the store holds."""
        return await self._mailbox.ask(lambda: self._store.page(query, cursor, limit))

    async def expect(self, job_ids: Sequence[JobId], client: str) -> list[JobId]:
        """Send a client the ends of these jobs; those not known here are returned instead."""
        return await self._mailbox.ask(lambda: self._expect(job_ids, client))

    async def status(self) -> QueueStatus:
        """Counts, and what each worker is doing."""
        counts = await self._mailbox.ask(self._store.counts)
        return QueueStatus(
            self.name, counts.pending, counts.delayed, counts.in_progress, counts.abandoned, self.suspended,
            type(self._store).__name__, self.workforce.statuses(),
        )

    # -- workers and their groups --------------------------------------------------------------

    def update_roster(self, roster: Roster) -> bool:
        """A group says how its workers stand; False if it has said something newer before."""
        newly_ready = self.workforce.update(roster)
        for worker in newly_ready or ():
            self._spawn(self._adopt(worker))
        self._look()
        return newly_ready is not None

    def progressed(self, job_id: JobId, attempt: int, incarnation: str, progress: Any) -> None:
        """A running job published its progress."""
        monitor = self._monitors.get(job_id)
        if monitor is not None and monitor.job.token == (job_id, attempt, incarnation):
            monitor.progress = progress

    async def retire(self, worker_ids: list[str], shutdown_s: float) -> None:
        """Give these workers no more jobs; on return they run none.

        A job in hand has ``shutdown_s`` seconds; then its worker is killed and it is redelivered.
        """
        in_hand = self.workforce.retire(worker_ids)
        if in_hand:
            await asyncio.wait([monitor.concluded for monitor in in_hand], timeout=shutdown_s)
        for monitor in in_hand:
            monitor.end(Order.DRAIN)
        if in_hand:
            await asyncio.wait([monitor.concluded for monitor in in_hand])

    # -- the end -------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Take no more jobs, and return when none is left, delayed ones included.

        Raises `QueueSuspended` if the queue is suspended.
        """
        if self.suspended:
            raise QueueSuspended(f"queue {self.name!r} is suspended, so its jobs would never finish; resume it first")
        self._stopping = True
        while True:
            self._emptied.clear()  # before counting: what empties the queue while the answer is under way must be heard
            counts = await self._mailbox.ask(self._store.counts)
            if counts.pending + counts.delayed + counts.in_progress == 0:
                return
            await self._emptied.wait()

    async def close(self) -> None:
        """Take no more jobs, let waiting clients go, close the store."""
        self._stopping = self._closed = True
        self._set_alarm(None)
        await self._mailbox.ask(self._store.close)
        self.replies.close()

    # -- commands, one at a time -----------------------------------------------------------------

    async def _take_arrivals(self, arrivals: list[_Arrival]) -> None:
        accepted = [arrival for arrival in arrivals if self._may_enter(arrival)]
        jobs = [job for arrival in accepted for job in arrival.jobs]
        fresh = [job for arrival in accepted for job in arrival.jobs if self._is_fresh(job, arrival.moved)]
        try:
            added = set[JobId]()
            for job, new in zip(fresh, await self._store.enqueue(fresh), strict=True):
                if new:
                    added.add(job.id)
        except Exception as error:
            if len(accepted) == 1:
                _refuse(accepted[0], error)
            else:  # one caller's jobs that the store cannot take must not fail the others'
                for arrival in accepted:
                    await self._take_arrivals([arrival])
            return
        for job in jobs:
            if job.client is not None and job.id not in added:  # known already: its end still goes to who asks again
                self.replies.expect(job.id, job.client)
        for arrival in accepted:
            if arrival.jobs and arrival.jobs[0].client is not None:
                self.replies.submitted(arrival.jobs[0].client, len(arrival.jobs))
            if not arrival.accepted.done():
                arrival.accepted.set_result(None)

    def _may_enter(self, arrival: _Arrival) -> bool:
        if self._stopping:
            _refuse(arrival, QueueNotFound(f"queue {self.name!r} is stopping and takes no more jobs"))
            return False
        for name in {job.method for job in arrival.jobs if not job.is_function}:
            if self.workforce.runs_method(name) is False:
                _refuse(arrival, UnknownMethod(
                    f"queue {self.name!r}: no worker has a method {name!r}; its workers run {', '.join(self.workforce.classes())}. "
                    'Give a method of the worker class, as in submit("classify", photo), or a function, as in submit(math.sqrt, 2)'))
                return False
        return True

    def _is_fresh(self, job: JobRecord, moved: bool) -> bool:
        end = self.replies.find(job.id)
        if end is not None and moved and end.state is JobState.MOVED:
            self.replies.drop(job.id)
            return True
        return end is None and job.id not in self._monitors  # monitored: its end may be in the store, and not told yet

    async def _take_conclusions(self, conclusions: list[_Conclusion]) -> None:
        settled = [conclusion._replace(record=self._unless_called_off(conclusion)) for conclusion in conclusions]
        leaving = [record for _, record, _ in settled if record.state in _REMOVED]
        staying = [record for _, record, _ in settled if record.state not in _REMOVED]
        try:
            if leaving:
                await self._store.ack(leaving)
            if staying:
                await self._store.nack(staying)
        except Exception:  # committed or not, once more does no harm: both are idempotent
            log.exception("queue %s: the store failed to settle %d jobs; trying again in %g s", self.name, len(settled), _STORE_RETRY_S)
            for conclusion in settled:  # each by itself, so that one that the store cannot take does not hold up the others
                alone = functools.partial(self._take_conclusions)
                asyncio.get_running_loop().call_later(_STORE_RETRY_S, self._mailbox.post, alone, conclusion)
            return
        for monitor, record, frees in settled:
            self._concluded(monitor, record, frees)

    def _concluded(self, monitor: JobMonitor, record: JobRecord, frees: bool) -> None:
        if self._monitors.get(record.id) is monitor:  # else the store had put the job back before it failed, and it was issued again
            del self._monitors[record.id]
        self._called_off.discard(record.id)
        if frees:
            self.workforce.finished(monitor)
        if record.state in _FINAL:
            self.replies.ended(record)
        if record.state is JobState.DONE and self._tell_success is not None:
            self._tell_success(record)
        monitor.concluded.set_result(record)
        if not self._monitors:
            self._emptied.set()

    def _unless_called_off(self, conclusion: _Conclusion) -> JobRecord:
        record = conclusion.record
        if record.id in self._called_off and record.state in (JobState.PENDING, JobState.DELAYED):
            return lifecycle.cancelled(record, self._clock.now())
        return record

    async def _cancel_waiting(self, job_id: JobId) -> CancelOutcome:
        page = await self._store.page(Query(ids=[job_id]))
        outcome = await self._store.cancel(job_id)
        if outcome is CancelOutcome.CANCELLED:
            self.replies.ended(lifecycle.cancelled(page.jobs[0], self._clock.now()))
            self._emptied.set()
        return outcome

    async def _departed(self, jobs: Sequence[JobRecord]) -> None:
        """Wait until what left here under these ids is gone: a job back before that would pass for known, and be removed."""
        leaving: list[asyncio.Future[Any]] = [self._leaving[job.id] for job in jobs if job.id in self._leaving]
        monitors = [self._monitors[job.id] for job in jobs if job.id in self._monitors]
        leaving += [monitor.concluded for monitor in monitors if monitor.answered]
        if leaving and (await asyncio.wait(leaving, timeout=_DEPARTURE_S))[1]:
            raise HoneydewError(f"queue {self.name!r} has yet to let go of a job that is to come back to it")

    async def _move(self, job_id: JobId, queue: str) -> None:
        job = await self._mailbox.ask(lambda: self._hold(job_id))
        leaving = self._leaving[job_id] = asyncio.get_running_loop().create_future()
        try:
            await self._transport.enqueue(queue, [lifecycle.arrived(job, queue, self._clock.now())])
        except BaseException:
            await self._insist(lambda: self._put_back([job]))
            raise
        else:
            await self._insist(lambda: self._let_go(job, queue))
        finally:
            del self._leaving[job_id]
            leaving.set_result(None)

    async def _insist(self, command: Callable[[], Awaitable[None]]) -> None:
        """Run a command that settles a job held without a monitor, until the store has taken it."""
        while True:
            try:
                return await self._mailbox.ask(command)
            except Exception:
                log.exception("queue %s: the store failed to settle a held job; trying again in %g s", self.name, _STORE_RETRY_S)
                await asyncio.sleep(_STORE_RETRY_S)

    async def _hold(self, job_id: JobId) -> JobRecord:
        now = self._clock.now()
        reserved = await self._store.reserve(1, now, only=job_id)
        if reserved.jobs:
            return reserved.jobs[0]
        page = await self._store.page(Query(ids=[job_id], state=JobState.IN_PROGRESS))
        if page.jobs:
            raise JobInProgress(f"job {job_id} runs already; cancel it with running=True, or wait for its end")
        raise JobNotFound(f"queue {self.name!r} has no waiting job {job_id}")

    async def _put_back(self, jobs: Sequence[JobRecord]) -> None:
        now = self._clock.now()
        await self._store.nack([lifecycle.gave_back(job, now) for job in jobs])

    async def _let_go(self, job: JobRecord, queue: str) -> None:
        record = lifecycle.moved(job, queue, self._clock.now())
        await self._store.ack([record])
        self.replies.ended(record)
        self._emptied.set()

    async def _set_suspended(self, suspended: bool) -> None:
        await self._store.remember_suspended(suspended)
        self.suspended = suspended

    async def _expect(self, job_ids: Sequence[JobId], client: str) -> list[JobId]:
        unknown = [job_id for job_id in job_ids if self.replies.find(job_id) is None]
        held = (await self._store.page(Query(ids=unknown), limit=len(unknown))).jobs if unknown else list[JobRecord]()
        for job in held:
            if job.state in _FINAL:  # in the dead list, for longer than ends are kept
                self.replies.send(client, JobSnapshot.of(job))
        missing = set(unknown) - {job.id for job in held} - self._monitors.keys()
        dead = {job.id for job in held if job.state in _FINAL}
        for job_id in job_ids:
            if job_id not in missing and job_id not in dead:
                self.replies.expect(job_id, client)
        return list(missing)

    # -- dispatch ----------------------------------------------------------------------------

    async def _dispatch_safely(self) -> None:
        try:
            await self._dispatch()
        except Exception:  # a store in trouble: the jobs are safe where they are, so wait and look again
            log.exception("queue %s: the store failed; trying again in %g s", self.name, _STORE_RETRY_S)
            self._set_alarm(self._clock.now() + _STORE_RETRY_S)

    async def _dispatch(self) -> None:
        """Issue jobs while there are jobs and free workers; then set the alarm for the next delayed one."""
        while not self.suspended and not self._closed:
            free = self.workforce.available()
            reserved = await self._store.reserve(free, self._clock.now()) if free > 0 else None
            if reserved is None:
                return  # no alarm needed: a worker that becomes free brings us back here
            self._set_alarm(reserved.next_due)
            if not reserved.jobs:
                return
            left_over = [job for job in reserved.jobs if not self._issue(job)]
            if left_over:  # the dispatcher has nobody for these: do not spin, but look again, as its mind may change
                soon = self._clock.now() + _REFUSED_RETRY_S
                self._set_alarm(soon if reserved.next_due is None else min(soon, reserved.next_due))
                await self._give_back(left_over)
                return

    async def _give_back(self, jobs: list[JobRecord]) -> None:
        try:
            await self._put_back(jobs)
        except Exception:
            self._spawn(self._insist(lambda: self._put_back(jobs)))
            raise

    def _issue(self, job: JobRecord) -> bool:
        worker = self.workforce.check_out(job)
        if worker is None:
            return False
        monitor = JobMonitor(job, worker, self._transport)
        self._monitors[job.id] = monitor
        self.workforce.serves(worker, monitor)
        self._spawn(self._follow(monitor))
        return True

    async def _follow(self, monitor: JobMonitor) -> None:
        verdict, fate = await monitor.watch()
        succeeded = isinstance(verdict, Succeeded) and fate is WorkerFate.FREE
        if not succeeded:  # the worker need not wait for the failure mode to decide
            self._release(monitor, fate)
        record = await self._judge.judge(monitor.job, verdict)
        await self._mailbox.put(self._take_conclusions, _Conclusion(monitor, record, frees=succeeded))

    def _release(self, monitor: JobMonitor, fate: WorkerFate) -> None:
        if fate is WorkerFate.GONE:
            self.workforce.gone(monitor.worker)
        else:
            self.workforce.finished(monitor, spoilt=fate is WorkerFate.SPOILT)
        self._look()

    async def _adopt(self, worker: WorkerRef) -> None:
        if await self._transport.wait_idle(worker):
            self.workforce.adopt(worker)
            self._look()

    async def _take_back(self, monitor: JobMonitor) -> None:
        recall = asyncio.ensure_future(self._transport.recall(monitor.worker, monitor.job.token))
        first: list[asyncio.Future[Any]] = [recall, monitor.concluded]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if recall.done() and not recall.cancelled() and recall.exception() is None and recall.result():
            await asyncio.wait([monitor.concluded])
        elif not recall.done():
            recall.cancel()

    def _snapshot(self, job: JobRecord) -> JobSnapshot:
        monitor = self._monitors.get(job.id)
        return JobSnapshot.of(job, None if monitor is None else monitor.progress)

    def _set_alarm(self, due: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if due is not None:
            nap = min(max(due - self._clock.now(), 0.0), _LONGEST_NAP_S)
            self._alarm = asyncio.get_running_loop().call_later(nap, self._look)

    def _look(self) -> None:
        """Have the dispatcher look again, when the commands in line are done."""
        self._mailbox.post(_nothing, None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # the loop keeps only weak references
        task.add_done_callback(self._tasks.discard)
        return task


def _refuse(arrival: _Arrival, error: Exception) -> None:
    if not arrival.accepted.done():  # done: whoever asked has left
        arrival.accepted.set_exception(error)


async def _nothing(_: list[None]) -> None:
    """A command that only brings the dispatcher to look again."""
