"""The workers a queue knows, and what each is doing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from honeydew_ray.dispatchers.base import Dispatcher, WorkerRef
from honeydew_ray.job import JobRecord
from honeydew_ray.monitor import JobMonitor
from honeydew_ray.roster import Roster, Spoilt, WorkerView
from honeydew_ray.status import WorkerState, WorkerStatus

log = logging.getLogger("honeydew_ray")


@dataclass(slots=True)
class _Worker:
    ref: WorkerRef
    epoch: int  # of the state it holds
    free: bool = False  # the dispatcher may choose it
    spoilt: bool = False
    retiring: bool = False
    serving: JobMonitor | None = None


class Workforce:
    """The workers of all groups of one queue.

    Invariant: a worker is free here exactly while the dispatcher may hand it out, and it serves at
    most one monitor. A dispatcher that names a worker that is not free is refused. A worker that is
    gone or retired is never free again, whatever a roster that does not know of it yet may say.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._rosters: dict[str, Roster] = {}  # by group
        self._attention: dict[str, asyncio.Event] = {}  # by group: set when one of its workers is spoilt
        self._workers: dict[str, _Worker] = {}
        self._barred: set[str] = set()  # the ids of workers gone and retired, until their group's roster drops them
        self._spoilt_unmet: set[str] = set()  # the ids of workers whose state a job spoilt before their group told of them
        self._past: set[tuple[str, str]] = set()  # (group, incarnation) of group processes that were replaced or removed
        self._changed = asyncio.Event()

    # -- what groups tell --------------------------------------------------------------------

    def update(self, roster: Roster) -> list[WorkerRef] | None:
        """Take a group's roster; the workers that are newly ready, and have yet to be adopted.

        None if the roster is older than the one known.
        """
        if (roster.group, roster.incarnation) in self._past:
            return None
        known = self._rosters.get(roster.group)
        if known is not None:
            if known.incarnation != roster.incarnation:
                self._past.add((known.group, known.incarnation))
            elif known.serial >= roster.serial:
                return None
            self._drop_missing(known, roster)
        self._rosters[roster.group] = roster
        self._note_change()
        return [view.ref for view in roster.workers if view.ready and self._is_news(view)]

    def adopt(self, worker: WorkerRef, serving: JobMonitor | None = None) -> None:
        """A worker joins, running nothing or the job of ``serving``, or is back with its state made anew."""
        view = self._view(worker.id)
        if view is None or not view.ready or worker.id in self._barred:
            return  # gone again, or spoilt again, while it was being adopted
        member = self._workers.get(worker.id)
        if member is None:
            member = self._workers[worker.id] = _Worker(worker, view.epoch, serving=serving)
        elif member.serving is not None or (member.spoilt and view.epoch <= member.epoch):
            return  # it was adopted twice, and given a job in between
        member.epoch, member.spoilt = view.epoch, worker.id in self._spoilt_unmet
        self._spoilt_unmet.discard(worker.id)
        if member.spoilt:
            self._call(worker.id)
        if member.serving is None:
            self._release(member)
        self._note_change()

    def remove_group(self, group: str) -> None:
        """A group is gone, and its workers with it."""
        roster = self._rosters.get(group)
        if roster is not None:
            self._past.add((group, roster.incarnation))
            self._drop_missing(roster, replace(roster, workers=()))
            del self._rosters[group]
        self._attention.pop(group, asyncio.Event()).set()

    async def spoilt(self, group: str, handled: Collection[Spoilt], patience_s: float) -> list[Spoilt]:
        """The group's workers whose state must be made anew, but for those it handles already.

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

    def check_out(self, job: JobRecord) -> WorkerRef | None:
        """The dispatcher's choice for a job; None if it has none, or chose what is not free."""
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
        return member.ref

    def serves(self, worker: WorkerRef, monitor: JobMonitor) -> None:
        """A worker that was checked out has a job."""
        self._workers[worker.id].serving = monitor

    def finished(self, monitor: JobMonitor, spoilt: bool = False) -> None:
        """A monitor's worker has answered: it is free again, or its state is spoilt."""
        member = self._workers.get(monitor.worker.id)
        if member is None and spoilt:  # an earlier process of the queue had issued the job
            self._spoilt_unmet.add(monitor.worker.id)
        if member is None or member.serving is not monitor:
            return  # it was dropped, and perhaps adopted anew, meanwhile
        member.serving = None
        if spoilt:
            member.spoilt = True
            self._call(member.ref.id)
        else:
            self._release(member)
        self._note_change()

    def gone(self, worker: WorkerRef) -> None:
        """A worker is dead: it is never given a job again."""
        if self._view(worker.id) is not None:
            self._barred.add(worker.id)
        if self._workers.pop(worker.id, None) is not None:
            self._tell_dispatcher(self._dispatcher.remove, worker)
        self._note_change()

    def retire(self, worker_ids: list[str]) -> list[JobMonitor]:
        """Give these workers no more jobs; the monitors of those they have in hand."""
        self._barred.update(worker_ids)  # those that are not ready yet, too
        members = [self._workers[worker_id] for worker_id in worker_ids if worker_id in self._workers]
        for member in members:
            member.retiring = True
            member.free = False
            self._tell_dispatcher(self._dispatcher.remove, member.ref)
        self._note_change()
        return [member.serving for member in members if member.serving is not None]

    # -- what others ask ---------------------------------------------------------------------

    def runs_method(self, name: str) -> bool | None:
        """Whether some worker has the method; None while no group has said."""
        if not self._rosters:
            return None
        return any(roster.methods is None or name in roster.methods for roster in self._rosters.values())

    def classes(self) -> list[str]:
        """The worker classes, for error messages."""
        return sorted({roster.class_name or "plain functions" for roster in self._rosters.values()})

    def ready(self) -> int:
        """How many workers are idle or busy."""
        return sum(member.free or member.serving is not None for member in self._workers.values())

    async def change(self) -> None:
        """Wait for the next change."""
        self._changed.clear()
        await self._changed.wait()

    def statuses(self) -> list[WorkerStatus]:
        """What each worker is doing."""
        return [self._status(roster.group, view) for roster in self._rosters.values() for view in roster.workers]

    # ----------------------------------------------------------------------------------------

    def _status(self, group: str, view: WorkerView) -> WorkerStatus:
        member, state, job, progress = self._workers.get(view.ref.id), view.state, None, None
        if member is not None:
            if member.serving is not None:
                state, job, progress = WorkerState.BUSY, member.serving.job.id, member.serving.progress
            elif member.free:
                state = WorkerState.IDLE
            if member.retiring:
                state = WorkerState.DRAINING
        return WorkerStatus(view.ref.id, view.ref.node or None, state, job, progress, view.error, view.pid, group)

    def _is_news(self, view: WorkerView) -> bool:
        if view.ref.id in self._barred:
            return False
        member = self._workers.get(view.ref.id)
        return member is None or (member.spoilt and view.epoch > member.epoch)

    def _view(self, worker_id: str) -> WorkerView | None:
        for roster in self._rosters.values():
            for view in roster.workers:
                if view.ref.id == worker_id:
                    return view
        return None

    def _drop_missing(self, old: Roster, new: Roster) -> None:
        present = {view.ref.id for view in new.workers}
        for view in old.workers:
            if view.ref.id not in present:
                self.gone(view.ref)
                self._barred.discard(view.ref.id)
                self._spoilt_unmet.discard(view.ref.id)

    def _release(self, member: _Worker) -> None:
        if not member.retiring and not member.spoilt:
            member.free = True
            self._tell_dispatcher(self._dispatcher.check_in, member.ref)
        self._note_change()

    def _spoilt_of(self, group: str) -> list[Spoilt]:
        roster = self._rosters.get(group)
        members = (self._workers.get(view.ref.id) for view in roster.workers) if roster is not None else ()
        return [Spoilt(member.ref.id, member.epoch) for member in members if member is not None and member.spoilt]

    def _call(self, worker_id: str) -> None:
        for group, roster in self._rosters.items():
            if group in self._attention and any(view.ref.id == worker_id for view in roster.workers):
                self._attention[group].set()

    def _note_change(self) -> None:
        self._changed.set()

    def _tell_dispatcher(self, method: Callable[[WorkerRef], None], worker: WorkerRef) -> None:
        try:
            method(worker)
        except Exception:
            log.exception("dispatcher %r raised on worker %s", self._dispatcher, worker.id)
