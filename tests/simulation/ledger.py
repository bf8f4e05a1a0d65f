"""What a queue's store has confirmed: the measure of custody, kept outside of every process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobState, Token
from honeydew_ray.stores.base import Counts, Opened, Page, Query, Reserved, Store

_MANY = 1_000_000


@dataclass
class Entry:
    """One job in one store."""

    record: JobRecord  # as the store last confirmed it
    left: JobState | None = None  # why it is gone, if that is confirmed
    unclear: set[JobState] = field(default_factory=set[JobState])  # what was asked for, and is not confirmed

    @property
    def buried(self) -> bool:
        """Whether it is surely among the dead."""
        return self.left is None and not self.unclear and self.record.state is JobState.ABANDONED


class Ledger:
    """What the store of one queue must hold, by its own word."""

    def __init__(self, queue: str, durable: bool, complain: Callable[[str], None], on_crash: Callable[[str, list[JobId]], None]) -> None:
        self.queue = queue
        self.durable = durable
        self.entries: dict[JobId, Entry] = {}
        self.lost: set[JobId] = set()  # with the memory of a process, which is no fault of a store that promises nothing else
        self.entering: set[JobId] = set()  # asked to keep, and not confirmed
        self.complain = complain
        self._on_crash = on_crash

    def present(self) -> list[JobId]:
        return [job_id for job_id, entry in self.entries.items() if entry.left is None]

    def entered(self, job: JobRecord) -> None:
        self.entries[job.id] = Entry(job)
        self.lost.discard(job.id)

    def asked(self, job_id: JobId, state: JobState) -> None:
        if job_id in self.entries:
            self.entries[job_id].unclear.add(state)

    def refused(self, job_id: JobId, state: JobState) -> None:
        if job_id in self.entries:
            self.entries[job_id].unclear.discard(state)

    def left(self, job_id: JobId, state: JobState, job: JobRecord | None = None) -> None:
        entry = self.entries.get(job_id)
        if entry is not None:
            entry.record = entry.record if job is None else job
            entry.left = state
            entry.unclear.clear()

    def stands(self, job: JobRecord) -> None:
        known = self.entries.get(job.id)
        if known is not None and (known.left is None or known.record.attempt < job.attempt) and known.record.attempt <= job.attempt:
            self.entries[job.id] = Entry(job)
        else:  # it was issued again meanwhile, since the store had it back before it failed
            self.refused(job.id, job.state)

    def crashed(self) -> None:
        """The process that had the store open is gone."""
        self._on_crash(self.queue, self.present())
        if not self.durable:
            self.lost.update(self.present())
            self.entries = {job_id: entry for job_id, entry in self.entries.items() if entry.left is not None}

    def reopened(self, found: Sequence[JobRecord]) -> None:
        """A new process has opened the store, and found these jobs."""
        here = {job.id: job for job in found}
        for job_id, entry in self.entries.items():
            job = here.get(job_id)
            if job is None:
                if entry.left is None and not entry.unclear - {JobState.PENDING, JobState.DELAYED, JobState.ABANDONED}:
                    self.complain(f"queue {self.queue}: job {job_id} was in the store, and a new process does not find it")
            elif entry.left is not None and not entry.unclear and job_id not in self.entering:
                self.complain(f"queue {self.queue}: job {job_id} had left as {entry.left}, and a new process finds it {job.state}")
            elif entry.buried and job.state is not JobState.ABANDONED:
                self.complain(f"queue {self.queue}: job {job_id} was abandoned, and a new process finds it {job.state}")
            elif job.failures < entry.record.failures and not entry.unclear:
                known = f"had failed {entry.record.failures} times, and a new process knows of {job.failures}"
                self.complain(f"queue {self.queue}: job {job_id} {known}")
        self.entering.clear()
        gone = {job_id: entry for job_id, entry in self.entries.items() if job_id not in here}
        for entry in gone.values():
            if entry.left is None:
                leaving = sorted(entry.unclear - {JobState.PENDING, JobState.DELAYED, JobState.ABANDONED})
                entry.left = leaving[0] if leaving else None
            entry.unclear.clear()
        self.entries = {**{job_id: entry for job_id, entry in gone.items() if entry.left}, **{job.id: Entry(job) for job in found}}


class WatchedStore(Store):
    """A store of any kind, with a ledger beside it and ears for what it is told to keep."""

    def __init__(self, inner: Store, ledger: Ledger, on_kept: Callable[[str, JobRecord], None],
                 on_enqueue: Callable[[int, Sequence[JobRecord]], None]) -> None:
        self.inner = inner
        self.durable = inner.durable  # type: ignore[misc]
        self.overlapping = inner.overlapping  # type: ignore[misc]
        self.issued: list[JobRecord] = []
        self.coming = 0  # how many jobs it was given just now, and may not count yet
        self._claimed: dict[JobId, JobRecord] = {}  # as last issued
        self._failed: set[tuple[str, Token]] = set()
        self._ledger = ledger
        self._on_kept = on_kept
        self._on_enqueue = on_enqueue

    async def open(self, queue: str) -> Opened:
        opened = await self.inner.open(queue)
        found = (await self.inner.page(Query(), limit=_MANY)).jobs
        self._ledger.reopened(found)
        for job in found:
            self._on_kept("entered", job)
            if job.state is JobState.IN_PROGRESS:
                self._on_kept("claimed", job)
        return opened

    async def enqueue(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        self.coming += len(jobs)
        try:
            return await self._enqueue(jobs)
        finally:
            self.coming -= len(jobs)

    async def _enqueue(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        counts = await self.inner.counts()
        self._on_enqueue(counts.pending + counts.delayed, [job for job in jobs if job.id not in self._ledger.present()])
        self._ledger.entering.update(job.id for job in jobs)
        try:
            answers = await self.inner.enqueue(jobs)
        except Exception:  # all or none, even so
            for job in (await self.inner.page(Query(ids=[job.id for job in jobs]), limit=_MANY)).jobs:
                if job.id not in self._ledger.present():
                    self._ledger.entered(job)
                    self._on_kept("entered unheard", job)
            raise
        self._ledger.entering.difference_update(job.id for job in jobs)
        for job, new in zip(jobs, answers, strict=True):
            if new:
                self._claimed.pop(job.id, None)
                self._ledger.entered(job)
                self._on_kept("entered", job)
        return answers

    async def reserve(self, n: int, now: float, only: JobId | None = None, abandoned: bool = False) -> Reserved:
        reserved = await self.inner.reserve(n, now, only, abandoned)
        for job in reserved.jobs:
            if abandoned:
                self._ledger.asked(job.id, JobState.PENDING)
            self.issued.append(job)
            self._claimed[job.id] = job
            self._on_kept("claimed", job)
        return reserved

    async def ack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        answers = await self._settle("ack", jobs, self.inner.ack)
        for job, settled in zip(jobs, self._landed("ack", jobs, answers), strict=True):
            if settled:
                self._ledger.left(job.id, job.state, job)
                self._on_kept("left", job)
            else:
                self._ledger.refused(job.id, job.state)
        return answers

    async def nack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        answers = await self._settle("nack", jobs, self.inner.nack)
        for job, settled in zip(jobs, self._landed("nack", jobs, answers), strict=True):
            if settled:
                self._ledger.stands(job)
                self._on_kept("stands", job)
            else:
                self._ledger.refused(job.id, job.state)
        return answers

    async def _settle(self, step: str, jobs: Sequence[JobRecord], act: Callable[..., Awaitable[Sequence[bool]]]) -> Sequence[bool]:
        for job in jobs:
            self._ledger.asked(job.id, job.state)
        try:
            return await act(jobs)
        except Exception:
            self._failed.update((step, job.token) for job in jobs)
            raise

    def _landed(self, step: str, jobs: Sequence[JobRecord], answers: Sequence[bool]) -> list[bool]:
        """Whether each is settled now: a store that failed, and then does not hold the attempt any more, had done it before."""
        landed = [held or (step, job.token) in self._failed for job, held in zip(jobs, answers, strict=True)]
        self._failed.difference_update((step, job.token) for job in jobs)
        return landed

    async def cancel(self, job_id: JobId) -> CancelOutcome:
        self._ledger.asked(job_id, JobState.CANCELLED)
        try:
            outcome = await self.inner.cancel(job_id)
        except Exception:
            self._failed.add(("cancel", Token(job_id, 0, "")))
            raise
        failed_before = ("cancel", Token(job_id, 0, "")) in self._failed
        self._failed.discard(("cancel", Token(job_id, 0, "")))
        if outcome is CancelOutcome.CANCELLED or (failed_before and outcome is CancelOutcome.NOT_FOUND):
            self._ledger.left(job_id, JobState.CANCELLED, self._claimed.get(job_id))
        else:
            self._ledger.refused(job_id, JobState.CANCELLED)
        return outcome

    async def page(self, query: Query, cursor: object = None, limit: int = 1000) -> Page:
        return await self.inner.page(query, cursor, limit)

    async def counts(self) -> Counts:
        return await self.inner.counts()

    async def remember_suspended(self, suspended: bool) -> None:
        await self.inner.remember_suspended(suspended)

    async def close(self) -> None:
        await self.inner.close()
