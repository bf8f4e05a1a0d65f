"""A job given back through no fault of its own: at once, to its place, counted apart, and with a cap."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from honeydew_ray.decisions import Discard
from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import JobState
from honeydew_ray.roster import Spoilt
from honeydew_ray.transport import NotStarted
from tests.unit.harness import LATENCY_S, TICK, Bench, Rig, ScriptedMode, now, virtual


@virtual
async def test_a_lost_node_redelivers_at_once_and_does_not_count_as_a_failure() -> None:
    mode = ScriptedMode(Discard())
    bench = await Bench(mode).open(workers=3)
    end = await bench.end(await bench.submit(["lost", "lost", "ok"]))
    assert end.state is JobState.DONE
    assert end.attempts == 3
    assert mode.asked == []
    assert now() < 1


@virtual
async def test_a_redelivered_job_keeps_its_place_in_line() -> None:
    bench = await Bench().open(workers=2)
    first, *others = await bench.submit_all(["lost", "ok"], *["sleep 1"] * 3)
    await bench.ends([first, *others])
    assert bench.started() == [first, others[0], first, others[1], others[2]]


@virtual
async def test_redeliveries_leave_the_retries_whole() -> None:
    bench = await Bench(Retry(1), rig=Rig(spoils=False)).open(workers=3)
    end = await bench.end(await bench.submit(["lost", "raise", "lost", "ok"]))
    assert end.state is JobState.DONE
    assert end.attempts == 4


@pytest.mark.parametrize("cap", [0, 1, 4])
@virtual
async def test_a_job_given_back_too_often_is_poison_and_meets_the_failure_mode(cap: int) -> None:
    mode = ScriptedMode(Discard())
    bench = await Bench(mode, max_redeliveries=cap).open(workers=8)
    end = await bench.end(await bench.submit("lost"))
    assert end.state is JobState.ABANDONED
    assert len(bench.started()) == cap + 1
    (job, failure), = mode.asked
    assert failure.kind == "poison"
    assert job.redeliveries == cap
    assert "as scripted" in failure.message


@virtual
async def test_a_fault_of_the_transport_kills_the_worker_and_redelivers() -> None:
    bench = await Bench().open(workers=1)
    bench.rig.run_error = OSError("unplugged")
    job_id = await bench.submit("ok")
    await asyncio.sleep(TICK)
    assert bench.rig.killed == ["w1"]
    bench.rig.run_error = None
    await bench.group.ready("w2")
    end = await bench.end(job_id)
    assert end.state is JobState.DONE
    assert end.attempts == 2
    assert "unplugged" in str(end.last_error)


@virtual
async def test_after_a_fault_of_the_transport_no_other_attempt_starts_before_the_worker_is_dead() -> None:
    class Sturdy(Rig):
        async def end(self, worker: WorkerRef) -> None:
            await asyncio.sleep(3.0)
            await super().end(worker)

    bench = await Bench(rig=Sturdy()).open(workers=2)
    bench.rig.run_error = OSError("unplugged")
    job_id = await bench.submit("ok")
    await asyncio.sleep(TICK)
    bench.rig.run_error = None
    await asyncio.sleep(2.0)
    assert bench.started() == []
    assert (await bench.end(job_id)).state is JobState.DONE
    assert bench.start_times(job_id) == pytest.approx([3.0 + LATENCY_S], abs=TICK)


@virtual
async def test_a_job_that_its_worker_will_not_run_on_a_spoilt_state_goes_back_unharmed_and_the_state_is_made_anew() -> None:
    class Upright(Rig):
        refusals = 1

        async def run(self, worker: WorkerRef, attempts: Any) -> Any:
            self.refusals -= 1
            if self.refusals >= 0:
                return [NotStarted(worker_alive=True, spoilt=True)] * len(attempts)
            return await super().run(worker, attempts)

    bench = await Bench(rig=Upright()).open(workers=1)
    assert await bench.core.workforce.spoilt("default", (), 0.0) == []
    job_id = await bench.submit("ok")
    assert await bench.core.workforce.spoilt("default", (), 1.0) == [Spoilt("w1", 1)]
    assert bench.started() == []
    bench.revive("w1", epoch=2)
    end = await bench.end(job_id)
    assert (end.state, end.attempts, bench.started()) == (JobState.DONE, 1, [job_id])
