"""A store that fails for a while: no job is lost, none is settled twice, and the queue recovers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from honeydew_ray import lifecycle
from honeydew_ray.decisions import Decision, Requeue
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.dispatchers.lru import LRU
from honeydew_ray.errors import PayloadError
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.base import FailureMode
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import JobRecord, JobState
from honeydew_ray.stores.base import Opened
from tests.unit.harness import Bench, Rig, ScriptedMode, TroubledStore, now, virtual


@virtual
async def test_a_failed_enqueue_is_the_callers_error_and_the_queue_lives() -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=1)
    store.failing["enqueue"] = 1
    with pytest.raises(OSError, match="disk full"):
        await bench.submit()
    assert (await bench.end(await bench.submit())).state is JobState.DONE


@virtual
async def test_if_the_store_cannot_say_what_became_of_a_job_that_it_knows_whoever_gave_it_again_is_told() -> None:
    store = TroubledStore()
    bench = await Bench(store=store, result_ttl_s=10).open(workers=1)
    job_id = await bench.submit("raise")
    await asyncio.sleep(20)
    store.failing["page"] = 1
    with pytest.raises(OSError, match="disk full in page"):
        await bench.submit(id=job_id, client="again")
    assert await bench.collect("again") == []
    await bench.submit(id=job_id, client="again")
    assert [name for _, name in await bench.collect("again")] == [job_id]


@virtual
async def test_one_callers_jobs_that_the_store_refuses_do_not_fail_those_that_came_with_them() -> None:
    class Picky(TroubledStore):
        async def enqueue(self, jobs: object) -> object:  # type: ignore[override]
            if any(job.id == "too large" for job in jobs):  # type: ignore[attr-defined]
                raise OSError("too large for a row")
            return await super().enqueue(jobs)  # type: ignore[arg-type]

    store = Picky()
    bench = await Bench(store=store).open(workers=1)
    store.wait_s = 1.0
    calls = [asyncio.ensure_future(bench.submit(id=name)) for name in ("first", "second", "too large", "third")]
    await asyncio.wait(calls)
    assert [type(call.exception()) for call in calls] == [type(None), type(None), OSError, type(None)]
    assert await bench.ends(["first", "second", "third"]) == [JobState.DONE] * 3


@virtual
async def test_an_enqueue_of_unclear_end_may_be_repeated_under_the_same_id() -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=1)
    store.failing_late["enqueue"] = 1
    with pytest.raises(OSError, match="connection lost"):
        await bench.submit(id="once")
    await bench.submit(id="once")
    await bench.end("once")
    await asyncio.sleep(10)
    assert bench.started() == ["once"]


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("script", "state"), [("ok", JobState.DONE), ("raise", JobState.ABANDONED), (["raise", "ok"], JobState.DONE)])
@virtual
async def test_an_end_that_the_store_does_not_take_is_tried_again_and_told_once(script: str, state: JobState, late: bool) -> None:
    store = TroubledStore()
    mode = ScriptedMode(Retry(1).decide, None)
    mode.decide = Retry(1).decide if isinstance(script, list) else mode.decide  # type: ignore[method-assign]
    bench = await Bench(mode, store=store, rig=Rig(spoils=False)).open(workers=1)
    trouble = store.failing_late if late else store.failing
    trouble.update(ack=3, nack=3)
    job_id = await bench.submit(script)
    end = await bench.end(job_id)
    assert end.state is state
    assert now() >= 3
    ends = await bench.collect(patience_s=10)
    assert ends == [(ends[0][0], job_id)]
    assert await bench.collect(acknowledged=ends[0][0], patience_s=10) == []
    assert bench.core.floor.monitors == {}
    assert (await bench.end(await bench.submit())).state is JobState.DONE


@virtual
async def test_an_end_that_the_store_can_never_take_does_not_hold_up_the_others() -> None:
    class Allergic(TroubledStore):
        async def ack(self, jobs: object) -> object:  # type: ignore[override]
            if any(job.id == "bad" for job in jobs):  # type: ignore[attr-defined]
                raise OSError("cannot store this result")
            return await super().ack(jobs)  # type: ignore[arg-type]

    store = Allergic()
    bench = await Bench(store=store).open(workers=3)
    store.wait_s = 0.5  # so that ends gather into batches
    for name in ("good", "bad", "fine"):
        await bench.submit("sleep 1", id=name)
    assert await bench.ends(["good", "fine"]) == [JobState.DONE] * 2
    assert await bench.state("bad") is JobState.IN_PROGRESS


@virtual
async def test_a_job_sent_again_while_its_end_is_unclear_does_not_run_again() -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=2)
    store.failing_late["ack"] = 3
    job_id = await bench.submit("ok")
    await asyncio.sleep(1)
    await bench.submit("ok", id=job_id)
    assert (await bench.end(job_id)).state is JobState.DONE
    await asyncio.sleep(10)
    assert bench.started() == [job_id]


@virtual
async def test_a_store_that_cannot_be_read_is_read_again_in_time_and_not_in_a_hurry() -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=1)
    store.failing["reserve"] = 10_000
    ids: list[str] = []
    for _ in range(50):
        ids.append(await bench.submit())
        await asyncio.sleep(0.01)
    before = store.calls["reserve"]
    await asyncio.sleep(30)
    assert bench.started() == []
    assert store.calls["reserve"] - before <= 31, "once a second, however many events came"
    store.failing["reserve"] = 0
    assert await bench.ends(ids) == [JobState.DONE] * 50


@virtual
async def test_jobs_that_find_no_worker_while_the_store_fails_go_back_in_the_end() -> None:
    class Nobody(LRU):
        closed = True

        def check_out(self, job: JobRecord) -> WorkerRef | None:
            return None if self.closed else super().check_out(job)

    store, dispatcher = TroubledStore(), Nobody()
    bench = await Bench(store=store, dispatcher=dispatcher).open(workers=1)
    store.failing["nack"] = 4
    job_id = await bench.submit()
    await asyncio.sleep(10)
    assert await bench.state(job_id) is JobState.PENDING
    dispatcher.closed = False
    assert (await bench.end(job_id)).state is JobState.DONE


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@virtual
async def test_whoever_waits_for_a_job_hears_that_it_is_cancelled_though_the_store_failed_meanwhile(late: bool) -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open()
    job_id, _ = await bench.submit_all("ok", "ok")
    (store.failing_late if late else store.failing)["cancel"] = 1
    with pytest.raises(OSError, match="in cancel"):
        await bench.core.cancel(job_id)
    assert [told for _, told in await bench.collect(patience_s=10.0)] == [job_id]
    assert await bench.state(job_id) is JobState.CANCELLED


@pytest.mark.parametrize(("script", "ttl_s", "state"), [("ok", 600.0, JobState.DONE), ("raise", 0.01, JobState.ABANDONED)])
@virtual
async def test_a_job_that_ends_before_its_cancel_is_tried_again_is_told_once(script: str, ttl_s: float, state: JobState) -> None:
    store = TroubledStore()
    bench = await Bench(store=store, result_ttl_s=ttl_s).open()
    job_id = await bench.submit(script)
    store.failing["cancel"] = 2
    with pytest.raises(OSError, match="disk full"):
        await bench.core.cancel(job_id)
    await bench.group.ready("w1")  # meanwhile it runs to its end
    await asyncio.sleep(10)
    assert store.calls["cancel"] == 3
    assert [told for _, told in await bench.collect()] == [job_id]
    assert await bench.state(job_id) is state


@virtual
async def test_suspend_that_the_store_refuses_is_the_callers_error() -> None:
    class Forgetful(TroubledStore):
        async def remember_suspended(self, suspended: bool) -> None:
            raise OSError("disk full")

    bench = await Bench(store=Forgetful()).open(workers=1)
    with pytest.raises(OSError, match="disk full"):
        await bench.core.suspend()
    assert not (await bench.core.status()).suspended
    assert (await bench.end(await bench.submit())).state is JobState.DONE


@virtual
async def test_what_was_in_progress_when_the_queue_was_lost_goes_back_in_line() -> None:
    class Reopened(TroubledStore):
        async def open(self, queue: str) -> Opened:
            opened = await super().open(queue)
            job = lifecycle.enqueued(Bench().job(id="held"), queue, 0.0)
            await self.enqueue([job])
            return Opened(opened.incarnation, False, (await self.reserve(1, 0.0)).jobs)

    bench = await Bench(store=Reopened()).open(workers=1)
    end = await bench.end("held")
    assert (end.state, end.attempts) == (JobState.DONE, 2)
    assert "queue's process ended" in str(end.last_error)
    status = await bench.core.status()
    assert (status.succeeded, status.failed) == (1, 1), "the attempt that nobody watched failed, too"


@virtual
async def test_callers_that_leave_do_not_harm_those_that_wait_behind_them() -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=1)
    store.wait_s = 1.0
    calls = [asyncio.ensure_future(bench.submit(id=name)) for name in ("a", "b", "c")]
    calls.append(asyncio.ensure_future(bench.submit(method="wrok")))
    calls.append(asyncio.ensure_future(bench.submit(id="d")))
    await asyncio.sleep(0.5)
    calls[2].cancel()
    calls[3].cancel()
    assert await asyncio.wait_for(calls[1], 60) == "b"
    assert await asyncio.wait_for(calls[4], 60) == "d"
    assert await bench.ends(["a", "b", "d"]) == [JobState.DONE] * 3


@virtual
async def test_a_success_is_told_once_with_its_times_when_it_is_stored() -> None:
    store = TroubledStore()
    told: list[tuple[float, JobRecord]] = []
    bench = await Bench(Retry(1), store=store, rig=Rig(spoils=False), tell_success=lambda job: told.append((now(), job))).open(workers=1)
    store.failing["ack"] = 2
    ids = await bench.submit_all("sleep 3", ["raise", "ok"], "raise")
    await bench.ends(ids)
    assert [job.id for _, job in told] == ids[:2]
    at, job = told[0]
    assert at >= 5, "two failures of the store delayed it by two seconds"
    assert job.started_at is not None
    assert job.completed_at is not None
    assert job.completed_at - job.started_at == pytest.approx(3, abs=0.01)
    assert job.value() == "slept"


class TakesNoNotes(TroubledStore):
    """Refuses what a failure mode notes, as a store does that cannot pickle it."""

    async def nack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
        if any(job.private is not None for job in jobs):
            raise PayloadError("the note of the failure mode cannot be pickled")
        return await super().nack(jobs)


@virtual
async def test_a_note_that_the_store_can_never_take_ends_among_the_dead_with_both_errors() -> None:
    bench = await Bench(ScriptedMode(Requeue(0.0, private=object())), store=TakesNoNotes()).open(workers=1)
    end = await bench.end(await bench.submit("raise"))
    assert end.state is JobState.ABANDONED
    assert "as scripted" in str(end.last_error)
    assert "cannot be pickled" in str(end.last_error)


@virtual
async def test_such_a_note_harms_no_other_job_that_failed_in_the_same_moment() -> None:
    class Noting(FailureMode):
        def decide(self, job: JobRecord, failure: Failure) -> Decision:
            return Requeue(0.0, private=object() if job.id == "noted" else None)

    store = TakesNoNotes()
    bench = await Bench(Noting(), store=store, rig=Rig(latency_s=0.5)).open(workers=2)
    await bench.core.enqueue([bench.job(["raise", "ok"], id=job_id) for job_id in ("other", "noted")])
    await asyncio.sleep(0.1)
    store.wait_s = 2.0
    await bench.submit("ok")  # while the store is busy with this, both fail
    store.wait_s = 0.0
    assert (await bench.end("noted")).state is JobState.ABANDONED
    await bench.group.ready("w3")
    assert (await bench.end("other", within_s=10)).state is JobState.DONE


@virtual
async def test_such_a_note_about_a_job_that_nobody_watched_is_not_tried_for_ever_either() -> None:
    class Reopened(TakesNoNotes):
        async def open(self, queue: str) -> Opened:
            opened = await super().open(queue)
            await self.enqueue([lifecycle.enqueued(Bench().job(id="held"), queue, 0.0)])
            return Opened(opened.incarnation, False, (await self.reserve(1, 0.0)).jobs)

    bench = await Bench(ScriptedMode(Requeue(0.0, private=object())), store=Reopened(), max_redeliveries=0).open()
    end = await bench.end("held", within_s=10)
    assert end.state is JobState.ABANDONED
    assert "queue's process ended" in str(end.last_error)
    assert "cannot be pickled" in str(end.last_error)


@virtual
async def test_a_job_called_off_is_cancelled_though_a_store_that_failed_had_put_it_back_in_line() -> None:
    store = TroubledStore()
    bench = await Bench(Retry(3), store=store).open(workers=1)
    store.failing_late["nack"] = 1
    job_id = await bench.submit("raise")
    await asyncio.sleep(0.1)  # it is in line, and the queue does not know
    bench.core.floor.shut = True
    cancelled = asyncio.ensure_future(bench.core.floor.call_off(bench.core.floor.monitors[job_id]))
    assert (await cancelled).state is JobState.CANCELLED
    assert await bench.held(job_id) is None


@virtual
async def test_a_job_called_off_as_it_is_back_in_line_makes_room_for_those_at_the_door() -> None:
    store = TroubledStore()
    bench = await Bench(Retry(3), store=store, max_pending=1).open(workers=1)
    store.failing_late["nack"] = 1
    job_id = await bench.submit("raise")
    await asyncio.sleep(0.1)  # it is in line, and the queue does not know
    bench.core.floor.shut = True
    waiting = asyncio.ensure_future(bench.core.enqueue([bench.job("ok")], patience_s=60))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await bench.core.floor.call_off(bench.core.floor.monitors[job_id])
    await waiting
    assert now() < 3


@virtual
async def test_a_job_that_others_put_in_line_while_the_end_of_its_last_run_is_unclear_stays_there() -> None:
    class Outside(TroubledStore):
        outside = True

    store = Outside()
    bench = await Bench(store=store).open(workers=1)
    job_id = await bench.submit("sleep 1")
    await asyncio.sleep(0.5)
    await bench.core.suspend()
    store.failing_late["ack"] = 1
    await asyncio.sleep(1)
    await store.enqueue([bench.job(id=job_id)])
    await asyncio.sleep(5)
    assert store.calls["ack"] == 2
    held = await bench.held(job_id)
    assert held is not None
    assert held.state is JobState.PENDING


@virtual
async def test_a_worker_need_not_keep_an_answer_once_it_is_stored() -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=2)
    store.failing["ack"] = store.failing["nack"] = 1
    ids = await bench.submit_all("ok", "raise")
    await asyncio.sleep(0.5)
    assert {token.job_id for token in bench.rig._kept} == set(ids)
    await bench.ends(ids)
    assert bench.rig._kept == {}


@virtual
async def test_a_result_that_the_store_cannot_take_at_first_is_not_given_up() -> None:
    class Choosy(TroubledStore):
        async def ack(self, jobs: Sequence[JobRecord]) -> Sequence[bool]:
            self.calls["choosy"] += 1
            if self.calls["choosy"] < 3:
                raise PayloadError("the result cannot be pickled")
            return await super().ack(jobs)

    bench = await Bench(store=Choosy()).open(workers=1)
    assert (await bench.end(await bench.submit(), within_s=10)).state is JobState.DONE
