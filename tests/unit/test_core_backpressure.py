"""A queue that holds as many waiting jobs as it may."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from honeydew_ray.errors import QueueFull, QueueNotFound
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.stores.base import Page, Query
from honeydew_ray.stores.memory import MemoryStore
from tests.unit.harness import TICK, Bench, TroubledStore, now, virtual


async def enqueue(bench: Bench, *scripts: str, patience_s: float = 0.0) -> list[str]:
    jobs = [bench.job(script) for script in scripts]
    await bench.core.enqueue(jobs, patience_s=patience_s)
    return [job.id for job in jobs]


@virtual
async def test_a_full_queue_refuses_and_keeps_nothing_of_it() -> None:
    bench = await Bench(max_pending=3).open()
    await enqueue(bench, "ok", "ok", "ok")
    began = now()
    with pytest.raises(QueueFull, match="max_pending=3"):
        await bench.submit()
    assert now() == began, "whoever names no patience has none"
    assert (await bench.core.status()).pending == 3


@virtual
async def test_all_or_none_enter() -> None:
    bench = await Bench(max_pending=3).open()
    await enqueue(bench, "ok", "ok")
    with pytest.raises(QueueFull):
        await enqueue(bench, "ok", "ok")
    await enqueue(bench, "ok")
    assert (await bench.core.status()).pending == 3


@virtual
async def test_delayed_jobs_count_and_running_ones_do_not() -> None:
    bench = await Bench(max_pending=2).open(workers=1)
    await enqueue(bench, "sleep 100")
    await bench.submit(delay_s=50)
    await enqueue(bench, "ok")
    with pytest.raises(QueueFull):
        await enqueue(bench, "ok")


@virtual
async def test_those_at_the_door_enter_in_order_when_there_is_room() -> None:
    bench = await Bench(max_pending=1).open(workers=1)
    first = await enqueue(bench, "sleep 1", patience_s=0)
    entered: list[str] = []

    async def wait(number: int) -> None:
        entered.extend(await enqueue(bench, "sleep 1", patience_s=60))

    waiting = [asyncio.ensure_future(wait(number)) for number in range(5)]
    await asyncio.sleep(TICK)
    assert len(entered) == 1
    await asyncio.gather(*waiting)
    assert now() == pytest.approx(4, abs=0.1)
    assert await bench.ends([*first, *entered]) == [JobState.DONE] * 6
    assert bench.started() == [*first, *entered]


@virtual
async def test_patience_ends_after_its_time_however_often_there_was_hope() -> None:
    bench = await Bench(max_pending=2).open(workers=1)
    ids = await enqueue(bench, "sleep 100", "ok", "ok")
    waiting = asyncio.ensure_future(enqueue(bench, "ok", "ok", patience_s=5))
    await asyncio.sleep(3)
    await bench.core.cancel(ids[1])
    with pytest.raises(QueueFull):
        await waiting
    assert now() == pytest.approx(5, abs=0.01)
    await asyncio.sleep(1000)
    assert bench.started() == [ids[0], ids[2]], "what was turned away does not come in later"


@virtual
async def test_whoever_is_refused_as_patience_ends_is_not_let_in_all_the_same() -> None:
    refused: list[bool] = []
    for patience_s in (0.1 * tenths for tenths in range(1, 40)):
        store = TroubledStore()
        bench = await Bench(store=store, max_pending=1).open(workers=1)
        await enqueue(bench, "sleep 1")
        await enqueue(bench, "ok")
        store.wait_s = 0.5  # each call, so that patience may end during any of them
        job = bench.job("ok")
        try:
            await bench.core.enqueue([job], patience_s=patience_s)
        except QueueFull:
            refused.append(True)
        else:
            refused.append(False)
        await asyncio.sleep(10)
        assert (job.id in bench.started()) is not refused[-1], f"after {patience_s:g} s"
    assert refused == sorted(refused, reverse=True)
    assert set(refused) == {True, False}


@virtual
async def test_if_the_store_cannot_say_how_many_wait_all_who_would_enter_are_told() -> None:
    store = TroubledStore()
    bench = await Bench(store=store, max_pending=1).open(workers=1)
    await enqueue(bench, "sleep 1")
    await enqueue(bench, "ok")
    at_door = [asyncio.ensure_future(enqueue(bench, "ok", patience_s=1000)) for _ in range(2)]
    await asyncio.sleep(0.5)
    store.failing["counts"] = 1
    await asyncio.sleep(2)
    for told in at_door:
        with pytest.raises(OSError, match="disk full in counts"):
            await asyncio.wait_for(told, 0)
    await enqueue(bench, "ok")


@virtual
async def test_a_full_queue_needs_no_arguments_to_know_jobs_again() -> None:
    class Heavy(MemoryStore):
        async def page(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
            if query.payloads:
                raise MemoryError
            return await super().page(query, cursor, limit)

    bench = await Bench(store=Heavy(), max_pending=2).open()
    jobs = [bench.job("ok"), bench.job("ok")]
    await bench.core.enqueue(jobs)
    await bench.core.enqueue(jobs)
    with pytest.raises(QueueFull):
        await bench.core.enqueue([jobs[0], bench.job("ok")])


@virtual
async def test_nobody_overtakes_who_waits_at_the_door() -> None:
    bench = await Bench(max_pending=2).open()
    await enqueue(bench, "ok")
    large = asyncio.ensure_future(enqueue(bench, "ok", "ok", patience_s=60))
    await asyncio.sleep(1)
    with pytest.raises(QueueFull):
        await enqueue(bench, "ok")
    await bench.group.ready("w1")
    await large


@virtual
async def test_more_than_ever_fit_enter_an_empty_queue() -> None:
    bench = await Bench(max_pending=2).open()
    await enqueue(bench, "ok", "ok", "ok")
    assert (await bench.core.status()).pending == 3


@pytest.mark.parametrize("leave", ["cancel", "move"])
@virtual
async def test_a_job_that_leaves_makes_room(leave: str) -> None:
    bench = await Bench(max_pending=1).open()
    other = await Bench(name="other", rig=bench.rig).open()
    job_id, = await enqueue(bench, "ok")
    waiting = asyncio.ensure_future(enqueue(bench, "ok", patience_s=60))
    await asyncio.sleep(1)
    await (bench.core.cancel(job_id) if leave == "cancel" else bench.core.move(job_id, other.core.name))
    await waiting
    assert now() < 2


@virtual
async def test_jobs_from_other_queues_are_not_refused() -> None:
    bench = await Bench(max_pending=1).open()
    other = await Bench(name="other", rig=bench.rig).open()
    await enqueue(bench, "ok")
    moved = await other.submit(id="from there")
    await other.core.move(moved, bench.core.name)
    assert (await bench.core.status()).pending == 2


@virtual
async def test_a_queue_that_stops_turns_away_who_waits_at_its_door() -> None:
    bench = await Bench(max_pending=1).open()
    await enqueue(bench, "ok")
    waiting = asyncio.ensure_future(enqueue(bench, "ok", patience_s=60))
    await asyncio.sleep(1)
    await bench.core.close()
    with pytest.raises((QueueFull, QueueNotFound)):
        await waiting


@virtual
async def test_a_full_queue_confirms_the_jobs_that_it_has() -> None:
    """The answer to a first try may have been lost: to say that the queue is full would be to say that they are not in it."""
    bench = await Bench(max_pending=2).open()
    jobs = [bench.job("ok"), bench.job("ok")]
    await bench.core.enqueue(jobs)
    await bench.core.enqueue(jobs)
    with pytest.raises(QueueFull):
        await bench.core.enqueue([*jobs, bench.job("ok")])
    assert (await bench.core.status()).pending == 2


@virtual
async def test_a_queue_that_drains_confirms_the_jobs_that_it_has() -> None:
    bench = await Bench().open(workers=1)
    waiting, running = bench.job("ok"), bench.job("sleep 5")
    await bench.core.enqueue([running, waiting])
    draining = asyncio.ensure_future(bench.core.drain(100))
    await asyncio.sleep(1)
    await bench.core.enqueue([waiting])
    await bench.core.enqueue([running])
    with pytest.raises(QueueNotFound):
        await enqueue(bench, "ok")
    await draining
    await bench.core.enqueue([waiting, running])
    assert (await bench.core.status()).pending == 0


class FailsOnce(MemoryStore):
    """Takes nothing the first time it is told to."""

    fails = False

    async def enqueue(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        if self.fails:
            self.fails = False
            raise OSError("the disk is full")
        return await super().enqueue(jobs)


@virtual
async def test_room_that_the_store_did_not_fill_goes_to_the_next_at_the_door() -> None:
    store = FailsOnce()
    bench = await Bench(max_pending=1, store=store).open()
    job_id, = await enqueue(bench, "ok")
    waiting = [asyncio.ensure_future(enqueue(bench, "ok", patience_s=60)) for _ in range(2)]
    await asyncio.sleep(1)
    store.fails = True
    await bench.core.cancel(job_id)
    with pytest.raises(OSError, match="full"):
        await waiting[0]
    await waiting[1]
    assert now() < 2


@virtual
async def test_room_that_a_known_job_did_not_need_goes_to_the_next_at_the_door() -> None:
    bench = await Bench(max_pending=1).open()
    job_id, = await enqueue(bench, "ok")
    again, other = bench.job("ok"), bench.job("ok")
    waiting = [asyncio.ensure_future(bench.core.enqueue([job], patience_s=60)) for job in (again, again, other)]
    await asyncio.sleep(1)
    await bench.core.cancel(job_id)
    await waiting[0]
    await bench.core.cancel(again.id)
    await asyncio.gather(*waiting)
    assert now() < 2
