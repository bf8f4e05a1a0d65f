"""What a queue does when nodes are lost, workers fall silent, and groups ask how much there is to do."""

from __future__ import annotations

import asyncio

import pytest

from honeydew_ray.dispatchers.base import WorkerRef
from honeydew_ray.dispatchers.locality import Locality
from honeydew_ray.failure_modes.retry import Retry
from honeydew_ray.job import JobState
from honeydew_ray.payload import HeldBuffer, Payload
from honeydew_ray.status import WorkerState
from honeydew_ray.testing.jobs import make_job
from tests.unit.harness import Bench, ScriptedMode, SlowCaller, virtual


@virtual
async def test_a_lost_node_may_be_a_matter_for_the_failure_mode() -> None:
    mode = ScriptedMode(Retry(times=1).decide(make_job("a"), None))  # type: ignore[arg-type]
    bench = await Bench(mode, node_loss="fail").open(workers=2)
    job = await bench.submit(["lost", "ok"])
    assert (await bench.end(job)).state is JobState.DONE
    [(_, failure)] = mode.asked
    assert failure.kind == "node_lost"


@virtual
async def test_a_lost_node_that_the_failure_mode_has_no_mercy_on_ends_the_job() -> None:
    bench = await Bench(node_loss="fail").open(workers=1)
    end = await bench.end(await bench.submit("lost"))
    assert (end.state, end.last_error and end.last_error.kind) == (JobState.ABANDONED, "node_lost")


@virtual
async def test_a_silent_worker_is_killed_and_its_job_redelivered() -> None:
    bench = await Bench(node_loss="fail").open(workers=1)  # Abandon: silence is neither the job's fault nor the node's loss
    job = await bench.submit(["hang", "ok"])
    await asyncio.sleep(1)
    assert await bench.core.fence("w1", "g1")
    await asyncio.sleep(1)
    held = await bench.held(job)
    assert held is not None and held.last_error is not None
    assert (held.state, held.redeliveries, held.failures, held.last_error.kind) == (JobState.PENDING, 1, 0, "unresponsive")
    assert bench.rig.killed == ["w1"]
    await bench.replace("w1", by="w2")
    assert (await bench.end(job)).state is JobState.DONE


@virtual
async def test_the_jobs_of_other_workers_are_left_alone_when_one_falls_silent() -> None:
    bench = await Bench().open(workers=2)
    silent, other = await bench.submit_all("hang", "sleep 5")
    await asyncio.sleep(1)
    assert await bench.core.fence(bench.core.floor.monitors[silent].worker.id, "g1")
    assert (await bench.end(other)).state is JobState.DONE
    assert bench.started() == [silent, other]
    assert len(bench.rig.killed) == 1


@virtual
async def test_a_silent_worker_has_no_job_in_hand_once_it_has_answered_though_the_failure_mode_still_thinks() -> None:
    bench = await Bench(caller=SlowCaller(5)).open(workers=1)
    job = await bench.submit("raise")
    await asyncio.sleep(1)
    assert not await bench.core.fence("w1", "g1")
    assert bench.rig.killed == []
    assert (await bench.end(job)).state is JobState.ABANDONED


@virtual
async def test_a_silent_worker_without_a_job_gets_none_any_more() -> None:
    bench = await Bench().open(workers=1)
    assert not await bench.core.fence("w1", "g1")
    assert bench.rig.killed == [], "its group ends it"
    job = await bench.submit()
    await asyncio.sleep(10)
    assert await bench.state(job) is JobState.PENDING


@virtual
async def test_a_group_hears_how_many_jobs_wait_and_who_is_idle() -> None:
    bench = await Bench().open(workers=2)
    assert await bench.core.load("default") == (0, {"w1": 0, "w2": 0})
    jobs = await bench.submit_all("sleep 5", "sleep 9", "ok", "ok")
    await bench.submit(delay_s=100)
    await asyncio.sleep(1)
    assert await bench.core.load("default") == (2, {})
    for job in jobs:
        await bench.end(job)
    waiting, idle = await bench.core.load("default")
    assert (waiting, sum(idle.values())) == (0, 4)
    assert await bench.core.load("another") == (0, {})


@virtual
async def test_a_job_that_has_come_due_waits_though_there_is_no_worker_to_look_for_it() -> None:
    bench = await Bench().open()
    await bench.submit(delay_s=100)
    await asyncio.sleep(99)
    assert (await bench.core.load("default")).waiting == 0
    await asyncio.sleep(2)
    assert (await bench.core.load("default")).waiting == 1


@virtual
async def test_a_suspended_queue_needs_no_more_workers() -> None:
    bench = await Bench(suspended=True).open(workers=1)
    await bench.submit()
    assert await bench.core.load("default") == (0, {"w1": 0})


@virtual
async def test_only_an_idle_worker_can_be_dismissed_and_then_gets_no_job() -> None:
    bench = await Bench().open(workers=2)
    job = await bench.submit("sleep 5")
    await asyncio.sleep(1)
    [busy] = [start.worker for start in bench.rig.starts]
    [idle] = {"w1", "w2"} - {busy}
    assert bench.core.workforce.dismiss([busy, idle, "unknown"], "g1") == [idle]
    assert bench.core.workforce.dismiss([busy, idle], "g1") == [idle], "asked again, as the answer may have been lost"
    assert (await bench.worker_states())[idle] is WorkerState.DRAINING
    other = await bench.submit()
    await asyncio.sleep(1)
    assert await bench.state(other) is JobState.PENDING
    for end in [await bench.end(job), await bench.end(other)]:
        assert end.state is JobState.DONE
    assert {start.worker for start in bench.rig.starts} == {busy}
    assert bench.core.workforce.dismiss([busy], "g1") == [busy]


@virtual
async def test_a_worker_that_drains_may_take_as_long_as_its_job() -> None:
    bench = await Bench().open(workers=1)
    job = await bench.submit("sleep 100000")
    await asyncio.sleep(1)
    await bench.core.retire(["w1"], "g1", None)
    assert (await bench.end(job)).state is JobState.DONE
    assert bench.rig.killed == []


class Placed(HeldBuffer):
    """A buffer that is on some nodes."""

    def __init__(self, size: int, *nodes: str) -> None:
        super().__init__(b"x" * size)
        object.__setattr__(self, "_nodes", nodes)

    def nodes(self) -> tuple[str, ...]:
        return getattr(self, "_nodes")  # noqa: B009


def locality(*nodes: str) -> Locality:
    dispatcher = Locality()
    for number, node in enumerate(nodes):
        dispatcher.check_in(WorkerRef(f"w{number}", node))
    return dispatcher


@pytest.mark.parametrize(("buffers", "node"), [
    ([Placed(10, "n2")], "n2"),
    ([Placed(10, "n2"), Placed(20, "n3")], "n3"),
    ([Placed(10, "n2"), Placed(10, "n2"), Placed(15, "n3")], "n2"),
    ([Placed(10, "n9"), Placed(5, "n3")], "n3"),
    ([Placed(10, "n9")], "n1"),
    ([HeldBuffer(b"x")], "n1"),
    ([], "n1"),
])  # fmt: skip
def test_locality_prefers_the_node_with_the_most_bytes(buffers: list[HeldBuffer], node: str) -> None:
    chosen = locality("n1", "n2", "n3").check_out(make_job()._replace(payload=Payload(b"", tuple(buffers))))
    assert chosen is not None and chosen.node == node


def test_locality_takes_another_node_when_the_near_one_is_busy_and_keeps_account() -> None:
    dispatcher = locality("n1", "n1", "n2")
    job = make_job()._replace(payload=Payload(b"", (Placed(1, "n2"),)))
    first = dispatcher.check_out(job)
    assert first is not None and first.node == "n2"
    assert [worker.node for worker in (dispatcher.check_out(job), dispatcher.check_out(job)) if worker] == ["n1", "n1"]
    assert dispatcher.check_out(job) is None
    dispatcher.check_in(first)
    assert dispatcher.check_out(job) == first
