"""Cancelled means it never starts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import CancelOutcome, JobRecord, JobState
from honeydew_ray.stores.base import Page, Query
from honeydew_ray.stores.memory import MemoryStore
from tests.unit.harness import TICK, Bench, Rig, SlowCaller, TroubledStore, now, virtual


@pytest.mark.parametrize("delay_s", [0.0, 50.0], ids=["pending", "delayed"])
@pytest.mark.parametrize("running", [False, True])
@virtual
async def test_a_waiting_job_is_cancelled_and_never_starts(delay_s: float, running: bool) -> None:
    bench = await Bench().open()
    job_id = await bench.submit(delay_s=delay_s)
    assert await bench.core.cancel(job_id, running) is CancelOutcome.CANCELLED
    assert (await bench.end(job_id)).state is JobState.CANCELLED
    assert await bench.core.cancel(job_id, running) is CancelOutcome.NOT_FOUND
    await bench.group.ready("w1")
    await asyncio.sleep(100)
    assert bench.started() == []


@pytest.mark.parametrize("running", [False, True])
@virtual
async def test_an_unknown_or_finished_job_is_not_found(running: bool) -> None:
    bench = await Bench().open(workers=1)
    done, dead = await bench.submit("ok"), await bench.submit("raise")
    await bench.ends([done, dead])
    for job_id in ("nobody", done, dead):
        assert await bench.core.cancel(job_id, running) is CancelOutcome.NOT_FOUND
    assert await bench.state(done) is JobState.DONE
    assert await bench.state(dead) is JobState.ABANDONED


@virtual
async def test_a_cancel_that_works_at_the_second_try_is_told_though_the_queue_does_not_know_yet_that_the_job_was_in_line() -> None:
    store = TroubledStore()
    bench = await Bench(Retry(3), store=store).open(workers=1)
    store.failing_late["nack"] = 1
    job_id = await bench.submit("raise")
    await asyncio.sleep(0.1)  # it is in line
    store.failing["cancel"] = 1
    with pytest.raises(OSError, match="disk full"):
        await bench.core.cancel(job_id)
    await bench.group.ready("w2")
    assert (await bench.end(job_id, within_s=10)).state is JobState.CANCELLED
    assert len(bench.started()) == 1


@virtual
async def test_a_job_that_came_by_another_door_between_the_look_and_the_cancel_is_cancelled() -> None:
    class Between(MemoryStore):
        async def page(self, query: Query, cursor: Any = None, limit: int = 1000) -> Page:
            return Page([], None)

    bench = await Bench(store=Between()).open()
    assert await bench.core.cancel(await bench.submit()) is CancelOutcome.CANCELLED
    assert (await bench.core.status()).pending == 0


@virtual
async def test_a_job_whose_end_is_being_written_while_its_cancel_is_tried_again_is_done() -> None:
    class Overlapping(TroubledStore):
        overlapping = True

        async def ack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
            held = await super().ack(jobs)
            await asyncio.sleep(5)  # the job is off, and the queue has yet to hear so
            return held

    store = Overlapping()
    bench = await Bench(store=store).open()
    job_id = await bench.submit()
    store.failing["cancel"] = 2
    with pytest.raises(OSError, match="disk full"):
        await bench.core.cancel(job_id)
    await bench.group.ready("w1")
    assert (await bench.end(job_id)).state is JobState.DONE
    assert store.calls["cancel"] == 3
    assert bench.started() == [job_id]


@virtual
async def test_a_running_job_is_left_alone_unless_asked() -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit("sleep 5")
    await asyncio.sleep(1)
    assert await bench.core.cancel(job_id) is CancelOutcome.IN_PROGRESS
    assert (await bench.end(job_id)).state is JobState.DONE
    assert bench.rig.killed == []


@pytest.mark.parametrize("after_s", [0.0, 1.0], ids=["in transit", "running"])
@virtual
async def test_a_job_in_progress_is_ended_with_its_worker_if_asked(after_s: float) -> None:
    bench = await Bench(Retry(5)).open(workers=1)
    job_id = await bench.submit("hang")
    await asyncio.sleep(after_s)
    assert await bench.core.cancel(job_id, running=True) is CancelOutcome.CANCELLED
    end = await bench.end(job_id)
    assert end.state is JobState.CANCELLED
    assert bench.rig.killed == ["w1"]
    assert await bench.held(job_id) is None
    await bench.group.ready("w2")
    await asyncio.sleep(10)
    assert len(bench.started()) == (1 if after_s else 0)


@virtual
async def test_two_who_cancel_one_job_are_both_told() -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit("hang")
    await asyncio.sleep(1)
    outcomes = await asyncio.gather(bench.core.cancel(job_id, True), bench.core.cancel(job_id, True))
    assert outcomes == [CancelOutcome.CANCELLED] * 2
    assert bench.rig.killed == ["w1"]


@virtual
async def test_a_job_that_has_ended_is_done_though_the_store_has_yet_to_hear() -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=1)
    job_id = await bench.submit("sleep 1")
    await asyncio.sleep(0.5)
    store.wait_s = 1.0
    await asyncio.sleep(1)
    assert await bench.core.cancel(job_id, running=True) is CancelOutcome.NOT_FOUND
    assert (await bench.end(job_id)).state is JobState.DONE
    assert bench.rig.killed == []


@virtual
async def test_between_two_attempts_a_job_is_cancelled_for_good() -> None:
    bench = await Bench(Retry(5, delay_s=10), rig=Rig(spoils=False)).open(workers=1)
    job_id = await bench.submit("raise")
    await asyncio.sleep(5)
    assert await bench.core.cancel(job_id) is CancelOutcome.CANCELLED
    await asyncio.sleep(100)
    assert len(bench.started()) == 1


@virtual
async def test_while_the_failure_mode_decides_a_plain_cancel_says_in_progress() -> None:
    bench = await Bench(Retry(1), caller=SlowCaller(5), rig=Rig(spoils=False)).open(workers=1)
    job_id = await bench.submit(["raise", "ok"])
    await asyncio.sleep(1)
    assert await bench.core.cancel(job_id) is CancelOutcome.IN_PROGRESS
    assert (await bench.end(job_id)).state is JobState.DONE


@virtual
async def test_while_the_failure_mode_decides_a_cancel_of_a_running_job_overrules_a_retry() -> None:
    bench = await Bench(Retry(5), caller=SlowCaller(5), rig=Rig(spoils=False)).open(workers=1)
    job_id = await bench.submit("raise")
    await asyncio.sleep(1)
    assert await bench.core.cancel(job_id, running=True) is CancelOutcome.CANCELLED
    assert now() == pytest.approx(5, abs=0.01)
    assert (await bench.end(job_id)).state is JobState.CANCELLED
    await asyncio.sleep(100)
    assert len(bench.started()) == 1
    assert bench.rig.killed == [], "the worker had answered: it keeps its life"


@virtual
async def test_while_the_failure_mode_decides_a_cancel_does_not_undo_a_discard() -> None:
    bench = await Bench(caller=SlowCaller(5)).open(workers=1)
    job_id = await bench.submit("raise")
    await asyncio.sleep(1)
    assert await bench.core.cancel(job_id, running=True) is CancelOutcome.NOT_FOUND
    assert (await bench.end(job_id)).state is JobState.ABANDONED


@virtual
async def test_a_job_whose_node_is_lost_as_it_is_cancelled_does_not_come_back() -> None:
    bench = await Bench().open(workers=2)
    job_id = await bench.submit("lost")
    await asyncio.sleep(TICK / 2)
    assert await bench.core.cancel(job_id, running=True) is CancelOutcome.CANCELLED
    await asyncio.sleep(10)
    assert await bench.held(job_id) is None


@virtual
async def test_a_cancelled_id_may_be_cancelled_only_once_and_others_keep_their_places() -> None:
    bench = await Bench().open()
    ids = await bench.submit_all("ok", "ok", "ok", "ok")
    await bench.core.cancel(ids[1])
    await bench.group.ready("w1")
    await bench.ends([ids[0], ids[2], ids[3]])
    assert bench.started() == [ids[0], ids[2], ids[3]]


@virtual
async def test_a_cancelled_id_that_is_used_again_once_its_end_is_forgotten_may_be_retried() -> None:
    bench = await Bench(Retry(1), rig=Rig(spoils=False), result_ttl_s=1.0).open(workers=2)
    job_id = await bench.submit("hang")
    await asyncio.sleep(1)
    await bench.core.cancel(job_id, running=True)
    await asyncio.sleep(10)
    await bench.submit(["raise", "ok"], id=job_id)
    assert (await bench.end(job_id)).state is JobState.DONE
