"""A simulated queue's process: the real core over the real store, called as `QueueActor` is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from honeydew_ray.actors import names
from honeydew_ray.clock import Clock
from honeydew_ray.dispatchers.base import Dispatcher
from honeydew_ray.errors import QueueFull
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobSnapshot
from honeydew_ray.policies import Caller
from honeydew_ray.queue_core import QueueCore, QueuePolicy
from honeydew_ray.roster import Load, Roster, Spoilt
from honeydew_ray.status import QueueStatus
from honeydew_ray.stores.base import Page, Query, Store
from tests.simulation.cluster import Actor, Cluster
from tests.simulation.history import History
from tests.simulation.ledger import Ledger, WatchedStore
from tests.simulation.transport import SimTransport


class Collected(NamedTuple):
    """Numbered ends of jobs for one client."""

    incarnation: str
    ends: list[tuple[int, JobSnapshot]]
    closed: bool
    forgotten: bool


@dataclass(eq=False)
class QueuePlan:
    """What each process of one queue is made from."""

    policy: QueuePolicy
    dispatcher: Callable[[], Dispatcher]
    first_store: Store
    next_store: Callable[[], Store]
    ledger: Ledger
    caller: Caller
    clock: Clock
    on_kept: Callable[[str, JobRecord], None]
    on_enqueue: Callable[[int, Sequence[JobRecord]], None]
    started: int = 0  # processes

    def store(self) -> WatchedStore:
        """The store of the next process: after the first one it must be there already."""
        self.started += 1
        return WatchedStore(self.first_store if self.started == 1 else self.next_store(), self.ledger, self.on_kept, self.on_enqueue)


class SimQueue:
    """Carries calls to the core, which opens its store with the first one."""

    def __init__(self, plan: QueuePlan, cluster: Cluster, history: History) -> None:
        self.transport = SimTransport(cluster, history)
        self.store = plan.store()
        policy = replace(plan.policy, dispatcher=plan.dispatcher())
        self.core = QueueCore(policy, self.store, self.transport, plan.caller, plan.clock)
        self._history = history
        self._opening: asyncio.Future[None] | None = None

    async def begin(self) -> None:
        await self._ready()

    async def start(self) -> tuple[str, bool]:
        await self._ready()
        return self.core.incarnation, self.store.durable

    async def enqueue(self, jobs: Sequence[JobRecord], patience_s: float = 0.0) -> str:
        await self._ready()
        came = asyncio.get_running_loop().time()
        try:
            await self.core.enqueue(jobs, patience_s=patience_s)
        except QueueFull:
            waited_s, coming = asyncio.get_running_loop().time() - came, self.store.coming
            counts = await self.store.inner.counts()
            self._history.note("turned_away", queue=self.core.name, jobs=[job.id for job in jobs], patience_s=patience_s,
                               waited_s=waited_s, waiting=counts.pending + counts.delayed + coming)
            raise
        if asyncio.get_running_loop().time() - came > 0.5 and patience_s:
            self._history.note("case", what="a submit waited at the door")
        self._history.note("custody", queue=self.core.name, jobs=[job.id for job in jobs])
        return self.core.incarnation

    async def arrive(self, jobs: Sequence[JobRecord]) -> None:
        await self._ready()
        await self.core.enqueue(jobs, moved=True)
        self._history.note("arrived", queue=self.core.name, jobs=[job.id for job in jobs])

    async def cancel(self, job_id: JobId, running: bool) -> CancelOutcome:
        await self._ready()
        return await self.core.cancel(job_id, running)

    async def move(self, job_id: JobId, queue: str) -> None:
        await self._ready()
        await self.core.move(job_id, queue)

    async def retry(self, job_id: JobId) -> None:
        await self._ready()
        await self.core.retry(job_id)

    async def page(self, query: Query) -> Page:
        await self._ready()
        return await self.core.page(query)

    async def describe(self, job_id: JobId) -> JobSnapshot | None:
        await self._ready()
        seen = await self.core.describe(job_id)
        monitor = self.core.floor.monitors.get(job_id)
        if seen is not None and seen.progress is not None and monitor is not None:
            self._history.note("progress", job=job_id, attempt=monitor.token.attempt, progress=seen.progress)
        return seen

    async def status(self) -> QueueStatus:
        await self._ready()
        return await self.core.status()

    async def suspend(self) -> None:
        await self._ready()
        await self.core.suspend()

    async def resume(self) -> None:
        await self._ready()
        await self.core.resume()

    async def drain(self, timeout_s: float) -> None:
        await self._ready()
        await self.core.drain(timeout_s)
        self._history.note("drained", queue=self.core.name)

    async def close(self) -> None:
        await self._ready()
        await self.core.close()

    async def expect(self, job_ids: Sequence[JobId], client: str) -> list[JobId]:
        await self._ready()
        return await self.core.expect(job_ids, client)

    async def collect(self, client: str, incarnation: str, acknowledged: int, patience_s: float) -> Collected:
        await self._ready()
        if incarnation != self.core.incarnation:
            acknowledged, patience_s = 0, 0.0
        forgotten = not self.core.replies.knows(client)
        ends = await self.core.replies.collect(client, acknowledged, 0.0 if forgotten else patience_s)
        return Collected(self.core.incarnation, ends, self.core.replies.closed, forgotten)

    async def update_roster(self, roster: Roster, handles: Mapping[str, Actor]) -> None:
        await self._ready()
        self.transport.know(handles)
        if self.core.update_roster(roster):
            there = {view.ref.id for view in roster.workers}
            self.transport.forget_all_but(there | set(handles), names.worker_prefix(self.core.name, roster.group))

    async def attend(self, group: str, handled: Sequence[Spoilt], patience_s: float) -> list[Spoilt]:
        await self._ready()
        return await self.core.workforce.spoilt(group, handled, patience_s)

    async def load(self, group: str) -> Load:
        await self._ready()
        return await self.core.load(group)

    async def dismiss(self, worker_ids: Sequence[str], by: str) -> list[str]:
        await self._ready()
        leaving = self.core.workforce.dismiss(worker_ids, by)
        if leaving:
            self._note_retired(leaving, "dismissed")
        return leaving

    async def fence(self, worker_id: str, by: str) -> bool:
        await self._ready()
        await self.core.floor.reattachment.clear()
        self._history.note("fencing", queue=self.core.name, worker=worker_id, incarnation=self.core.incarnation)
        return await self.core.fence(worker_id, by)

    async def progressed(self, job_id: JobId, attempt: int, incarnation: str, value: Any) -> None:
        await self._ready()
        self.core.progressed(job_id, attempt, incarnation, value)

    async def retire(self, worker_ids: list[str], by: str, shutdown_s: float | None) -> None:
        await self._ready()
        await self.core.floor.reattachment.clear()
        self._history.note("retiring", queue=self.core.name, workers=worker_ids, incarnation=self.core.incarnation, shutdown_s=shutdown_s)
        await self.core.retire(worker_ids, by, shutdown_s)
        self._note_retired(worker_ids, "retired")

    def _note_retired(self, workers: Sequence[str], why: str) -> None:
        in_hand = [monitor.token for monitor in self.core.floor.monitors.values() if monitor.worker.id in workers and not monitor.answered]
        self._history.note("retired", queue=self.core.name, workers=list(workers), incarnation=self.core.incarnation, why=why,
                           in_hand=in_hand)

    async def remove_group(self, group: str) -> None:
        await self._ready()
        self.core.workforce.remove_group(group)

    async def _ready(self) -> None:
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        await self.core.open()
        self._history.note("opened", queue=self.core.name, incarnation=self.core.incarnation, suspended=self.core.suspended)
