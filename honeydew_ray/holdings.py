"""The jobs that a queue holds while nobody watches them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator

from honeydew_ray.job import JobId, JobRecord, Token


class Holdings(Collection[JobId]):
    """Jobs on their way to another queue, and those that were lost with a queue's process, each until it is settled.

    Such a job is known here whether or not the store has its row: a store may have let it go and then
    failed, so that the queue has yet to learn of it, and tries again.
    """

    def __init__(self) -> None:
        self._held: dict[JobId, dict[Token, tuple[JobRecord, asyncio.Future[None]]]] = {}

    def hold(self, job: JobRecord) -> None:
        """An attempt is held from now on."""
        self._held.setdefault(job.id, {})[job.token] = job, asyncio.get_running_loop().create_future()

    def release(self, job: JobRecord) -> None:
        """A held attempt is settled, or back in line."""
        held = self._held[job.id]
        _, released = held.pop(job.token)
        if not held:
            del self._held[job.id]
        released.set_result(None)

    def find(self, job_id: JobId) -> JobRecord | None:
        """The job as it is held, in progress."""
        return next((job for job, _ in self._held.get(job_id, {}).values()), None)

    def released(self, job_id: JobId) -> list[asyncio.Future[None]]:
        """What is done when the job is held no more."""
        return [released for _, released in self._held.get(job_id, {}).values()]

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._held

    def __iter__(self) -> Iterator[JobId]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)
