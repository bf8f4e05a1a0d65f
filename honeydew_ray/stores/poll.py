"""A store that is the user's own table: each row is a job."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar, TypeVar

import sqlalchemy as sa

from honeydew_ray import failpoints, lifecycle
from honeydew_ray.arguments import expect_count, expect_name, expect_seconds, refuse_type
from honeydew_ray.clock import Clock, SystemClock
from honeydew_ray.errors import StoreError, StoreUnreachable
from honeydew_ray.job import CancelOutcome, JobId, JobRecord, JobState
from honeydew_ray.stores import _expressions
from honeydew_ray.stores._image import demand_enqueued, demand_put_back
from honeydew_ray.stores._poll import state
from honeydew_ray.stores._poll.claims import Claims
from honeydew_ray.stores._poll.columns import channel_name, expect_columns_name
from honeydew_ray.stores._poll.database import Database, EngineSource
from honeydew_ray.stores._poll.leases import Leases
from honeydew_ray.stores._poll.listener import Listener, can_listen
from honeydew_ray.stores._poll.pages import Pages
from honeydew_ray.stores._poll.rows import RowJobs, TaskOfRow, check_columns, expect_condition, expect_table, state_of, with_queue_columns
from honeydew_ray.stores._poll.settling import Places, Settler
from honeydew_ray.stores._poll.sql import DatabaseNow, Key, RowStatements, Standing
from honeydew_ray.stores.base import Counts, Opened, Page, Query, Reserved, Store

T = TypeVar("T")
log = logging.getLogger("honeydew_ray")

_US = 1_000_000
_FIRST_RETRY_S, _LAST_RETRY_S = 0.25, 10.0


class PollStore(Store):
    """Makes a table of yours the queue: inserting a row enqueues its job, in your own transaction.

    ``table`` is a SQLAlchemy ``Table`` or a mapped class with the two columns that `add_queue_columns`, `queue_mixin` or the
    migration adds; ``url_or_engine_factory`` the database's URL, or a function that makes an ``Engine`` in the queue's process. A job's
    id is its row's key, a tuple if it has several columns. What is to be done is ``task(key, queue_name)``: a method's name,
    which is then called with the key, or a tuple of a method's name or a function and its arguments; by default ``"run"``.
    ``run_if``, an expression of SQLAlchemy, holds back the rows for which it is not true.

    The database is asked every ``poll_interval_s`` seconds, and at once when `Queue.wake` is called or, on PostgreSQL, a row is
    inserted. A row is reserved for ``stale_timeout_s`` seconds at a time, renewed while its job is in hand; so if the queue is lost
    with its node, another takes its rows over after that time. Any number of queues may share a table: give them the same
    ``columns``, which is the queue's own name by default. A queue started again under the same ``owner`` takes back at once what it
    had reserved; no two that run may have the same. ``timeout_s`` is every job's.

    Raises `StoreError` at the start if the table is not ready, with the migration to run. If the database is down, the queue starts
    all the same, tries again, and says so in `status()`.
    """

    durable: ClassVar[bool] = True
    overlapping: ClassVar[bool] = True
    outside: ClassVar[bool] = True

    def __init__(self, url_or_engine_factory: EngineSource, table: Any, *, run_if: Any = None, poll_interval_s: float = 10.0,
                 stale_timeout_s: float = 300.0, task: TaskOfRow | None = None, timeout_s: float | None = None,
                 columns: str | None = None, owner: str | None = None) -> None:
        self._database = Database(url_or_engine_factory)
        self._table = expect_table(table)
        self._run_if = expect_condition(run_if, self._table)
        self._poll_interval_s = expect_seconds("PollStore", "poll_interval_s", poll_interval_s, positive=True)
        self._stale_timeout_s = expect_seconds("PollStore", "stale_timeout_s", stale_timeout_s, positive=True)
        if task is not None and not callable(task):  # pyright: ignore[reportUnnecessaryComparison]
            raise refuse_type("PollStore", "task", task, "a function of a row's key and the queue's name",
                              'task=lambda key, queue: "classify"')
        self._task = task
        self._timeout_s = None if timeout_s is None else expect_seconds("PollStore", "timeout_s", timeout_s, positive=True)
        self._columns = None if columns is None else expect_columns_name("PollStore", columns)
        self._owner = None if owner is None else expect_name("PollStore", "owner", owner)
        self._unique = uuid.uuid4().hex[:12]
        self.node_local: bool = self._database.is_file
        self._clock: Clock = SystemClock()
        self._now: Any = DatabaseNow()
        self._wake: Callable[[], None] = _nobody
        self._retry_s = _FIRST_RETRY_S
        self._listener: Listener | None = None

    def __repr__(self) -> str:
        return f"PollStore({self._database!r}, {self._table.fullname!r})"

    def watch(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    # -- the beginning and the end ---------------------------------------------------------------

    async def open(self, queue: str) -> Opened:
        columns = expect_columns_name("PollStore", self._columns or queue)
        table = with_queue_columns(self._table, columns)
        run_if = None if self._run_if is None else _expressions.bound(self._run_if, table)
        self._rows = RowJobs(table, queue, self._task, self._timeout_s)
        self._sql = RowStatements(table, columns, run_if, int(self._stale_timeout_s * _US), self._now)
        owner = self._owner or f"{queue}@{self._unique}"
        incarnation = f"{owner}:{uuid.uuid4().hex[:8]}"
        self._asking = ThreadPoolExecutor(1, "honeydew-poll")
        self._leases = Leases(self._renew, self._stale_timeout_s)
        self._places = Places(self._sql, self._clock)
        self._settler = Settler(self._database, self._sql, self._rows, self._leases, self._places, self._clock)
        self._claims = Claims(self, self._database, self._sql, self._rows, self._leases, self._settler, incarnation, self._poll_interval_s)
        try:
            held = await self._ask(lambda: self._open(table, columns, owner))
        except BaseException:
            await self._end()
            raise
        self._leases.start()
        if self._listener is not None:
            await asyncio.to_thread(self._listener.start)
        return Opened(incarnation, held=held)

    async def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            await asyncio.to_thread(listener.stop)
        await asyncio.to_thread(self._leases.stop)
        await self._end()

    async def _end(self) -> None:
        await asyncio.to_thread(self._settler.close)
        await asyncio.to_thread(self._asking.shutdown)
        self._database.close()

    def _open(self, table: sa.Table, columns: str, owner: str) -> list[JobRecord]:
        def look(connection: sa.Connection) -> tuple[list[str], list[Standing]]:
            return check_columns(connection, table, columns), self._sql.owned(connection, owner)

        warnings, standings = self._database.run(look)
        for warning in warnings:
            log.warning("queue table: %s", warning)
        if can_listen(self._database.engine):
            self._listener = Listener(self._database.engine, channel_name(table.name, columns), lambda: self._wake())
        held = [self._claims.held(standing) for standing in standings]
        return [job for job, standing in zip(held, standings, strict=True) if self._leases.take(standing.key, job)]

    # -- reserving -----------------------------------------------------------------------------------

    async def reserve(self, n: int, now: float, only: JobId | None = None, abandoned: bool = False) -> Reserved:
        try:
            reserving = asyncio.ensure_future(self._ask(lambda: self._claims.reserve(n, now, only, abandoned)))
            try:
                reserved = await asyncio.shield(reserving)
            except asyncio.CancelledError:
                reserving.add_done_callback(self._reserved_for_nobody)
                raise
        except StoreUnreachable:
            if only is not None:
                raise
            pause_s, self._retry_s = self._retry_s, min(self._retry_s * 2, _LAST_RETRY_S)
            return Reserved([], now + pause_s * random.uniform(0.8, 1.2))
        self._retry_s = _FIRST_RETRY_S
        return reserved

    def _reserved_for_nobody(self, reserving: asyncio.Future[Reserved]) -> None:
        """Whoever asked has left."""
        if not reserving.cancelled() and reserving.exception() is None and reserving.result().jobs:
            now = self._clock.now()
            back = asyncio.ensure_future(self.nack([lifecycle.gave_back(job, now) for job in reserving.result().jobs]))
            back.add_done_callback(lambda done: done.cancelled() or done.exception())

    # -- settling ------------------------------------------------------------------------------------

    async def ack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        return await self._settler.settle(jobs, back=False)

    async def nack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        demand_put_back(jobs)
        for job in jobs:
            state.write(job, 0)  # a note that is no JSON is refused before anything has changed
        try:
            return await self._settler.settle(jobs, back=True)
        finally:
            self._claims.forget_due()

    def _renew(self, by_claim: dict[str, list[Key]]) -> set[Key]:
        def renew(connection: sa.Connection) -> set[Key]:
            return {key for claim_id, keys in by_claim.items() for key in self._sql.renew(connection, claim_id, keys)}

        return self._database.run(renew, whole=True)

    # -- jobs that wait --------------------------------------------------------------------------------

    async def enqueue(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        """Have rows that are done with wait again; a job's id must be the key of a row, and its task the queue's own.

        That is how jobs of another queue on the same table move here. All else enters the queue by being inserted.
        """
        demand_enqueued(jobs)
        if not jobs:
            return []
        return await self._ask(lambda: self._enqueue(jobs))

    def _enqueue(self, jobs: Sequence[JobRecord]) -> list[bool]:
        keys = [self._expect_row(job) for job in jobs]

        def write(connection: sa.Connection) -> list[bool]:
            failpoints.hit("enq.pre_commit")
            fresh = [job._replace(seq=0) for job in jobs]
            answers: list[bool] = []
            for job, key, place in zip(fresh, keys, self._places.of(connection, fresh), strict=True):
                entered = self._sql.enqueue(connection, key, place, state.write(job, place))
                if entered is None:
                    raise StoreError(_NO_ROW.format(job.id, self._table.fullname))
                answers.append(entered)
            return answers

        answers = self._database.run(write, whole=True)
        failpoints.hit("enq.post_commit")
        self._claims.forget_due()
        return answers

    def _expect_row(self, job: JobRecord) -> Key:
        key = self._rows.key_of(job.id)
        if key is None:
            raise StoreError(_NO_ROW.format(repr(job.id), self._table.fullname))
        task, payload = self._rows.work(job.id)
        if (job.method, job.is_function, job.payload) != (task.name, task.function is not None, payload):
            raise StoreError(f"job {job.id!r} asks for {job.method!r}, with arguments of its own; a poll queue keeps no task of a job: "
                             f"for this row it runs {task.name!r} as its task=... says")
        return key

    async def cancel(self, job_id: JobId) -> CancelOutcome:
        key = self._rows.key_of(job_id)
        return CancelOutcome.NOT_FOUND if key is None else await self._ask(lambda: self._cancel(key))

    def _cancel(self, key: Key) -> CancelOutcome:
        def cancel(connection: sa.Connection) -> CancelOutcome:
            for _ in range(100):
                if self._sql.cancel(connection, key):
                    return CancelOutcome.CANCELLED
                standings = self._sql.look(connection, [key])
                found = state_of(standings[0], self._sql.time(connection)) if standings else None
                if found not in (JobState.PENDING, JobState.DELAYED):  # else it came back between the two looks
                    return CancelOutcome.IN_PROGRESS if found is JobState.IN_PROGRESS else CancelOutcome.NOT_FOUND
            return CancelOutcome.IN_PROGRESS

        try:
            return self._database.run(cancel)
        finally:
            self._claims.forget_due()

    # -- looking -----------------------------------------------------------------------------------------

    async def page(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
        expect_count("page", "limit", limit, least=1)
        where = None if query.where is None else _expressions.bound(_expressions.plain(query.where), self._sql.table)
        look = partial(Pages(self._sql, self._rows, query, where).page, cursor=cursor, limit=limit)
        return await self._ask(lambda: self._database.run(look))

    async def counts(self) -> Counts:
        pending, delayed, in_progress, stale, abandoned = await self._ask(lambda: self._database.run(self._sql.counts))
        return Counts(pending, delayed, in_progress, abandoned, stale)

    async def remember_suspended(self, suspended: bool) -> None:
        pass  # a user's table has no place for it: the queue's actor remembers

    # ----------------------------------------------------------------------------------------------------

    async def _ask(self, work: Callable[[], T]) -> T:
        """Run some work on the thread for questions; whether the database could be used shows in `status()`."""
        try:
            value = await asyncio.get_running_loop().run_in_executor(self._asking, work)
        except StoreUnreachable as error:
            if self.trouble is None:
                log.warning("%r: %s; trying again", self, error)
            self.trouble = str(error)
            raise
        if self.trouble is not None:
            log.warning("%r: the database can be used again", self)
            self.trouble = None
        return value

_NO_ROW = "there is no row with key {} in table {}; a poll queue's jobs are the rows of its table, so insert one to enqueue its job"


def _nobody() -> None:
    """Nobody is to be woken."""
