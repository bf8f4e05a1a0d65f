"""The shop floor of a queue: where jobs are issued to free workers and watched."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence

from honeydew_ray import failpoints
from honeydew_ray.background import Background
from honeydew_ray.clock import Clock
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.event_log import EventLog
from honeydew_ray.failure import Failure
from honeydew_ray.isolation import Isolation
from honeydew_ray.job import JobRecord
from honeydew_ray.judge import Judge
from honeydew_ray.lease import Lease, Verdicts
from honeydew_ray.mailbox import Mailbox
from honeydew_ray.monitor import Interrupted, JobMonitor, Order, Succeeded, Unharmed, WorkerFate
from honeydew_ray.pace import Pace
from honeydew_ray.reattachment import Reattachment
from honeydew_ray.replies import Replies
from honeydew_ray.settlement import STORE_RETRY_S, Settlement
from honeydew_ray.stores.base import Reserved, Store
from honeydew_ray.transport import Transport
from honeydew_ray.workforce import Workforce

log = logging.getLogger("honeydew_ray")

_REFUSED_RETRY_S = 0.5
_LONGEST_NAP_S = 60.0  # the wall clock may be set back or forward while a delayed job waits


class Floor:
    """Issues jobs to free workers, a lease each, and hears how the leases end.

    Invariant: while the floor is shut no attempt is issued.
    """

    def __init__(self, store: Store, transport: Transport, judge: Judge, clock: Clock, replies: Replies, workforce: Workforce,
                 events: EventLog, tell_success: Callable[[JobRecord], None] | None) -> None:
        self.mailbox = Mailbox(self._dispatch_safely)
        self.background = Background()
        self.settlement = Settlement(store, transport, judge, clock, replies, workforce, self.mailbox, self.background, events,
                                     lambda: self.made_room(), tell_success)
        self.reattachment = Reattachment(store, transport, clock, self.mailbox, self.settlement, self._resume, lambda: self.made_room())
        self.monitors, self.holdings = self.settlement.monitors, self.settlement.holdings
        self.isolation = Isolation(workforce, self.look)
        self.made_room: Callable[[], None] = _nobody  # told when fewer jobs wait
        self.shut = True  # no attempt is issued: suspended, not open yet, or closed
        self._store = store
        self._transport = transport
        self._clock = clock
        self._judge = judge
        self._workforce = workforce
        self._events = events
        self._pace = Pace()
        self._leases: dict[Lease, None] = {}  # in the order of issue, so that a run can be repeated
        self._alarm: asyncio.TimerHandle | None = None

    # -- issuing -------------------------------------------------------------------------------

    def look(self) -> None:
        """Have the dispatcher look again, when the commands in line are done."""
        self.mailbox.look()

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
            log.exception("the store failed; trying again in %g s", STORE_RETRY_S)
            self.set_alarm(self._clock.now() + STORE_RETRY_S)

    async def _dispatch(self) -> None:
        """Issue jobs while there are jobs and free workers; then set the alarm for the next delayed one."""
        await self._issue_to_cleared()
        while not self.shut:
            room = self._workforce.room(self._pace.appetite())
            reserved = await self._store.reserve(room + self.isolation.beside(), self._clock.now()) if room > 0 else None
            if reserved is None:
                return  # no alarm needed: a worker that becomes free brings us back here
            self.set_alarm(reserved.next_due)
            if not reserved.jobs:
                return
            failpoints.hit("disp.post_reserve")
            left_over = self._issue_all([job for job in reserved.jobs if not self._withheld(job)])
            if len(left_over) < len(reserved.jobs):  # else those at the door would come, and go, and bring us back here
                self.made_room()
            if left_over:
                await self._keep_waiting(left_over, reserved)
                return

    async def _issue_to_cleared(self) -> None:
        """A job for which a worker was kept from others goes there before any other does."""
        kept = None if self.shut else self._workforce.cleared()
        if kept is not None:
            job_id, worker = kept
            reserved = await self._store.reserve(1, self._clock.now(), only=job_id)
            jobs = [job for job in reserved.jobs if not self._withheld(job)]
            if jobs:
                self._issue(jobs, worker)
                self.made_room()
            else:  # others have taken it, or made it wait longer
                self.isolation.forget(job_id)

    def _withheld(self, job: JobRecord) -> bool:
        """A job that was lost with its queue too often, as only a store of several queues can tell, is not run again."""
        poison = self._judge.is_poison(job)
        if poison:
            lost = Failure("exit", "LeaseLost", "the queue that had reserved it was lost").of_attempt(job.attempt, None)
            self.background.spawn(self.settlement.conclude_unwatched(job, Interrupted(lost)))
        return poison

    def _issue_all(self, jobs: Sequence[JobRecord]) -> list[JobRecord]:
        """Issue jobs to free workers; those that nobody takes."""
        left_over: list[JobRecord] = []
        at = 0
        while at < len(jobs):
            alone = self.isolation.applies_to(jobs[at])
            worker = self._workforce.check_out(jobs[at], alone)
            if worker is None:
                if alone:
                    self.isolation.refused(jobs[at].id)
                left_over.append(jobs[at])
                at += 1
                continue
            waiting, takers = len(jobs) - at, self._workforce.available() + 1
            most = min(self._workforce.most(worker), -(-waiting // takers))  # an even share: all are to have work
            size = 1 if alone or most == 1 else self._pace.lease_size(list(self._until_alone(jobs[at:at + most])), most)
            self._issue(jobs[at:at + size], worker)
            at += size
        return left_over

    def _until_alone(self, jobs: Sequence[JobRecord]) -> Iterator[JobRecord]:
        return itertools.takewhile(lambda job: not self.isolation.applies_to(job), jobs)

    def _issue(self, jobs: Sequence[JobRecord], worker: WorkerRef) -> None:
        company = self._workforce.has_company(worker)
        monitors = [JobMonitor(job, worker, self._transport, in_company=company) for job in jobs]
        for monitor in monitors:
            self.monitors[monitor.job.id] = monitor
            self._events.started(monitor.job, worker)
        lease = Lease(monitors, worker, self._transport, self._heard_early)
        self._workforce.serves(worker, lease)
        for job in jobs:
            self.isolation.forget(job.id)
        self._watch(lease)

    async def _keep_waiting(self, jobs: list[JobRecord], reserved: Reserved) -> None:
        """Put back jobs that nobody took."""
        if self._workforce.available() > 0:  # the dispatcher has nobody for these: do not spin, but look again, as its mind may change
            soon = self._clock.now() + _REFUSED_RETRY_S
            self.set_alarm(soon if reserved.next_due is None else min(soon, reserved.next_due))
        try:
            await self.settlement.put_back(jobs)
        except Exception:
            self.background.spawn(self.settlement.insist(lambda: self.settlement.put_back(jobs)))
            raise

    # -- taking back ---------------------------------------------------------------------------

    async def take_back_unstarted(self) -> None:
        """Take back what was issued and has not started; on return none of it can start."""
        await asyncio.gather(*(lease.cut_short() for lease in self._leases if lease.open))

    async def call_off(self, monitor: JobMonitor) -> JobRecord:
        """Have a job in hand ended and cancelled; what became of it, which may be something else if it ended first."""
        self.settlement.call_off(monitor.job.id)
        shared = [lease for lease in self._leases if monitor in lease.monitors and len(lease.open) > 1]
        for lease in shared:  # killing the worker would hit the others
            await lease.cut_short()
        monitor.end(Order.CANCEL)
        return await asyncio.shield(monitor.concluded)

    # -- watching ------------------------------------------------------------------------------

    def _resume(self, monitor: JobMonitor, spent_s: float) -> Lease:
        """Watch what a worker holds for an earlier process of the queue."""
        self.monitors[monitor.job.id] = monitor
        lease = Lease([monitor], monitor.worker, self._transport, self._heard_early, resumed=True, spent_s=spent_s)
        self._watch(lease)
        return lease

    def _watch(self, lease: Lease) -> None:
        self._leases[lease] = None
        self.background.spawn(self._follow(lease))

    async def _follow(self, lease: Lease) -> None:
        verdicts, fate = await lease.watch()
        del self._leases[lease]
        self._note(verdicts)
        if fate is WorkerFate.GONE and len(lease.monitors) > 1:
            self.isolation.left_waiting(monitor for monitor, verdict in verdicts if isinstance(verdict, Unharmed))
        frees = fate is WorkerFate.FREE and bool(verdicts) and all(isinstance(verdict, Succeeded) for _, verdict in verdicts)
        if frees and not self._store.durable:
            await self.settlement.conclude(verdicts, frees=lease)  # one round for both
        else:  # the worker need not wait: it keeps the answers until they are settled, and failure modes take their time
            self._release(lease, fate)
            await self.settlement.conclude(verdicts)

    async def _heard_early(self, verdicts: Verdicts) -> None:
        self._note(verdicts)
        await self.settlement.conclude(verdicts)

    def _note(self, verdicts: Verdicts) -> None:
        for monitor, verdict in verdicts:
            if isinstance(verdict, Succeeded) and verdict.ran_s is not None:
                self._pace.measured(monitor.job.method, verdict.ran_s)

    def _release(self, lease: Lease, fate: WorkerFate) -> None:
        if fate is WorkerFate.GONE:
            self._workforce.gone(lease.worker)
        else:
            self._workforce.finished(lease, spoilt=fate is WorkerFate.SPOILT)
        self.look()

    # -- workers that come ---------------------------------------------------------------------

    async def adopt(self, worker: WorkerRef) -> None:
        """A worker is ready: it joins once it runs nothing, or with what an earlier process of the queue left it."""
        await self.reattachment.clear()
        leases = self.reattachment.left_with(worker)
        if leases or await self._transport.wait_idle(worker):
            self._workforce.adopt(worker, leases)
            self.look()  # one that runs several jobs at once may have room for more


def _nobody() -> None:
    """Nobody is to be told."""
