"""A job under which a worker ended has the next one to itself, and costs the others little."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from honeydew_ray.dispatchers.base import Dispatcher, WorkerRef
from honeydew_ray.dispatchers.lru import LRU
from honeydew_ray.dispatchers.lru_node import LRUNode
from honeydew_ray.failure import Failure
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.isolation import ALONE_S
from honeydew_ray.job import CancelOutcome, JobState
from honeydew_ray.transport import Lost
from tests.unit.harness import Bench, Rig, now, virtual
from tests.unit.test_core_reattach import DurableStore, lost

KILLED = Failure("signal", "WorkerKilled", "as before", signal=9)
ONE_OF_SEVERAL = Lost(Failure("signal", "WorkerDied", "one of several"))


async def jugglers(workers: int, concurrency: int = 3, rig: Rig | None = None, **facts: Any) -> Bench:
    """A queue whose workers run several jobs at once."""
    bench = Bench(rig=rig or Rig(concurrency=concurrency, spoils=False), **facts)
    bench.group.concurrency = concurrency
    return await bench.open(workers)


def in_hand(bench: Bench) -> int:
    return len(bench.core.floor.monitors)


class Opaque(Rig):
    """Nobody can say which of several jobs a worker died of."""

    async def run(self, worker: Any, attempts: Any) -> Any:
        alone = sum(flight.worker == worker.id for flight in self._flights.values()) == 0
        reports = await super().run(worker, attempts)
        unclear = worker.id in self.dead and not alone and not self._alone_since(worker.id)
        return [ONE_OF_SEVERAL if unclear else report for report in reports]

    def _alone_since(self, worker_id: str) -> bool:
        return sum(start.worker == worker_id for start in self.starts) == 1


@virtual
async def test_those_that_were_there_when_a_worker_died_run_alone_until_the_killer_is_found() -> None:
    bench = Bench(rig=Opaque(concurrency=3))
    bench.group.concurrency = 3
    await bench.open(workers=1)
    healing = asyncio.ensure_future(bench.group.heal(bench.rig.dead))
    innocent = await bench.submit_all("sleep 0.5", "sleep 0.5")
    killer = await bench.submit("exit 1")
    assert (await bench.end(killer)).state is JobState.ABANDONED
    assert await bench.ends(innocent) == [JobState.DONE] * 2
    healing.cancel()


@virtual
async def test_one_that_ends_workers_harms_others_once_however_often_it_is_tried_again() -> None:
    bench = Bench(Retry(times=3), rig=Opaque(concurrency=3))
    bench.group.concurrency = 3
    await bench.open(workers=2)
    healing = asyncio.ensure_future(bench.group.heal(bench.rig.dead))
    innocent = await bench.submit_all("sleep 0.5", "sleep 0.5")
    killer = await bench.submit("exit 1")
    innocent += await bench.submit_all(*["sleep 0.5"] * 20)
    assert (await bench.end(killer)).attempts == 1 + 4
    attempts = [(await bench.end(job)).attempts for job in innocent]
    assert max(attempts) == 2
    assert attempts.count(2) <= 2, "those that were there as the first worker died"
    healing.cancel()


@pytest.mark.parametrize("end", ["issued", "cancelled", "moved"])
@virtual
async def test_nothing_is_remembered_of_a_lease_that_ended_early_once_its_jobs_have_gone_on(end: str) -> None:
    bench = Bench()
    other = await Bench(name="other", rig=bench.rig).open()
    bench.group.prefetch = True
    await bench.open(workers=1)
    await bench.ends(await bench.submit_all(*["ok"] * 8))  # their pace is known
    await bench.core.suspend()
    killer, *rest = await bench.submit_all("exit 1", "ok", "ok")
    await bench.core.resume()
    assert (await bench.end(killer)).state is JobState.ABANDONED
    assert bench.core.floor.isolation._singly == set(rest)
    if end == "issued":
        await bench.replace("w1", by="w2")
        assert await bench.ends(rest) == [JobState.DONE] * 2
        assert bench.rig.leases[-2:] == [1, 1]
    for job in rest:
        if end == "cancelled":
            await bench.core.cancel(job)
        elif end == "moved":
            await bench.core.move(job, other.core.name)
    assert bench.core.floor.isolation._singly == set()


@pytest.mark.parametrize("dispatcher", [LRU(), LRUNode()])
@pytest.mark.parametrize("others", [0, 1])
@virtual
async def test_it_goes_to_a_worker_that_has_nothing_to_do(dispatcher: Dispatcher, others: int) -> None:
    bench = await jugglers(2, dispatcher=dispatcher)
    await bench.submit("sleep 3600")
    await bench.end(await bench.submit("ok"))  # by the other, which is behind the first in line now
    await asyncio.sleep(1)
    began = now()
    suspect = bench.job("sleep 10", id="suspect", last_error=KILLED)
    await bench.core.enqueue([suspect, *(bench.job("sleep 600", id=f"other {number}") for number in range(others))])
    await asyncio.sleep(1)
    assert bench.start_times("suspect")[0] - began < 0.1
    assert in_hand(bench) == 2 + others
    assert len({start.worker for start in bench.rig.starts if start.at >= began}) == 1 + others


@pytest.mark.parametrize("leaves", ["cancelled", "moved", "to a new worker", "late", "by another hand"])
@virtual
async def test_one_worker_at_a_time_is_kept_for_it_and_only_as_long_as_it_waits(leaves: str) -> None:
    bench = await jugglers(4)
    other = await Bench(name="other", rig=bench.rig).open()
    running = await bench.submit_all(*["sleep 3600"] * 4)
    await asyncio.sleep(1)
    suspects = await bench.submit_all("ok", "ok", last_error=KILLED)
    await asyncio.sleep(1)
    await bench.submit_all(*["sleep 3600"] * 8)
    await asyncio.sleep(1)
    assert in_hand(bench) == 4 + 6, "two places of the one that is kept stay empty"
    match leaves:
        case "cancelled":
            for suspect in suspects:
                assert await bench.core.cancel(suspect) is CancelOutcome.CANCELLED
        case "moved":
            for suspect in suspects:
                await bench.core.move(suspect, other.core.name)
        case "to a new worker":
            await bench.group.ready("w5")
            assert await bench.ends(suspects) == [JobState.DONE] * 2
        case "late":
            await asyncio.sleep(ALONE_S)
            assert await bench.ends(suspects) == [JobState.DONE] * 2
        case _:
            for suspect in suspects:
                await bench.store.cancel(suspect)
            await asyncio.sleep(ALONE_S)
    await asyncio.sleep(1)
    assert in_hand(bench) == 4 + 8
    assert await bench.ends(running) == [JobState.DONE] * 4
    assert bench.core.floor.isolation._singly == set()
    assert leaves == "by another hand" or bench.core.floor.isolation._waiting == {}


@virtual
async def test_it_has_its_turn_though_more_urgent_jobs_keep_coming() -> None:
    bench = await jugglers(1)
    waited: list[float] = []

    async def submit_urgent() -> None:
        began = now()
        await bench.end(await bench.submit("sleep 1", priority=5))
        waited.append(now() - began - 1)

    urgent = [asyncio.ensure_future(submit_urgent())]
    suspect = await bench.submit("ok", last_error=KILLED)
    for _ in range(100):
        await asyncio.sleep(0.6)
        urgent.append(asyncio.ensure_future(submit_urgent()))
    await asyncio.gather(*urgent)
    assert bench.start_times(suspect)[0] < 3
    assert max(waited) < 2
    assert sum(waited) < 10, "only those that came as the worker was kept waited for it"


@virtual
async def test_where_nobody_else_ends_it_goes_among_others_in_the_end_and_those_behind_it_go_on() -> None:
    bench = await jugglers(1)
    await bench.submit("hang")
    suspect = await bench.submit("ok", last_error=KILLED)
    behind = await bench.submit("ok")
    assert await bench.ends([suspect, behind]) == [JobState.DONE] * 2
    assert ALONE_S <= now() < ALONE_S + 1


@virtual
async def test_a_worker_that_is_kept_for_a_job_that_is_gone_goes_on() -> None:
    bench = await jugglers(1)
    await bench.submit("sleep 2")
    suspect = await bench.submit("ok", last_error=KILLED)
    behind = await bench.submit("ok")
    await asyncio.sleep(1)
    await bench.store.cancel(suspect)  # by another hand: its queue is not told
    assert (await bench.end(behind)).state is JobState.DONE
    assert 2 <= now() < 3
    assert bench.start_times(suspect) == []


@virtual
async def test_those_at_the_door_of_a_full_queue_wait_while_it_waits() -> None:
    bench = await jugglers(1, max_pending=1)
    await bench.submit("hang")
    suspect = await bench.submit("ok", last_error=KILLED)
    await bench.core.enqueue([bench.job("ok", id="at the door")], patience_s=60)
    assert ALONE_S <= now() < ALONE_S + 1
    assert await bench.ends([suspect, "at the door"]) == [JobState.DONE] * 2


@pytest.mark.parametrize("how", ["dies", "is retired"])
@virtual
async def test_if_the_worker_that_is_kept_for_it_goes_another_is(how: str) -> None:
    bench = await jugglers(2)
    await bench.submit_all(*[["sleep 3600", "ok"]] * 3)
    await asyncio.sleep(1)
    suspect = await bench.submit("ok", last_error=KILLED)
    await asyncio.sleep(1)
    assert in_hand(bench) == 3
    kept = WorkerRef("w2", "n1")  # it has one job in hand, and was so the first in line
    if how == "dies":
        bench.rig.kill(kept)
    else:
        await bench.core.retire([kept.id], "g1", 0.0)
    await bench.group.ready("w3")
    assert (await bench.end(suspect)).state is JobState.DONE
    assert now() < 3
    await bench.submit_all(*["sleep 10"] * 4)
    await asyncio.sleep(1)
    assert in_hand(bench) == 6, "none is kept any more"


@virtual
async def test_a_worker_whose_state_is_spoilt_is_kept_for_nobody() -> None:
    bench = await jugglers(1, rig=Rig(concurrency=3))
    await bench.submit_all("sleep 2", "raise")
    suspect = await bench.submit("ok", last_error=KILLED)
    await asyncio.sleep(3)
    bench.revive("w1", epoch=2)
    assert (await bench.end(suspect)).state is JobState.DONE
    await bench.submit_all(*["sleep 10"] * 4)
    await asyncio.sleep(1)
    assert in_hand(bench) == 3


@pytest.mark.parametrize("comes", ["revived", "from another queue", "from a lease that ended"])
@virtual
async def test_it_shares_no_lease_with_those_before_it(comes: str) -> None:
    bench = Bench()
    bench.group.prefetch = True
    await bench.open(workers=1)
    await bench.ends(await bench.submit_all(*["ok"] * 20))  # their pace is known
    healing = asyncio.ensure_future(bench.group.heal(bench.rig.dead))
    await bench.core.suspend()
    suspect = "suspect"
    if comes == "revived":
        await bench.core.resume()
        await bench.submit("signal 9", id=suspect)
        await bench.end(suspect)
        await bench.core.suspend()
        first = await bench.submit_all("ok", "ok", priority=1)
        await bench.core.retry(suspect)
    elif comes == "from another queue":
        first = await bench.submit_all("ok", "ok")
        await bench.core.enqueue([bench.job("signal 9", id=suspect, last_error=KILLED)], moved=True)
    else:
        await bench.submit("exit 1", id="killer")
        await bench.submit("signal 9", id=suspect)
        await bench.core.resume()
        await bench.end("killer")
        await bench.core.suspend()
        first = await bench.submit_all("ok", "ok", priority=1)
    await asyncio.sleep(1)
    bench.rig.leases.clear()
    await bench.core.resume()
    assert await bench.ends([*first, suspect]) == [*[JobState.DONE] * 2, JobState.ABANDONED]
    assert bench.rig.leases[-1] == 1
    assert [len(bench.start_times(job)) for job in first] == [1, 1]
    healing.cancel()


@virtual
async def test_nothing_is_remembered_of_a_job_that_was_called_off_as_its_leases_worker_died() -> None:
    class Slow(Rig):
        async def take_back(self, worker: Any, tokens: Any) -> Any:
            await asyncio.sleep(0.01)
            return [None] * len(tokens) if worker.id in self.dead else await super().take_back(worker, tokens)

    bench = Bench(rig=Slow(latency_s=0.005))
    bench.group.prefetch = True
    await bench.open(workers=1)
    await bench.ends(await bench.submit_all(*["ok"] * 20))
    await bench.core.suspend()
    killer, called_off, other = await bench.submit_all("exit 1", "ok", "ok")
    await bench.core.resume()
    assert await bench.core.cancel(called_off, running=True) is CancelOutcome.CANCELLED
    await bench.end(killer)
    await bench.replace("w1", by="w2")
    assert (await bench.end(other)).state is JobState.DONE
    assert bench.core.floor.isolation._singly == set()


@virtual
async def test_one_that_does_not_stop_when_its_time_is_over_costs_others_once() -> None:
    class Deaf(Opaque):
        async def stop(self, worker: Any, token: Any) -> bool:
            return True

    bench = await jugglers(1, rig=Deaf(concurrency=3, spoils=False), failure_mode=Retry(times=3))
    healing = asyncio.ensure_future(bench.group.heal(bench.rig.dead))
    others = await bench.submit_all(*["sleep 30"] * 2)
    deaf = await bench.submit("sleep 10000", timeout_s=1)
    others += await bench.submit_all(*["sleep 30"] * 4)
    end = await bench.end(deaf)
    assert (end.state, end.attempts) == (JobState.ABANDONED, 4)
    attempts = [(await bench.end(job)).attempts for job in others]
    assert sorted(attempts) == [1, 1, 1, 1, 2, 2]
    healing.cancel()


@virtual
async def test_it_stays_alone_when_the_queue_has_lost_its_process() -> None:
    first = await jugglers(1, store=DurableStore())
    await asyncio.sleep(0.01)
    suspect = await first.submit("sleep 10", id="suspect", last_error=KILLED)
    others = await first.submit_all("ok", "ok")
    await asyncio.sleep(1)
    assert first.started() == ["suspect"]
    lost(first)
    second = await jugglers(1, rig=first.rig, store=first.store)
    await asyncio.sleep(5)
    assert second.started() == ["suspect"]
    assert await second.ends([suspect, *others]) == [JobState.DONE] * 3
