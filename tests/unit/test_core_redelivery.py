"""A job given back through no fault of its own: at once, to its place, counted apart, and with a cap."""

from __future__ import annotations

import asyncio

import pytest

from honeydew_ray.decisions import Discard
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import JobState
from tests.unit.harness import TICK, Bench, Rig, ScriptedMode, now, virtual


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
