"""A queue that lost its process: it takes over what its workers hold, and gives back only what nobody holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import CancelOutcome, JobState, Token
from honeydew_ray.roster import Spoilt
from honeydew_ray.status import WorkerState
from honeydew_ray.stores.base import Opened, Query
from honeydew_ray.transport import Died, Holding, Report
from tests.unit.harness import LATENCY_S, Bench, Rig, TroubledStore, now, virtual


class DurableStore(TroubledStore):
    """Outlives its queue's process, within one test."""

    durable = True

    async def open(self, queue: str) -> Opened:
        held = (await self.page(Query(state=JobState.IN_PROGRESS))).jobs
        return Opened((await super().open(queue)).incarnation, held=held)


class Shy(Rig):
    """Workers that cannot be found at first."""

    shy = 0

    async def survivors(self, queue: str) -> list[Holding]:
        self.shy -= 1
        if self.shy >= 0:
            raise OSError("the cluster does not answer")
        return await super().survivors(queue)


async def durable(mode: FailureMode | None = None, workers: int = 1, rig: Rig | None = None) -> Bench:
    bench = await Bench(mode, store=DurableStore(), rig=rig or Rig()).open(workers)
    await asyncio.sleep(0.01)  # it looks for workers of an earlier process, and then takes its own in
    return bench


def lost(bench: Bench) -> None:
    """The queue's process is no more; its store and its workers are."""
    floor = bench.core.floor
    floor.set_alarm(None)
    for task in list(floor.background._tasks):
        task.cancel()


async def again(bench: Bench, mode: FailureMode | None = None, workers: int = 1) -> Bench:
    """The queue in a new process, with the same store and the same workers."""
    return await Bench(mode, store=bench.store, rig=bench.rig).open(workers)


@virtual
async def test_a_job_that_runs_on_is_watched_on_and_runs_once() -> None:
    first = await durable()
    job_id = await first.submit("sleep 10")
    await asyncio.sleep(1)
    lost(first)
    await asyncio.sleep(1)
    second = await again(first)
    await asyncio.sleep(1)
    assert await second.worker_states() == {"w1": WorkerState.BUSY}
    waiting = await second.submit("ok", id="later")
    assert await second.ends([job_id, waiting]) == [JobState.DONE] * 2
    assert second.started() == [job_id, waiting]
    assert await second.store.counts() == await TroubledStore().counts()


@virtual
async def test_an_end_that_came_while_there_was_no_queue_counts() -> None:
    first = await durable()
    job_id = await first.submit("sleep 1")
    await asyncio.sleep(0.5)
    lost(first)
    await asyncio.sleep(10)
    second = await again(first)
    end = await second.end(job_id)
    assert (end.state, end.attempts) == (JobState.DONE, 1)
    assert second.started() == [job_id]


@virtual
async def test_what_nobody_holds_is_redelivered_and_counted() -> None:
    first = await durable()
    job_id = await first.submit(["hang", "ok"])
    await asyncio.sleep(1)
    lost(first)
    first.rig.dead.add("w1")
    second = await Bench(store=first.store, rig=first.rig).open()
    await second.group.ready("w2")
    end = await second.end(job_id)
    assert (end.state, end.attempts) == (JobState.DONE, 2)
    assert "no live worker holds it" in str(end.last_error)


@virtual
async def test_a_worker_that_died_under_the_job_after_the_queue_came_back_meets_the_failure_mode() -> None:
    first = await durable()
    job_id = await first.submit("hang", timeout_s=5)
    await asyncio.sleep(1)
    lost(first)
    second = await again(first)
    end = await second.end(job_id)
    assert end.state is JobState.ABANDONED
    assert end.last_error is not None
    assert end.last_error.kind == "timeout"
    assert now() <= 6.1


@virtual
async def test_a_job_that_was_taken_over_has_what_is_left_of_its_time() -> None:
    first = await durable()
    job_id = await first.submit("hang", timeout_s=60)
    began = now()
    await asyncio.sleep(50)
    lost(first)
    second = await again(first)
    end = await second.end(job_id)
    assert end.last_error is not None
    assert end.last_error.kind == "timeout"
    assert now() - began == pytest.approx(60, abs=0.1)


class Far(Rig):
    """Workers whose answers are under way for a while, and die with them."""

    async def resume(self, worker: WorkerRef, token: Token) -> Report:
        await asyncio.sleep(LATENCY_S)
        if worker.id in self.dead:
            return Died(Failure("signal", "WorkerKilled", "killed", signal=9))
        return await super().resume(worker, token)

    async def take_back(self, worker: WorkerRef, tokens: Sequence[Token]) -> list[Report | None]:
        await asyncio.sleep(LATENCY_S)
        kept = [self._kept[token][1] for token in tokens]
        return [task.result() if task.done() else None for task in kept]


@pytest.mark.parametrize(("script", "state", "killed"), [("sleep 2", JobState.DONE, []), ("sleep 200", JobState.ABANDONED, ["w1"])])
@virtual
async def test_a_job_that_ended_in_time_while_there_was_no_queue_is_not_out_of_time(
    script: str, state: JobState, killed: list[str]
) -> None:
    first = await durable(rig=Far())
    job_id = await first.submit(script, timeout_s=5)
    await asyncio.sleep(1)
    lost(first)
    await asyncio.sleep(10)
    second = await again(first)
    end = await second.end(job_id)
    assert (end.state, first.rig.killed) == (state, killed)
    assert now() < 12


@virtual
async def test_a_job_that_was_taken_over_can_be_cancelled() -> None:
    first = await durable()
    job_id = await first.submit("hang")
    await asyncio.sleep(1)
    lost(first)
    second = await again(first)
    await asyncio.sleep(1)
    assert await second.core.cancel(job_id, running=True) is CancelOutcome.CANCELLED


@virtual
async def test_a_job_that_failed_while_there_was_no_queue_leaves_its_worker_spoilt() -> None:
    first = await durable()
    job_id = await first.submit(["raise", "ok"])
    await asyncio.sleep(LATENCY_S / 2)
    lost(first)
    await asyncio.sleep(1)
    second = await again(first, Retry(1), workers=0)
    await asyncio.sleep(1)
    await second.group.ready("w1")
    await asyncio.sleep(1)
    assert len(second.started()) == 1, "its state has yet to be made anew"
    assert await second.core.workforce.spoilt("default", (), 0.0) == [Spoilt("w1", 1)]
    second.revive("w1", epoch=2)
    assert (await second.end(job_id)).state is JobState.DONE


@pytest.mark.parametrize("trouble", [1, 3])
@virtual
async def test_a_cluster_that_does_not_answer_at_first_strands_no_job(trouble: int) -> None:
    rig = Shy()
    first = await durable(rig=rig)
    running, other = await first.submit_all("sleep 2", "ok")
    await asyncio.sleep(1)
    lost(first)
    rig.shy = trouble
    second = await again(first)
    assert await second.ends([running, other]) == [JobState.DONE] * 2
    assert second.started() == [running, other], "nothing is run again while it is unclear who holds it"


@virtual
async def test_a_suspended_queue_watches_on_but_starts_nothing() -> None:
    first = await durable()
    running, waiting = await first.submit_all("sleep 2", "ok")
    await asyncio.sleep(1)
    lost(first)
    second = await Bench(store=first.store, rig=first.rig, suspended=True).open(1)
    assert (await second.end(running)).state is JobState.DONE
    await asyncio.sleep(10)
    assert second.started() == [running]
    await second.core.resume()
    assert (await second.end(waiting)).state is JobState.DONE


@pytest.mark.parametrize("ends", [True, False], ids=["held", "not held"])
@virtual
async def test_a_claim_that_was_not_committed_is_made_anew_if_a_worker_holds_the_job(ends: bool) -> None:
    first = await durable()
    job_id = await first.submit("sleep 5")
    await asyncio.sleep(1)
    lost(first)
    claimed = await first.held(job_id)
    assert claimed is not None
    await first.store.ack([claimed])
    await first.store.enqueue([claimed._replace(state=JobState.PENDING, attempt=0, incarnation="", started_at=None)])
    if not ends:
        first.rig._kept.clear()
    second = await again(first)
    status = await second.core.status()
    assert (status.pending, status.in_progress) == ((0, 1) if ends else (1, 0))
    end = await second.end(job_id)
    assert (end.state, end.attempts) == (JobState.DONE, 1)
    assert second.started() == [job_id] * (1 if ends else 2)
    assert await second.held(job_id) is None


@virtual
async def test_a_claim_made_anew_makes_room_for_those_at_the_door() -> None:
    first = await durable(rig=Shy())
    job_id = await first.submit("sleep 5")
    await asyncio.sleep(1)
    lost(first)
    claimed = await first.held(job_id)
    assert claimed is not None
    await first.store.ack([claimed])
    await first.store.enqueue([claimed._replace(state=JobState.PENDING, attempt=0, incarnation="", started_at=None)])
    first.rig.shy = 1  # type: ignore[attr-defined]
    second = await Bench(store=first.store, rig=first.rig, max_pending=1).open(1)
    began = now()
    await second.core.enqueue([second.job("ok", id="later")], patience_s=60)
    assert now() - began < 2, "what it found in hand does not wait"
    assert await second.ends([job_id, "later"]) == [JobState.DONE] * 2


@virtual
async def test_an_end_that_was_settled_before_the_process_was_lost_is_let_go() -> None:
    first = await durable()
    job_id = await first.submit("ok")
    await asyncio.sleep(LATENCY_S / 2)
    kept = dict(first.rig._kept)
    await first.end(job_id)
    lost(first)
    first.rig._kept.update(kept)  # the worker has not heard that its answer is settled
    second = await again(first)
    await asyncio.sleep(1)
    assert first.rig._kept == {}
    assert second.core.floor.monitors == {}
    assert (await second.end(await second.submit("ok", id="later"))).state is JobState.DONE
    assert second.started() == [job_id, "later"]


@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize(("shutdown_s", "returns_s"), [(None, 10), (100.0, 10), (4.0, 5)])
@virtual
async def test_a_worker_retired_before_it_joins_has_its_time_for_what_an_earlier_process_left_it(
    shutdown_s: float | None, returns_s: float, clear: bool
) -> None:
    first = await durable()
    began = now()
    job_id = await first.submit(["sleep 10", "ok"])
    await asyncio.sleep(1)
    lost(first)
    second = await again(first, workers=0)
    if clear:  # what the worker holds
        await second.core.status()
    await second.core.retire(["w1"], "g1", shutdown_s)
    assert now() - began == pytest.approx(returns_s, abs=0.1)
    assert await second.state(job_id) is (JobState.DONE if returns_s == 10 else JobState.PENDING)
    assert first.rig.killed == ([] if returns_s == 10 else ["w1"])


@pytest.mark.parametrize("joins", [True, False])
@virtual
async def test_a_worker_found_silent_before_it_is_clear_what_it_holds_has_a_job_in_hand(joins: bool) -> None:
    first = await durable()
    job_id = await first.submit(["hang", "ok"])
    await asyncio.sleep(1)
    lost(first)
    second = await again(first, workers=int(joins))
    assert await second.core.fence("w1", "g1")
    await second.group.ready("w2")
    end = await second.end(job_id)
    assert (end.state, end.attempts) == (JobState.DONE, 2)


@virtual
async def test_a_worker_that_comes_with_a_job_and_has_room_for_more_is_given_one_at_once() -> None:
    first = Bench(store=DurableStore(), rig=Rig(concurrency=3))
    first.group.concurrency = 3
    await first.open(workers=1)
    await asyncio.sleep(0.01)
    running = await first.submit("sleep 100")
    await asyncio.sleep(1)
    lost(first)
    await first.store.enqueue([first.job("ok", id="waiting")])
    second = Bench(store=first.store, rig=first.rig)
    second.group.concurrency = 3
    await second.open(workers=1)
    assert (await second.end("waiting")).state is JobState.DONE
    assert now() < 2
    assert (await second.end(running)).attempts == 1


@virtual
async def test_a_job_taken_over_beside_which_others_may_run_is_stopped_without_them() -> None:
    first = Bench(store=DurableStore(), rig=Rig(concurrency=3))
    first.group.concurrency = 3
    await first.open(workers=1)
    running = await first.submit_all("hang", "sleep 100")
    await asyncio.sleep(1)
    lost(first)
    second = Bench(store=first.store, rig=first.rig)
    second.group.concurrency = 3
    await second.open(workers=1)
    await asyncio.sleep(1)
    other = await second.submit("sleep 100", id="other")
    await asyncio.sleep(1)
    assert await second.core.cancel(running[0], running=True) is CancelOutcome.CANCELLED
    assert now() < 4
    assert await second.ends([running[1], other]) == [JobState.DONE] * 2
    assert first.rig.killed == []


@virtual
async def test_a_job_that_runs_is_not_cancelled_as_one_that_waits_before_it_is_clear_what_workers_hold() -> None:
    first = await durable()
    job_id = await first.submit("sleep 5")
    await asyncio.sleep(1)
    lost(first)
    claimed = await first.held(job_id)
    assert claimed is not None
    await first.store.ack([claimed])  # its claim was not committed
    await first.store.enqueue([claimed._replace(state=JobState.PENDING, attempt=0, incarnation="", started_at=None)])
    second = await again(first)
    assert await second.core.cancel(job_id) is CancelOutcome.IN_PROGRESS
    assert (await second.end(job_id)).state is JobState.DONE
