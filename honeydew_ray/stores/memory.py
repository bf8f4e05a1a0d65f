"""A store in the memory of the queue's process: fast, and gone with it."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from honeydew_ray import lifecycle
from honeydew_ray.arguments import expect_count
from honeydew_ray.errors import InvalidTransition
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobState
from honeydew_ray.stores._waiting import DelayedJobs, Lines, Walk
from honeydew_ray.stores.base import Counts, Opened, Page, Query, Reserved, Store

_WAITING = frozenset({JobState.PENDING, JobState.DELAYED})
_PUT_BACK = _WAITING | {JobState.ABANDONED}
_PAGE_ORDER = (JobState.PENDING, JobState.DELAYED, JobState.IN_PROGRESS, JobState.ABANDONED)


class MemoryStore(Store):
    """Keeps jobs in memory. If the queue's process dies they are lost, and waiters are told so.

    ``max_abandoned`` bounds the list of abandoned jobs: beyond it the oldest is forgotten.
    Every call costs the same whatever the backlog; `page` alone costs what it passes over.
    """

    def __init__(self, max_abandoned: int = 1000) -> None:
        self._max_abandoned = expect_count("MemoryStore", "max_abandoned", max_abandoned)
        self._incarnation = ""
        self._jobs: dict[JobId, JobRecord] = {}  # every job held, as it now is
        self._lines = Lines(self._jobs)
        self._delayed = DelayedJobs(self._jobs)
        self._claims: dict[JobId, int] = {}  # those in progress, and the number of the claim, which ascends
        self._dead: deque[JobId] = deque()  # those abandoned, oldest first
        self._dropped = 0  # how many abandoned jobs were forgotten
        self._last_seq = 0
        self._last_claim = 0

    def __repr__(self) -> str:
        return f"MemoryStore(max_abandoned={self._max_abandoned})"

    async def open(self, queue: str) -> Opened:
        self._incarnation = uuid.uuid4().hex[:16]
        return Opened(self._incarnation)

    async def enqueue(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        _demand(jobs, _WAITING, "enqueued")
        return [self._enqueue(job) for job in jobs]

    async def reserve(self, n: int, now: float, only: JobId | None = None) -> Reserved:
        while (due := self._delayed.pop_due(now)) is not None:
            self._join(lifecycle.became_due(due))
        claimed = self._claim_first(n, now) if only is None else self._claim_only(only, now) if n > 0 else []
        return Reserved(claimed, self._delayed.next_due())

    async def ack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        return [self._release(job) for job in jobs]

    async def nack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        _demand(jobs, _PUT_BACK, "put back")
        return [self._nack(job) for job in jobs]

    async def cancel(self, job_id: JobId) -> CancelOutcome:
        job = self._jobs.get(job_id)
        if job is None or job.state is JobState.ABANDONED:
            return CancelOutcome.NOT_FOUND
        if job.state is JobState.IN_PROGRESS:
            return CancelOutcome.IN_PROGRESS
        del self._jobs[job_id]
        self._left_waiting(job)
        return CancelOutcome.CANCELLED

    async def page(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
        expect_count("page", "limit", limit, least=1)
        walk = self._walk(query.state, cursor) if query.ids is None else self._walk_ids(query.ids, cursor)
        found: list[JobRecord] = []
        last: Any = None
        for place, job in walk:
            if (query.state is None or job.state is query.state) and (query.method is None or job.method == query.method):
                if len(found) == limit:
                    return Page(found, last)
                found.append(job)
                last = place
        return Page(found)

    async def counts(self) -> Counts:
        delayed, in_progress, abandoned = len(self._delayed), len(self._claims), len(self._dead)
        return Counts(len(self._jobs) - delayed - in_progress - abandoned, delayed, in_progress, abandoned)

    async def remember_suspended(self, suspended: bool) -> None:
        pass  # this memory does not outlive the process: the next open is of an empty store

    async def close(self) -> None:
        pass

    # -- jobs that wait

    def _enqueue(self, job: JobRecord) -> bool:
        if job.id in self._jobs:
            return False
        self._wait(replace(job, seq=0) if job.seq else job)
        return True

    def _wait(self, job: JobRecord) -> None:
        """The job waits, as its state and ``seq`` say."""
        if job.state is JobState.DELAYED:
            self._jobs[job.id] = job
            self._delayed.add(job)
        elif job.seq:
            self._jobs[job.id] = job
            self._lines.put_back(job)
        else:
            self._join(job)

    def _join(self, job: JobRecord) -> None:
        """The job goes to the end of its line."""
        self._last_seq += 1
        job = self._jobs[job.id] = replace(job, seq=self._last_seq)
        self._lines.append(job)

    def _left_waiting(self, job: JobRecord) -> None:
        """A job that waited is no longer in the table as it was."""
        if job.state is JobState.DELAYED:
            self._delayed.left()
        else:
            self._lines.left(job)

    # -- jobs in progress

    def _claim_first(self, n: int, now: float) -> list[JobRecord]:
        claimed: list[JobRecord] = []
        while len(claimed) < n and (job := self._lines.pop()) is not None:
            claimed.append(self._claim(job, now))
        return claimed

    def _claim_only(self, job_id: JobId, now: float) -> list[JobRecord]:
        job = self._jobs.get(job_id)
        if job is None or job.state not in _WAITING:
            return []
        claimed = self._claim(job, now)
        self._left_waiting(job)
        return [claimed]

    def _claim(self, job: JobRecord, now: float) -> JobRecord:
        """The number of the claim is part of the token: an id may come again, and its attempts count from 1 anew."""
        self._last_claim += 1
        self._claims[job.id] = self._last_claim
        claimed = self._jobs[job.id] = lifecycle.claimed(job, f"{self._incarnation}.{self._last_claim}", now)
        return claimed

    def _release(self, job: JobRecord) -> bool:
        """Let go of a job in progress; False, and nothing changes, if this attempt is not held."""
        held = self._jobs.get(job.id)
        if held is None or held.state is not JobState.IN_PROGRESS or held.token != job.token:
            return False
        del self._jobs[job.id], self._claims[job.id]
        return True

    def _nack(self, job: JobRecord) -> bool:
        if not self._release(job):
            return False
        if job.state is JobState.ABANDONED:
            self._bury(job)
        else:
            self._wait(job)
        return True

    def _bury(self, job: JobRecord) -> None:
        self._jobs[job.id] = job
        self._dead.append(job.id)
        if len(self._dead) > self._max_abandoned:
            del self._jobs[self._dead.popleft()]
            self._dropped += 1

    # -- pages

    def _walk(self, state: JobState | None, cursor: tuple[int, Any] | None) -> Walk:
        """Jobs state by state from the cursor on, each with its cursor: (index of the state, place)."""
        start, place = cursor or (0, None)
        for index in range(start, len(_PAGE_ORDER)):
            if state is None or state is _PAGE_ORDER[index]:
                for here, job in self._walk_state(_PAGE_ORDER[index], place):
                    yield (index, here), job
            place = None

    def _walk_state(self, state: JobState, after: Any) -> Walk:
        if state is JobState.PENDING:
            return self._lines.walk(after)
        if state is JobState.DELAYED:
            return self._delayed.walk(after)
        if state is JobState.IN_PROGRESS:
            return ((claim, self._jobs[job_id]) for job_id, claim in self._claims.items() if after is None or claim > after)
        first = 0 if after is None else max(0, after + 1 - self._dropped)
        ids = islice(self._dead, first, None)
        return ((number, self._jobs[job_id]) for number, job_id in enumerate(ids, self._dropped + first))

    def _walk_ids(self, ids: Sequence[JobId], after: Any) -> Walk:
        """The jobs of these ids, each with its place: (state, then line order, then the order asked for)."""
        found = [(job, index) for index, job_id in enumerate(dict.fromkeys(ids)) if (job := self._jobs.get(job_id)) is not None]
        placed = sorted(((*self._place(job), index), job) for job, index in found)
        return ((place, job) for place, job in placed if after is None or place > after)

    def _place(self, job: JobRecord) -> tuple[int, float, float]:
        state = _PAGE_ORDER.index(job.state)
        if job.state is JobState.PENDING:
            return state, -job.priority, job.seq
        if job.state is JobState.DELAYED:
            return state, job.due_at, 0
        return state, self._claims.get(job.id, 0), job.completed_at or 0


def _demand(jobs: Sequence[JobRecord], allowed: frozenset[JobState], step: str) -> None:
    """Refuse the whole batch if one job of it is in a wrong state."""
    for job in jobs:
        if job.state not in allowed:
            wanted = " or ".join(sorted(allowed))
            raise InvalidTransition(f"job {job.id} is {job.state} and cannot be {step}: that takes a job that is {wanted}")
