"""A dead job that somebody submits again, and a drain that takes too long."""

from __future__ import annotations

import asyncio

import pytest

from honeydew_ray.errors import JobNotFound, QueueNotFound
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import JobState
from tests.unit.harness import Bench, TroubledStore, now, virtual


@virtual
async def test_a_dead_job_is_submitted_again_and_its_retries_begin_anew() -> None:
    bench = await Bench(Retry(1)).open(workers=3)
    bench.rig.spoils = False
    job_id = await bench.submit(["raise", "raise", "taken to be revived", "raise", "ok"])
    assert (await bench.end(job_id)).state is JobState.ABANDONED
    await bench.core.retry(job_id)
    end = await bench.end(job_id)
    assert (end.state, end.attempts) == (JobState.DONE, 2)
    assert bench.started() == [job_id] * 4


@virtual
async def test_only_a_dead_job_can_be_submitted_again() -> None:
    bench = await Bench().open()
    job_id = await bench.submit()
    for name in (job_id, "unknown"):
        with pytest.raises(JobNotFound, match="no abandoned job"):
            await bench.core.retry(name)
    assert await bench.state(job_id) is JobState.PENDING


@virtual
async def test_a_dead_job_comes_back_though_the_store_fails_once() -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=1)
    bench.rig.spoils = False
    job_id = await bench.submit(["raise", "ok"])
    await bench.end(job_id)
    store.failing["nack"] = 1
    await bench.core.retry(job_id)
    assert (await bench.end(job_id)).state is JobState.DONE


@virtual
async def test_a_drain_that_takes_too_long_says_what_is_left_and_the_queue_goes_on() -> None:
    bench = await Bench().open(workers=1)
    await bench.submit_all("sleep 100", "ok")
    with pytest.raises(TimeoutError, match=r"still has 2 job\(s\) after 5 s; it goes on"):
        await bench.core.drain(5)
    assert now() == pytest.approx(5, abs=0.1)
    assert (await bench.end(await bench.submit())).state is JobState.DONE


@virtual
async def test_a_queue_that_drains_takes_nothing_and_one_whose_drain_was_given_up_does() -> None:
    bench = await Bench().open(workers=1)
    await bench.submit("sleep 100")
    draining = asyncio.ensure_future(bench.core.drain())
    await asyncio.sleep(1)
    with pytest.raises(QueueNotFound, match="stopping"):
        await bench.submit()
    draining.cancel()
    await asyncio.wait([draining])
    assert (await bench.end(await bench.submit())).state is JobState.DONE


@virtual
async def test_a_drain_without_any_time_looks_whether_there_is_anything_to_drain() -> None:
    bench = await Bench().open(workers=1)
    await bench.end(await bench.submit())
    await bench.core.drain(0)
    with pytest.raises(QueueNotFound, match="stopping"):
        await bench.submit()
    other = await Bench().open()
    await other.submit()
    with pytest.raises(TimeoutError, match=r"still has 1 job\(s\) after 0 s"):
        await other.core.drain(0)
    await other.submit()
