"""A queue's decisions: what it takes, whom it gives it to, and when a job leaves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from honeydew_ray.clock import Clock
from honeydew_ray.dispatchers.base import Dispatcher
from honeydew_ray.errors import QueueSuspended, StoreUnreachable
from honeydew_ray.event_log import DEFAULT_KEPT, EventLog
from honeydew_ray.events import EventKind
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.floor import Floor
from honeydew_ray.inquiries import Inquiries
from honeydew_ray.intake import Arrival, Intake
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobSnapshot, JobState
from honeydew_ray.judge import Judge, NodeLoss
from honeydew_ray.monitor import Order
from honeydew_ray.opening import Opening
from honeydew_ray.outward import outward
from honeydew_ray.policies import Caller
from honeydew_ray.replies import Replies
from honeydew_ray.roster import Load, Roster
from honeydew_ray.status import QueueStatus
from honeydew_ray.stores.base import Counts, Opened, Page, Query, Store
from honeydew_ray.transport import Transport
from honeydew_ray.waiting_jobs import WaitingJobs
from honeydew_ray.workforce import Workforce

_DRAIN_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How one queue is to behave."""

    name: str
    dispatcher: Dispatcher
    failure_mode: FailureMode
    suspended: bool | None = None  # None: as the store remembers
    result_ttl_s: float = 600.0
    max_redeliveries: int = 20
    node_loss: NodeLoss = "redeliver"
    max_pending: int | None = None  # jobs that wait; more are kept at the door
    events_kept: int = DEFAULT_KEPT


class QueueCore:
    """The deciding part of a queue: plain Python, told of time and cluster through what is passed in.

    The commands of clients and groups; the intake takes jobs in, the floor issues and settles them, and `WaitingJobs` has those that
    a client cancels, moves or revives.
    """

    def __init__(self, policy: QueuePolicy, store: Store, transport: Transport, caller: Caller, clock: Clock,
                 tell_success: Callable[[JobRecord], None] | None = None) -> None:
        self.name = policy.name
        self.incarnation = ""
        self.suspended = False
        self.replies = Replies(policy.result_ttl_s)
        self.events = EventLog(policy.name, clock, policy.events_kept)
        self.workforce = Workforce(policy.dispatcher, self.events.tell)
        judge = Judge(policy.failure_mode, transport, caller, clock, policy.max_redeliveries, policy.node_loss)
        self.floor = Floor(store, transport, judge, clock, self.replies, self.workforce, self.events, tell_success)
        self._inquiries = Inquiries(store, self.replies, self.floor.settlement.in_hand)
        self._intake = Intake(policy.name, store, self.replies, self._inquiries, self.workforce.rosters, self.floor.settlement.in_hand,
                              self.floor.mailbox, policy.max_pending, self.events)
        self.floor.made_room = self._intake.made_room
        self.waiting = WaitingJobs(policy.name, store, transport, clock, self.replies, self.events, self.floor)
        self._wanted_suspended = policy.suspended
        self._store = store
        self._clock = clock
        self._mailbox = self.floor.mailbox
        self._opening = Opening(store, policy.name)
        self._counts = Counts()  # as last seen
        self._closed = False

    async def open(self) -> None:
        """Open the store and take up where it was left; what workers still hold for it is taken over meanwhile.

        If the store cannot be reached, that happens later, and `status` says why.
        """
        loop = asyncio.get_running_loop()
        self._store.watch(lambda: _post(loop, self.wake))
        opened = await self._opening.once()
        if opened is None:
            self.floor.background.spawn(self._open_later())
        else:
            await self._begin(opened)

    async def _open_later(self) -> None:
        opened = await self._opening.at_last()
        if opened is not None:
            await self._begin(opened)

    async def _begin(self, opened: Opened) -> None:
        self.incarnation = opened.incarnation
        self.suspended = opened.suspended if self._wanted_suspended is None else self._wanted_suspended
        if self.suspended != opened.suspended:
            await self._store.remember_suspended(self.suspended)
        self.events.opened(self.incarnation)
        for job in opened.ended:
            self.replies.ended(job)
        self.floor.shut = self.suspended or self._closed
        if self._store.durable or opened.held:
            self.floor.background.spawn(self.floor.reattachment.take_over(self.name, opened.held))
        else:
            self.floor.reattachment.nothing_held()

    # -- clients -----------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[JobRecord], moved: bool = False, patience_s: float = 0.0) -> None:
        """Take custody of jobs, all or none; a job whose id is known here changes nothing.

        ``moved`` says that they come from another queue; one that had left here for there may
        return. Raises `UnknownMethod` if no worker has the method, `QueueNotFound` if the queue is stopping,
        `QueueFull` if there is no room for them within ``patience_s``.
        """
        self._opening.expect_open()
        if moved:
            await self.waiting.departed(jobs)
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[None] = loop.create_future()
        await self._mailbox.put(self._intake.take, Arrival(jobs, moved, accepted, loop.time() + patience_s))
        await accepted

    async def cancel(self, job_id: JobId, running: bool = False) -> CancelOutcome:
        """Take a waiting job off the queue; with ``running``, end one in progress too."""
        await self._ready()
        outcome = await self.waiting.cancel(job_id)
        monitor = self.floor.monitors.get(job_id)
        if outcome is not CancelOutcome.IN_PROGRESS or not running or monitor is None:
            return outcome
        record = await self.floor.call_off(monitor)
        return CancelOutcome.CANCELLED if record.state is JobState.CANCELLED else CancelOutcome.NOT_FOUND

    async def move(self, job_id: JobId, queue: str) -> None:
        """Put a waiting job in another queue, then take it off this one.

        Raises `JobNotFound`, `JobInProgress`, or what the other queue raises; then it stays here.
        """
        await self._ready()
        await self.waiting.move(job_id, queue)

    async def retry(self, job_id: JobId) -> None:
        """Put an abandoned job back in line, its failures and redeliveries counted anew. Raises `JobNotFound` if it is not abandoned."""
        await self._ready()
        await self.waiting.revive(job_id)

    async def suspend(self) -> None:
        """Stop issuing jobs. On return nothing more can start: what was issued and not started is taken back."""
        await self._ready()
        await self._mailbox.ask(lambda: self._set_suspended(True))
        await self.floor.take_back_unstarted()

    async def resume(self) -> None:
        """Issue jobs again."""
        await self._ready()
        await self._mailbox.ask(lambda: self._set_suspended(False))

    def wake(self) -> None:
        """Look for jobs now, rather than when the store would next be asked."""
        self.floor.look()

    async def describe(self, job_id: JobId) -> JobSnapshot | None:
        """How a job stands; None if it is not known, or its end is no longer kept."""
        ended = self.replies.find(job_id)
        if ended is not None and not self._store.outside:
            return ended._replace(result=None)
        page = await self.page(Query(ids=[job_id]))
        if page.jobs:
            return self._snapshot(page.jobs[0])
        ended = self.replies.find(job_id)  # meanwhile
        if ended is not None:
            return ended._replace(result=None)
        job = self.floor.settlement.in_hand(job_id)  # its end is being written: it counts once it is told
        return None if job is None else self._snapshot(job)

    async def page(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
        """Some of the jobs that the store holds."""
        await self._ready()
        return await self._mailbox.ask(lambda: self._store.page(query, cursor, limit))

    async def listing(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
        """A page of jobs for those who only look: nothing in it needs a class of the user's to be read."""
        page = await self.page(query, cursor, limit)
        return Page([outward(job) for job in page.jobs], page.cursor)

    async def expect(self, job_ids: Sequence[JobId], client: str) -> list[JobId]:
        """Send a client the ends of these jobs; those not known here are returned instead."""
        self._opening.expect_open()
        return await self._mailbox.ask(lambda: self._inquiries.expect(job_ids, client))

    async def status(self) -> QueueStatus:
        """Counts, and what each worker is doing; while the store is in trouble, the counts as last seen."""
        trouble = self._opening.trouble
        if trouble is None:
            await self.floor.reattachment.clear()
            try:
                self._counts = await self._mailbox.ask(self._store.counts)
            except StoreUnreachable as error:
                trouble = str(error)
        counts = self._counts
        return QueueStatus(
            self.name, counts.pending, counts.delayed, counts.in_progress, counts.abandoned, self.suspended,
            type(self._store).__name__, self.workforce.statuses(), stale=counts.stale, trouble=trouble or self._store.trouble,
            succeeded=self.floor.settlement.succeeded, failed=self.floor.settlement.failed,
        )

    async def _ready(self) -> None:
        """Return when it is clear what workers hold. Raises `StoreUnreachable` if the store could not be opened yet."""
        self._opening.expect_open()
        await self.floor.reattachment.clear()

    # -- workers and their groups --------------------------------------------------------------

    def update_roster(self, roster: Roster) -> bool:
        """A group says how its workers stand; False if it has said something newer before."""
        newly_ready = self.workforce.update(roster)
        for worker in newly_ready or ():
            self.floor.background.spawn(self.floor.adopt(worker))
        return newly_ready is not None

    def progressed(self, job_id: JobId, attempt: int, incarnation: str, progress: Any) -> None:
        """A running job published its progress."""
        monitor = self.floor.monitors.get(job_id)
        if monitor is not None and monitor.token == (job_id, attempt, incarnation):
            monitor.progress = progress
            self.events.progressed(monitor.job, monitor.worker, progress)

    async def load(self, group: str) -> Load:
        """How much there is to do for a group whose size follows the backlog; nothing while the queue is suspended."""
        counts = await self._mailbox.ask(self._counts_now)
        return Load(0 if self.floor.shut else counts.pending, self.workforce.idle(group))

    async def _counts_now(self) -> Counts:
        """The counts, with jobs that have come due among those that wait, though no worker is free to ask the store for them."""
        if not self._store.outside:  # one that others use, too, counts by its own clock
            await self._store.reserve(0, self._clock.now())
        return await self._store.counts()

    async def fence(self, worker_id: str, by: str) -> bool:
        """A worker fell silent: have it killed, and the job in hand redelivered. Whether there was one.

        ``by``, here and in `retire`: the incarnation of the group's process that asks, and sees to it that the worker ends.
        """
        await self.floor.reattachment.clear()
        self.workforce.retire([worker_id], by, fenced=True)
        in_hand = [monitor for monitor in self.floor.monitors.values() if monitor.worker.id == worker_id and not monitor.answered]
        for monitor in in_hand:
            monitor.end(Order.FENCE)
        return bool(in_hand)

    async def retire(self, worker_ids: list[str], by: str, shutdown_s: float | None) -> None:
        """Give these workers no more jobs; on return they run none.

        A job in hand has ``shutdown_s`` seconds (None: as long as it takes); then its worker is killed and it is redelivered.
        """
        if self._opening.trouble is None:
            await self.floor.reattachment.clear()
        leases = self.workforce.retire(worker_ids, by)
        await asyncio.gather(*(lease.cut_short() for lease in leases if len(lease.open) > 1))
        in_hand = [monitor for monitor in self.floor.monitors.values() if monitor.worker.id in worker_ids]
        if in_hand:
            await asyncio.wait([monitor.concluded for monitor in in_hand], timeout=shutdown_s)
        for monitor in in_hand:
            monitor.end(Order.DRAIN)
        if in_hand:
            await asyncio.wait([monitor.concluded for monitor in in_hand])

    # -- the end -------------------------------------------------------------------------------

    async def drain(self, timeout_s: float | None = None) -> None:
        """Take no more jobs, and return when none is left, delayed ones included.

        Raises `QueueSuspended` if the queue is suspended, then or meanwhile, and the builtin
        `TimeoutError` after ``timeout_s`` seconds; then it takes jobs again.
        """
        self._intake.closed = True
        try:
            await self._empty_within(timeout_s)
        except BaseException:
            self._intake.closed = self._closed
            raise

    async def _empty_within(self, timeout_s: float | None) -> None:
        try:
            await asyncio.wait_for(self._until_empty(), timeout_s)
        except asyncio.TimeoutError:
            left = await self._jobs_left()
            if left:  # none: before Python 3.12, wait_for does not so much as begin what has no time
                raise TimeoutError(f"queue {self.name!r} still has {left} job(s) after {timeout_s:g} s; it goes on") from None

    async def _until_empty(self) -> None:
        while True:
            if self.suspended:
                raise QueueSuspended(f"queue {self.name!r} is suspended, so its jobs would never finish; resume it first")
            self.floor.settlement.emptied.clear()  # before counting: what empties the queue while the answer is under way must be heard
            if await self._jobs_left() == 0:
                return
            try:  # who else takes rows from a table says nothing of it
                await asyncio.wait_for(self.floor.settlement.emptied.wait(), _DRAIN_LOOK_S if self._store.outside else None)
            except asyncio.TimeoutError:
                continue

    async def _jobs_left(self) -> int:
        counts = await self._mailbox.ask(self._store.counts)
        return counts.pending + counts.delayed + counts.in_progress + counts.stale

    async def close(self) -> None:
        """Take no more jobs, let waiting clients go, close the store."""
        self._intake.closed = self._closed = self.floor.shut = True
        self.floor.set_alarm(None)
        if self._opening.is_open:
            await self._mailbox.ask(self._store.close)
        self.replies.close()
        self.events.close()

    # -- commands, one at a time -----------------------------------------------------------------

    async def _set_suspended(self, suspended: bool) -> None:
        changed = suspended != self.suspended
        await self._store.remember_suspended(suspended)
        self.suspended = suspended
        if changed:
            self.events.tell(EventKind.SUSPENDED if suspended else EventKind.RESUMED)
        self.floor.shut = suspended or self._closed
        self.floor.settlement.emptied.set()  # who drains must look again

    def _snapshot(self, job: JobRecord) -> JobSnapshot:
        monitor = self.floor.monitors.get(job.id)
        return JobSnapshot.of(job, None if monitor is None else monitor.progress)


def _post(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Call something in the queue's own thread, from another one."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be woken
        loop.call_soon_threadsafe(call)
