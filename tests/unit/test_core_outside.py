"""A queue whose store has other doors: jobs come in and leave unasked, and the database may be away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest

from honeydew_ray import StoreError, StoreUnreachable
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.stores.base import Counts, Opened, Query
from honeydew_ray.stores.memory import MemoryStore
from honeydew_ray.testing import StoreDriver
from tests.unit.harness import Bench, now, virtual


class OutsideStore(MemoryStore):
    """A memory store that others reach too."""

    outside: ClassVar[bool] = True

    def __init__(self, away: int = 0, gone: Exception | None = None) -> None:
        super().__init__()
        self.away = away
        self.gone = gone
        self.wake: Callable[[], None]

    def watch(self, wake: Callable[[], None]) -> None:
        self.wake = wake

    async def open(self, queue: str) -> Opened:
        if self.away > 0:
            self.away -= 1
            raise StoreUnreachable("the database is down") if self.gone is None else self.gone
        return await super().open(queue)

    async def counts(self) -> Counts:
        if self.away > 0:
            raise StoreUnreachable("the database went down")
        return await super().counts()

    async def insert(self, *jobs: JobRecord) -> Sequence[bool]:
        """What another program does."""
        return await self.enqueue(jobs)


@virtual
async def test_a_store_that_cannot_be_reached_at_the_start_is_tried_again_and_again() -> None:
    bench = await Bench(store=OutsideStore(away=4)).open(workers=1)
    status = await bench.core.status()
    assert (status.trouble, status.pending) == ("the database is down", 0)
    assert "trouble: the database is down" in str(status)
    job = bench.job()
    for ask in (lambda: bench.core.enqueue([job]), lambda: bench.core.cancel("a"), bench.core.suspend, bench.core.resume,
                lambda: bench.core.page(Query()), lambda: bench.core.expect(["a"], "me"), lambda: bench.core.retry("a"),
                lambda: bench.core.describe("a"), lambda: bench.core.move("a", "other")):
        with pytest.raises(StoreUnreachable, match="has yet to open its store: the database is down"):
            await ask()
    await _until(lambda: bench.core.incarnation)
    assert now() == pytest.approx(0.5 + 1 + 2 + 4, abs=0.2)
    assert (await bench.core.status()).trouble is None
    assert (await bench.end(await bench.submit())).state is JobState.DONE


@virtual
async def test_a_database_that_came_back_without_the_table_shows_and_is_tried_again() -> None:
    store = OutsideStore(away=3)
    bench = await Bench(store=store).open()
    store.gone = StoreError("no table")
    await _until(lambda: store.away == 1)
    assert (await bench.core.status()).trouble == "no table"
    await _until(lambda: bench.core.incarnation)
    assert (await bench.core.status()).trouble is None


@virtual
async def test_a_queue_that_never_opened_can_be_closed_and_retire_its_workers() -> None:
    bench = await Bench(store=OutsideStore(away=10**9)).open(workers=1)
    await bench.core.retire(["w1"], "g1", 1.0)
    await bench.core.close()


@virtual
async def test_a_queue_that_was_closed_before_its_store_could_be_reached_issues_nothing() -> None:
    store = OutsideStore(away=1)
    bench = await Bench(store=store).open(workers=1)
    assert not (await bench.core.status()).suspended
    await store.insert(bench.job())
    await bench.core.close()
    await _until(lambda: bench.core.incarnation)
    await asyncio.sleep(100)
    assert bench.started() == []


@virtual
async def test_other_mistakes_at_the_start_are_the_callers() -> None:
    with pytest.raises(StoreError, match="no table"):
        await Bench(store=OutsideStore(away=1, gone=StoreError("no table"))).open()


@virtual
async def test_a_job_that_came_by_another_door_starts_when_the_queue_is_woken() -> None:
    store = OutsideStore()
    bench = await Bench(store=store).open(workers=1)
    job = bench.job()
    await store.insert(job)
    await asyncio.sleep(5.0)
    assert bench.started() == []
    store.wake()
    await _until(lambda: bench.started() == [job.id])
    assert now() < 5.1
    await store.insert(other := bench.job())
    bench.core.wake()
    assert (await bench.end(other.id)).state is JobState.DONE


@virtual
async def test_a_job_that_comes_again_has_another_end() -> None:
    store = OutsideStore()
    bench = await Bench(store=store).open(workers=1)
    job = bench.job()
    await bench.core.enqueue([job])
    await bench.end(job.id)
    assert await bench.state(job.id) is JobState.DONE
    await bench.core.suspend()
    await store.insert(job)
    assert await bench.state(job.id) is JobState.PENDING
    await bench.core.expect([job.id], "late")
    await bench.core.resume()
    ends = await bench.core.replies.collect("late", 0, 5.0)
    assert [end.state for _, end in ends] == [JobState.DONE]
    assert len(bench.started()) == 2
    await bench.core.enqueue([job])  # by the front door too
    await bench.end(job.id)
    assert len(bench.started()) == 3


@virtual
async def test_whoever_asks_for_a_job_that_runs_again_is_sent_the_end_that_is_to_come() -> None:
    store = OutsideStore()
    bench = await Bench(store=store).open(workers=1)
    await bench.end(await bench.submit("ok", id="row"))
    await store.insert(bench.job("sleep 10", id="row"))
    store.wake()
    await asyncio.sleep(1)
    assert await bench.core.expect(["row"], "late") == []
    assert await bench.collect("late") == []
    assert [name for _, name in await bench.collect("late", patience_s=20.0)] == ["row"]


@virtual
async def test_a_job_that_was_lost_too_often_is_not_run_again() -> None:
    store = OutsideStore()
    bench = await Bench(store=store, max_redeliveries=3).open(workers=1)
    await store.insert(bench.job(id="often", redeliveries=3), bench.job(id="too often", redeliveries=4))
    bench.core.wake()
    assert (await bench.end("often")).state is JobState.DONE
    end = await bench.end("too often")
    assert (end.state, end.last_error.kind) == (JobState.ABANDONED, "poison")
    assert bench.started() == ["often"]


@virtual
async def test_draining_notices_that_others_took_the_last_job() -> None:
    store = OutsideStore()
    bench = await Bench(store=store).open()
    job = await bench.submit()
    draining = asyncio.ensure_future(bench.core.drain(100))
    await asyncio.sleep(3.0)
    assert not draining.done()
    await store.cancel(job)
    await draining
    assert now() < 5


@virtual
async def test_while_the_store_is_away_the_counts_are_the_last_seen() -> None:
    store = OutsideStore()
    bench = await Bench(store=store).open()
    await bench.submit()
    assert (await bench.core.status()).pending == 1
    store.away = 1
    status = await bench.core.status()
    assert (status.pending, status.trouble) == (1, "the database went down")
    store.away = 0
    assert (await bench.core.status()).trouble is None
    store.trouble = "the last look at the table failed"
    assert (await bench.core.status()).trouble == "the last look at the table failed"


@virtual
async def test_status_counts_what_the_store_counts() -> None:
    class Counted(OutsideStore):
        async def counts(self) -> Counts:
            return Counts(pending=1, delayed=2, in_progress=3, abandoned=4, stale=5)

    bench = await Bench(store=Counted()).open()
    status = await bench.core.status()
    assert (status.pending, status.delayed, status.in_progress, status.abandoned, status.stale) == (1, 2, 3, 4, 5)
    with pytest.raises(TimeoutError, match=r"still has 11 job\(s\)"):
        await bench.core.drain(5)


def test_a_store_that_is_no_table_takes_no_expression() -> None:
    with StoreDriver(MemoryStore()) as store:
        with pytest.raises(StoreError, match="takes no expression"):
            store.page(Query(where="size > 3"))
        assert store.all(Query(stale=True)) == []


async def _until(done: Callable[[], Any]) -> None:
    for _ in range(100_000):
        if done():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come to pass")
