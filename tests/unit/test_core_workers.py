"""Workers come, die, are spoilt, healed and retired; no job is harmed by it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import JobState
from honeydew_ray.roster import Spoilt
from honeydew_ray.status import WorkerState
from honeydew_ray.transport import Attempt, Report, Returned
from tests.unit.harness import LATENCY_S, TICK, Bench, Group, HangingCaller, Rig, ScriptedMode, TroubledStore, now, virtual

# -- deaths --------------------------------------------------------------------------------------


@virtual
async def test_a_worker_dead_before_the_job_starts_harms_it_not_and_does_not_count() -> None:
    mode = ScriptedMode()
    bench = await Bench(mode).open(workers=3)
    ids = await bench.submit_all(["dead", "dead", "ok"], "sleep 1", "sleep 1")
    end = await bench.end(ids[0])
    assert (end.state, end.attempts, end.last_error) == (JobState.DONE, 1, None)
    assert mode.asked == []


@virtual
async def test_a_job_given_back_by_a_dead_worker_keeps_its_place() -> None:
    bench = await Bench().open(workers=2)
    first, *others = await bench.submit_all(["dead", "ok"], *["sleep 1"] * 3)
    await bench.ends([first, *others])
    assert bench.started() == [others[0], first, others[1], others[2]]


@virtual
async def test_a_worker_that_dies_idle_touches_no_job() -> None:
    bench = await Bench().open(workers=1)
    bench.rig.dead.add("w1")
    job_id = await bench.submit()
    await asyncio.sleep(10)
    assert await bench.state(job_id) is JobState.PENDING
    assert bench.started() == []
    await bench.replace("w1", by="w2")
    end = await bench.end(job_id)
    assert (end.state, end.attempts) == (JobState.DONE, 1)


@virtual
async def test_a_worker_that_is_gone_gets_no_job_whatever_late_rosters_say() -> None:
    class Undead(Rig):
        async def wait_idle(self, worker: object) -> bool:
            return True  # killed, and not dead yet

    bench = await Bench(Retry(1), rig=Undead()).open(workers=1)
    job_id = await bench.submit(["hang", "ok"], timeout_s=1)
    await asyncio.sleep(2)
    assert bench.rig.killed == ["w1"]
    for _ in range(5):
        bench.group.publish()
        await asyncio.sleep(1)
    assert len(bench.started()) == 1
    await bench.replace("w1", by="w2")
    assert (await bench.end(job_id)).state is JobState.DONE
    assert bench.rig.starts[-1].worker == "w2"


@virtual
async def test_a_job_that_is_faster_than_the_kill_succeeds_and_its_worker_gets_no_other() -> None:
    class Faster(Rig):
        async def run(self, worker: WorkerRef, attempts: Sequence[Attempt]) -> list[Report]:
            await super().run(worker, attempts)
            return [Returned(None)]

    bench = await Bench(rig=Faster()).open(workers=1)
    job_id = await bench.submit("hang", timeout_s=1)
    assert (await bench.end(job_id)).state is JobState.DONE
    assert bench.rig.killed == ["w1"]
    assert bench.core.workforce.available() == 0


@virtual
async def test_a_roster_may_drop_a_worker_before_its_job_has_ended() -> None:
    bench = await Bench().open(workers=1)
    job_id = await bench.submit("sleep 5")
    await asyncio.sleep(1)
    await bench.replace("w1", by="w2")
    other = await bench.submit("ok")
    await bench.end(other)
    assert now() < 2
    assert (await bench.end(job_id)).state is JobState.DONE
    assert await bench.worker_states() == {"w2": WorkerState.IDLE}


# -- rosters -------------------------------------------------------------------------------------


@virtual
async def test_an_older_roster_changes_nothing() -> None:
    bench = await Bench().open()
    bench.group.set("w1", ready=False)
    early = bench.group.roster()
    bench.group.set("w1")
    late = bench.group.roster()
    assert bench.core.update_roster(late) is True
    assert bench.core.update_roster(early) is False
    assert bench.core.update_roster(late) is False
    await asyncio.sleep(TICK)
    assert await bench.worker_states() == {"w1": WorkerState.IDLE}


@virtual
async def test_a_new_process_of_the_group_counts_anew_and_the_old_one_is_heard_no_more() -> None:
    bench = await Bench().open(workers=2)
    running = await bench.submit("sleep 5")
    await asyncio.sleep(1)
    for _ in range(5):
        bench.group.publish()
    late = bench.group.roster()
    heir = Group(bench.core, incarnation="g2")
    await heir.ready("w1", "w3")  # it took over w1, which runs the job; w2 had died
    assert bench.core.update_roster(late) is False
    await asyncio.sleep(TICK)
    assert await bench.worker_states() == {"w1": WorkerState.BUSY, "w3": WorkerState.IDLE}
    assert (await bench.end(running)).state is JobState.DONE
    assert await bench.worker_states() == {"w1": WorkerState.IDLE, "w3": WorkerState.IDLE}


@virtual
async def test_two_groups_serve_one_queue() -> None:
    bench = await Bench().open(workers=1)
    other = Group(bench.core, "gpu")
    await other.ready("x1")
    await bench.ends(await bench.submit_all("sleep 1", "sleep 1"))
    assert {start.worker for start in bench.rig.starts} == {"w1", "x1"}
    bench.core.workforce.remove_group("gpu")
    assert await bench.worker_states() == {"w1": WorkerState.IDLE}
    assert bench.core.update_roster(other.roster()) is False, "a roster that was under way when its group left"
    assert await bench.worker_states() == {"w1": WorkerState.IDLE}


@virtual
async def test_a_worker_that_still_runs_a_job_of_an_earlier_queue_is_taken_in_when_it_is_idle() -> None:
    free = asyncio.Event()

    class Busy(Rig):
        async def wait_idle(self, worker: object) -> bool:
            await free.wait()
            return True

    bench = await Bench(rig=Busy()).open(workers=1)
    job_id = await bench.submit()
    await asyncio.sleep(10)
    assert bench.started() == []
    free.set()
    assert (await bench.end(job_id)).state is JobState.DONE


# -- spoilt states -------------------------------------------------------------------------------


@virtual
async def test_a_spoilt_worker_gets_no_job_until_its_state_is_made_anew() -> None:
    bench = await Bench(Retry(1)).open(workers=1)
    job_id = await bench.submit(["raise", "ok"])
    await asyncio.sleep(1)
    assert await bench.core.workforce.spoilt("default", (), 0.0) == [Spoilt("w1", 1)]
    bench.revive("w1", epoch=1)  # a roster that was under way
    await asyncio.sleep(1)
    assert len(bench.started()) == 1
    bench.revive("w1", epoch=2)
    assert (await bench.end(job_id)).state is JobState.DONE
    assert await bench.core.workforce.spoilt("default", (), 0.0) == []


@virtual
async def test_a_worker_adopted_twice_and_spoilt_in_between_stays_spoilt() -> None:
    class SlowProbe(Rig):
        probes = 0

        async def wait_idle(self, worker: object) -> bool:
            self.probes += 1
            await asyncio.sleep(1.0 if self.probes > 1 else 0.0)  # the second answer comes when the job has failed
            return True

    bench = await Bench(Retry(3), rig=SlowProbe()).open()
    bench.group.set("w1")
    bench.group.publish()
    bench.group.publish()
    job_id = await bench.submit(["raise", "ok"])
    await asyncio.sleep(10)
    assert len(bench.started()) == 1
    bench.revive("w1", epoch=2)
    assert (await bench.end(job_id)).state is JobState.DONE


@virtual
async def test_a_worker_dropped_and_taken_in_again_never_has_two_jobs() -> None:
    store = TroubledStore()
    bench = await Bench(store=store).open(workers=1)
    first = await bench.submit("sleep 1")
    await asyncio.sleep(0.5)
    store.wait_s = 1.0  # the end of the first is being stored while the worker is dropped and back
    await asyncio.sleep(1)
    view = bench.group.views.pop("w1")
    bench.group.publish()
    bench.group.views["w1"] = view
    bench.group.publish()
    ids = [first, *await bench.submit_all("sleep 5", "sleep 5")]
    assert await bench.ends(ids) == [JobState.DONE] * 3, "the rig refuses two jobs at once"


@virtual
async def test_a_group_that_asks_hears_of_a_spoilt_worker_at_once_and_of_each_once() -> None:
    bench = await Bench().open(workers=2)
    asked = asyncio.ensure_future(bench.core.workforce.spoilt("default", (), 30.0))
    await asyncio.sleep(3)
    await bench.submit("raise")
    found = await asked
    assert now() == pytest.approx(3 + LATENCY_S, abs=1e-3)
    begun = now()
    assert await bench.core.workforce.spoilt("default", found, 5.0) == []
    assert now() - begun == pytest.approx(5.0, abs=1e-3)


@virtual
async def test_a_spoilt_worker_is_called_for_though_its_failure_mode_hangs() -> None:
    bench = await Bench(caller=HangingCaller()).open(workers=1)
    await bench.submit("raise")
    await asyncio.sleep(1)
    assert await bench.core.workforce.spoilt("default", (), 0.0) == [Spoilt("w1", 1)]
