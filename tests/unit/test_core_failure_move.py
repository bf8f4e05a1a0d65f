"""A failed job that its failure mode moves: safe there before it leaves here, there and back again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from honeydew_ray.decisions import Discard, MoveTo
from honeydew_ray.job import JobState
from tests.unit.harness import Bench, Rig, ScriptedMode, virtual


@virtual
async def test_a_failed_job_moves_under_its_id_and_its_waiter_hears_where() -> None:
    here = await Bench(ScriptedMode(MoveTo("other"))).open(workers=1)
    there = await Bench(name="other", rig=here.rig).open()
    job_id = await here.submit("raise", priority=3)
    end = await here.end(job_id)
    assert (end.state, end.moved_to) == (JobState.MOVED, "other")
    assert end.last_error is not None
    assert end.last_error.kind == "exception"
    assert await here.held(job_id) is None
    arrived = await there.held(job_id)
    assert arrived is not None
    assert (arrived.state, arrived.failures, arrived.attempts, arrived.priority) == (JobState.PENDING, 0, 0, 3)
    assert arrived.last_error == end.last_error


@pytest.mark.parametrize(
    ("target", "error", "trace"),
    [("nowhere", None, "no queue 'nowhere'"), ("q", None, "to itself"), ("other", OSError("cable cut"), "cable cut")],
    ids=["missing", "itself", "raises"],
)
@virtual
async def test_a_move_that_fails_leaves_the_job_in_the_dead_list_with_both_errors(target: str, error: Exception | None, trace: str) -> None:
    bench = await Bench(ScriptedMode(MoveTo(target))).open(workers=1)
    bench.rig.enqueue_error = error
    end = await bench.end(await bench.submit("raise"))
    assert end.state is JobState.ABANDONED
    assert "as scripted" in str(end.last_error)
    assert trace in str(end.last_error)


@virtual
async def test_a_slow_move_keeps_the_job_here_until_it_is_there() -> None:
    here = await Bench(ScriptedMode(MoveTo("other"))).open(workers=1)
    there = await Bench(name="other", rig=here.rig).open()
    here.rig.reply_s = 5.0
    job_id = await here.submit("raise")
    await asyncio.sleep(4)
    assert await here.state(job_id) is JobState.IN_PROGRESS
    assert await there.state(job_id) is JobState.PENDING
    assert (await here.end(job_id)).state is JobState.MOVED


def ping_pong(rig: Any = None) -> tuple[Bench, Bench]:
    ping = Bench(ScriptedMode(MoveTo("pong"), MoveTo("pong"), Discard()), name="ping", rig=rig or Rig(spoils=False))
    return ping, Bench(ScriptedMode(MoveTo("ping")), name="pong", rig=ping.rig)


@virtual
async def test_a_job_may_go_there_and_back_again_and_there() -> None:
    ping, pong = ping_pong()
    await ping.open(workers=1)
    await pong.open()
    await pong.group.ready("v1")
    job_id = await ping.submit("raise")
    await asyncio.sleep(1)
    assert bool(await ping.held(job_id)) is True, "its last failure here put it into the dead list"
    assert await pong.held(job_id) is None
    assert await ping.state(job_id) is JobState.ABANDONED
    assert [start.worker for start in ping.rig.starts] == ["w1", "v1", "w1", "v1", "w1"]


@virtual
async def test_a_job_that_is_back_before_its_leaving_is_settled_is_not_lost() -> None:
    ping, pong = ping_pong()
    await ping.open(workers=1)
    await pong.open()
    await pong.group.ready("v1")
    ping.rig.reply_s = 2.0  # the job fails there, and is on its way back, before the word of its arrival is here
    job_id = await ping.submit("raise")
    await asyncio.sleep(60)
    assert await ping.state(job_id) is JobState.ABANDONED
    assert await ping.held(job_id) is not None
    assert await pong.held(job_id) is None
    assert len(ping.rig.starts) == 5


@virtual
async def test_two_queues_that_wait_for_each_other_give_up_and_keep_the_job() -> None:
    ping, pong = ping_pong()
    await ping.open(workers=1)
    await pong.open()
    await pong.group.ready("v1")
    ping.rig.reply_s = 1000.0
    job_id = await ping.submit("raise")
    await asyncio.sleep(100)
    assert await pong.state(job_id) is JobState.ABANDONED
    assert "let go" in str((await pong.end(job_id)).last_error)
    await asyncio.sleep(1000)
    assert await ping.state(job_id) is JobState.MOVED
