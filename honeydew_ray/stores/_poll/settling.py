"""Where attempts at rows end: what comes while one transaction is under way goes into the next together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from honeydew_ray import failpoints, lifecycle
from honeydew_ray.clock import Clock
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.stores._poll import state
from honeydew_ray.stores._poll.columns import ABANDONED
from honeydew_ray.stores._poll.database import Database
from honeydew_ray.stores._poll.leases import Leases
from honeydew_ray.stores._poll.rows import RowJobs
from honeydew_ray.stores._poll.sql import Change, Key, RowStatements

_US = 1_000_000
_BATCH_US = 1000  # places at the end of the line begin so long ago, so that those of a batch, one after the other, are not in the future


class _Settling(NamedTuple):
    """Attempts to settle, whether they go back or are done with, and who waits for it."""

    jobs: Sequence[JobRecord]
    back: bool
    done: asyncio.Future[Sequence[bool]]


class Places:
    """Says what the lock of a row that waits is to be, by the database's clock."""

    def __init__(self, sql: RowStatements, clock: Clock) -> None:
        self._sql = sql
        self._clock = clock
        self._last = 0

    def of(self, connection: sa.Connection, jobs: Sequence[JobRecord]) -> list[int]:
        """For each job: its old place, the end of the line, or its time; those of one time keep their order."""
        if not jobs:
            return []
        database_us, now = self._sql.time(connection), self._clock.now()
        taken = set[int]()
        places: list[int] = []
        for job in jobs:
            if job.state is JobState.ABANDONED:
                place = ABANDONED
            elif job.state is JobState.DELAYED:
                place = database_us + round((job.due_at - now) * _US)
                while place in taken:
                    place += 1
            elif job.seq:
                place = job.seq - 1
            else:
                place = self._last = max(database_us - _BATCH_US, self._last + 1)
            taken.add(place)
            places.append(place)
        return places


class Settler:
    """Settles attempts on a thread of its own, in the order in which they come."""

    def __init__(self, database: Database, sql: RowStatements, rows: RowJobs, leases: Leases, places: Places, clock: Clock) -> None:
        self._database = database
        self._sql = sql
        self._rows = rows
        self._leases = leases
        self._places = places
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "honeydew-commit")
        self._waiting: list[_Settling] = []
        self._running: asyncio.Future[None] | None = None

    def close(self) -> None:
        """End the thread, when it has finished what it does. Blocks."""
        self._thread.shutdown()

    async def settle(self, jobs: Sequence[JobRecord], back: bool) -> Sequence[bool]:
        """Put attempts ``back``, as the jobs now are, or be done with them; for each whether it was still reserved."""
        if not jobs:
            return []
        done: asyncio.Future[Sequence[bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Settling(jobs, back, done))
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._settle_all())
        return await done

    async def _settle_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            every = [(job, settling.back) for settling in batch for job in settling.jobs]
            try:
                answers = iter(await asyncio.get_running_loop().run_in_executor(self._thread, self.commit, every))
            except BaseException as error:
                for settling in batch:
                    if not settling.done.done():
                        settling.done.set_exception(error)
                continue
            for settling in batch:
                held = [next(answers) for _ in settling.jobs]
                if not settling.done.done():
                    settling.done.set_result(held)
            self._run_again(every)

    def _run_again(self, settled: Sequence[tuple[JobRecord, bool]]) -> None:
        """Rows that somebody made ready while their job was in hand go back in line now that it has ended."""
        again = self._leases.let_go(job for job, _ in settled)
        if again:
            now = self._clock.now()
            nobody: asyncio.Future[Sequence[bool]] = asyncio.get_running_loop().create_future()
            nobody.add_done_callback(lambda done: done.exception())  # should it fail, their leases run out
            self._waiting.append(_Settling([lifecycle.gave_back(job, now) for job in again], True, nobody))

    def commit(self, batch: Sequence[tuple[JobRecord, bool]]) -> list[bool]:
        """Settle attempts in one transaction; for each whether it was still reserved. Blocks."""
        seen = set[Any]()
        mine: list[tuple[int, JobRecord, bool]] = []
        for number, (job, back) in enumerate(batch):
            if job.token not in seen and self._leases.holds(job):
                mine.append((number, job, back))
            seen.add(job.token)
        answers = [False] * len(batch)
        if mine:
            failpoints.hit("ack.pre_commit")
            for number in self._database.run(partial(self._write, mine), whole=True):
                answers[number] = True
            failpoints.hit("ack.post_commit")
        return answers

    def _write(self, mine: Sequence[tuple[int, JobRecord, bool]], connection: sa.Connection) -> list[int]:
        held: list[int] = []
        back = [(number, job) for number, job, is_back in mine if is_back]
        for (number, job), place in zip(back, self._places.of(connection, [job for _, job in back]), strict=True):
            private = state.write(job, 0 if place == ABANDONED else place)
            if self._sql.change(connection, Change(self._key(job), job.incarnation, place, private)):
                held.append(number)
        done: dict[str, dict[Key, int]] = {}  # by claim
        for number, job, is_back in mine:
            if not is_back:
                done.setdefault(job.incarnation, {})[self._key(job)] = number
        for claim_id, numbers in done.items():
            held += [numbers[key] for key in self._sql.finish(connection, claim_id, list(numbers))]
        return held

    def _key(self, job: JobRecord) -> Key:
        return self._rows.key_of(job.id) or ()
