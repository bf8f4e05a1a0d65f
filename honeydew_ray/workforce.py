"""The workers a queue knows, and what each is doing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from honeydew_ray.dispatchers.base import Dispatcher, WorkerRef
from honeydew_ray.events import EventKind
from honeydew_ray.job import JobId, JobRecord
from honeydew_ray.lease import Lease
from honeydew_ray.monitor import JobMonitor
from honeydew_ray.pace import MOST_JOBS
from honeydew_ray.postmortem import is_suspect
from honeydew_ray.roster import Roster, Spoilt, WorkerView
from honeydew_ray.rosters import Rosters
from honeydew_ray.status import WorkerState, WorkerStatus

log = logging.getLogger("honeydew_ray")


@dataclass(slots=True)
class _Worker:
    ref: WorkerRef
    epoch: int  # of the state it holds
    places: int = 1  # how many leases it serves at once
    most: int = 1  # how many jobs a lease of it may carry
    free: bool = False  # the dispatcher may choose it
    closed: bool = False  # it takes nothing until it serves nothing: a job has it, or is to have it, to itself
    spoilt: bool = False
    retiring: bool = False
    fenced: bool = False  # it retires because it does not answer
    jobs: int = 0  # how many it was given here
    serving: dict[Lease, None] = field(default_factory=dict[Lease, None])  # the oldest first


class _Clearing(NamedTuple):
    """A worker is kept from others until it serves nothing, for a job that is to have it to itself."""

    job_id: JobId
    worker_id: str


class Workforce:
    """The workers of all groups of one queue.

    Invariant: a worker is free here exactly while the dispatcher may hand it out, and it serves no
    more leases at once than it has places. A dispatcher that names a worker that is not free is
    refused. A worker that is gone or retired is never free again, whatever a roster that does not
    know of it yet may say.
    """

    def __init__(self, dispatcher: Dispatcher, tell: Callable[..., None] | None = None) -> None:
        self._dispatcher = dispatcher
        self._tell = tell or _tell_nobody  # of workers that come and go: see `EventLog.tell`
        self.rosters = Rosters()
        self._attention: dict[str, asyncio.Event] = {}  # by group: set when one of its workers is spoilt
        self._workers: dict[str, _Worker] = {}
        self._spoilt_unmet: set[str] = set()  # the ids of workers whose state a job spoilt before their group told of them
        self._wide = False  # whether some worker may have several jobs in hand
        self._suspected: set[str] = set()  # nodes whose workers died, that nobody has looked at yet
        self._clearing: _Clearing | None = None  # one at a time: the others must go on
        self._changed = asyncio.Event()

    # -- what groups tell --------------------------------------------------------------------

    def update(self, roster: Roster) -> list[WorkerRef] | None:
        """Take a group's roster; the workers that are newly ready, and have yet to be adopted.

        None if the roster is older than the one known.
        """
        dropped = self.rosters.take(roster)
        if dropped is None:
            return None
        self._drop(dropped)
        self._wide = any(known.prefetch or known.concurrency > 1 for known in self.rosters)
        self._call_for_stranded()
        self._note_change()
        return [view.ref for view in roster.workers if view.ready and self._is_news(view)]

    def adopt(self, worker: WorkerRef, serving: Sequence[Lease] = ()) -> None:
        """A worker joins, running nothing or what is in ``serving``, or is back with its state made anew.

        What it runs beside others, as it may now be given more, is stopped without them from here on.
        """
        found = self.rosters.find(worker.id)
        if found is None or not found[1].ready or self.rosters.is_barred(worker.id):
            return  # gone again, or spoilt again, while it was being adopted
        roster, view = found
        member = self._workers.get(worker.id)
        if member is None:
            most = MOST_JOBS if roster.prefetch else 1
            member = self._workers[worker.id] = _Worker(worker, view.epoch, roster.concurrency, most, serving=dict.fromkeys(serving))
            for monitor in (monitor for lease in serving for monitor in lease.monitors):
                monitor.in_company = roster.concurrency > 1
                member.closed = member.closed or is_suspect(monitor.job)
            self._tell(EventKind.WORKER_STARTED, worker=worker.id, node=worker.node, pid=view.pid)
        elif member.serving or (member.spoilt and view.epoch <= member.epoch):
            return  # it was adopted twice, and given a job in between
        member.epoch, member.spoilt = view.epoch, worker.id in self._spoilt_unmet
        self._spoilt_unmet.discard(worker.id)
        if member.spoilt and not member.serving:
            self._call(worker.id)
        self._release(member)
        self._note_change()

    def remove_group(self, group: str) -> None:
        """A group is gone, and its workers with it."""
        self._drop(self.rosters.remove(group))
        self._attention.pop(group, asyncio.Event()).set()

    async def spoilt(self, group: str, handled: Collection[Spoilt], patience_s: float) -> list[Spoilt]:
        """The group's workers whose state must be made anew, and those that an earlier process of it was to end, and did not;
        but for those it handles already.

        Waits up to ``patience_s`` for one.
        """
        attention = self._attention.setdefault(group, asyncio.Event())
        while True:
            attention.clear()
            found = [spoilt for spoilt in self._spoilt_of(group) if spoilt not in handled]
            if found:
                return found
            try:
                await asyncio.wait_for(attention.wait(), patience_s)
            except asyncio.TimeoutError:
                return []

    # -- what the queue does -----------------------------------------------------------------

    def available(self) -> int:
        """How many workers may be given a job; 0 from a dispatcher that raises."""
        try:
            return self._dispatcher.available()
        except Exception:
            log.exception("dispatcher %r raised in available", self._dispatcher)
            return 0

    def room(self, appetite: int) -> int:
        """How many jobs may be issued now, if a worker that takes several in a lease takes ``appetite``."""
        free = self.available()
        if not free or not self._wide:
            return free
        open_places = sum(member.places - len(member.serving) for member in self._workers.values() if member.free)
        return max(open_places, free) * (appetite if any(roster.prefetch for roster in self.rosters) else 1)

    def most(self, worker: WorkerRef) -> int:
        """How many jobs a lease of this worker may carry."""
        return self._workers[worker.id].most

    def has_company(self, worker: WorkerRef) -> bool:
        """Whether this worker runs several jobs at once."""
        return self._workers[worker.id].places > 1

    def check_out(self, job: JobRecord, alone: bool = False) -> WorkerRef | None:
        """The dispatcher's choice for a job; None if it has none, or chose what is not free.

        ``alone``: the job shall have the worker to itself. If the dispatcher has none that serves nothing, the first that it chose takes
        no more until it does, unless one does so already; then it is `cleared`, for this job, until `reopen` calls it off.
        """
        passed_over: list[_Worker] = []
        chosen = self._choose(job)
        while alone and chosen is not None and chosen.serving:
            passed_over.append(chosen)
            chosen = self._choose(job)
        if chosen is not None:
            self.reopen(job.id)
            chosen.closed = alone
        elif passed_over and self._being_cleared() is None:
            self._clearing = _Clearing(job.id, passed_over[0].ref.id)
            passed_over[0].closed = True
        for member in passed_over:
            self._release(member)
        return None if chosen is None else chosen.ref

    def cleared(self) -> tuple[JobId, WorkerRef] | None:
        """A worker that is kept for a job, and serves nothing now: it is checked out."""
        member = self._being_cleared()
        return None if self._clearing is None or member is None or member.serving else (self._clearing.job_id, member.ref)

    def reopen(self, job_id: JobId) -> None:
        """The job needs no worker that is kept for it, any more."""
        if self._clearing is not None and self._clearing.job_id == job_id:
            member = self._being_cleared()
            self._clearing = None
            if member is not None:
                member.closed = False
                self._release(member)

    def serves(self, worker: WorkerRef, lease: Lease) -> None:
        """A worker that was checked out has a lease."""
        member = self._workers[worker.id]
        if member is self._being_cleared():
            self._clearing = None
        member.serving[lease] = None
        member.jobs += len(lease.monitors)
        if member.places > 1:
            self._release(member)

    def finished(self, lease: Lease, spoilt: bool = False) -> None:
        """A worker is done with a lease: it is free again, or its state is spoilt."""
        member = self._workers.get(lease.worker.id)
        if member is None and spoilt:  # an earlier process of the queue had issued the job
            self._spoilt_unmet.add(lease.worker.id)
        if member is None or lease not in member.serving:
            return  # it was dropped, and perhaps adopted anew, meanwhile
        del member.serving[lease]
        if spoilt:
            member.spoilt = True
            if member.free:
                member.free = False
                self._tell_dispatcher(self._dispatcher.remove, member.ref)
        member.closed = member.closed and (bool(member.serving) or member is self._being_cleared())
        if member.spoilt and not member.serving:
            self._call(member.ref.id)
        self._release(member)
        self._note_change()

    def gone(self, worker: WorkerRef) -> None:
        """A worker is dead: it is never given a job again."""
        found = self.rosters.find(worker.id)
        if found is not None:
            self.rosters.bar(worker.id, found[0].incarnation)
        member = self._workers.pop(worker.id, None)
        if member is not None:
            self._tell_dispatcher(self._dispatcher.remove, worker)
            self._told_gone(member)
        self._note_change()

    def retire(self, worker_ids: list[str], by: str, fenced: bool = False) -> list[Lease]:
        """Give these workers no more jobs; what they have in hand. ``by``: the incarnation of the group's process that asks for it."""
        for worker_id in worker_ids:
            self.rosters.bar(worker_id, by)
        self._call_for_stranded()
        members = [self._workers[worker_id] for worker_id in worker_ids if worker_id in self._workers]
        for member in members:
            member.retiring, member.fenced = True, fenced
            member.free = False
            self._tell_dispatcher(self._dispatcher.remove, member.ref)
        self._note_change()
        return [lease for member in members for lease in member.serving]

    def idle(self, group: str) -> dict[str, int]:
        """The group's workers that are free, and how many jobs each has had."""
        members = (self._workers.get(view.ref.id) for view in self.rosters.of(group))
        return {member.ref.id: member.jobs for member in members if member is not None and member.free and not member.serving}

    def dismiss(self, worker_ids: Collection[str], by: str) -> list[str]:
        """`retire` those of these workers that have no job in hand; their ids. Again, the same."""
        members = [self._workers[worker_id] for worker_id in worker_ids if worker_id in self._workers]
        leaving = [member.ref.id for member in members if (member.free or member.retiring) and not member.serving]
        self.retire(leaving, by)
        return leaving

    # -- what others ask ---------------------------------------------------------------------

    def ready(self) -> int:
        """How many workers are idle or busy."""
        return sum(member.free or bool(member.serving) for member in self._workers.values())

    def suspected_nodes(self) -> set[str]:
        """The nodes whose workers died since this was asked last: they may be lost."""
        suspected, self._suspected = self._suspected, set()
        return suspected

    async def change(self) -> None:
        """Wait for the next change."""
        self._changed.clear()
        await self._changed.wait()

    def statuses(self) -> list[WorkerStatus]:
        """What each worker is doing."""
        return [self._status(roster.group, view) for roster in self.rosters for view in roster.workers]

    # ----------------------------------------------------------------------------------------

    def _choose(self, job: JobRecord) -> _Worker | None:
        try:
            chosen = self._dispatcher.check_out(job)
        except Exception:
            log.exception("dispatcher %r raised in check_out", self._dispatcher)
            return None
        if chosen is None:
            return None
        member = self._workers.get(chosen.id)
        if member is None or not member.free:
            log.error("dispatcher %r chose worker %s, which is not free; choice refused", self._dispatcher, chosen.id)
            return None
        member.free = False
        return member

    def _being_cleared(self) -> _Worker | None:
        member = None if self._clearing is None else self._workers.get(self._clearing.worker_id)
        if member is None or member.retiring or member.spoilt:
            self._clearing = None
            return None
        return member

    def _status(self, group: str, view: WorkerView) -> WorkerStatus:
        member, state = self._workers.get(view.ref.id), view.state
        in_hand: list[JobMonitor] = []
        if member is not None:
            in_hand = [monitor for lease in member.serving for monitor in lease.monitors if monitor.settled_as is None]
            if member.serving:
                state = WorkerState.BUSY
            elif member.free:
                state = WorkerState.IDLE
            if member.retiring:
                state = WorkerState.DRAINING
        first = in_hand[0] if in_hand else None
        return WorkerStatus(view.ref.id, view.ref.node or None, state, first and first.job.id, first and first.progress,
                            view.error, view.pid, group, len(in_hand))

    def _told_gone(self, member: _Worker) -> None:
        kind = EventKind.WORKER_STOPPED if member.retiring and not member.fenced else EventKind.WORKER_DIED
        if kind is EventKind.WORKER_DIED:
            self._suspected.add(member.ref.node)
        in_hand = [monitor.job.id for lease in member.serving for monitor in lease.monitors if not monitor.concluded.done()]
        self._tell(kind, worker=member.ref.id, node=member.ref.node, job_id=in_hand[0] if in_hand else None)

    def _is_news(self, view: WorkerView) -> bool:
        if self.rosters.is_barred(view.ref.id):
            return False
        member = self._workers.get(view.ref.id)
        return member is None or (member.spoilt and view.epoch > member.epoch)

    def _drop(self, views: Sequence[WorkerView]) -> None:
        for view in views:
            self.gone(view.ref)
            self._spoilt_unmet.discard(view.ref.id)

    def _release(self, member: _Worker) -> None:
        if not member.retiring and not member.spoilt and not member.closed and len(member.serving) < member.places:
            member.free = True
            self._tell_dispatcher(self._dispatcher.check_in, member.ref)
        self._note_change()

    def _spoilt_of(self, group: str) -> list[Spoilt]:
        members = (self._workers.get(view.ref.id) for view in self.rosters.of(group))
        spoilt = [Spoilt(one.ref.id, one.epoch) for one in members if one is not None and one.spoilt and not one.serving]
        stranded = [Spoilt(view.ref.id, view.epoch, leaves=True) for roster, view in self.rosters.stranded() if roster.group == group]
        return spoilt + stranded

    def _call(self, worker_id: str) -> None:
        found = self.rosters.find(worker_id)
        if found is not None:
            self._call_group(found[0].group)

    def _call_for_stranded(self) -> None:
        for roster, _ in self.rosters.stranded():
            self._call_group(roster.group)

    def _call_group(self, group: str) -> None:
        if group in self._attention:
            self._attention[group].set()

    def _note_change(self) -> None:
        self._changed.set()

    def _tell_dispatcher(self, method: Callable[[WorkerRef], None], worker: WorkerRef) -> None:
        try:
            method(worker)
        except Exception:
            log.exception("dispatcher %r raised on worker %s", self._dispatcher, worker.id)


def _tell_nobody(*_: object, **__: object) -> None:
    """Workers come and go unheard."""
