"""Several short jobs in one call to a worker: what a lease holds, and what becomes of it when it does not go well."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import JobId, JobState
from honeydew_ray.lease import OVERDUE_S
from honeydew_ray.monitor import MERCY_S
from tests.unit.harness import LATENCY_S, TICK, Bench, Rig, now, virtual

WARM = 20


async def lessee(workers: int = 1, failure_mode: Any = None, rig: Rig | None = None, warm: int = WARM) -> Bench:
    """A bench whose workers take leases, and whose jobs are known to be short."""
    bench = Bench(failure_mode, rig=rig)
    bench.group.prefetch = True
    await bench.open(workers)
    await bench.ends(await bench.submit_all(*["ok"] * warm))
    bench.rig.leases.clear()
    bench.rig.starts.clear()
    return bench


@virtual
async def test_short_jobs_share_a_lease_and_run_in_order() -> None:
    bench = await lessee()
    ids = await bench.submit_all(*["ok"] * 10)
    began = now()
    assert await bench.ends(ids) == [JobState.DONE] * 10
    assert bench.rig.leases == [10]
    assert bench.started() == ids
    assert now() - began < 3 * LATENCY_S, "one call took them all there"


@virtual
async def test_leases_grow_from_one() -> None:
    bench = await lessee(warm=0)
    await bench.ends(await bench.submit_all(*["ok"] * 100))
    assert bench.rig.leases == [1, 1, 2, 4, 8, 16, 32, 36]


@virtual
async def test_without_prefetch_every_job_has_a_call_of_its_own() -> None:
    bench = await Bench().open(workers=1)
    await bench.ends(await bench.submit_all(*["ok"] * 10))
    assert bench.rig.leases == [1] * 10


@pytest.mark.parametrize("workers", [2, 3, 5])
@virtual
async def test_free_workers_have_even_shares(workers: int) -> None:
    bench = await lessee(workers)
    await bench.ends(await bench.submit_all(*["ok"] * 15))
    assert bench.rig.leases == [15 // workers] * workers if 15 % workers == 0 else [8, 7]
    used = {start.worker for start in bench.rig.starts}
    assert len(used) == workers


@virtual
async def test_a_job_that_lasts_is_left_alone_and_those_behind_it_go_to_a_free_worker() -> None:
    bench = await lessee(workers=2)
    busy = await bench.submit("sleep 0.2", method="work")  # one worker has this
    ids = await bench.submit_all("ok", "sleep 5", "ok", "ok")
    assert await bench.end(ids[0]) is not None
    await bench.end(busy)
    began = now()
    assert await bench.ends([ids[2], ids[3]]) == [JobState.DONE] * 2
    assert now() - began < 0.1, "they did not wait for the long one"
    assert (await bench.end(ids[1])).state is JobState.DONE
    assert all(len(bench.start_times(job_id)) == 1 for job_id in ids)
    for job_id in ids:
        assert (await bench.end(job_id)).attempts == 1, "taken back before it started is as if it had not been issued"


@virtual
async def test_what_ended_before_a_job_that_lasts_is_heard_of_at_once() -> None:
    bench = await lessee()
    ids = await bench.submit_all("ok", "ok", "sleep 100")
    began = now()
    assert await bench.ends(ids[:2]) == [JobState.DONE] * 2
    assert now() - began < OVERDUE_S + 3 * LATENCY_S
    assert (await bench.core.status()).in_progress == 1


@pytest.mark.parametrize("end", ["exit 3", "signal 9"])
@pytest.mark.parametrize("at", range(5))
@virtual
async def test_only_the_killer_meets_the_failure_mode(at: int, end: str) -> None:
    bench = await lessee(workers=1)
    scripts: list[Any] = ["ok"] * 5
    scripts[at] = end
    ids = await bench.submit_all(*scripts)
    await asyncio.sleep(TICK * 3)
    await bench.replace("w1", "w2")
    states = await bench.ends(ids)
    assert states == [JobState.ABANDONED if index == at else JobState.DONE for index in range(5)]
    assert bench.rig.leases == [5, 1, 1, 1, 1], "those that were left are issued one by one"
    for index, job_id in enumerate(ids):
        starts = 2 if index < at else 1  # those before it had run, but their answers died with the worker
        assert len(bench.start_times(job_id)) == starts


@pytest.mark.parametrize("at", range(4))
@virtual
async def test_a_killer_that_is_retried_takes_nobody_with_it_again(at: int) -> None:
    bench = await lessee(workers=1, failure_mode=Retry(times=2))
    healing = asyncio.ensure_future(bench.group.heal(bench.rig.dead))
    scripts: list[Any] = ["ok"] * 4
    scripts[at] = "exit 1"
    ids = await bench.submit_all(*scripts)
    ends = [await bench.end(job_id) for job_id in ids]
    healing.cancel()
    assert [end.attempts for end in ends] == [3 if index == at else 2 if index < at else 1 for index in range(4)]


@pytest.mark.parametrize("at", range(4))
@virtual
async def test_no_job_meets_the_state_that_a_failed_one_left(at: int) -> None:
    bench = await lessee(workers=1)
    scripts: list[Any] = ["ok"] * 4
    scripts[at] = "raise"
    ids = await bench.submit_all(*scripts)
    await asyncio.sleep(0.5)
    assert bench.started() == ids[: at + 1]
    bench.revive("w1", epoch=2)
    assert await bench.ends(ids) == [JobState.ABANDONED if index == at else JobState.DONE for index in range(4)]
    assert bench.started() == ids


@virtual
async def test_suspending_takes_back_what_a_lease_has_not_begun() -> None:
    bench = await lessee()
    ids = await bench.submit_all("ok", "sleep 10", "ok", "ok")
    await asyncio.sleep(0.01)
    await bench.core.suspend()
    assert now() < 1
    started = bench.started()
    assert started == ids[:2]
    await asyncio.sleep(100)
    assert bench.started() == started
    assert [await bench.state(job_id) for job_id in ids] == [JobState.DONE, JobState.DONE, JobState.PENDING, JobState.PENDING]
    await bench.core.resume()
    assert await bench.ends(ids) == [JobState.DONE] * 4
    assert bench.started() == ids


@pytest.mark.parametrize("at", range(3))
@virtual
async def test_cancelling_one_of_a_lease_leaves_the_others(at: int) -> None:
    bench = await lessee(workers=1)
    ids = await bench.submit_all("sleep 2", "ok", "ok")
    await asyncio.sleep(0.01)
    healing = asyncio.ensure_future(bench.group.heal(bench.rig.dead))
    await bench.core.cancel(ids[at], running=True)
    states = await bench.ends(ids)
    healing.cancel()
    assert states == [JobState.CANCELLED if index == at else JobState.DONE for index in range(3)]
    assert bool(bench.rig.killed) == (at == 0), "only the one that ran cost its worker"
    assert all(len(bench.start_times(job_id)) == (1 if index == 0 or index != at else 0) for index, job_id in enumerate(ids))


@virtual
async def test_a_job_of_a_lease_has_its_time_from_about_its_start() -> None:
    bench = await lessee(workers=1)
    ids = await bench.submit_all("ok", "sleep 10", "ok", timeout_s=2)
    began = now()
    healing = asyncio.ensure_future(bench.group.heal(bench.rig.dead))
    end = await bench.end(ids[1])
    assert end.state is JobState.ABANDONED
    assert end.last_error is not None
    assert end.last_error.kind == "timeout"
    assert 2 <= now() - began <= 2 + 2 * OVERDUE_S
    assert await bench.ends([ids[0], ids[2]]) == [JobState.DONE] * 2
    healing.cancel()


@pytest.mark.parametrize("behind", [1, 2])
@virtual
async def test_retiring_a_worker_sends_the_rest_of_its_lease_elsewhere(behind: int) -> None:
    bench = await lessee(workers=1)
    ids = await bench.submit_all("sleep 3", *["ok"] * behind)
    await asyncio.sleep(0.01)
    await bench.group.ready("w2")
    began = now()
    retiring = asyncio.ensure_future(bench.core.retire(["w1"], "g1", 10.0))
    assert await bench.ends(ids[1:]) == [JobState.DONE] * behind
    assert now() - began < OVERDUE_S / 2, "they do not wait until the first proves to last"
    await retiring
    assert (await bench.end(ids[0])).state is JobState.DONE
    assert {start.worker for start in bench.rig.starts if start.job_id != ids[0]} == {"w2"}


@virtual
async def test_a_lost_node_redelivers_the_whole_lease() -> None:
    bench = await lessee(workers=1)
    ids = await bench.submit_all("ok", ["lost", "ok"], "ok")
    await asyncio.sleep(TICK * 3)
    await bench.replace("w1", "w2")
    assert await bench.ends(ids) == [JobState.DONE] * 3
    assert [len(bench.start_times(job_id)) for job_id in ids] == [2, 2, 1]


# -- several at once -------------------------------------------------------------------------------


async def juggler(workers: int = 1, concurrency: int = 3, failure_mode: Any = None, spoils: bool = False) -> Bench:
    bench = Bench(failure_mode, rig=Rig(concurrency=concurrency, spoils=spoils))
    bench.group.concurrency = concurrency
    return await bench.open(workers)


@virtual
async def test_a_worker_runs_as_many_at_once_as_it_may() -> None:
    bench = await juggler(concurrency=3)
    ids = await bench.submit_all(*["sleep 1"] * 7)
    await asyncio.sleep(0.5)
    status = await bench.core.status()
    assert (status.in_progress, status.pending, status.workers[0].jobs) == (3, 4, 3)
    assert await bench.ends(ids) == [JobState.DONE] * 7
    assert 3 <= now() <= 3 + 10 * LATENCY_S
    assert bench.started() == ids


@virtual
async def test_jobs_at_once_have_timeouts_of_their_own_and_their_worker_lives() -> None:
    bench = await juggler()
    late = await bench.submit("sleep 100", timeout_s=1)
    fine = await bench.submit("sleep 5", timeout_s=10)
    end = await bench.end(late)
    assert end.last_error is not None
    assert (end.last_error.kind, now() < 1.1) == ("timeout", True)
    assert (await bench.end(fine)).state is JobState.DONE
    assert bench.rig.killed == []
    assert (await bench.end(await bench.submit())).state is JobState.DONE


@virtual
async def test_cancelling_one_of_several_stops_just_that() -> None:
    bench = await juggler()
    ids = await bench.submit_all("sleep 3", "sleep 3", "sleep 3")
    await asyncio.sleep(1)
    await bench.core.cancel(ids[1], running=True)
    assert now() < 1.1
    assert await bench.ends(ids) == [JobState.DONE, JobState.CANCELLED, JobState.DONE]
    assert bench.rig.killed == []


@virtual
async def test_a_job_that_does_not_stop_costs_its_worker_and_the_others_are_redelivered() -> None:
    class Deaf(Rig):
        async def stop(self, worker: Any, token: Any) -> bool:
            return True

    bench = Bench(rig=Deaf(concurrency=2))
    bench.group.concurrency = 2
    await bench.open(workers=1)
    healing = asyncio.ensure_future(bench.group.heal(bench.rig.dead))
    deaf = await bench.submit("sleep 1000", timeout_s=1)
    other = await bench.submit(["sleep 1000", "ok"])
    end = await bench.end(deaf)
    assert end.last_error is not None
    assert end.last_error.kind == "timeout"
    assert 1 + MERCY_S <= now() <= 1.5 + MERCY_S
    assert bench.rig.killed == ["w1"]
    assert (await bench.end(other)).state is JobState.ABANDONED  # the scripted worker says which of them it met
    healing.cancel()


@virtual
async def test_a_failed_state_is_made_anew_once_its_last_job_is_over() -> None:
    bench = await juggler(spoils=True)
    ids = await bench.submit_all("raise", "sleep 2")
    later = await bench.submit_all("ok", "ok")
    await asyncio.sleep(1)
    assert await bench.core.workforce.spoilt("default", (), 0.0) == []
    await asyncio.sleep(2)
    assert [spoilt.worker_id for spoilt in await bench.core.workforce.spoilt("default", (), 0.0)] == ["w1"]
    bench.revive("w1", epoch=2)
    assert await bench.ends([*ids, *later]) == [JobState.ABANDONED, *[JobState.DONE] * 3]


@pytest.mark.parametrize("seed", range(60))
@virtual
async def test_whatever_happens_each_job_ends_once_and_in_one_place(seed: int) -> None:
    rng = random.Random(seed)
    concurrency = rng.choice([1, 1, 3])
    bench = Bench(Retry(times=1), rig=Rig(concurrency=concurrency, spoils=rng.random() < 0.5))
    bench.group.prefetch, bench.group.concurrency = concurrency == 1, concurrency
    await bench.open(rng.randint(1, 3))
    healing = asyncio.ensure_future(bench.group.heal(bench.rig.dead))
    ids: list[JobId] = []
    words = [*["ok"] * 12, "raise", "exit 1", "signal 9", ["lost", "ok"], ["dead", "ok"], "sleep 0.01", "sleep 0.1", "sleep 2"]
    for _ in range(rng.randint(1, 6)):
        ids += await bench.submit_all(*(rng.choice(words) for _ in range(rng.randint(1, 60))), timeout_s=rng.choice([None, 0.05, 1.5]))
        await asyncio.sleep(rng.random() * 0.2)
        match rng.randint(0, 3):
            case 0:
                await bench.core.suspend()
                starts = len(bench.rig.starts)
                await asyncio.sleep(rng.random())
                assert len(bench.rig.starts) == starts, "nothing starts while the queue is suspended"
                await bench.core.resume()
            case 1:
                await bench.core.cancel(rng.choice(ids), running=True)
    ends = [await bench.end(job_id) for job_id in ids]
    assert all(end.state in (JobState.DONE, JobState.ABANDONED, JobState.CANCELLED) for end in ends)
    counts = await bench.store.counts()
    assert (counts.pending, counts.delayed, counts.in_progress) == (0, 0, 0)
    assert bench.core.floor.monitors == {}
    assert bench.core.floor._leases == {}
    healing.cancel()
