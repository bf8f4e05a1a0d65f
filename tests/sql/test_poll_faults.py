"""A poll queue whose database fails it; and what the database does for it: LISTEN, a narrow role, an index."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from honeydew_ray import StoreError, StoreUnreachable, lifecycle
from honeydew_ray.clock import SystemClock
from honeydew_ray.dispatchers.lru import LRU
from honeydew_ray.failure_modes.abandon import Abandon
from honeydew_ray.policies import InlineCaller
from honeydew_ray.queue_core import QueueCore, QueuePolicy
from honeydew_ray.stores.base import Counts
from honeydew_ray.stores.poll import PollStore
from honeydew_ray.testing import ScriptedWorkers, StoreDriver
from honeydew_ray.testing.store_rules.base import FAILURE, ids
from tests.sql.databases import postgres_server
from tests.sql.server import Server
from tests.sql.tables import Photos
from tests.unit.harness import Group


class Running:
    """A queue's core on a store, with scripted workers, by the real clock."""

    def __init__(self, store: PollStore) -> None:
        self.workers = ScriptedWorkers(latency_s=0.0005)
        policy = QueuePolicy("test", LRU(), Abandon())
        self.core = QueueCore(policy, store, self.workers, InlineCaller(), SystemClock())

    async def __aenter__(self) -> Running:
        await self.core.open()
        await Group(self.core).ready("w1", "w2", "w3")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.core.close()

    @property
    def starts(self) -> Counter[Any]:
        return Counter(start.job_id for start in self.workers.starts)


async def until(done: Callable[[], Any], patience_s: float = 20.0) -> None:
    deadline = time.monotonic() + patience_s
    while not (value if not isinstance(value := done(), Awaitable) else await value):
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.01)


@pytest.fixture
def server() -> Iterator[Server]:
    postgres_server()  # or skip
    made = Server()
    yield made
    made.end()


def slowly(key: int, queue: str) -> Any:
    return "work", "sleep 0.01"


def test_a_database_that_crashes_under_a_queue_and_comes_back(server: Server) -> None:
    with Photos(server.url) as photos:
        photos.insert(*range(300))

        async def run() -> Counter[Any]:
            async with Running(photos.store(task=slowly, poll_interval_s=0.2, stale_timeout_s=5)) as queue:
                await until(lambda: len(queue.workers.starts) > 50)
                server.crash()
                started = len(queue.starts)
                await until(lambda: _trouble(queue))
                assert len(queue.starts) <= started + 3
                server.start()
                await until(lambda: _is_empty(queue), 30)
                assert (await queue.core.status()).trouble is None
                return queue.starts

        starts = asyncio.run(run())
        assert set(starts) == set(range(300))
        assert sum(starts.values()) <= 300 + 3  # those in hand when it crashed may run again
        photos.engine.dispose()
        assert photos.run("SELECT count(*) FROM photos WHERE honeydew_test_lock IS NOT NULL") == [(0,)]


async def _trouble(queue: Running) -> bool:
    return (await queue.core.status()).trouble is not None


async def _is_empty(queue: Running) -> bool:
    status = await queue.core.status()
    return status.trouble is None and status.pending + status.in_progress + status.stale + status.delayed == 0


def test_a_database_that_is_down_at_the_start(server: Server) -> None:
    with Photos(server.url) as photos:
        photos.insert(1, 2)
        photos.engine.dispose()
        server.crash()

        async def run() -> None:
            async with Running(photos.store(task=slowly)) as queue:
                status = await queue.core.status()
                assert status.trouble is not None
                assert "trouble:" in str(status)
                with pytest.raises(StoreUnreachable, match="has yet to open its store"):
                    await queue.core.cancel(1)
                server.start()
                await until(lambda: _is_empty(queue))
                assert queue.starts == {1: 1, 2: 1}

        asyncio.run(run())


def test_connections_that_are_killed_again_and_again(postgres: str) -> None:
    with Photos(postgres) as photos:
        photos.insert(*range(300))

        async def run() -> Counter[Any]:
            async with Running(photos.store(task=slowly, poll_interval_s=0.2, stale_timeout_s=5)) as queue:
                for number in range(1, 6):
                    await until(lambda: len(queue.workers.starts) > number * 30)  # noqa: B023
                    photos.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                               "AND datname = current_database()")
                await until(lambda: _is_empty(queue), 30)
                return queue.starts

        starts = asyncio.run(run())
        assert set(starts) == set(range(300))
        assert sum(starts.values()) <= 300 + 5 * 3


def test_a_pool_that_has_no_connection_left(postgres: str) -> None:
    def engine() -> sa.Engine:
        return sa.create_engine(postgres, pool_size=1, max_overflow=0, pool_timeout=0.1)

    with Photos(postgres) as photos:
        store = photos.open(source=engine)
        photos.insert(1)
        with store.store._database.engine.connect():
            reserved = store.reserve(1, 1e9)
            assert (list(reserved.jobs), reserved.next_due < 1e9 + 1) == ([], True)
            assert "QueuePool limit" in store.store.trouble
            with pytest.raises(StoreUnreachable):
                store.counts()
        assert ids(store.claim(1, time.time())) == [1]
        assert store.store.trouble is None


def test_tries_come_less_and_less_often(url: str) -> None:
    with Photos(url) as photos:
        store = photos.open()

        def fail(*_: Any, **__: Any) -> Any:
            raise StoreUnreachable("away")

        store.store._database.run = fail
        pauses = [store.reserve(1, 0.0).next_due for _ in range(9)]
        assert 0.2 <= pauses[0] <= 0.3
        assert 8 <= pauses[-1] <= 12
        with pytest.raises(StoreUnreachable):
            store.reserve(1, 0.0, only=1)
        del store.store._database.run


def test_what_was_reserved_is_handed_over_though_the_database_goes_away_then(url: str) -> None:
    with Photos(url) as photos:
        photos.insert(1, 2)
        store = photos.open()
        looks = iter([None])

        def fail_from_the_second_look_on(connection: Any) -> Any:
            try:
                return next(looks)
            except StopIteration:
                raise StoreUnreachable("away") from None

        store.store._sql.next_due_us = fail_from_the_second_look_on
        assert ids(store.reserve(1, time.time(), only=1).jobs) == [1]
        assert list(store.reserve(5, time.time()).jobs) == []
        assert store.store.trouble == "away"


@pytest.mark.parametrize("committed", ["after the look", "during the look"])
def test_a_retry_that_is_put_back_while_the_store_looks_for_what_falls_due_is_not_missed(url: str, committed: str) -> None:
    """Else it waits for the next poll, however soon it is due."""
    with Photos(url) as photos:
        photos.insert(1)
        store = photos.open(poll_interval_s=1000.0)
        now = time.time()
        retried = lifecycle.retried(store.claim_one(now), FAILURE, now, 5.0, None)
        looked, settled = threading.Event(), threading.Event()
        look, commit = store.store._sql.next_due_us, store.store._settler.commit

        def next_due_us(connection: sa.Connection) -> int | None:
            found = look(connection)
            looked.set()
            assert committed == "after the look" or settled.wait(10)
            return found

        def commit_later(batch: Any) -> list[bool]:
            assert looked.wait(10)
            return commit(batch)

        store.store._sql.next_due_us = next_due_us
        store.store._settler.commit = commit_later

        async def both() -> float:
            putting_back = asyncio.ensure_future(store.store.nack([retried]))
            putting_back.add_done_callback(lambda _: settled.set())
            await asyncio.sleep(0)
            store.store._claims.forget_due()  # so that it looks, as it does every so often
            await asyncio.gather(store.store.reserve(1, now), putting_back)
            return (await store.store.reserve(1, now)).next_due

        assert store._run(both()) <= now + 6.0


def test_a_row_that_its_application_has_locked_holds_up_neither_renewals_nor_claims(postgres: str) -> None:
    with Photos(postgres) as photos:
        photos.insert(1, 2, 3)
        store = photos.open()
        jobs = store.claim(2, time.time())
        with photos.engine.connect() as connection:
            connection.execute(sa.text("SELECT id FROM photos WHERE id IN (1, 3) FOR UPDATE"))
            before = photos.row(1)[0], photos.row(2)[0]
            store.store._leases.renew()
            assert photos.row(1)[0] == before[0]
            assert photos.row(2)[0] < before[1]
            assert store.claim(9, time.time()) == []
        store.store._leases.renew()
        assert photos.row(1)[0] < before[0]
        assert store.ack(*jobs) == [True, True]
        assert ids(store.claim(9, time.time())) == [3]


def test_a_table_that_goes_and_comes_back_under_a_queue(postgres: str) -> None:
    with Photos(postgres) as photos:
        store = photos.open()
        photos.run("ALTER TABLE photos RENAME TO away")
        with pytest.raises(StoreError, match="the database refused"):
            store.claim(1, time.time())
        photos.run("ALTER TABLE away RENAME TO photos")
        photos.insert(1)
        assert ids(store.claim(1, time.time())) == [1]


def test_what_is_inserted_or_made_ready_by_hand_wakes_a_queue_and_what_queues_do_does_not(postgres: str) -> None:
    with Photos(postgres) as photos:
        woken: list[float] = []
        source = photos.store()
        source.watch(lambda: woken.append(time.monotonic()))
        with StoreDriver(source) as store:
            _wait(lambda: len(woken) == 1)  # as it begins to listen
            delays: list[float] = []
            for number in range(1, 6):
                photos.insert(number)
                inserted = time.monotonic()
                _wait(lambda: len(woken) == 1 + number)  # noqa: B023
                delays.append(woken[-1] - inserted)
            assert sorted(delays)[2] < 0.1, delays
            a, b, *_ = store.claim(4, time.time())
            woken.clear()
            store.ack(a)
            store.nack(lifecycle.gave_back(b, time.time()))
            store.nack(lifecycle.retried(store.claim_one(time.time()), FAILURE, time.time(), 0.0, None))
            job = store.claim_one(time.time())
            store.nack(lifecycle.abandoned(job, FAILURE, time.time()))
            photos.set(a.id, size=7)
            photos.set(a.id, honeydew_test_lock=0)
            _wait(lambda: len(woken) == 1)
            photos.set(job.id, honeydew_test_lock=0)
            _wait(lambda: len(woken) == 2)
            photos.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()")
            _wait(lambda: len(woken) == 3)  # it listens again, and may have missed something
            photos.insert(9)
            _wait(lambda: len(woken) == 4)


def _wait(done: Callable[[], bool]) -> None:
    asyncio.run(until(done, 30))


def test_a_role_that_may_only_read_and_update_the_named_columns(postgres: str) -> None:
    with Photos(postgres) as photos:
        photos.run("DROP ROLE IF EXISTS narrow")
        photos.run("CREATE ROLE narrow LOGIN")
        photos.run("GRANT SELECT (id, honeydew_test_lock, honeydew_test_private), UPDATE (honeydew_test_lock, honeydew_test_private) "
                   "ON photos TO narrow")
        photos.insert(1, 2, 3, 4)
        store = photos.open(source=postgres.replace("postgres:", "narrow:", 1))
        a, b, c = store.claim(3, time.time())
        assert store.ack(a) == [True]
        back = [lifecycle.retried(b, FAILURE, time.time(), 0.0, None), lifecycle.abandoned(c, FAILURE, time.time())]
        assert store.nack(*back) == [True, True]
        store.store._leases.renew()
        assert store.cancel(4) == "cancelled"
        assert store.counts() == Counts(pending=1, abandoned=1)
        assert sorted(ids(store.all())) == [2, 3]
        with pytest.raises(StoreError, match="permission denied"):
            store.store._database.run(lambda connection: connection.execute(sa.text("DELETE FROM photos")))
        store.close()
        photos.run("DROP OWNED BY narrow")
        photos.run("DROP ROLE narrow")


@pytest.mark.parametrize("rows", [20_000])
def test_a_poll_reads_the_index_and_not_the_table(url: str, rows: int) -> None:
    """The plan is what counts here; `make bench` takes the time, with a million rows."""
    with Photos(url) as photos:
        photos.insert(*range(rows), honeydew_test_lock=None)
        photos.run("ANALYZE")
        store = photos.open(run_if=photos.table.c.size < 10)
        statement = store.store._sql.claimable(100)
        compiled = statement.compile(photos.engine, compile_kwargs={"literal_binds": True})
        plan = _plan(photos, str(compiled))
        assert "ix_photos_honeydew_test" in plan, plan
        assert "Seq Scan" not in plan
        assert "SCAN photos" not in plan
        assert "Sort" not in plan.replace("Sort Key", "")
        assert "TEMP B-TREE" not in plan


def _plan(photos: Photos, statement: str) -> str:
    explain = "EXPLAIN QUERY PLAN " if photos.engine.dialect.name == "sqlite" else "EXPLAIN "
    with photos.engine.connect() as connection:
        return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + statement))
