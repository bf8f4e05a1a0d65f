"""A job that its owner moves: safe in the other queue before it leaves this one."""

from __future__ import annotations

import asyncio

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.decisions import MoveTo
from honeydew_ray.errors import HoneydewError, JobInProgress, JobNotFound, QueueNotFound
from honeydew_ray.job import CancelOutcome, JobState
from honeydew_ray.stores.base import Opened
from tests.unit.harness import Bench, Rig, ScriptedMode, TroubledStore, now, virtual


async def pair(workers: int = 0, store: TroubledStore | None = None) -> tuple[Bench, Bench]:
    here = await Bench(store=store).open(workers)
    return here, await Bench(name="other", rig=here.rig).open()


@pytest.mark.parametrize("delay_s", [0.0, 50.0], ids=["pending", "delayed"])
@virtual
async def test_a_waiting_job_moves_with_its_id_and_its_due_time(delay_s: float) -> None:
    here, there = await pair()
    job_id = await here.submit(delay_s=delay_s)
    await asyncio.sleep(10)
    await here.core.move(job_id, "other")
    end = await here.end(job_id)
    assert (end.state, end.moved_to) == (JobState.MOVED, "other")
    assert await here.held(job_id) is None
    assert len(here.core.floor.holdings) == 0
    await there.group.ready("v1")
    assert (await there.end(job_id)).state is JobState.DONE
    assert now() == pytest.approx(max(delay_s, 10), abs=0.01)


@virtual
async def test_a_move_works_while_the_queue_is_suspended() -> None:
    here, there = await pair()
    job_id = await here.submit()
    await here.core.suspend()
    await here.core.move(job_id, "other")
    assert await there.state(job_id) is JobState.PENDING


@virtual
async def test_what_cannot_be_moved_stays_and_the_error_says_why() -> None:
    here, _ = await pair(workers=1)
    running = await here.submit("sleep 5")
    waiting = await here.submit()
    await asyncio.sleep(1)
    with pytest.raises(JobInProgress, match="runs already"):
        await here.core.move(running, "other")
    with pytest.raises(JobNotFound, match="nobody"):
        await here.core.move("nobody", "other")
    with pytest.raises(HoneydewError, match="already"):
        await here.core.move(waiting, "q")
    with pytest.raises(QueueNotFound, match="nowhere"):
        await here.core.move(waiting, "nowhere")
    assert await here.ends([running, waiting]) == [JobState.DONE] * 2
    with pytest.raises(JobNotFound):
        await here.core.move(running, "other")
    dead = await here.submit("raise")
    await here.end(dead)
    with pytest.raises(JobNotFound, match="no waiting job"):
        await here.core.move(dead, "other")


@virtual
async def test_a_job_that_comes_back_from_a_failed_move_has_its_old_place_and_no_attempt() -> None:
    here, _ = await pair()
    first, second, third = await here.submit_all("ok", "ok", "ok")
    with pytest.raises(QueueNotFound):
        await here.core.move(second, "nowhere")
    await here.group.ready("w1")
    end = await here.end(second)
    await here.ends([first, third])
    assert here.started() == [first, second, third]
    assert end.attempts == 1


@virtual
async def test_on_its_way_a_job_is_in_progress_and_neither_starts_nor_is_cancelled() -> None:
    here, there = await pair(workers=1)
    await here.core.suspend()
    here.rig.reply_s = 10.0
    job_id = await here.submit()
    moving = asyncio.ensure_future(here.core.move(job_id, "other"))
    await asyncio.sleep(5)
    await here.core.resume()
    assert await here.core.cancel(job_id, running=True) is CancelOutcome.IN_PROGRESS
    with pytest.raises(JobInProgress):
        await here.core.move(job_id, "other")
    await moving
    assert here.started() == []
    assert await there.state(job_id) is JobState.PENDING


@virtual
async def test_a_move_whose_caller_leaves_is_settled_all_the_same() -> None:
    here, there = await pair()
    here.rig.reply_s = 10.0
    job_id = await here.submit()
    moving = asyncio.ensure_future(here.core.move(job_id, "other"))
    await asyncio.sleep(5)
    moving.cancel()
    await asyncio.sleep(10)
    assert await here.state(job_id) is JobState.MOVED
    assert await here.held(job_id) is None
    assert await there.state(job_id) is JobState.PENDING


@virtual
async def test_a_job_that_is_back_before_its_move_is_settled_is_not_lost() -> None:
    rig = Rig(spoils=False)
    here = await Bench(rig=rig).open()
    there = await Bench(ScriptedMode(MoveTo("q")), name="other", rig=rig).open()
    await there.group.ready("v1")
    rig.reply_s = 10.0
    job_id = await here.submit(["raise", "ok"])
    await here.core.move(job_id, "other")
    await asyncio.sleep(30)
    assert await there.held(job_id) is None
    assert await here.held(job_id) is not None
    assert await here.state(job_id) is JobState.PENDING


@virtual
async def test_a_job_arriving_twice_is_one_job() -> None:
    here, there = await pair()
    job = here.job()
    await there.core.enqueue([job], moved=True)
    await there.core.enqueue([job], moved=True)
    await there.group.ready("v1")
    await asyncio.sleep(1)
    assert here.started() == [job.id]
    await there.core.enqueue([job], moved=True)
    await asyncio.sleep(1)
    assert here.started() == [job.id], "it was done here: nothing to do"


@virtual
async def test_a_job_that_arrives_again_while_it_runs_keeps_nobody_waiting() -> None:
    bench = await Bench().open(workers=1)
    job = bench.job("sleep 100")
    await bench.core.enqueue([job], moved=True)
    await asyncio.sleep(1)
    await bench.core.enqueue([job], moved=True)
    assert now() < 2
    assert (await bench.end(job.id)).state is JobState.DONE
    assert bench.started() == [job.id]


@pytest.mark.parametrize("failing", ["nack", "ack"])
@virtual
async def test_a_store_in_trouble_delays_the_settling_of_a_move_and_strands_no_job(failing: str) -> None:
    store = TroubledStore()
    here, there = await pair(store=store)
    job_id = await here.submit()
    store.failing[failing] = 3
    if failing == "nack":
        with pytest.raises(QueueNotFound):
            await here.core.move(job_id, "nowhere")
        assert await here.state(job_id) is JobState.PENDING
    else:
        await here.core.move(job_id, "other")
        assert await here.state(job_id) is JobState.MOVED
        assert await there.state(job_id) is JobState.PENDING
    assert now() == pytest.approx(3, abs=0.1)


@virtual
async def test_a_job_that_has_left_is_known_though_the_store_failed_to_say_so() -> None:
    store = TroubledStore()
    here, there = await pair(store=store)
    job = here.job(client="me")
    await here.core.enqueue([job])
    store.failing_late["ack"] = 1
    moving = asyncio.ensure_future(here.core.move(job.id, "other"))
    await asyncio.sleep(0.5)
    assert await here.held(job.id) is None
    assert await here.state(job.id) is JobState.IN_PROGRESS
    assert await here.core.expect([job.id], "another") == []
    await here.core.enqueue([job])  # its caller cannot tell whether the first try had worked
    await moving
    assert await here.held(job.id) is None
    assert await there.state(job.id) is JobState.PENDING
    for client in ("me", "another"):
        assert [job_id for _, job_id in await here.collect(client)] == [job.id]


@virtual
async def test_a_job_that_left_before_a_cancel_was_tried_again_is_not_called_cancelled() -> None:
    store = TroubledStore()
    here, there = await pair(store=store)
    job = here.job(client="me")
    await here.core.enqueue([job])
    store.failing["cancel"] = 2
    with pytest.raises(OSError, match="cancel"):
        await here.core.cancel(job.id)
    await asyncio.sleep(0.5)
    store.failing_late["ack"] = 1
    await here.core.move(job.id, "other")
    assert store.calls["cancel"] == 3
    assert [end.state for _, end in await here.core.replies.collect("me", 0, 1.0)] == [JobState.MOVED]
    assert await there.state(job.id) is JobState.PENDING


class Restarted(TroubledStore):
    """The store of a queue that lost its process with a job in hand."""

    async def open(self, queue: str) -> Opened:
        opened = await super().open(queue)
        await self.enqueue([lifecycle.enqueued(Bench().job(id="held"), queue, 0.0)])
        return Opened(opened.incarnation, False, (await self.reserve(1, 0.0)).jobs)


async def pair_of_which_one_was_lost(store: Restarted) -> tuple[Bench, Bench]:
    """The job that was in hand goes to the other queue, as it has no redelivery left."""
    there = await Bench(name="other").open()
    here = await Bench(ScriptedMode(MoveTo("other")), store=store, rig=there.rig, max_redeliveries=0).open()
    await asyncio.sleep(0.5)
    assert await there.state("held") is JobState.PENDING
    return here, there


@virtual
async def test_a_job_left_over_by_an_earlier_process_is_known_until_it_is_settled() -> None:
    store = Restarted()
    store.failing_late["ack"] = 1
    here, _ = await pair_of_which_one_was_lost(store)
    assert await here.held("held") is None
    await here.core.enqueue([here.job(id="held")])
    assert (await here.end("held")).moved_to == "other"
    assert await here.held("held") is None
    assert len(here.core.floor.holdings) == 0


@virtual
async def test_a_job_left_over_by_an_earlier_process_that_is_back_before_it_is_settled_is_not_lost() -> None:
    store = Restarted()
    store.failing["ack"] = 1
    here, there = await pair_of_which_one_was_lost(store)
    await there.core.move("held", "q")
    assert await there.held("held") is None
    assert await here.state("held") is JobState.PENDING
