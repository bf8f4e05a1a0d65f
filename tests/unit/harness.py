"""A queue's core with all that surrounds it acted out, under virtual time."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from honeydew_ray import lifecycle
from honeydew_ray.decisions import Decision
from honeydew_ray.dispatchers.base import Dispatcher, WorkerRef
from honeydew_ray.dispatchers.lru import LRU
from honeydew_ray.event_log import DEFAULT_KEPT
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.abandon import Abandon
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobSnapshot, JobState
from honeydew_ray.judge import NodeLoss
from honeydew_ray.policies import Caller, InlineCaller
from honeydew_ray.queue_core import QueueCore, QueuePolicy
from honeydew_ray.roster import Roster, WorkerView
from honeydew_ray.status import WorkerState
from honeydew_ray.stores.base import Counts, Page, Query, Reserved
from honeydew_ray.stores.memory import MemoryStore
from honeydew_ray.testing.scripted import ScriptedWorkers, scripted_payload
from honeydew_ray.testing.virtual_time import VirtualClock, run_virtual

LATENCY_S = 0.001
"""How long an attempt is under way to its worker, unless a test says otherwise."""

TICK = 0.001
"""A little time: what happens at a boundary has happened one tick past it."""


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a coroutine that is run under virtual time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


def now() -> float:
    """The loop's time; the wall clock is ahead of it by `EPOCH`."""
    return asyncio.get_running_loop().time()


class Rig(ScriptedWorkers):
    """Scripted workers, and a way to other queues with faults of its own."""

    def __init__(self, latency_s: float = LATENCY_S, spoils: bool = True, concurrency: int = 1) -> None:
        super().__init__(latency_s, spoils, concurrency=concurrency)
        self.enqueue_error: Exception | None = None
        self.reply_s = 0.0  # how long another queue's answer is under way
        self.run_error: Exception | None = None
        self.recalls = 0

    async def run(self, worker: WorkerRef, attempts: Any) -> Any:
        if self.run_error is not None:
            raise self.run_error
        return await super().run(worker, attempts)

    async def take_back(self, worker: WorkerRef, tokens: Any) -> Any:
        self.recalls += 1
        return await super().take_back(worker, tokens)

    async def enqueue(self, queue: str, jobs: Sequence[JobRecord]) -> None:
        if self.enqueue_error is not None:
            raise self.enqueue_error
        await super().enqueue(queue, jobs)
        await asyncio.sleep(self.reply_s)


class Group:
    """A worker group, acted out: publishes rosters, and makes spoilt states anew when told to."""

    def __init__(self, core: QueueCore, name: str = "default", incarnation: str = "g1") -> None:
        self.core = core
        self.name = name
        self.incarnation = incarnation
        self.serial = 0
        self.views: dict[str, WorkerView] = {}
        self.methods: frozenset[str] | None = frozenset({"work"})
        self.prefetch = False
        self.concurrency = 1

    def roster(self) -> Roster:
        """The next roster."""
        self.serial += 1
        views = tuple(self.views.values())
        return Roster(self.name, self.incarnation, self.serial, views, "Worker", self.methods, self.prefetch, self.concurrency)

    def publish(self) -> bool:
        return self.core.update_roster(self.roster())

    def set(self, worker_id: str, ready: bool = True, epoch: int = 1, node: str = "n1") -> None:
        """How a worker stands from the next roster on."""
        state = WorkerState.IDLE if ready else WorkerState.STARTING
        self.views[worker_id] = WorkerView(WorkerRef(worker_id, node), state, ready, epoch, pid=7)

    async def ready(self, *worker_ids: str) -> None:
        """These workers are ready; returns when the queue has taken them in."""
        for worker_id in worker_ids:
            self.set(worker_id)
        self.publish()
        await asyncio.sleep(1e-6)

    async def heal(self, dead: set[str], every_s: float = 0.05, rebuild_s: float = 0.02) -> None:
        """Replace workers that died and make spoilt states anew, for ever."""
        names = itertools.count(1)
        while True:
            await asyncio.sleep(every_s)
            for worker_id in [known for known in self.views if known in dead]:
                del self.views[worker_id]
                self.set(f"{worker_id.partition('+')[0]}+{next(names)}")
            for worker_id, epoch, _ in await self.core.workforce.spoilt(self.name, (), 0.0):
                if worker_id in self.views and self.views[worker_id].epoch == epoch:
                    self.set(worker_id, ready=False, epoch=epoch)
                    self.publish()
                    await asyncio.sleep(rebuild_s)
                    self.set(worker_id, epoch=epoch + 1)
            self.publish()


class Bench:
    """A queue's core on the bench: made, opened, fed and watched.

    Make it inside a running loop, then `await bench.open(workers=2)`.
    """

    def __init__(self, failure_mode: FailureMode | None = None, *, name: str = "q", store: MemoryStore | None = None,
                 rig: Rig | None = None, dispatcher: Dispatcher | None = None, caller: Caller | None = None,
                 suspended: bool | None = None, result_ttl_s: float = 600.0, max_redeliveries: int = 20,
                 node_loss: NodeLoss = "redeliver", tell_success: Any = None,
                 max_pending: int | None = None, events_kept: int = DEFAULT_KEPT) -> None:
        self.clock = VirtualClock()
        self.store = MemoryStore() if store is None else store
        self.rig = Rig() if rig is None else rig
        policy = QueuePolicy(name, dispatcher or LRU(), failure_mode or Abandon(), suspended, result_ttl_s, max_redeliveries, node_loss,
                             max_pending, events_kept)
        self.core = QueueCore(policy, self.store, self.rig, caller or InlineCaller(), self.clock, tell_success)
        self.rig.queues[name] = self.core
        self.group = Group(self.core)
        self._ids = itertools.count(1)

    async def open(self, workers: int = 0) -> Bench:
        """Open the core, and give it so many ready workers: w1, w2 ..."""
        await self.core.open()
        if workers:
            await self.group.ready(*(f"w{number}" for number in range(1, workers + 1)))
        return self

    def job(
        self, script: str | list[str] = "ok", *, id: JobId = None, delay_s: float = 0.0, method: str = "work", **facts: Any
    ) -> JobRecord:
        """A new job as a client would send it."""
        job_id = f"j{next(self._ids)}" if id is None else id
        facts.setdefault("client", "me")
        blank = JobRecord(job_id, self.core.name, method, scripted_payload(script), **facts)
        return lifecycle.enqueued(blank, self.core.name, self.clock.now(), delay_s)

    async def submit(self, script: str | list[str] = "ok", **facts: Any) -> JobId:
        """Enqueue one job; its id."""
        job = self.job(script, **facts)
        await self.core.enqueue([job])
        return job.id

    async def submit_all(self, *scripts: str | list[str], **facts: Any) -> list[JobId]:
        """Enqueue jobs in one call; their ids."""
        jobs = [self.job(script, **facts) for script in scripts]
        await self.core.enqueue(jobs)
        return [job.id for job in jobs]

    async def end(self, job_id: JobId, within_s: float = 1e6) -> JobSnapshot:
        """How a job ends; waits for it."""
        watcher = f"watcher of {job_id}"
        missing = await self.core.expect([job_id], watcher)
        assert not missing, f"the queue does not know job {job_id}"
        ends: list[tuple[int, JobSnapshot]] = []
        until = now() + within_s
        while not ends and now() < until:  # a client that waits asks again and again, or it is taken to be gone
            ends = await self.core.replies.collect(watcher, 0, min(60.0, until - now()))
        self.core.replies.forget(watcher)
        assert ends, f"job {job_id} did not end within {within_s} s"
        return ends[0][1]

    async def ends(self, job_ids: Iterable[JobId]) -> list[JobState]:
        """The states in which these jobs end."""
        return [(await self.end(job_id)).state for job_id in job_ids]

    async def held(self, job_id: JobId) -> JobRecord | None:
        """The job as the store holds it."""
        page = await self.store.page(Query(ids=[job_id]))
        return page.jobs[0] if page.jobs else None

    async def state(self, job_id: JobId) -> JobState | None:
        """The job's state as the queue describes it; None if it does not know it."""
        snapshot = await self.core.describe(job_id)
        return None if snapshot is None else snapshot.state

    async def worker_states(self) -> dict[str, WorkerState]:
        return {worker.id: worker.state for worker in (await self.core.status()).workers}

    def started(self) -> list[JobId]:
        """The ids of the jobs that started, in order, once for each start."""
        return [start.job_id for start in self.rig.starts]

    def start_times(self, job_id: JobId) -> list[float]:
        return [start.at for start in self.rig.starts if start.job_id == job_id]

    def revive(self, worker_id: str, epoch: int) -> None:
        """The group has made the worker's state anew."""
        self.group.set(worker_id, epoch=epoch)
        self.group.publish()

    async def replace(self, worker_id: str, by: str) -> None:
        """The group has a new worker in the place of one that died."""
        del self.group.views[worker_id]
        await self.group.ready(by)

    async def collect(self, client: str = "me", acknowledged: int = 0, patience_s: float = 1.0) -> list[tuple[int, JobId]]:
        """A client's poll: numbers and ids of the ends that it gets."""
        ends = await self.core.replies.collect(client, acknowledged, patience_s)
        return [(number, end.id) for number, end in ends]


class TroubledStore(MemoryStore):
    """A memory store whose calls take time, and fail when told to: before they act, or after."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: dict[str, int] = {}  # how often a call is to raise before it does anything
        self.failing_late: dict[str, int] = {}  # and how often after it has done all
        self.wait_s = 0.0
        self.calls: Counter[str] = Counter()

    async def enqueue(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        return await self._troubled("enqueue", super().enqueue, jobs)

    async def reserve(self, n: int, now: float, only: JobId | None = None, abandoned: bool = False) -> Reserved:
        return await self._troubled("reserve", super().reserve, n, now, only, abandoned)

    async def ack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        return await self._troubled("ack", super().ack, jobs)

    async def nack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        return await self._troubled("nack", super().nack, jobs)

    async def cancel(self, job_id: JobId) -> CancelOutcome:
        return await self._troubled("cancel", super().cancel, job_id)

    async def counts(self) -> Counts:
        return await self._troubled("counts", super().counts)

    async def page(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
        return await self._troubled("page", super().page, query, cursor, limit)

    async def _troubled(self, call: str, act: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        self.calls[call] += 1
        if self.wait_s:
            await asyncio.sleep(self.wait_s)
        if self._fails(self.failing, call):
            raise OSError(f"disk full in {call}")
        value = await act(*args)
        if self._fails(self.failing_late, call):
            raise OSError(f"connection lost in {call}")
        return value

    @staticmethod
    def _fails(due: dict[str, int], call: str) -> bool:
        due[call] = due.get(call, 0) - 1
        return due[call] >= 0


class SlowCaller:
    """Runs user code after a while, as a mode that takes its time does."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(self.delay_s)
        return function(*args)


class HangingCaller:
    """User code that never comes back: given up after ten seconds, as `ThreadCaller` does."""

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(10.0)
        raise TimeoutError("did not return within 10 s")


class ScriptedMode(FailureMode):
    """Decides what it was given, one after the other, the last one for ever; an exception among them is raised."""

    def __init__(self, *decisions: Any) -> None:
        self.asked: list[tuple[JobRecord, Failure]] = []
        self._decisions = decisions

    def decide(self, job: JobRecord, failure: Failure) -> Decision:
        self.asked.append((job, failure))
        decision = self._decisions[min(len(self.asked), len(self._decisions)) - 1]
        if isinstance(decision, BaseException):
            raise decision
        return decision
