"""A store with plain calls, for tests that are not coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobState
from honeydew_ray.stores.base import Counts, Opened, Page, Query, Reserved, Store

T = TypeVar("T")


class StoreDriver:
    """Runs each call of a store to its end, on an event loop of its own.

    Opens the store at once; ``opened`` is what the store said. Close it, or use it in ``with``.
    """

    def __init__(self, store: Store, queue: str = "test") -> None:
        self.store = store
        self._loop = asyncio.new_event_loop()
        try:
            self.opened: Opened = self._run(store.open(queue))
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> StoreDriver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store, then the loop. Closing twice is the same as once."""
        if not self._loop.is_closed():
            self._run(self.store.close())
            self.leave()

    def leave(self) -> None:
        """Let go of the store as a process that is killed does: without closing it."""
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def enqueue(self, *jobs: JobRecord) -> list[bool]:
        return list(self._run(self.store.enqueue(jobs)))

    def reserve(self, n: int = 1, now: float = 0.0, only: JobId | None = None, abandoned: bool = False) -> Reserved:
        return self._run(self.store.reserve(n, now, only, abandoned))

    def claim(self, n: int = 1, now: float = 0.0, only: JobId | None = None) -> list[JobRecord]:
        """The jobs that `reserve` claims."""
        return list(self.reserve(n, now, only).jobs)

    def claim_one(self, now: float = 0.0, only: JobId | None = None) -> JobRecord:
        """The one job that `reserve` claims; there must be one."""
        jobs = self.claim(1, now, only)
        assert len(jobs) == 1, f"reserve(1, now={now}, only={only!r}) claimed {jobs}, expected one job"
        return jobs[0]

    def ack(self, *jobs: JobRecord) -> list[bool]:
        return list(self._run(self.store.ack(jobs)))

    def nack(self, *jobs: JobRecord) -> list[bool]:
        return list(self._run(self.store.nack(jobs)))

    def cancel(self, job_id: JobId) -> CancelOutcome:
        return self._run(self.store.cancel(job_id))

    def counts(self) -> Counts:
        return self._run(self.store.counts())

    def remember_suspended(self, suspended: bool) -> None:
        self._run(self.store.remember_suspended(suspended))

    def page(self, query: Query | None = None, cursor: Any = None, limit: int = 1000) -> Page:
        return self._run(self.store.page(query or Query(), cursor, limit))

    def all(self, query: Query | None = None, limit: int = 1000) -> list[JobRecord]:
        """The jobs of all pages."""
        page = self.page(query, limit=limit)
        jobs = list(page.jobs)
        while page.cursor is not None:
            page = self.page(query, page.cursor, limit)
            jobs += page.jobs
        return jobs

    def find(self, job_id: JobId) -> JobRecord | None:
        """The job of that id as the store holds it."""
        jobs = self.all(Query(ids=[job_id]))
        return jobs[0] if jobs else None

    def state(self, job_id: JobId) -> JobState | None:
        """The state of that job; None if the store does not hold it."""
        job = self.find(job_id)
        return None if job is None else job.state

    def _run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self._loop.run_until_complete(wait())
