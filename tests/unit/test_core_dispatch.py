"""Which job runs when, and on which worker."""

from __future__ import annotations

import asyncio

import pytest

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.dispatchers.lru import LRU
from honeydew_ray.errors import UnknownMethod
from honeydew_ray.job import JobRecord, JobState
from tests.unit.harness import LATENCY_S, TICK, Bench, TroubledStore, now, virtual

SOON = 1e-6  # the workers of a bench are ready so long after its beginning


@virtual
async def test_the_store_has_the_job_before_submit_returns() -> None:
    store = TroubledStore()
    store.wait_s = 3.0
    bench = await Bench(store=store).open()
    job_id = await bench.submit()
    assert now() >= 3.0
    held = await bench.held(job_id)
    assert held is not None
    assert held.state is JobState.PENDING


@virtual
async def test_a_job_runs_and_its_end_carries_the_times() -> None:
    bench = await Bench().open(workers=1)
    await asyncio.sleep(5)
    job_id = await bench.submit("sleep 2")
    end = await bench.end(job_id)
    assert end.state is JobState.DONE
    assert end.result is not None
    assert end.result.load() == "slept"
    assert end.started_at is not None
    assert end.completed_at is not None
    assert end.started_at - end.enqueued_at == pytest.approx(0.0, abs=TICK)
    assert end.completed_at - end.started_at == pytest.approx(2 + LATENCY_S, abs=1e-5)
    assert await bench.held(job_id) is None


@virtual
async def test_one_worker_runs_one_job_at_a_time_in_order() -> None:
    bench = await Bench().open(workers=1)
    ids = await bench.submit_all(*["sleep 1"] * 5)
    ids += [await bench.submit("sleep 1") for _ in range(5)]
    assert await bench.ends(ids) == [JobState.DONE] * 10
    assert bench.started() == ids
    times = [start.at for start in bench.rig.starts]
    assert all(times[at + 1] - times[at] >= 1 for at in range(9))


@virtual
async def test_free_workers_share_the_jobs() -> None:
    bench = await Bench().open(workers=3)
    ids = await bench.submit_all(*["sleep 1"] * 3)
    assert await bench.ends(ids) == [JobState.DONE] * 3
    assert {start.worker for start in bench.rig.starts} == {"w1", "w2", "w3"}
    assert now() < 1.1


@virtual
async def test_higher_priority_first_then_first_come() -> None:
    bench = await Bench().open()
    low = await bench.submit_all("ok", "ok", priority=-1)
    middle = await bench.submit_all("ok", "ok")
    high = await bench.submit_all("ok", "ok", priority=7)
    await bench.group.ready("w1")
    await bench.ends([*low, *middle, *high])
    assert bench.started() == [*high, *middle, *low]


@virtual
async def test_a_delayed_job_waits_for_its_time_and_not_longer() -> None:
    bench = await Bench().open(workers=1)
    due = now() + 30
    job_id = await bench.submit(delay_s=30)
    await asyncio.sleep(30 - TICK)
    assert await bench.state(job_id) is JobState.DELAYED
    await bench.end(job_id)
    assert bench.start_times(job_id) == pytest.approx([due + LATENCY_S], abs=1e-5)


@virtual
async def test_a_long_delay_is_kept_to_the_second() -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit(delay_s=86_400)
    await bench.end(job_id)
    assert bench.start_times(job_id) == pytest.approx([86_400 + LATENCY_S], abs=1e-3)


@virtual
async def test_delayed_jobs_start_in_the_order_of_their_times() -> None:
    bench = await Bench().open(workers=1)
    ids = [await bench.submit(delay_s=delay_s) for delay_s in (3, 1, 2)]
    await bench.ends(ids)
    assert bench.started() == [ids[1], ids[2], ids[0]]


@virtual
async def test_a_shorter_delay_that_comes_later_moves_the_alarm() -> None:
    bench = await Bench().open(workers=1)
    late = await bench.submit(delay_s=50)
    early = await bench.submit(delay_s=5)
    await bench.end(early)
    assert now() == pytest.approx(5 + LATENCY_S, abs=1e-4)
    await bench.end(late)
    assert now() == pytest.approx(50 + LATENCY_S, abs=1e-4)


@virtual
async def test_a_job_that_falls_due_while_every_worker_is_busy_starts_when_one_is_free() -> None:
    bench = await Bench().open(workers=1)
    busy = await bench.submit("sleep 10")
    due = await bench.submit(delay_s=3)
    await bench.ends([busy, due])
    assert bench.start_times(due) == pytest.approx([10 + 2 * LATENCY_S], abs=1e-4)


@virtual
async def test_a_job_that_falls_due_before_there_is_a_worker_starts_with_the_first() -> None:
    bench = await Bench().open()
    job_id = await bench.submit(delay_s=3)
    await asyncio.sleep(10)
    await bench.group.ready("w1")
    await bench.end(job_id)
    assert now() == pytest.approx(10 + LATENCY_S, abs=1e-4)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
@virtual
async def test_a_wall_clock_that_jumps_neither_loses_nor_stalls_a_delayed_job(jump_s: float) -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit(delay_s=1800)
    ending = asyncio.ensure_future(bench.end(job_id))
    await asyncio.sleep(100)
    bench.clock.jump(jump_s)
    await ending  # nothing but the alarm brings the queue to look
    start, = bench.start_times(job_id)
    if jump_s > 0:
        assert 100 <= start <= 161, "the clock says that it is due: seen at the next look, a minute later at most"
    else:
        assert start == pytest.approx(1800 + 3600, abs=1), "due by the clock, which was set back"


@virtual
async def test_a_clock_that_jumps_leaves_running_jobs_and_their_timeouts_alone() -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit("sleep 20", timeout_s=30)
    await asyncio.sleep(1)
    bench.clock.jump(3600)
    assert (await bench.end(job_id)).state is JobState.DONE
    assert now() == pytest.approx(20 + LATENCY_S, abs=1e-4)


@virtual
async def test_a_method_that_no_worker_has_is_refused_with_the_whole_batch() -> None:
    bench = await Bench().open(workers=1)
    good, bad = bench.job(), bench.job(method="wrok")
    with pytest.raises(UnknownMethod, match="wrok.*Worker"):
        await bench.core.enqueue([good, bad])
    assert await bench.held(good.id) is None
    assert bench.started() == []


@virtual
async def test_a_refused_batch_does_not_harm_those_that_arrive_with_it() -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=1)
    store.wait_s = 1.0  # the first holds up the others, which then form one batch
    first = asyncio.ensure_future(bench.submit())
    bad = asyncio.ensure_future(bench.submit(method="wrok"))
    good = asyncio.ensure_future(bench.submit())
    await asyncio.wait([first, bad, good])
    assert isinstance(bad.exception(), UnknownMethod)
    assert await bench.ends([first.result(), good.result()]) == [JobState.DONE] * 2


@virtual
async def test_any_method_is_taken_while_no_group_has_said_what_its_class_has() -> None:
    bench = await Bench().open()
    job_id = await bench.submit(method="anything")
    assert await bench.state(job_id) is JobState.PENDING


@virtual
async def test_functions_need_no_method() -> None:
    bench = await Bench().open(workers=1)
    assert (await bench.end(await bench.submit(method="math.sqrt", is_function=True))).state is JobState.DONE


@virtual
async def test_a_class_that_answers_to_any_name_takes_any_method() -> None:
    bench = await Bench().open()
    bench.group.methods = None
    await bench.group.ready("w1")
    assert (await bench.end(await bench.submit(method="made_up"))).state is JobState.DONE


class Wayward(LRU):
    """A dispatcher whose choice is overruled by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.choices = 0
        self.answer: object = None
        self.wayward = True

    def check_out(self, job: JobRecord) -> WorkerRef | None:
        self.choices += 1
        if not self.wayward:
            return super().check_out(job)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize("answer", [None, WorkerRef("stranger"), RuntimeError("no idea")], ids=["nobody", "unknown", "raises"])
@virtual
async def test_a_dispatcher_that_makes_no_choice_loses_no_job_and_does_not_spin(answer: object) -> None:
    dispatcher = Wayward()
    dispatcher.answer = answer
    bench = await Bench(dispatcher=dispatcher).open(workers=2)
    ids: list[str] = []
    for _ in range(10):
        ids.append(await bench.submit())
        await asyncio.sleep(0.01)
    before = dispatcher.choices
    await asyncio.sleep(60)
    assert bench.started() == []
    assert dispatcher.choices - before <= 2 * (60 / 0.5 + 1), "two jobs twice a second, however many events came"
    dispatcher.wayward = False
    assert await bench.ends(ids) == [JobState.DONE] * 10
    assert bench.started() == ids, "and the jobs kept their places"
    assert all(snapshot.attempts == 1 for snapshot in [await bench.core.describe(i) for i in ids] if snapshot)


@virtual
async def test_a_dispatcher_that_chooses_a_busy_worker_is_refused() -> None:
    dispatcher = Wayward()
    dispatcher.wayward = False
    bench = await Bench(dispatcher=dispatcher).open(workers=2)
    await bench.submit("sleep 100")
    await asyncio.sleep(TICK * 2)
    busy = bench.rig.starts[0].worker
    dispatcher.wayward, dispatcher.answer = True, WorkerRef(busy)
    ids = await bench.submit_all("ok", "ok")
    await asyncio.sleep(10)
    assert len(bench.started()) == 1
    dispatcher.wayward = False
    assert await bench.ends(ids) == [JobState.DONE] * 2


class Deaf(LRU):
    """A dispatcher that raises in everything that tells it of workers."""

    raising = True

    def check_in(self, worker: WorkerRef) -> None:
        if self.raising:
            raise RuntimeError("check_in")
        super().check_in(worker)

    def available(self) -> int:
        if self.raising:
            raise RuntimeError("available")
        return super().available()


@virtual
async def test_a_dispatcher_that_raises_on_workers_harms_no_job() -> None:
    bench = await Bench(dispatcher=Deaf()).open(workers=1)
    job_id = await bench.submit()
    await asyncio.sleep(5)
    assert await bench.state(job_id) is JobState.PENDING
    Deaf.raising = False
    try:
        await bench.group.ready("w2")
        assert (await bench.end(job_id)).state is JobState.DONE
    finally:
        Deaf.raising = True
