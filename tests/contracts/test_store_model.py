"""Stores against a model of what they promise, through random histories.

To run another store, subclass `StoreMachine` and say how to make it; see the end of this file.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from honeydew_ray import lifecycle
from honeydew_ray.failure import Failure
from honeydew_ray.job import CancelOutcome, JobRecord, JobState
from honeydew_ray.stores.base import Counts, Query, Store
from honeydew_ray.stores.memory import MemoryStore
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing import StoreDriver, make_job

START = 1_700_000_000.0
FAILURE = Failure("exception", "ValueError", "bad photo")
LOST = Failure("node_lost", "NodeDied", "the node died")

PENDING, DELAYED, RUNNING, ABANDONED = JobState.PENDING, JobState.DELAYED, JobState.IN_PROGRESS, JobState.ABANDONED

IDS = st.sampled_from("abcdefgh")  # few, so that ids come again
DELAYS = st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 5.0])
PRIORITIES = st.sampled_from([0, 0, 0, -1, 1])


@dataclass
class ModelJob:
    """A job as the model sees it."""

    record: JobRecord  # as the store should hold it, but for seq
    order: int = 0  # place in its line; 0: none yet
    stamp: int = 0  # changes with each step, so that a job that stayed put is known

    @property
    def state(self) -> JobState:
        return self.record.state


class Model:
    """What a store should hold; the plainest program that does it, however slow."""

    def __init__(self) -> None:
        self.jobs: dict[str, ModelJob] = {}
        self.suspended = False
        self._numbers = 0

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def put(self, record: JobRecord, order: int = 0) -> None:
        """The job is in this state now; at the end of its line unless it has a place there."""
        if record.state is not RUNNING and not order:
            order = self.number()
        self.jobs[record.id] = ModelJob(record, order, self.number())

    def of(self, state: JobState) -> list[ModelJob]:
        jobs = [job for job in self.jobs.values() if job.state is state]
        if state is DELAYED:
            return sorted(jobs, key=lambda job: (job.record.due_at, job.stamp))
        return sorted(jobs, key=lambda job: (-job.record.priority, job.order))

    def pass_time(self, now: float) -> None:
        for job in self.of(DELAYED):
            if job.record.due_at <= now:
                self.put(lifecycle.became_due(job.record))

    def holds_attempt(self, record: JobRecord) -> bool:
        job = self.jobs.get(record.id)
        return job is not None and job.state is RUNNING and job.record.token == record.token

    def counts(self) -> Counts:
        return Counts(*(len(self.of(state)) for state in (PENDING, DELAYED, RUNNING, ABANDONED)))


LAST_STEPS: list[Callable[[JobRecord, float], JobRecord]] = [
    lambda job, now: lifecycle.succeeded(job, now, None),
    lambda job, now: lifecycle.moved(job, "elsewhere", now),
    lifecycle.cancelled,
]
STEPS_BACK: list[Callable[[JobRecord, float], JobRecord]] = [
    lambda job, now: lifecycle.retried(job, FAILURE, now, 0.0, ["note", job.failures]),
    lambda job, now: lifecycle.retried(job, FAILURE, now, 2.0, None),
    lambda job, now: lifecycle.redelivered(job, LOST),
    lifecycle.gave_back,
    lifecycle.revived,
    lambda job, now: lifecycle.abandoned(job, FAILURE, now),
]


class StoreMachine(RuleBasedStateMachine):
    """Does the same to a store and to the model, and compares."""

    make_store: ClassVar[Callable[[Path], Store]]

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.model = Model()
        self.now = START
        self.issued: list[JobRecord] = []  # every attempt that was ever issued
        self.incarnations: set[str] = set()
        self.walk: Walk | None = None
        self.store = self._open()

    def teardown(self) -> None:
        self.store.close()
        self.directory.cleanup()

    # -- what a queue does

    @rule(jobs=st.lists(st.tuples(IDS, PRIORITIES, DELAYS), max_size=5))
    def enqueue(self, jobs: list[tuple[str, int, float]]) -> None:
        records = [lifecycle.enqueued(make_job(i, priority=p), "test", self.now, delay) for i, p, delay in jobs]
        expected = []
        for record in records:
            expected.append(record.id not in self.model.jobs)
            if expected[-1]:
                self.model.put(record)
        assert self.store.enqueue(*records) == expected

    @rule(n=st.integers(0, 4))
    def reserve(self, n: int) -> None:
        self.model.pass_time(self.now)
        self._reserve(self.model.of(PENDING)[:n], n, None)

    @rule(job_id=IDS)
    def reserve_only(self, job_id: str) -> None:
        self.model.pass_time(self.now)
        job = self.model.jobs.get(job_id)
        self._reserve([job] if job is not None and job.state in (PENDING, DELAYED) else [], 1, job_id)

    @precondition(lambda self: self.model.of(ABANDONED))
    @rule(job_id=IDS)
    def reserve_a_dead_one(self, job_id: str) -> None:
        self.model.pass_time(self.now)
        job = self.model.jobs.get(job_id)
        self._reserve([job] if job is not None and job.state is ABANDONED else [], 1, job_id, abandoned=True)

    @precondition(lambda self: self.model.of(RUNNING))
    @rule(data=st.data(), step=st.sampled_from(LAST_STEPS))
    def ack(self, data: st.DataObject, step: Callable[[JobRecord, float], JobRecord]) -> None:
        self._ack([step(job, self.now) for job in self._draw_running(data)])

    @precondition(lambda self: self.model.of(RUNNING))
    @rule(data=st.data(), step=st.sampled_from(STEPS_BACK))
    def nack(self, data: st.DataObject, step: Callable[[JobRecord, float], JobRecord]) -> None:
        self._nack([step(job, self.now) for job in self._draw_running(data)])

    @precondition(lambda self: self.issued)
    @rule(data=st.data(), step=st.sampled_from(LAST_STEPS))
    def ack_any_attempt(self, data: st.DataObject, step: Callable[[JobRecord, float], JobRecord]) -> None:
        self._ack([step(job, self.now) for job in self._draw_issued(data)])

    @precondition(lambda self: self.issued)
    @rule(data=st.data(), step=st.sampled_from(STEPS_BACK))
    def nack_any_attempt(self, data: st.DataObject, step: Callable[[JobRecord, float], JobRecord]) -> None:
        self._nack([step(job, self.now) for job in self._draw_issued(data)])

    @precondition(lambda self: self.model.of(RUNNING))
    @rule(data=st.data(), ahead=st.sampled_from([-1, 1]), name=st.sampled_from(["attempt", "incarnation"]))
    def outcome_of_an_attempt_never_issued(self, data: st.DataObject, ahead: int, name: str) -> None:
        job = self._draw_running(data)[0]
        forged = job._replace(incarnation="forged") if name == "incarnation" else job._replace(attempt=job.attempt + ahead)
        self._ack([lifecycle.succeeded(forged, self.now, None)])
        self._nack([lifecycle.redelivered(forged, LOST)])

    @rule(job_id=IDS)
    def cancel(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        if job is None or job.state is ABANDONED:
            expected = CancelOutcome.NOT_FOUND
        elif job.state is RUNNING:
            expected = CancelOutcome.IN_PROGRESS
        else:
            expected = CancelOutcome.CANCELLED
            del self.model.jobs[job_id]
        assert self.store.cancel(job_id) is expected

    @rule(suspended=st.booleans())
    def remember_suspended(self, suspended: bool) -> None:
        self.store.remember_suspended(suspended)
        self.model.suspended = suspended

    # -- what happens to it

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 3600.0, -1.0, -3600.0]))
    def the_clock_moves(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.model.of(DELAYED))
    @rule(before=st.sampled_from([0.0, 0.001]))
    def the_clock_moves_to_the_next_due_time(self, before: float) -> None:
        self.now = self.model.of(DELAYED)[0].record.due_at - before

    @precondition(lambda self: self.store.store.durable)
    @rule(killed=st.booleans())
    def crash_and_reopen(self, killed: bool) -> None:
        (self.store.leave if killed else self.store.close)()
        self._reopen()

    def _reopen(self) -> None:
        self.store = self._open()
        assert self.store.opened.suspended is self.model.suspended
        held = {job.id: job._replace(seq=0) for job in self.store.opened.held}
        assert held == {job.record.id: job.record for job in self.model.of(RUNNING)}
        self.walk = None  # a cursor is good for one opening

    # -- what anybody sees

    @precondition(lambda self: self.walk is None)
    @rule(limit=st.integers(1, 3))
    def begin_to_page(self, limit: int) -> None:
        page = self.store.page(limit=limit)
        self.walk = Walk({name: job.stamp for name, job in self.model.jobs.items()}, Counter(job.id for job in page.jobs), page.cursor)

    @precondition(lambda self: self.walk is not None)
    @rule(limit=st.integers(1, 3))
    def go_on_paging(self, limit: int) -> None:
        assert self.walk is not None
        if self.walk.cursor is not None:
            page = self.store.page(cursor=self.walk.cursor, limit=limit)
            self.walk.seen.update(job.id for job in page.jobs)
            self.walk.cursor = page.cursor
        if self.walk.cursor is None:
            stayed = [name for name, job in self.model.jobs.items() if self.walk.stamps.get(name) == job.stamp]
            assert {name: self.walk.seen[name] for name in stayed} == dict.fromkeys(stayed, 1)
            self.walk = None

    @invariant()
    def counts_agree(self) -> None:
        assert self.store.counts() == self.model.counts()

    @invariant()
    def every_job_is_where_it_should_be(self) -> None:
        for state in (PENDING, DELAYED):
            shown = [job._replace(seq=0) for job in self.store.all(Query(state=state), limit=3)]
            assert shown == [job.record for job in self.model.of(state)]
        for state in (RUNNING, ABANDONED):
            shown = {job.id: job._replace(seq=0) for job in self.store.all(Query(state=state), limit=3)}
            assert shown == {job.record.id: job.record for job in self.model.of(state)}
        assert sorted(job.id for job in self.store.all(limit=3)) == sorted(self.model.jobs)

    # -- the same to both

    def _open(self) -> StoreDriver:
        driver = StoreDriver(type(self).make_store(Path(self.directory.name)))
        assert driver.opened.incarnation not in self.incarnations
        self.incarnations.add(driver.opened.incarnation)
        return driver

    def _reserve(self, expected: list[ModelJob], n: int, only: str | None, abandoned: bool = False) -> None:
        reserved = self.store.reserve(n, self.now, only, abandoned)
        assert [job.id for job in reserved.jobs] == [job.record.id for job in expected]
        for job, given in zip(expected, reserved.jobs, strict=True):
            assert given.incarnation.startswith(self.store.opened.incarnation)
            self.model.put(lifecycle.claimed(job.record, given.incarnation, self.now), job.order)
            assert given._replace(seq=0) == self.model.jobs[given.id].record
        later = self.model.of(DELAYED)
        assert reserved.next_due == (later[0].record.due_at if later else None)
        tokens = {job.token for job in self.issued}
        assert not any(job.token in tokens for job in reserved.jobs), "a token was issued twice"
        self.issued += reserved.jobs

    def _ack(self, records: list[JobRecord]) -> None:
        expected = []
        for record in records:
            expected.append(self.model.holds_attempt(record))
            if expected[-1]:
                del self.model.jobs[record.id]
        assert self.store.ack(*records) == expected

    def _nack(self, records: list[JobRecord]) -> None:
        expected = []
        for record in records:
            expected.append(self.model.holds_attempt(record))
            if expected[-1]:
                order = self.model.jobs[record.id].order if record.seq else 0
                self.model.put(record._replace(seq=0), order)
        assert self.store.nack(*records) == expected

    def _draw_running(self, data: st.DataObject) -> list[JobRecord]:
        """Some of the attempts in progress, as they were issued."""
        held = [job for job in self.issued if self.model.holds_attempt(job)]
        return data.draw(st.lists(st.sampled_from(held), min_size=1, max_size=3))

    def _draw_issued(self, data: st.DataObject) -> list[JobRecord]:
        """Some of all attempts ever, most of them long over."""
        return data.draw(st.lists(st.sampled_from(self.issued), min_size=1, max_size=3))


@dataclass
class Walk:
    """Pages being read while things change."""

    stamps: dict[str, int]  # of the jobs that were there at the start
    seen: Counter[str]
    cursor: object


MANY = settings(max_examples=200, stateful_step_count=50, deadline=None)


class MemoryStoreMachine(StoreMachine):
    make_store = staticmethod(lambda directory: MemoryStore())


class LastingStore(MemoryStore):
    """A memory store that is found again under its directory: it stands for a durable one."""

    durable: ClassVar[bool] = True
    found: ClassVar[dict[Path, LastingStore]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._suspended = False

    async def open(self, queue):
        opened = await super().open(queue)
        held = (await self.page(Query(state=RUNNING), limit=1000)).jobs
        return replace(opened, suspended=self._suspended, held=held)

    async def remember_suspended(self, suspended):
        self._suspended = suspended


class LastingStoreMachine(StoreMachine):
    make_store = staticmethod(lambda directory: LastingStore.found.setdefault(directory, LastingStore()))


class SQLiteStoreMachine(StoreMachine):
    """Killed, the store is what its files hold: they are copied away under it, and opened elsewhere."""

    make_store = staticmethod(lambda directory: SQLiteStore(directory / "jobs.db"))

    @rule(killed=st.booleans())
    def crash_and_reopen(self, killed: bool) -> None:
        if killed:
            self.store.remember_suspended(self.model.suspended)  # claims are committed with the next change, and not waited for
            copy = tempfile.TemporaryDirectory()
            for file in Path(self.directory.name).glob("jobs.db*"):
                shutil.copy(file, copy.name)
            self.store.close()
            self.directory.cleanup()
            self.directory = copy
        else:
            self.store.close()
        self._reopen()


TestMemoryStoreModel = MemoryStoreMachine.TestCase
TestMemoryStoreModel.settings = MANY
TestLastingStoreModel = LastingStoreMachine.TestCase
TestLastingStoreModel.settings = MANY
TestSQLiteStoreModel = SQLiteStoreMachine.TestCase
TestSQLiteStoreModel.settings = settings(MANY, max_examples=100)
