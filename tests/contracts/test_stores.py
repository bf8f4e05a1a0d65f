"""The contract of stores, on ours and on one that a user might write."""

from __future__ import annotations

import pickle
from bisect import insort
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from honeydew_ray import lifecycle
from honeydew_ray.job import CancelOutcome, JobState
from honeydew_ray.stores.base import Counts, Opened, Page, Query, Reserved, Store
from honeydew_ray.stores.memory import MemoryStore
from honeydew_ray.stores.sqlite import SQLiteStore
from honeydew_ray.testing import StoreContract

STATES = [JobState.PENDING, JobState.DELAYED, JobState.IN_PROGRESS, JobState.ABANDONED]


class TestMemoryStore(StoreContract):
    def make_store(self, directory: Path) -> Store:
        return MemoryStore()


class TestSQLiteStore(StoreContract):
    def make_store(self, directory: Path) -> Store:
        return SQLiteStore(directory / "jobs.db")


class TestPickleStore(StoreContract):
    def make_store(self, directory: Path) -> Store:
        return PickleStore(directory / "jobs.pickle")


@dataclass
class Saved:
    """All that a `PickleStore` keeps."""

    jobs: dict[Any, Any] = field(default_factory=dict)
    last_seq: int = 0
    claims: int = 0
    opened: int = 0
    suspended: bool = False


class PickleStore(Store):
    """The simplest durable store: writes everything to one file after each call."""

    durable: ClassVar[bool] = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = Saved()

    async def open(self, queue):
        if self._path.exists():
            self._saved = pickle.loads(self._path.read_bytes())
        self._saved.opened += 1
        self._save()
        held = [job for job in self._saved.jobs.values() if job.state is JobState.IN_PROGRESS]
        return Opened(f"opening {self._saved.opened},", self._saved.suspended, held)

    async def enqueue(self, jobs):
        answers = []
        for job in jobs:
            answers.append(job.id not in self._saved.jobs)
            if answers[-1]:
                self._place(job._replace(seq=0))
        self._save()
        return answers

    async def reserve(self, n, now, only=None, abandoned=False):
        for job in self._in(JobState.DELAYED):
            if job.due_at <= now:
                self._place(lifecycle.became_due(job)._replace(seq=0))
        waiting = self._in(JobState.PENDING)
        if only is not None:
            where = self._in(JobState.ABANDONED) if abandoned else waiting + self._in(JobState.DELAYED)
            waiting = [job for job in where if job.id == only]
        claimed = []
        for job in waiting[:n]:
            self._saved.claims += 1
            claimed.append(lifecycle.claimed(job, f"opening {self._saved.opened}, claim {self._saved.claims}", now))
        self._saved.jobs.update((job.id, job) for job in claimed)
        self._save()
        return Reserved(claimed, min((job.due_at for job in self._in(JobState.DELAYED)), default=None))

    async def ack(self, jobs):
        return [self._leave(job) for job in jobs]

    async def nack(self, jobs):
        answers = []
        for job in jobs:
            answers.append(self._leave(job))
            if answers[-1]:
                self._place(job)
        self._save()
        return answers

    async def cancel(self, job_id):
        job = self._saved.jobs.get(job_id)
        if job is None or job.state is JobState.ABANDONED:
            return CancelOutcome.NOT_FOUND
        if job.state is JobState.IN_PROGRESS:
            return CancelOutcome.IN_PROGRESS
        del self._saved.jobs[job_id]
        self._save()
        return CancelOutcome.CANCELLED

    async def page(self, query: Query, cursor=None, limit=1000):
        matching: list[Any] = []
        for job in self._saved.jobs.values():
            if (
                (query.ids is None or job.id in query.ids)
                and (query.state is None or job.state is query.state)
                and (query.method is None or job.method == query.method)
            ):
                insort(matching, (self._rank(job), job), key=lambda entry: entry[0])
        after = [(rank, job) for rank, job in matching if cursor is None or rank > cursor]
        shown = after[:limit]
        return Page([job for _, job in shown], shown[-1][0] if len(after) > limit else None)

    async def counts(self):
        return Counts(*(len(self._in(state)) for state in STATES))

    async def remember_suspended(self, suspended):
        self._saved.suspended = suspended
        self._save()

    async def close(self):
        self._save()

    def _in(self, state):
        return sorted((job for job in self._saved.jobs.values() if job.state is state), key=self._rank)

    def _rank(self, job):
        order = job.due_at if job.state is JobState.DELAYED else -job.priority
        return (STATES.index(job.state), order, job.seq, str(job.id))

    def _place(self, job):
        if not job.seq:
            self._saved.last_seq += 1
            job = job._replace(seq=self._saved.last_seq)
        self._saved.jobs[job.id] = job

    def _leave(self, job):
        held = self._saved.jobs.get(job.id)
        if held is None or held.state is not JobState.IN_PROGRESS or held.token != job.token:
            return False
        del self._saved.jobs[job.id]
        self._save()
        return True

    def _save(self):
        self._path.write_bytes(pickle.dumps(self._saved))
