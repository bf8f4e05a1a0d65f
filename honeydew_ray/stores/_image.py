"""The jobs of a store, held in memory in the order in which they are to go."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from honeydew_ray import lifecycle
from honeydew_ray.arguments import expect_count
from honeydew_ray.errors import InvalidTransition, StoreError
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobState
from honeydew_ray.stores._waiting import DelayedJobs, Lines, Walk
from honeydew_ray.stores.base import Counts, Query, Reserved

_WAITING = frozenset({JobState.PENDING, JobState.DELAYED})
_PUT_BACK = _WAITING | {JobState.ABANDONED}
_PAGE_ORDER = (JobState.PENDING, JobState.DELAYED, JobState.IN_PROGRESS, JobState.ABANDONED)

Changes = dict[JobId, JobRecord | None]
"""What became of jobs, in the order of their last change; None: gone."""


class Image:
    """Does at once, and in memory only, what a `Store` promises; each call costs the same whatever the backlog.

    ``changes``, if one is given, is told of every job that changed, for a store that writes them down.
    """

    def __init__(self, max_abandoned: int, abandoned_ttl_s: float = math.inf, changes: Changes | None = None) -> None:
        self.incarnation = ""
        self.changes = changes
        self._max_abandoned = max_abandoned
        self._abandoned_ttl_s = abandoned_ttl_s
        self._jobs: dict[JobId, JobRecord] = {}  # every job held, as it now is
        self._lines = Lines(self._jobs)
        self._delayed = DelayedJobs(self._jobs)
        self._claims: dict[JobId, int] = {}  # those in progress, and the number of the claim, which ascends
        self._dead: OrderedDict[JobId, int] = OrderedDict()  # those abandoned, oldest first, numbered as they came
        self._last_seq = 0  # the last given
        self._last_in_line = 0  # the greatest that went to the end of a line
        self._last_claim = 0
        self._last_dead = 0

    def __contains__(self, job_id: JobId) -> bool:
        return job_id in self._jobs

    def find(self, job_id: JobId) -> JobRecord | None:
        """The job of this id, if it is held."""
        return self._jobs.get(job_id)

    def restore(self, jobs: Iterable[JobRecord]) -> None:
        """Hold these jobs as they are; those of a state come in the order in which they came into it."""
        in_line: list[JobRecord] = []
        for job in jobs:
            self._jobs[job.id] = job
            self._last_seq = max(self._last_seq, job.seq)
            if job.state is JobState.PENDING:
                in_line.append(job)
            elif job.state is JobState.DELAYED:
                self._delayed.add(job)
            elif job.state is JobState.IN_PROGRESS:
                self._last_claim += 1
                self._claims[job.id] = self._last_claim
            else:
                self._last_dead += 1
                self._dead[job.id] = self._last_dead
        in_line.sort(key=lambda job: job.seq)
        for job in in_line:
            self._lines.append(job)
        self._last_in_line = self._last_seq

    # -- what a store does

    def placed(self, job: JobRecord) -> JobRecord:
        """A new job, given its place at the end of its line if it is due; it is not held yet."""
        demand([job], _WAITING, "enqueued")
        if job.state is JobState.DELAYED:
            return job._replace(seq=0) if job.seq else job
        self._last_seq += 1
        return job._replace(seq=self._last_seq)

    def add(self, job: JobRecord) -> None:
        """Hold a new job that `placed` has given its place."""
        self._wait(job)

    def reserve(self, n: int, now: float, only: JobId | None, abandoned: bool) -> Reserved:
        """See `Store.reserve`."""
        self._forget_old(now)
        while (due := self._delayed.pop_due(now)) is not None:
            self._join(lifecycle.became_due(due))
        if n <= 0:
            return Reserved([], self._delayed.next_due())
        claimed = self._claim_first(n, now) if only is None else self._claim_only(only, now, abandoned)
        return Reserved(claimed, self._delayed.next_due())

    def holds(self, job: JobRecord) -> bool:
        """Whether this attempt is in progress here."""
        held = self._jobs.get(job.id)
        return held is not None and held.state is JobState.IN_PROGRESS and held.token == job.token

    def ack(self, job: JobRecord) -> bool:
        """Let go of a job in progress; False, and nothing changes, if this attempt is not held."""
        if not self.holds(job):
            return False
        del self._claims[job.id]
        self._drop(job.id)
        return True

    def nack(self, job: JobRecord) -> bool:
        """Put a job in progress back as it now is; False, and nothing changes, if this attempt is not held."""
        demand([job], _PUT_BACK, "put back")
        if not self.ack(job):
            return False
        if job.state is JobState.ABANDONED:
            self._bury(job)
        else:
            self._wait(job)
        return True

    def cancel(self, job_id: JobId) -> CancelOutcome:
        """See `Store.cancel`."""
        job = self._jobs.get(job_id)
        if job is None or job.state is JobState.ABANDONED:
            return CancelOutcome.NOT_FOUND
        if job.state is JobState.IN_PROGRESS:
            return CancelOutcome.IN_PROGRESS
        self._drop(job_id)
        self._left_waiting(job)
        return CancelOutcome.CANCELLED

    def counts(self) -> Counts:
        """See `Store.counts`."""
        delayed, in_progress, abandoned = len(self._delayed), len(self._claims), len(self._dead)
        return Counts(len(self._jobs) - delayed - in_progress - abandoned, delayed, in_progress, abandoned)

    def walk(self, query: Query, cursor: Any, limit: int) -> Iterator[tuple[Any, JobRecord]]:
        """The jobs that `Store.page` shows and what follows, each with the cursor to what comes after it."""
        expect_count("page", "limit", limit, least=1)
        if query.where is not None:
            raise StoreError("this queue's store is no table, so it takes no expression; filter by a function, as in "
                             'filter(lambda job: job.method == "classify")')
        if query.stale:
            return iter(())
        walk = self._walk_states(query.state, cursor) if query.ids is None else self._walk_ids(query.ids, cursor)
        return (
            (place, job) for place, job in walk
            if (query.state is None or job.state is query.state) and (query.method is None or job.method == query.method)
        )

    # -- jobs that wait

    def _hold(self, job: JobRecord) -> None:
        self._jobs[job.id] = job
        if self.changes is not None:
            self.changes.pop(job.id, None)  # so that the order is that of the last change
            self.changes[job.id] = job

    def _drop(self, job_id: JobId) -> None:
        del self._jobs[job_id]
        if self.changes is not None:
            self.changes[job_id] = None

    def _wait(self, job: JobRecord) -> None:
        """The job waits, as its state and ``seq`` say."""
        if job.state is JobState.DELAYED:
            self._hold(job)
            self._delayed.add(job)
        elif not job.seq:
            self._join(job)
        elif job.seq > self._last_in_line:
            self._last_in_line = job.seq
            self._hold(job)
            self._lines.append(job)
        else:
            self._hold(job)
            self._lines.put_back(job)

    def _join(self, job: JobRecord) -> None:
        """The job goes to the end of its line."""
        self._last_seq += 1
        self._wait(job._replace(seq=self._last_seq))

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

    def _claim_only(self, job_id: JobId, now: float, abandoned: bool) -> list[JobRecord]:
        job = self._jobs.get(job_id)
        if job is None or job.state not in ({JobState.ABANDONED} if abandoned else _WAITING):
            return []
        claimed = self._claim(job, now)
        if abandoned:
            del self._dead[job_id]
        else:
            self._left_waiting(job)
        return [claimed]

    def _claim(self, job: JobRecord, now: float) -> JobRecord:
        """The number of the claim is part of the token: an id may come again, and its attempts count from 1 anew."""
        self._last_claim += 1
        self._claims[job.id] = self._last_claim
        claimed = lifecycle.claimed(job, f"{self.incarnation}.{self._last_claim}", now)
        self._hold(claimed)
        return claimed

    # -- jobs abandoned

    def _bury(self, job: JobRecord) -> None:
        self._hold(job)
        self._last_dead += 1
        self._dead[job.id] = self._last_dead
        if len(self._dead) > self._max_abandoned:
            self._forget_oldest()

    def _forget_old(self, now: float) -> None:
        while self._dead:
            oldest = self._jobs[next(iter(self._dead))]
            few = len(self._dead) <= self._max_abandoned  # after an opening they may be more: the bound may have been lowered
            if few and (oldest.completed_at or 0.0) >= now - self._abandoned_ttl_s:
                return
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        job_id, _ = self._dead.popitem(last=False)
        self._drop(job_id)

    # -- pages

    def _walk_states(self, state: JobState | None, cursor: tuple[int, Any] | None) -> Walk:
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
        numbered = self._claims if state is JobState.IN_PROGRESS else self._dead
        return ((number, self._jobs[job_id]) for job_id, number in numbered.items() if after is None or number > after)

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
        return state, self._claims.get(job.id, 0), self._dead.get(job.id, 0)


def demand(jobs: Sequence[JobRecord], allowed: frozenset[JobState], step: str) -> None:
    """Refuse the whole batch if one job of it is in a wrong state."""
    for job in jobs:
        if job.state not in allowed:
            wanted = " or ".join(sorted(allowed))
            raise InvalidTransition(f"job {job.id} is {job.state} and cannot be {step}: that takes a job that is {wanted}")


def demand_enqueued(jobs: Sequence[JobRecord]) -> None:
    """Refuse the whole batch if one job of it does not wait."""
    demand(jobs, _WAITING, "enqueued")


def demand_put_back(jobs: Sequence[JobRecord]) -> None:
    """Refuse the whole batch if one job of it is in a state that `Store.nack` does not take."""
    demand(jobs, _PUT_BACK, "put back")
