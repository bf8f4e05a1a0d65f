"""Workers that are to end take no more jobs; and what the queue's status says of its workers."""

from __future__ import annotations

import asyncio

import pytest

from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import JobState
from honeydew_ray.status import WorkerState
from tests.unit.harness import Bench, Rig, ScriptedMode, now, virtual


@virtual
async def test_retiring_waits_for_the_job_in_hand_and_gives_no_other() -> None:
    bench = await Bench().open(workers=1)
    running, waiting = await bench.submit_all("sleep 5", "ok")
    await asyncio.sleep(1)
    retiring = asyncio.ensure_future(bench.core.retire(["w1"], "g1", shutdown_s=10.0))
    await asyncio.sleep(1)
    assert await bench.worker_states() == {"w1": WorkerState.DRAINING}
    await retiring
    assert now() == pytest.approx(5, abs=0.01)
    assert (await bench.end(running)).state is JobState.DONE
    bench.group.publish()
    await asyncio.sleep(10)
    assert await bench.state(waiting) is JobState.PENDING


@virtual
async def test_a_job_that_does_not_end_in_time_is_redelivered_not_failed() -> None:
    mode = ScriptedMode()
    bench = await Bench(mode).open(workers=1)
    job_id = await bench.submit(["hang", "ok"])
    await asyncio.sleep(1)
    begun = now()
    await bench.core.retire(["w1"], "g1", shutdown_s=10.0)
    assert now() - begun == pytest.approx(10, abs=0.01)
    assert bench.rig.killed == ["w1"]
    assert mode.asked == []
    await bench.replace("w1", by="w2")
    end = await bench.end(job_id)
    assert (end.state, end.attempts) == (JobState.DONE, 2)
    assert "shutdown_s" in str(end.last_error)


@virtual
async def test_retiring_one_worker_touches_no_job_of_another() -> None:
    bench = await Bench().open(workers=2)
    job_id = await bench.submit("sleep 100")
    await asyncio.sleep(1)
    (busy,) = {start.worker for start in bench.rig.starts}
    await bench.core.retire([{"w1": "w2", "w2": "w1"}[busy]], "g1", shutdown_s=10.0)
    assert now() < 2
    assert (await bench.end(job_id)).state is JobState.DONE
    assert bench.rig.killed == []


@virtual
async def test_retiring_idle_and_unknown_workers_returns_at_once() -> None:
    bench = await Bench().open(workers=1)
    await bench.core.retire(["w1", "nobody"], "g1", shutdown_s=10.0)
    assert now() < 1
    job_id = await bench.submit()
    await asyncio.sleep(10)
    assert await bench.state(job_id) is JobState.PENDING


@virtual
async def test_a_worker_retired_before_it_was_ready_never_gets_a_job() -> None:
    bench = await Bench().open()
    bench.group.set("w1", ready=False)
    bench.group.publish()
    await bench.core.retire(["w1"], "g1", shutdown_s=10.0)
    await bench.group.ready("w1")
    await bench.submit()
    await asyncio.sleep(10)
    assert bench.started() == []


@virtual
async def test_a_worker_retired_while_it_is_being_taken_in_never_gets_a_job() -> None:
    class SlowProbe(Rig):
        async def wait_idle(self, worker: object) -> bool:
            await asyncio.sleep(1)
            return True

    bench = await Bench(rig=SlowProbe()).open(workers=1)
    await bench.core.retire(["w1"], "g1", shutdown_s=10.0)
    await bench.submit()
    await asyncio.sleep(10)
    assert bench.started() == []


@virtual
async def test_a_failed_job_of_a_retiring_worker_meets_the_failure_mode() -> None:
    bench = await Bench(Retry(1)).open(workers=1)
    job_id = await bench.submit(["raise", "ok"])
    await bench.core.retire(["w1"], "g1", shutdown_s=10.0)
    assert await bench.state(job_id) is JobState.PENDING
    await bench.replace("w1", by="w2")
    assert (await bench.end(job_id)).attempts == 2


@virtual
async def test_the_status_says_what_each_worker_does() -> None:
    bench = await Bench().open(workers=1)
    bench.group.set("w2", ready=False)
    bench.group.publish()
    job_id = await bench.submit("sleep 5")
    await bench.submit("ok", delay_s=100)
    await bench.submit("ok")
    await asyncio.sleep(1)
    monitor = bench.core.floor.monitors[job_id]
    bench.core.progressed(*monitor.job.token, "half")
    bench.core.progressed(job_id, 99, monitor.job.incarnation, "of another attempt")
    bench.core.progressed("nobody", 1, "", "of no job")
    status = await bench.core.status()
    busy, starting = status.workers
    assert (busy.id, busy.state, busy.job, busy.progress) == ("w1", WorkerState.BUSY, job_id, "half")
    assert (busy.node, busy.group) == ("n1", "default")
    assert (starting.state, starting.job, starting.progress) == (WorkerState.STARTING, None, None)
    assert (status.name, status.pending, status.delayed, status.in_progress, status.abandoned) == ("q", 1, 1, 1, 0)
    assert status.store == "MemoryStore"
    snapshot = await bench.core.describe(job_id)
    assert snapshot is not None
    assert snapshot.progress == "half"
