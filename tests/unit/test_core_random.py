"""Random lives of a queue: whatever happens, every job ends in exactly one place."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.errors import HoneydewError
from honeydew_ray.failure_modes.abandon import Abandon
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.failure_modes.exponential_retry import ExponentialRetry
from honeydew_ray.failure_modes.move import Move
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobState
from honeydew_ray.policies import Caller, InlineCaller
from honeydew_ray.testing.virtual_time import run_virtual
from tests.unit.harness import Bench, Rig, SlowCaller, TroubledStore, now

SEEDS_PER_TEST = 20
WORDS = ["ok"] * 6 + ["raise", "raise", "exit 1", "signal 9", "lost", "dead", "sleep 0.05", "sleep 0.5", "hang"]


class Jittery(Rig):
    """Attempts take as long to their workers as chance has it."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(spoils=rng.random() < 0.7)
        self.rng = rng

    async def run(self, worker: WorkerRef, attempt: Any) -> Any:
        self.latency_s = self.rng.choice([0.0, 0.001, 0.01, 0.2])
        return await super().run(worker, attempt)


class Life:
    """One queue, and another that failed jobs may move to, from their opening to a full drain."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.times = self.rng.choice([0, 1, 3])
        rig = Jittery(self.rng)
        caller: Caller = self.rng.choice([InlineCaller(), SlowCaller(0.03)])
        self.store = TroubledStore()
        self.done: list[JobRecord] = []
        self.bench = Bench(self.mode(), store=self.store, rig=rig, caller=caller, result_ttl_s=1e9, tell_success=self.done.append)
        self.other = Bench(Abandon(), name="other", rig=rig, result_ttl_s=1e9, tell_success=self.done.append)
        self.accepted: list[JobId] = []
        self.cancelled: dict[JobId, float] = {}  # and when
        self.moved: set[JobId] = set()
        self.suspended_at: int | None = None  # how many starts there were

    def mode(self) -> FailureMode:
        finally_ = self.rng.choice([Abandon(), Move("other"), Move("nowhere")])
        if self.rng.random() < 0.3:
            return ExponentialRetry(self.times, base=1.5, finally_=finally_)
        return Retry(self.times, delay_s=self.rng.choice([0.0, 0.3]), finally_=finally_)

    async def run(self) -> None:
        num = self.rng.randint(1, 4)
        await self.bench.open(num)
        await self.other.open()
        await self.other.group.ready("v1", "v2")
        healers = [asyncio.ensure_future(bench.group.heal(self.bench.rig.dead)) for bench in (self.bench, self.other)]
        deeds = [self.submit] * 8 + [self.cancel] * 3 + [self.move, self.suspend, self.resume, self.kill, self.retire, self.trouble]
        for _ in range(40):
            await self.rng.choice(deeds)()
            await asyncio.sleep(self.rng.choice([0.0, 0.0, 0.001, 0.05, 0.3]))
        await self.resume()
        self.store.failing, self.store.failing_late = {}, {}
        await asyncio.wait_for(self.bench.core.drain(), 10_000)
        await asyncio.wait_for(self.other.core.drain(), 10_000)
        await asyncio.sleep(10)
        for healer in healers:
            healer.cancel()

    # -- what may happen

    async def submit(self) -> None:
        scripts = [[self.rng.choice(WORDS) for _ in range(3)] + ["ok"] for _ in range(self.rng.randint(1, 4))]
        facts = {"delay_s": self.rng.choice([0.0, 0.0, 0.4]), "priority": self.rng.choice([0, 0, 5]), "timeout_s": 0.7}
        jobs = [self.bench.job(script, **facts) for script in scripts]
        await self.attempt(self.bench.core.enqueue(jobs))
        await self.attempt(self.bench.core.enqueue(jobs))  # as a client does that did not hear the answer
        if await self.bench.held(jobs[0].id) or self.bench.core.replies.find(jobs[0].id):
            self.accepted += [job.id for job in jobs]

    async def cancel(self) -> None:
        if self.accepted:
            job_id = self.rng.choice(self.accepted)
            outcome = await self.attempt(self.bench.core.cancel(job_id, self.rng.random() < 0.5))
            if outcome is CancelOutcome.CANCELLED:
                self.cancelled.setdefault(job_id, now())

    async def move(self) -> None:
        if self.accepted:
            job_id = self.rng.choice(self.accepted)
            await self.attempt(self.bench.core.move(job_id, self.rng.choice(["other", "nowhere"])))

    async def suspend(self) -> None:
        await self.bench.core.suspend()
        self.suspended_at = self.starts_here()

    async def resume(self) -> None:
        self.check_suspended()
        self.suspended_at = None
        await self.bench.core.resume()

    async def kill(self) -> None:
        if self.bench.group.views:
            self.bench.rig.kill(WorkerRef(self.rng.choice(list(self.bench.group.views))))

    async def retire(self) -> None:
        if self.bench.group.views:
            worker_id = self.rng.choice(list(self.bench.group.views))
            await self.bench.core.retire([worker_id], "g1", self.rng.choice([0.0, 0.1, 1.0]))
            self.bench.rig.dead.add(worker_id)

    async def trouble(self) -> None:
        self.store.wait_s = self.rng.choice([0.0, 0.0, 0.02])
        trouble = self.rng.choice([self.store.failing, self.store.failing_late])
        call = self.rng.choice(["enqueue", "reserve", "ack", "nack"])
        if (trouble, call) != (self.store.failing_late, "reserve"):  # nothing finds a claim whose answer was lost
            trouble[call] = self.rng.randint(1, 3)

    async def attempt(self, call: Any) -> Any:
        try:
            return await call
        except (OSError, HoneydewError):
            return None

    # -- what must hold

    def starts_here(self) -> int:
        return sum(start.worker.startswith("w") for start in self.bench.rig.starts)

    def check_suspended(self) -> None:
        if self.suspended_at is not None:
            assert self.starts_here() == self.suspended_at, "a job started while the queue was suspended"

    async def check(self) -> None:
        for bench in (self.bench, self.other):
            counts = await bench.store.counts()
            assert (counts.pending, counts.delayed, counts.in_progress) == (0, 0, 0)
            assert bench.core.floor.monitors == {}
            assert len(bench.core.floor.holdings) == 0
            assert bench.core.floor.settlement._called_off == set()
        for job_id in self.accepted:
            await self.check_place(job_id)
        self.check_starts()
        await self.check_replies()

    async def check_place(self, job_id: JobId) -> None:
        here, there = self.bench.core.replies.find(job_id), self.other.core.replies.find(job_id)
        assert here is not None, f"job {job_id} was lost"
        dead_here, dead_there = await self.bench.held(job_id), await self.other.held(job_id)
        assert (dead_here is not None) == (here.state is JobState.ABANDONED)
        if here.state is JobState.MOVED:
            assert there is not None, f"job {job_id} was lost on its way"
            assert there.state in (JobState.DONE, JobState.ABANDONED)
            assert (dead_there is not None) == (there.state is JobState.ABANDONED)
        else:
            assert there is None, f"job {job_id} is in two queues"
        done = sum(job.id == job_id for job in self.done)
        assert done == ((here if there is None else there).state is JobState.DONE), "success is told once for each job that is done"

    def check_starts(self) -> None:
        starts = Counter((start.job_id, start.worker[0]) for start in self.bench.rig.starts)
        for job in self.done:
            where = "w" if job.queue == "q" else "v"
            assert starts[job.id, where] == job.attempts == 1 + job.failures + job.redeliveries
            assert job.failures <= (self.times if where == "w" else 0)
        for job_id, at in self.cancelled.items():
            late = [start for start in self.bench.rig.starts if start.job_id == job_id and start.at > at]
            assert not late, f"job {job_id} started after it was cancelled"
        for job_id in self.accepted:
            end = self.bench.core.replies.find(job_id)
            assert end is not None
            if end.state is JobState.ABANDONED:
                assert starts[job_id, "w"] == end.attempts

    async def check_replies(self) -> None:
        told = Counter(end.id for _, end in await self.bench.core.replies.collect("me", 0, 0.0))
        assert set(told) >= set(self.accepted), "somebody waits in vain"
        assert set(told.values()) <= {1, 2}, "twice only for who sent a job again when it had ended"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of failures are meant, and formatting their tracebacks would take most of the time."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("batch", range(10))
def test_every_accepted_job_ends_in_exactly_one_place(batch: int) -> None:
    for seed in range(batch * SEEDS_PER_TEST, (batch + 1) * SEEDS_PER_TEST):
        life = Life(seed)

        async def live(life: Life = life) -> None:
            await life.run()
            await life.check()

        try:
            run_virtual(live())
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
