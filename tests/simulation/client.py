"""A simulated client's process: what `QueueClient` does, as coroutines in place of threads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from honeydew_ray.actors import names
from honeydew_ray.errors import EnqueueUncertain, HoneydewError, QueueFull, QueueNotFound
from honeydew_ray.job import JobId, JobRecord, JobSnapshot
from tests.simulation.cluster import Actor, ActorDied, ActorUnavailable, CallFailed, Cluster
from tests.simulation.history import History

_RETRY_S = 0.1
_PATIENCE_S = 30.0
_SUBMIT_TIMEOUT_S = 30.0
AT_DOOR_S = 10.0
_LOOK_FOR_QUEUE_S = 0.25


@dataclass(eq=False)
class Waiter:
    """What a process knows of the end of one job."""

    end: JobSnapshot | None = None
    lost: bool = False
    incarnation: str | None = None  # of the queue that took the job; None: not known to be taken

    @property
    def settled(self) -> bool:
        return self.end is not None or self.lost


class SimClient:
    """Talks to one queue for one process: calls, and a long poll for replies."""

    def __init__(self, name: str, queue: str, actor: Actor, cluster: Cluster, history: History) -> None:
        self.name = name
        self.queue = queue
        self.waiters: dict[JobId, Waiter] = {}
        self._actor = actor
        self._cluster = cluster
        self._history = history
        self._incarnation = ""
        self._unasked = False
        self._durable = False
        self._strangers: list[tuple[JobId, str]] = []  # jobs taken by another incarnation than the one that the poll is with

    async def connect(self) -> None:
        """Find the queue and begin to poll."""
        self._incarnation, self._durable = await self.call("start")
        self._poller = asyncio.ensure_future(self._poll())
        self._poller.add_done_callback(_expect_no_end)

    async def call(self, method: str, *args: Any) -> Any:
        """Call the queue, through a restart of its process; for calls that do no harm twice."""
        while True:
            try:
                return await self._cluster.call(self._actor, method, *args)
            except ActorUnavailable:
                await asyncio.sleep(_RETRY_S)
            except ActorDied as error:
                raise QueueNotFound(f"queue {self.queue!r} is gone") from error

    async def enqueue(self, jobs: Sequence[JobRecord], patience_s: float = AT_DOOR_S) -> None:
        """Give jobs to the queue; on return it has custody. Tries again under the same ids while that is unclear."""
        deadline = asyncio.get_running_loop().time() + _SUBMIT_TIMEOUT_S
        unclear = False
        for job in jobs:
            self.waiters[job.id] = Waiter()
        while True:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise EnqueueUncertain("the job may be enqueued or not")
            try:
                incarnation = await asyncio.wait_for(self._cluster.call(self._actor, "enqueue", jobs, patience_s), left)
            except (ActorUnavailable, asyncio.TimeoutError):
                unclear = True
                await asyncio.sleep(_RETRY_S)
            except (QueueFull, QueueNotFound) as refusal:
                if isinstance(refusal, QueueFull) and 0 < patience_s <= deadline - asyncio.get_running_loop().time():
                    continue
                if unclear:
                    raise EnqueueUncertain("an earlier try may have enqueued the job") from refusal
                raise
            except ActorDied as error:
                if unclear:
                    raise EnqueueUncertain("the job may have been enqueued or not") from error
                raise QueueNotFound(f"queue {self.queue!r} is gone") from error
            else:
                for job in jobs:
                    self.waiters[job.id].incarnation = incarnation
                if incarnation != self._incarnation:
                    self._strangers += [(job.id, incarnation) for job in jobs]
                return

    async def expect_again(self, job_id: JobId) -> None:
        """The job is back in line: wait for its next end."""
        if job_id in self.waiters:
            self.waiters[job_id].end, self.waiters[job_id].lost = None, False
            await self.call("expect", [job_id], self.name)

    async def _poll(self) -> None:
        while True:
            await self._poll_one_queue()
            self._settle_lost([job_id for job_id, _ in self._open()])
            await self._find_again()

    async def _poll_one_queue(self) -> None:
        """Returns when the queue is gone."""
        acknowledged = 0
        while True:
            strangers, self._strangers = self._strangers, []
            try:
                collected = await self._cluster.call(self._actor, "collect", self.name, self._incarnation, acknowledged, _PATIENCE_S)
            except ActorDied:
                return
            except (ActorUnavailable, HoneydewError):
                self._strangers = strangers + self._strangers
                await asyncio.sleep(_RETRY_S)
                continue
            if collected.incarnation != self._incarnation:
                acknowledged = 0
                await self._queue_restarted(collected.incarnation)
            elif collected.forgotten or self._unasked:
                await self._ask_again()
            for number, end in collected.ends:
                acknowledged = number
                self._deliver(end)
            if not self._durable:
                self._settle_lost([job_id for job_id, incarnation in strangers
                                   if incarnation != collected.incarnation and job_id in self.waiters and not self.waiters[job_id].settled])
            if collected.closed and not collected.ends:
                return

    async def _find_again(self) -> None:
        """Somebody stopped the queue: once it is started again, ask for the jobs that it kept, as their handles' owner would."""
        while (actor := self._cluster.find(names.queue_actor(self.queue))) is None or actor is self._actor:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_FOR_QUEUE_S)
        self._actor = actor
        try:
            self._incarnation, self._durable = await self.call("start")
            lost = [job_id for job_id, waiter in self.waiters.items() if waiter.lost]
            unknown: set[JobId] = set(await self.call("expect", lost, self.name))
        except HoneydewError:
            return  # stopped again
        for job_id in lost:
            if job_id in self.waiters:  # else its enqueue was refused meanwhile
                self.waiters[job_id].lost = job_id in unknown

    def _deliver(self, end: JobSnapshot) -> None:
        waiter = self.waiters.get(end.id)
        if waiter is None:
            return
        if waiter.end is not None and (waiter.end.state, waiter.end.attempts) != (end.state, end.attempts):
            self._history.note("told_otherwise", client=self.name, queue=self.queue, job=end.id,
                               before=str(waiter.end.state), now=str(end.state))
        if not waiter.settled:
            waiter.end = end
            self._history.note("told", client=self.name, queue=self.queue, job=end.id, state=str(end.state), attempts=end.attempts)

    async def _queue_restarted(self, incarnation: str) -> None:
        self._incarnation = incarnation
        if self._durable:
            await self._ask_again()
            return
        self._settle_lost([job_id for job_id, waiter in self._open() if waiter.incarnation not in (None, incarnation)])

    async def _ask_again(self) -> None:
        waiters = self._open()
        taken = [job_id for job_id, waiter in waiters if waiter.incarnation is not None]
        try:
            unknown = set(await self._cluster.call(self._actor, "expect", [job_id for job_id, _ in waiters], self.name))
        except (CallFailed, HoneydewError):
            self._unasked = True
            return
        self._unasked = False
        self._settle_lost([job_id for job_id in taken if job_id in unknown])

    def _open(self) -> list[tuple[JobId, Waiter]]:
        return [(job_id, waiter) for job_id, waiter in self.waiters.items() if not waiter.settled]

    def _settle_lost(self, job_ids: Sequence[JobId]) -> None:
        for job_id in job_ids:
            if job_id not in self.waiters:
                continue
            self.waiters[job_id].lost = True
            self._history.note("told_lost", client=self.name, queue=self.queue, job=job_id)


def _expect_no_end(poller: asyncio.Future[None]) -> None:
    """A poll that ends is a fault of the simulation, and raises here, where it is heard."""
    if not poller.cancelled():
        poller.result()
