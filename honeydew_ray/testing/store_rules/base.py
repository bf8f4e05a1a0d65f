"""What the rules for stores have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.failure import Failure
from honeydew_ray.job import JobId, JobRecord, JobState
from honeydew_ray.stores.base import Store
from honeydew_ray.testing.jobs import make_job
from honeydew_ray.testing.store_driver import StoreDriver

NOW = 1_700_000_000.0
"""The time at which the tests begin."""

TICK = 0.001
"""A time that every store can tell from 0."""

FAILURE = Failure("exception", "ValueError", "bad photo", "Traceback ...", attempt=1)
LOST = Failure("node_lost", "NodeDied", "the node died")


class StoreRules:
    """Gives each test an open, empty store."""

    def make_store(self, directory: Path) -> Store:
        """Your store, not opened. A durable one keeps its files in this directory, so that a second
        store made with the same directory finds the jobs of the first; two directories share nothing."""
        raise NotImplementedError(f"{type(self).__name__}.make_store(self, directory) must return a new store")

    def drive(self, store: Store) -> StoreDriver:
        """Open a store. If jobs come into yours from outside, return a driver whose ``enqueue`` puts them there."""
        return StoreDriver(store)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[StoreDriver]:
        with self.drive(self.make_store(tmp_path)) as driver:
            yield driver


def new(job_id: JobId, priority: int = 0, delay_s: float = 0.0) -> JobRecord:
    """A job about to be enqueued at `NOW`."""
    return lifecycle.enqueued(make_job(job_id, priority=priority), "test", NOW, delay_s)


def ids(jobs: Iterable[JobRecord]) -> list[JobId]:
    """The ids of jobs, in order."""
    return [job.id for job in jobs]


def put_in(store: StoreDriver, state: JobState, job_id: JobId = "a") -> JobRecord:
    """Bring one new job into this state, and return it as the store then holds it."""
    store.enqueue(new(job_id, delay_s=10 if state is JobState.DELAYED else 0))
    if state in (JobState.IN_PROGRESS, JobState.ABANDONED):
        job = store.claim_one(NOW, only=job_id)
        if state is JobState.ABANDONED:
            assert store.nack(lifecycle.abandoned(job, FAILURE, NOW)) == [True]
    held = store.find(job_id)
    assert held is not None
    assert held.state is state
    return held


def line(store: StoreDriver) -> list[JobId]:
    """Claim every job that is due, and return their ids in the order of the claims."""
    return ids(store.claim(1000, NOW))


HELD_STATES = (JobState.PENDING, JobState.DELAYED, JobState.IN_PROGRESS, JobState.ABANDONED)
"""The states of the jobs that a store holds."""
