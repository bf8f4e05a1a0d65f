"""The contract of stores, on a table of each database.

Jobs of a poll queue are rows, so the suite's driver inserts the row of a job first, done with, and then has the store take it in, as it
takes in a job that comes from another queue. Time is the database's: here both it and the queue's are what the suite says.
What a row cannot have is not asked for: priorities, and arguments of a job's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa

from honeydew_ray import PollStore, lifecycle
from honeydew_ray.job import CancelOutcome, JobRecord, JobState
from honeydew_ray.payload import Payload, dumps_call
from honeydew_ray.stores._poll.columns import add_queue_columns
from honeydew_ray.stores.base import Query, Reserved, Store
from honeydew_ray.testing import StoreContract, StoreDriver, make_job
from honeydew_ray.testing.store_rules.base import FAILURE, NOW, TICK, ids, new
from tests.sql.databases import database, fails_no_commit

NEVER_S = 1e9
_numbers = itertools.count(1)
ARGUMENTS = Payload(dumps_call(None, (), {}, "no arguments")[0])


class SuiteTime:
    """What the suite says that the time is."""

    def __init__(self) -> None:
        self.seconds = NOW

    def now(self) -> float:
        return self.seconds

    def now_us(self) -> int:
        return round(self.seconds * 1_000_000)

    def __reduce__(self) -> tuple[Any, ...]:
        return SuiteTime, ()


class SuiteStore(PollStore):
    """A poll store by the suite's clock; each is of the same owner, as the same queue is in the suite."""

    def __init__(self, url: str, table: sa.Table) -> None:
        super().__init__(lambda: _engine(url), table, task=self._task_of, poll_interval_s=NEVER_S, owner="suite")
        self.url, self.table = url, table
        self.methods: dict[str, str] = {}  # by row
        self.opened = 0
        self.tell(SuiteTime())

    def _task_of(self, key: str, queue: str) -> tuple[str]:
        return (self.methods.get(key, "work"),)

    def tell(self, time: SuiteTime) -> None:
        self._clock = time
        self._now = sa.bindparam("suite_now", callable_=time.now_us, type_=sa.BigInteger())

    def __reduce__(self) -> tuple[Any, ...]:
        return SuiteStore, (self.url, self.table)


def _engine(url: str) -> sa.Engine:
    engine = sa.create_engine(url)
    fails_no_commit(engine)
    return engine


class RowDriver(StoreDriver):
    """Inserts the row of each job first."""

    def __init__(self, store: SuiteStore) -> None:
        self._time = SuiteTime()
        self._time.seconds += store.opened * TICK / 10  # time goes on between openings
        store.tell(self._time)
        self._rows = _engine(store.url)
        super().__init__(store)

    def close(self) -> None:
        super().close()
        self._rows.dispose()

    def enqueue(self, *jobs: JobRecord) -> list[bool]:
        store: Any = self.store
        table: sa.Table = store.table
        with self._rows.begin() as connection:
            known = {key for key, in connection.execute(sa.select(table.c.id))}
            fresh = dict.fromkeys(job.id for job in jobs if job.id not in known)
            if fresh:
                connection.execute(sa.insert(table), [{"id": key, "honeydew_test_lock": None} for key in fresh])
        for job in jobs:
            if job.id in fresh:
                fresh.pop(job.id)
                store.methods[job.id] = job.method
        return super().enqueue(*(job._replace(payload=ARGUMENTS, method=store.methods[job.id], priority=0) for job in jobs))

    def reserve(self, n: int = 1, now: float = 0.0, only: Any = None) -> Reserved:
        self._time.seconds = now
        reserved = super().reserve(n, now, only)
        far = reserved.next_due is not None and reserved.next_due >= now + NEVER_S / 2
        return replace(reserved, next_due=None) if far else reserved


class PollStoreContract(StoreContract):
    backend: ClassVar[str]
    url: ClassVar[str]

    def drive(self, store: Store) -> StoreDriver:
        return RowDriver(store)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _database(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with database(cls.backend, tmp_path_factory.mktemp("database")) as cls.url:
            yield

    @pytest.fixture(autouse=True)
    def _fresh(self) -> None:
        self.names: dict[Path, str] = {}
        self.stores: dict[Path, int] = {}
        self.methods: dict[str, str] = {}

    # A row has no priority, which these rules are about; below they are without.
    test_a_higher_priority_goes_first = None
    test_a_job_given_back_stays_behind_higher_priorities = None
    test_the_others_keep_their_places = None
    test_jobs_in_line_are_shown_in_the_order_of_the_line = None
    test_a_job_retried_goes_to_the_end_of_its_line = None
    test_due_jobs_join_the_end_of_their_line_the_earliest_due_first = None
    test_only_claims_one_job_wherever_it_stands = None
    test_a_durable_store_keeps_the_line = None
    # A row has no arguments but its key; and what it keeps of a job besides is below.
    test_a_job_is_kept_as_it_was_given = None
    # Here a place in line is a time; of two of the same microsecond, as in this rule, the lesser key is first.
    test_a_job_that_comes_after_a_due_one_has_joined_stands_behind_it = None
    # A user's table has no place for it; the queue's actor remembers.
    test_a_durable_store_remembers_whether_it_is_suspended = None

    def test_what_is_kept_of_a_job(self, store: StoreDriver) -> None:
        job = make_job("a", client="client", private={"tries": [1, 2]}, last_error=FAILURE)
        given = lifecycle.enqueued(job, "test", NOW, 10)
        store.enqueue(given)
        assert store.find("a") == given._replace(payload=ARGUMENTS, seq=store.find("a").seq)

    def test_the_line_without_priorities(self, store: StoreDriver) -> None:
        store.enqueue(*(new(n) for n in "cab"), new("late", delay_s=3), new("later", delay_s=4))
        c, b = store.claim_one(NOW, only="c"), store.claim_one(NOW, only="b")
        store.nack(lifecycle.gave_back(b, NOW), lifecycle.retried(c, FAILURE, NOW, 0.0, None))
        for limit in (1, 2, 1000):
            assert ids(store.all(Query(state=JobState.PENDING), limit=limit)) == ["a", "b", "c"]
        assert store.cancel("b") is CancelOutcome.CANCELLED
        assert ids(store.claim(9, NOW + 4)) == ["a", "c", "late", "later"]

    def test_the_line_is_kept_without_priorities(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as store:
            store.enqueue(*(new(n) for n in "cab"), new("later", delay_s=5))
            store.nack(lifecycle.gave_back(store.claim_one(NOW, only="a"), NOW))
        with self._opened(tmp_path) as store:
            store.enqueue(new("0"))
            assert ids(store.claim(9, NOW + 5)) == ["c", "a", "b", "0", "later"]

    def make_store(self, directory: Path) -> SuiteStore:
        new_one = directory not in self.stores
        name = self.names.setdefault(directory, f"jobs {next(_numbers)}")
        table = sa.Table(name, sa.MetaData(), sa.Column("id", sa.Text(), primary_key=True))
        add_queue_columns(table, "test", notify=False)
        if new_one:
            engine = _engine(self.url)
            table.metadata.create_all(engine)
            engine.dispose()
        store = SuiteStore(self.url, table)
        self.stores[directory] = store.opened = self.stores.get(directory, -1) + 1
        store.methods = self.methods
        return store


class TestOnSQLite(PollStoreContract):
    backend = "sqlite"


class TestOnPostgreSQL(PollStoreContract):
    backend = "postgresql"
