"""Suspended means that nothing starts until resume; and how a queue drains and closes."""

from __future__ import annotations

import asyncio

import pytest

from honeydew_ray.errors import QueueNotFound, QueueSuspended
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import JobState
from honeydew_ray.stores.base import Opened
from honeydew_ray.transport import Report
from tests.unit.harness import TICK, Bench, Rig, TroubledStore, now, virtual


@virtual
async def test_nothing_starts_while_suspended_whatever_happens() -> None:
    bench = await Bench(Retry(1), rig=Rig(spoils=False)).open(workers=1)
    retrying = await bench.submit(["raise", "ok"])
    running = await bench.submit("sleep 1")
    await asyncio.sleep(2 * TICK)
    await bench.core.suspend()
    before = len(bench.started())
    late = [await bench.submit(), await bench.submit(delay_s=5)]  # a new one, and one that falls due
    await bench.group.ready("w2")
    await asyncio.sleep(100)
    assert len(bench.started()) == before
    assert await bench.state(retrying) is JobState.PENDING
    await bench.core.resume()
    assert await bench.ends([retrying, running, *late]) == [JobState.DONE] * 4


@virtual
async def test_what_is_under_way_to_a_worker_is_taken_back_to_its_place() -> None:
    bench = await Bench(rig=Rig(latency_s=10.0)).open(workers=2)
    ids = await bench.submit_all("ok", "ok", "ok")
    await asyncio.sleep(1)
    await bench.core.suspend()
    assert now() == pytest.approx(1, abs=0.01), "two attempts were under way, and are taken back before they arrive"
    assert bench.started() == []
    for job_id in ids:
        held = await bench.held(job_id)
        assert held is not None
        assert (held.state, held.attempts, held.redeliveries) == (JobState.PENDING, 0, 0)
    await asyncio.sleep(100)
    assert bench.started() == []
    await bench.core.resume()
    await bench.ends(ids)
    assert bench.started() == ids


@virtual
async def test_an_attempt_issued_in_the_same_instant_is_taken_back_too() -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit()
    await bench.core.suspend()
    assert bench.started() == []
    await asyncio.sleep(10)
    assert bench.started() == []
    assert await bench.state(job_id) is JobState.PENDING


@virtual
async def test_suspend_does_not_wait_for_jobs_that_run() -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit("sleep 1000")
    await asyncio.sleep(1)
    await bench.core.suspend()
    assert now() < 2
    assert (await bench.end(job_id)).state is JobState.DONE


@virtual
async def test_suspend_returns_though_the_worker_that_is_asked_hangs_and_dies() -> None:
    class Deaf(Rig):
        async def take_back(self, worker: object, tokens: object) -> list[Report | None]:
            await asyncio.sleep(1e6)
            return []

    bench = await Bench(rig=Deaf()).open(workers=1)
    job_id = await bench.submit("exit 1")
    await bench.core.suspend()
    assert now() < 1
    assert await bench.state(job_id) is JobState.ABANDONED


@virtual
async def test_suspending_and_resuming_twice_is_the_same_as_once() -> None:
    bench = await Bench().open(workers=1)
    await asyncio.gather(bench.core.suspend(), bench.core.suspend())
    assert (await bench.core.status()).suspended
    await bench.core.resume()
    await bench.core.resume()
    assert not (await bench.core.status()).suspended
    assert (await bench.end(await bench.submit())).state is JobState.DONE


class Remembering(TroubledStore):
    def __init__(self, suspended: bool) -> None:
        super().__init__()
        self.suspended = suspended

    async def open(self, queue: str) -> Opened:
        return Opened((await super().open(queue)).incarnation, self.suspended)

    async def remember_suspended(self, suspended: bool) -> None:
        self.suspended = suspended


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("wanted", [None, True, False])
@virtual
async def test_a_queue_opens_as_it_is_told_or_else_as_the_store_remembers(remembered: bool, wanted: bool | None) -> None:
    store = Remembering(remembered)
    bench = await Bench(store=store, suspended=wanted).open(workers=1)
    suspended = remembered if wanted is None else wanted
    assert (await bench.core.status()).suspended is suspended
    assert store.suspended is suspended
    job_id = await bench.submit()
    await asyncio.sleep(10)
    assert await bench.state(job_id) is (JobState.PENDING if suspended else JobState.DONE)


@virtual
async def test_the_store_remembers_each_change() -> None:
    store = Remembering(False)
    bench = await Bench(store=store).open()
    await bench.core.suspend()
    assert store.suspended
    await bench.core.resume()
    assert not store.suspended


# -- draining and closing ------------------------------------------------------------------------


@virtual
async def test_a_drain_finishes_running_waiting_delayed_and_retrying_jobs_and_takes_no_new_ones() -> None:
    bench = await Bench(Retry(2, delay_s=30), rig=Rig(spoils=False)).open(workers=1)
    ids = [await bench.submit("sleep 5"), await bench.submit(["raise", "raise", "ok"]), await bench.submit(delay_s=500)]
    await asyncio.sleep(1)
    drained = asyncio.ensure_future(bench.core.drain())
    await asyncio.sleep(1)
    with pytest.raises(QueueNotFound, match="stopping"):
        await bench.submit()
    await asyncio.sleep(490)
    assert not drained.done()
    await drained
    assert now() == pytest.approx(500, abs=0.1)
    assert await bench.ends(ids) == [JobState.DONE] * 3
    status = await bench.core.status()
    assert (status.pending, status.delayed, status.in_progress) == (0, 0, 0)


@pytest.mark.parametrize("wait_s", [0.0, 0.3])
@virtual
async def test_a_drain_of_an_empty_queue_returns_though_the_dead_list_is_not_empty(wait_s: float) -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=1)
    await bench.end(await bench.submit("raise"))
    store.wait_s = wait_s
    await bench.core.drain()


@virtual
async def test_a_drain_ends_at_once_when_the_only_job_is_cancelled() -> None:
    bench = await Bench().open()
    job = await bench.submit(delay_s=1000)
    drained = asyncio.ensure_future(bench.core.drain())
    await asyncio.sleep(1)
    await bench.core.cancel(job)
    await asyncio.wait_for(drained, TICK)


@virtual
async def test_a_drain_ends_when_the_last_job_is_cancelled_or_moved() -> None:
    bench = await Bench().open()
    await Bench(name="other", rig=bench.rig).open()
    cancelled, moved = await bench.submit(), await bench.submit(delay_s=1000)
    drained = asyncio.ensure_future(bench.core.drain())
    await asyncio.sleep(1)
    await bench.core.cancel(cancelled)
    await asyncio.sleep(1)
    assert not drained.done()
    await bench.core.move(moved, "other")
    await drained
    assert now() < 5


@pytest.mark.parametrize("steps", range(12))
@virtual
async def test_a_drain_hears_of_the_end_that_comes_while_it_counts(steps: int) -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=1)
    await bench.submit("sleep 1")
    await asyncio.sleep(0.5)
    store.wait_s = 0.1
    await asyncio.sleep(0.3 + steps * 0.05)
    await asyncio.wait_for(bench.core.drain(), 60)


@virtual
async def test_a_suspended_queue_refuses_to_drain_and_goes_on_taking_jobs() -> None:
    bench = await Bench(suspended=True).open(workers=1)
    job_id = await bench.submit()
    with pytest.raises(QueueSuspended, match="resume"):
        await bench.core.drain()
    await bench.submit()
    await bench.core.resume()
    assert (await bench.end(job_id)).state is JobState.DONE


@virtual
async def test_a_drain_that_is_under_way_is_refused_when_the_queue_is_suspended() -> None:
    bench = await Bench().open()
    await bench.submit()
    draining = asyncio.ensure_future(bench.core.drain())
    await asyncio.sleep(1)
    await bench.core.suspend()
    await asyncio.sleep(1)
    assert draining.done()
    with pytest.raises(QueueSuspended, match="resume"):
        await draining
    await bench.submit()  # it takes jobs again


class Closing(TroubledStore):
    closed = 0

    async def close(self) -> None:
        self.closed += 1
        await super().close()


@virtual
async def test_a_closed_queue_issues_nothing_and_touches_the_store_no_more() -> None:
    store = Closing()
    bench = await Bench(store=store).open(workers=1)
    await bench.submit(delay_s=5)
    waiting = asyncio.ensure_future(bench.collect(patience_s=1000))
    await asyncio.sleep(1)
    await bench.core.close()
    assert await asyncio.wait_for(waiting, TICK) == [], "who waits is let go"
    assert store.closed == 1
    calls = store.calls.copy()
    bench.group.publish()
    await bench.core.resume()
    await asyncio.sleep(100)
    assert bench.started() == []
    assert store.calls == calls
    with pytest.raises(QueueNotFound):
        await bench.submit()
