"""A store in the memory of the queue's process: fast, and gone with it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from honeydew_ray.arguments import expect_count
from honeydew_ray.job import CancelOutcome, JobId, JobRecord
from honeydew_ray.stores._image import Image, demand_enqueued, demand_put_back
from honeydew_ray.stores.base import Counts, Opened, Page, Query, Reserved, Store


class MemoryStore(Store):
    """Keeps jobs in memory. If the queue's process dies they are lost, and waiters are told so.

    ``max_abandoned`` bounds the list of abandoned jobs: beyond it the oldest is forgotten.
    Every call costs the same whatever the backlog; `page` alone costs what it passes over.
    """

    def __init__(self, max_abandoned: int = 1000) -> None:
        self._max_abandoned = expect_count("MemoryStore", "max_abandoned", max_abandoned)
        self._image = Image(self._max_abandoned)

    def __repr__(self) -> str:
        return f"MemoryStore(max_abandoned={self._max_abandoned})"

    async def open(self, queue: str) -> Opened:
        self._image.incarnation = uuid.uuid4().hex[:16]
        return Opened(self._image.incarnation)

    async def enqueue(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        demand_enqueued(jobs)
        return [self._enqueue(job) for job in jobs]

    async def reserve(self, n: int, now: float, only: JobId | None = None, abandoned: bool = False) -> Reserved:
        return self._image.reserve(n, now, only, abandoned)

    async def ack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        return [self._image.ack(job) for job in jobs]

    async def nack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        demand_put_back(jobs)
        return [self._image.nack(job) for job in jobs]

    async def cancel(self, job_id: JobId) -> CancelOutcome:
        return self._image.cancel(job_id)

    async def page(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
        found: list[JobRecord] = []
        last: Any = None
        for place, job in self._image.walk(query, cursor, limit):
            if len(found) == limit:
                return Page(found, last)
            found.append(job)
            last = place
        return Page(found)

    async def counts(self) -> Counts:
        return self._image.counts()

    async def remember_suspended(self, suspended: bool) -> None:
        pass  # this memory does not outlive the process: the next open is of an empty store

    async def close(self) -> None:
        pass

    def _enqueue(self, job: JobRecord) -> bool:
        if job.id in self._image:
            return False
        self._image.add(self._image.placed(job))
        return True
